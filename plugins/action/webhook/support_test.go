package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

// defaults are the plugin's, with shorter pauses.
func defaults(url string) config {
	return config{
		URL: url, Method: "POST", ContentType: "application/json", Events: eventTypes,
		Timeout: 10 * time.Second, Retry: 100 * time.Millisecond, RetryMost: time.Minute, MaxAge: 24 * time.Hour, Spool: 64 << 20, Concurrency: 4,
	}
}

func start(t *testing.T, c config, dir string) *webhook {
	t.Helper()
	w := build(t, c, dir)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(t.Context()) }) // it has no error
	return w
}

func build(t *testing.T, c config, dir string) *webhook {
	t.Helper()
	w, err := newWebhook(c, sdk.Env{Logger: hclog.NewNullLogger(), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// event is the n-th event of an attack.
func event(attack int, seq uint32) sdk.Event {
	e := message.Samples()[0]
	e.ID, e.Seq = fmt.Sprintf("attack%06d", attack), seq
	e.Type = []sdk.EventType{sdk.AttackStarted, sdk.AttackUpdated, sdk.AttackEnded}[min(seq, 3)-1]
	e.Target = netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(attack)}), 32)
	return e
}

// request is what a server got.
type request struct {
	*http.Request
	body []byte
}

// server answers as answer says and hands on what it gets.
func server(t *testing.T, answer http.HandlerFunc) (url string, got <-chan request) {
	t.Helper()
	out := make(chan request, 1000)
	s := httptest.NewServer(keep(out, answer))
	t.Cleanup(s.Close)
	return s.URL, out
}

func keep(out chan<- request, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if answer != nil {
			answer(w, r)
		}
		out <- request{r, body}
	}
}

func next(t *testing.T, got <-chan request) request {
	t.Helper()
	select {
	case r := <-got:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no request came")
		return request{}
	}
}

// store is a server for a fast clock: a transport without a network.
type store struct {
	mu       sync.Mutex
	back     time.Time // until then it is away
	lossy    int       // so many of the answers get lost, 1 in n
	requests int
	order    []string       // keys in the order in which they came, each once
	seen     map[string]int // how often
}

func (s *store) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body) // it is in memory
	_ = r.Body.Close()
	time.Sleep(5 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Service Unavailable", Body: http.NoBody, Header: http.Header{}, Request: r}
	if time.Now().Before(s.back) {
		return resp, nil
	}
	key := r.Header.Get("Idempotency-Key")
	if s.seen[key]++; s.seen[key] == 1 {
		s.order = append(s.order, key)
	}
	if s.lossy > 0 && s.requests%s.lossy == 0 {
		return nil, fmt.Errorf("connection reset by peer")
	}
	resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
	return resp, nil
}

// comesBack ends the store's absence.
func (s *store) comesBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = time.Time{}
}

// told is what has arrived, each once, in order.
func (s *store) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}
