package capfile

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// CheckReplay checks the attribute files of a capture of flows, which reads files
// in a replay and nothing else; nil files are none. plugin is its name.
func CheckReplay(files []string, replay bool, plugin string) diag.Diagnostics {
	at := diag.Path{}.Attr("files")
	switch {
	case files == nil:
		return nil
	case !replay:
		return diag.Diagnostics{diag.Errorf(at, "Files are for a replay",
			`A running capture receives from the network. Leave files out, and use "fastnetmon replay --flows %s FILE...".`, plugin)}
	}
	return CheckFiles(files, at)
}

// Play gives all datagrams in the order of time, each with when it was captured in
// nanoseconds since the Unix epoch, until ctx is done, whose error it returns.
// dropped gets what gave no datagram, by Loss, before the one that follows.
func (d *Datagrams) Play(ctx context.Context, dropped func(loss int, n uint64), each func(g udp.Datagram, at int64)) error {
	for ctx.Err() == nil {
		g, at, ok := d.Next()
		for loss, n := range d.Lost() {
			if n > 0 {
				dropped(loss, n)
			}
		}
		if !ok {
			break
		}
		each(g, at)
	}
	return ctx.Err()
}
