// Command ferretdb is a server of MongoDB's protocol for tests: FerretDB, with
// SQLite behind it and users of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/internal/clientconn"
	"github.com/FerretDB/FerretDB/internal/clientconn/connmetrics"
	"github.com/FerretDB/FerretDB/internal/handler/registry"
	"github.com/FerretDB/FerretDB/internal/util/password"
	"github.com/FerretDB/FerretDB/internal/util/state"
)

func main() {
	address := flag.String("address", "127.0.0.1:27017", "")
	dir := flag.String("dir", "", "of the databases; it must be there")
	user := flag.String("user", "", "who may come, with -password; nobody is asked without")
	secret := flag.String("password", "", "")
	cert := flag.String("cert", "", "with -key: the address has TLS")
	key := flag.String("key", "", "")
	tidy := flag.Duration("tidy", time.Hour, "how often capped collections are cut to their size, which locks everything")
	flag.Parse()
	if err := serve(*address, *dir, *user, *secret, *cert, *key, *tidy); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address, dir, user, secret, cert, key string, tidy time.Duration) error {
	// Whoever starts the server a second time finds its users there.
	_, err := os.Stat(filepath.Join(dir, "admin.sqlite"))
	begin := err != nil && user != ""
	provider, err := state.NewProvider("")
	if err != nil {
		return err
	}
	if err := provider.Update(func(s *state.State) { s.DisableTelemetry() }); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	metrics := connmetrics.NewListenerMetrics()
	opts := &registry.NewHandlerOpts{
		Logger: log, ConnMetrics: metrics.ConnMetrics, StateProvider: provider, TCPHost: address,
		SQLiteURL: "file:" + filepath.Clean(dir) + "/?_pragma=synchronous(off)", // it outlives the process, not the machine
		TestOpts:  registry.TestOpts{EnableNewAuth: user != "", CappedCleanupInterval: tidy, CappedCleanupPercentage: 10, BatchSize: 100},
	}
	if begin {
		opts.SetupDatabase, opts.SetupUsername, opts.SetupPassword, opts.SetupTimeout = "admin", user, password.WrapPassword(secret), 30*time.Second
	}
	h, done, err := registry.NewHandler("sqlite", opts)
	if err != nil {
		return err
	}
	defer done()
	listen := &clientconn.NewListenerOpts{Mode: clientconn.NormalMode, Metrics: metrics, Handler: h, Logger: log, TCP: address}
	if cert != "" {
		listen.TCP, listen.TLS, listen.TLSCertFile, listen.TLSKeyFile = "", address, cert, key
	}
	l, err := clientconn.Listen(listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l.Run(ctx)
	return nil
}
