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
			`A running capture receives from the network. Leave files out, and use "fastnetmon replay --flows sflow FILE...".`)}
	}
	return capfile.CheckFiles(c.cfg.Files, at)
}

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
		k.batch([]udp.Datagram{g}, at, 0)
	}
	return ctx.Err()
}
