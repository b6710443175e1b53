package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// replays says that files are read in place of the network.
func (c *capture) replays() bool { return c.replay && c.cfg.Files != nil }

// checkFiles checks the files of a replay. Nothing else reads any.
func (c *capture) checkFiles() diag.Diagnostics {
	at := diag.Path{}.Attr("files")
	switch {
	case c.cfg.Files == nil:
		return nil
	case !c.replay:
		return diag.Diagnostics{diag.Errorf(at, "Files are for a replay",
			`A running capture receives from the network. Leave files out, and use "fastnetmon replay --flows netflow FILE...".`)}
	}
	return capfile.CheckFiles(c.cfg.Files, at)
}

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
	var tick, sweep int64
	for ctx.Err() == nil {
		g, at, ok := in.Next()
		for cause, n := range in.Lost() {
			if n > 0 {
				w.Dropped(causes+cause, n)
			}
		}
		if !ok {
			break
		}
		c.clock.Set(at)
		if at-tick >= int64(tickEvery) {
			tick = at
			x.out.next()
			x.d.tick(at)
			x.commit()
		}
		if at-sweep >= int64(sweepEvery) {
			sweep = at
			x.d.sweep()
		}
		x.decode([]udp.Datagram{g}, at, at)
	}
	x.d.abandon()
	x.settle()
	return ctx.Err()
}
