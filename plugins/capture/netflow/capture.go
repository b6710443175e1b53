package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// capture receives datagrams on its addresses, with a worker for each socket.
type capture struct {
	cfg   config
	log   hclog.Logger
	set   *exporter.Set
	store *store
	held  atomic.Int64 // octets that wait for templates, in all workers
	clock *exporter.Clock

	mu      sync.Mutex  // for what follows: tables may be asked for while the capture closes
	conns   []*udp.Conn // one for each worker; nil where the system has no IPv6
	forward *udp.Forwarder
	stats   []stats // one for each worker
	replay  bool    // files are read, not the network
	files   []*capfile.Reader

	stop  chan struct{} // ends saving
	saved sync.WaitGroup
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	if c.Templates == "" && env.StateDir != "" {
		c.Templates = filepath.Join(env.StateDir, "templates")
	}
	now := exporter.NewClock()
	set, err := exporter.NewSet(exporter.Options{
		Blocks: c.Exporters, OnlyListed: len(c.Exporters) > 0,
		Sampling: c.Sampling, Max: c.MaxExporters, Logger: env.Logger,
		Now: now.Mono, Wall: now.Wall,
	})
	if err != nil {
		return nil, err
	}
	return &capture{cfg: c, log: env.Logger, set: set, store: newStore(), clock: now, replay: env.Mode == sdk.ModeReplay}, nil
}

// Workers is how often Run is called: once for each socket.
func (c *capture) Workers() int {
	if c.replays() {
		return 1
	}
	addresses, _ := c.cfg.listen()
	return max(1, len(addresses)*min(c.cfg.Workers, maxWorkers))
}

// ExporterName is who a record's exporter index stands for.
func (c *capture) ExporterName(index uint32) string { return c.set.NameOf(index) }

// ExporterAddr is its address, the agent's where it tells one.
func (c *capture) ExporterAddr(index uint32) netip.Addr { return c.set.AddrOf(index) }

// Start opens the sockets and reads the templates of the last run.
func (c *capture) Start(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats = make([]stats, c.Workers())
	if c.replays() {
		return c.openFiles()
	}
	c.loadTemplates()
	if err := c.listen(); err != nil {
		return errors.Join(err, c.close())
	}
	var err error
	if c.forward, err = udp.NewForwarder(c.cfg.Forward, exporter.Names(c.cfg.Exporters), c.log); err != nil {
		return errors.Join(err, c.close())
	}
	if c.cfg.Templates != "" {
		c.stop = make(chan struct{})
		c.saved.Add(1)
		go c.keepSaving()
	}
	return nil
}

// listen opens the sockets.
func (c *capture) listen() (err error) {
	addresses, chosen := c.cfg.listen()
	c.conns, err = udp.ListenAll(addresses, !chosen, c.cfg.Workers, udp.Options{ReceiveBuffer: int(c.cfg.ReceiveBuffer)}, c.log)
	return err
}

// Close closes the sockets and saves the templates.
func (c *capture) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.close()
}

func (c *capture) close() error {
	errs := []error{udp.CloseAll(c.conns)}
	c.conns = nil
	capfile.CloseAll(c.files)
	c.files = nil
	if c.forward != nil {
		errs = append(errs, c.forward.Close())
		c.forward = nil
	}
	if c.stop != nil {
		close(c.stop)
		c.saved.Wait()
		c.stop = nil
	}
	return errors.Join(errs...)
}

// loadTemplates reads the file of templates. Whatever is wrong with it, the
// capture goes on: exporters announce their templates again.
func (c *capture) loadTemplates() {
	if c.cfg.Templates == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(c.cfg.Templates), 0o750); err != nil {
		c.log.Warn("templates cannot be kept over a restart: create the directory, writable by the plugin's user", "error", err)
	}
	if err := c.store.load(c.cfg.Templates); err != nil {
		c.log.Warn("the templates of the last run are not used; exporters will announce theirs again", "error", err)
		return
	}
	if n := len(c.store.domains); n > 0 {
		c.log.Info("templates of the last run are used", "exporters", n, "templates", c.store.templates)
	}
}

// Saving templates takes a moment during which none can be announced: it is
// done at most every saveEvery, and takes at most a twentieth of the time.
const (
	saveEvery = time.Second
	saveShare = 20
)

// keepSaving saves the templates soon after they have changed, and at the end.
func (c *capture) keepSaving() {
	defer c.saved.Done()
	timer := time.NewTimer(saveEvery)
	defer timer.Stop()
	var complained time.Time
	save := func() {
		mono, wall := c.clock.Read()
		err := c.store.save(c.cfg.Templates, mono, wall/int64(time.Second))
		if now := time.Unix(0, wall); err != nil && now.Sub(complained) > time.Minute {
			complained = now
			c.log.Warn("the templates cannot be saved: after a restart data is lost until exporters announce them again", "error", err)
		}
	}
	for {
		select {
		case <-c.stop:
			save() // the times of the last datagrams too
			return
		case <-timer.C:
		}
		began := time.Now()
		if c.store.changed() {
			save()
		}
		timer.Reset(max(saveEvery, saveShare*time.Since(began)))
	}
}
