package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// capture receives datagrams on its addresses, with a worker for each socket.
type capture struct {
	cfg     config
	log     hclog.Logger
	set     *exporter.Set
	agents  agents
	forward *udp.Forwarder
	conns   []*udp.Conn // one for each worker; nil where the system has no IPv6
	stats   []stats     // one for each worker
}

// stats is what one worker has done, for people to look at.
type stats struct {
	datagrams atomic.Uint64
	samples   atomic.Uint64 // of packets, whether they count or not
	records   atomic.Uint64 // that count
	lost      [causes]atomic.Uint64
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	set, err := exporter.NewSet(exporter.Options{
		Blocks: c.Exporters, OnlyListed: len(c.Exporters) > 0, Sampling: c.Sampling, Max: c.MaxExporters, Logger: env.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &capture{cfg: c, log: env.Logger, set: set, agents: newAgents()}, nil
}

// Workers is how often Run is called: once for each socket.
func (c *capture) Workers() int {
	addresses, _ := c.cfg.listen()
	return max(1, len(addresses)*min(c.cfg.Workers, maxWorkers))
}

// Start opens the sockets.
func (c *capture) Start(ctx context.Context) error {
	c.stats = make([]stats, c.Workers())
	err := c.listen()
	if err == nil {
		c.forward, err = udp.NewForwarder(c.cfg.Forward, c.log)
	}
	if err != nil {
		return errors.Join(err, c.Close(ctx))
	}
	return nil
}

func (c *capture) listen() error {
	addresses, chosen := c.cfg.listen()
	c.conns = nil
	for _, a := range addresses {
		conns, err := udp.Listen(a.String(), c.cfg.Workers, udp.Options{ReceiveBuffer: int(c.cfg.ReceiveBuffer)})
		if err != nil && !chosen && a.Addr().Is6() && !haveIPv6() {
			c.log.Info("the system has no IPv6: listening on IPv4 only")
			c.conns = append(c.conns, make([]*udp.Conn, c.cfg.Workers)...)
			continue
		}
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conns...)
		if advice := conns[0].Advice(); advice != "" {
			c.log.Warn("the receive buffer is smaller than asked for", "address", a.String(), "advice", advice)
		}
		c.log.Info("listening", "address", conns[0].LocalAddr().String(), "sockets", len(conns))
	}
	return nil
}

// haveIPv6 reports whether an IPv6 socket can be made at all.
func haveIPv6() bool {
	l, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// Close closes the sockets.
func (c *capture) Close(context.Context) error {
	var errs []error
	for _, conn := range c.conns {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	c.conns = nil
	errs = append(errs, c.forward.Close())
	c.forward = nil
	return errors.Join(errs...)
}

// Run receives on one socket until ctx is done.
func (c *capture) Run(ctx context.Context, w *sdk.Writer) error {
	conn := c.conns[w.Worker()]
	if conn == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	k := c.newWorker(w, &c.stats[w.Worker()])
	for {
		batch, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		c.forward.Forward(batch)
		k.batch(batch, conn.Overflow())
	}
}
