package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// replays says that files are read in place of the network.
func (c *capture) replays() bool { return c.replay && c.cfg.Files != nil }

// openFiles begins a replay; nothing is forwarded in it.
func (c *capture) openFiles() (err error) {
	c.files, err = capfile.OpenAll(c.cfg.Files)
	return err
}

// runFiles counts the datagrams of the files, each at the time at which it was
// captured.
func (c *capture) runFiles(ctx context.Context, w *sdk.Writer) error {
	in := capfile.NewDatagrams(c.files, c.cfg.ports(), func(err error) {
		c.log.Warn("a capture file ends early; the datagrams before that count", "error", err)
	})
	k := c.newWorker(w, &c.stats[0])
	return in.Play(ctx, func(loss int, n uint64) { w.Dropped(causes+loss, n) }, func(g udp.Datagram, at int64) {
		c.clock.Set(at)
		k.batch([]udp.Datagram{g}, at, 0)
	})
}
