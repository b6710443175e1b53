package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// replays says that files are read in place of the network.
func (c *capture) replays() bool { return c.replay && c.cfg.Files != nil }

// openFiles begins a replay. Templates of other runs are neither used nor
// kept, and nothing is forwarded: what comes out depends on the files alone.
func (c *capture) openFiles() (err error) {
	c.files, err = capfile.OpenAll(c.cfg.Files)
	return err
}

// runFiles decodes the datagrams of the files, each at the time at which it was
// captured.
func (c *capture) runFiles(ctx context.Context, w *sdk.Writer) error {
	in := capfile.NewDatagrams(c.files, c.cfg.ports(), func(err error) {
		c.log.Warn("a capture file ends early; the datagrams before that count", "error", err)
	})
	x := &worker{w: w, stats: &c.stats[0], clock: c.clock}
	x.out.hand = x.hand
	x.d = newDecoder(&x.out, c.store, c.set.View(), newHold(&c.held))
	_, _ = x.d.parser.DecapsulateBy(c.cfg.Decapsulate) // Validate complains
	err := in.Play(ctx, func(loss int, n uint64) { w.Dropped(causes+loss, n) }, func(g udp.Datagram, at int64) {
		c.clock.Set(at)
		x.housekeep(at)
		x.decode([]udp.Datagram{g}, at, at)
	})
	x.d.abandon()
	x.settle()
	return err
}
