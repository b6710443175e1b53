// Command capture-hello is the smallest capture: it makes traffic up.
package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type config struct {
	Target string `hcl:"target,optional" doc:"an IPv4 address"`
	PPS    int    `hcl:"pps,optional" doc:"packets per second"`
}

type hello struct {
	packet traffic.Record
	pps    int
}

func build(c config, _ sdk.Env) (*hello, error) {
	target, err := netip.ParseAddr(c.Target)
	if err != nil || !target.Is4() { // shown at the attribute's line
		return nil, diag.Errorf(diag.Path{}.Attr("target"), "Bad target", "%q is no IPv4 address.", c.Target)
	}
	return &hello{pps: c.PPS, packet: traffic.Record{
		Src: netip.MustParseAddr("198.51.100.7").As16(), Dst: target.As16(), // IPv4 mapped
		Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, SrcPort: 123, DstPort: 40000,
	}}, nil
}

// Run gives its packets in ten batches a second. It must return soon after ctx
// is done.
func (h *hello) Run(ctx context.Context, w *sdk.Writer) error {
	tick := time.Tick(100 * time.Millisecond)
	for ctx.Err() == nil {
		h.packet.Time = (<-tick).UnixNano()
		for left := h.pps / 10; left > 0; {
			records := w.Reserve(left) // may be fewer; they hold old bytes
			for i := range records {
				records[i] = h.packet
			}
			w.Commit(len(records), nil) // nil: there are no frames to show
			left -= len(records)
		}
	}
	return nil
}

func main() { sdk.Serve(plugin) }

var plugin = sdk.Plugin{
	Name: "hello", Version: "0.1.0", Summary: "makes traffic up",
	Capture: sdk.NewCapture(config{Target: "203.0.113.1", PPS: 1000}, build),
}
