package main

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// capture receives datagrams on its addresses, with a worker for each socket.
type capture struct {
	cfg     config
	log     hclog.Logger
	set     *exporter.Set
	clock   *exporter.Clock
	agents  agents
	forward *udp.Forwarder
	conns   []*udp.Conn // one for each worker; nil where the system has no IPv6
	stats   []stats     // one for each worker
	replay  bool        // files are read, not the network
	files   []*capfile.Reader
}

// stats is what one worker has done, for people to look at.
type stats struct {
	datagrams atomic.Uint64
	samples   atomic.Uint64 // of packets, whether they count or not
	records   atomic.Uint64 // that count
	lost      [causes]atomic.Uint64
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	now := exporter.NewClock()
	if env.Mode == sdk.ModeReplay {
		now.Set(0) // until the first datagram tells
	}
	set, err := exporter.NewSet(exporter.Options{
		Blocks: c.Exporters, OnlyListed: len(c.Exporters) > 0, Sampling: c.Sampling, Max: c.MaxExporters, Logger: env.Logger,
		Now: now.Mono, Wall: now.Wall,
	})
	if err != nil {
		return nil, err
	}
	return &capture{cfg: c, log: env.Logger, set: set, clock: now, agents: newAgents(), replay: env.Mode == sdk.ModeReplay}, nil
}

// Workers is how often Run is called: once for each socket.
func (c *capture) Workers() int {
	if c.replays() {
		return 1
	}
	addresses, _ := c.cfg.listen()
	return max(1, len(addresses)*min(c.cfg.Workers, maxWorkers))
}

// Start opens the sockets.
func (c *capture) Start(ctx context.Context) error {
	c.stats = make([]stats, c.Workers())
	if c.replays() {
		return c.openFiles()
	}
	err := c.listen()
	if err == nil {
		c.forward, err = udp.NewForwarder(c.cfg.Forward, exporter.Names(c.cfg.Exporters), c.log)
	}
	if err != nil {
		return errors.Join(err, c.Close(ctx))
	}
	return nil
}

// listen opens the sockets.
func (c *capture) listen() (err error) {
	addresses, chosen := c.cfg.listen()
	c.conns, err = udp.ListenAll(addresses, !chosen, c.cfg.Workers, udp.Options{ReceiveBuffer: int(c.cfg.ReceiveBuffer)}, c.log)
	return err
}

// Close closes the sockets.
func (c *capture) Close(context.Context) error {
	errs := []error{udp.CloseAll(c.conns)}
	c.conns = nil
	capfile.CloseAll(c.files)
	c.files = nil
	errs = append(errs, c.forward.Close())
	c.forward = nil
	return errors.Join(errs...)
}

// ExporterName is who a record's exporter index stands for.
func (c *capture) ExporterName(index uint32) string { return c.set.NameOf(index) }

// ExporterAddr is its address, the agent's where it tells one.
func (c *capture) ExporterAddr(index uint32) netip.Addr { return c.set.AddrOf(index) }

// Run receives on one socket until ctx is done.
func (c *capture) Run(ctx context.Context, w *sdk.Writer) error {
	if c.replays() {
		return c.runFiles(ctx, w)
	}
	conn := c.conns[w.Worker()]
	if conn == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	k := c.newWorker(w, &c.stats[w.Worker()])
	w.FrameInfo(k.frameInfo)
	for {
		batch, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		_, now := c.clock.Read()
		k.batch(batch, now, conn.Overflow())
		c.forward.Forward(batch) // who sent what is known now
	}
}
