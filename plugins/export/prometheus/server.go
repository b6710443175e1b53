package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Whoever reaches the port may be hostile: every one of these bounds what a
// client can hold on to.
const (
	maxConnections = 64
	maxScrapes     = 3 // at the same time; more are told to come again (503)
	maxHeader      = 16 << 10
	readTimeout    = 5 * time.Second // of a request, from its first byte or the connection on
	writeTimeout   = 10 * time.Second
	idleTimeout    = 60 * time.Second
	closeTimeout   = time.Second // for scrapes under way when the plugin stops
)

// server is the HTTP server.
type server struct {
	http    http.Server
	address net.Addr
	ended   chan struct{}         // closed when Serve has returned
	failed  atomic.Pointer[error] // why it did, if not told to
}

// listen opens the listener and serves.
func listen(ctx context.Context, e *exporter) (*server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", e.cfg.Listen)
	if err != nil {
		return nil, explain(e.cfg.Listen, err)
	}
	e.log.Info("metrics are served", "url", "http://"+l.Addr().String()+e.cfg.Path)
	return newServer(l, e), nil
}

func newServer(l net.Listener, e *exporter) *server {
	s := &server{address: l.Addr(), ended: make(chan struct{})}
	s.http = http.Server{
		Handler:           e.handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          e.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.failed.Store(&err)
			e.log.Error("the HTTP server has ended", "error", err)
		}
	}()
	return s
}

// explain says what to do about a listener that cannot be opened.
func explain(address string, err error) error {
	at := diag.Path{}.Attr("listen")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return diag.Errorf(at, "Address in use",
			"Another program listens on %s, perhaps another FastNetMon. Stop it, or choose another port.", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return diag.Errorf(at, "No such address", "%s is not an address of this host. Choose one that is, or 127.0.0.1.", address)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return diag.Errorf(at, "Not permitted", "The user that the plugin runs as may not listen on %s. Choose a port above 1023.", address)
	}
	return diag.Errorf(at, "Cannot listen", "Listening on %s: %v.", address, err)
}

// close stops listening, gives scrapes under way a second and returns when the
// server has ended.
func (s *server) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = s.http.Close() // a client that does not read holds nothing up
	}
	<-s.ended
	return err
}

func (s *server) failure() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("the HTTP server has ended: %w", *err)
	}
	return nil
}

// handler answers GET of the metrics and of the landing page, nothing else.
func (e *exporter) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{e})
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            &scrapeLog{e: e},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
	landing := fmt.Sprintf(landingPage, e.cfg.Path, e.cfg.Path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is answered here", http.StatusMethodNotAllowed)
		case r.URL.Path == e.cfg.Path:
			e.scrapes.Add(1)
			metrics.ServeHTTP(w, r)
		case r.URL.Path == "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'")
			fmt.Fprint(w, landing)
		default:
			http.Error(w, "there is nothing here; the metrics are at "+e.cfg.Path, http.StatusNotFound)
		}
	})
}

const landingPage = `<!DOCTYPE html>
<html lang="en">
<head><title>FastNetMon</title></head>
<body>
<h1>FastNetMon</h1>
<p>Metrics for Prometheus: <a href="%s">%s</a></p>
</body>
</html>
`

// scrapeLog counts what goes wrong with scrapes. A line a minute is logged: a
// client can make as many errors as it likes.
type scrapeLog struct {
	e    *exporter
	next atomic.Int64 // Unix nanoseconds
}

// Println is promhttp.Logger's.
func (l *scrapeLog) Println(v ...any) {
	l.e.errors.Add(1)
	now := time.Now().UnixNano()
	if next := l.next.Load(); now >= next && l.next.CompareAndSwap(next, now+int64(time.Minute)) {
		const enough = 1000 // bytes: an error may name every series
		text := fmt.Sprint(v...)
		l.e.log.Warn("a scrape was not answered in full", "error", text[:min(len(text), enough)], "so_far", l.e.errors.Load())
	}
}
