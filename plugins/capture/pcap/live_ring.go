//go:build !libpcap || !cgo

package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/afpacket"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
)

// liveName says how frames are taken.
const liveName = "the kernel's packet ring (built without libpcap)"

// kernelRing takes frames as the capture afpacket does.
type kernelRing struct{ *afpacket.Capture }

func newLive(c *capture) live {
	direction, _ := afpacket.ParseDirection(c.cfg.Direction) // Validate complains
	var expression *pcapfilter.Program
	if c.cfg.Filter != "" {
		expression, _ = pcapfilter.Compile(c.cfg.Filter) // likewise
	}
	return kernelRing{afpacket.New(afpacket.Options{
		Interfaces: []string{c.cfg.Interface}, Direction: direction, Promiscuous: c.cfg.Promiscuous,
		SnapLength: c.cfg.SnapLength, RingSize: int(c.cfg.Buffer), Delay: c.cfg.Delay, Parser: c.cfg.parser(), Logger: c.log,
		Expression: expression,
	})}
}

func (r kernelRing) run(ctx context.Context, w *sdk.Writer) error { return r.Run(ctx, w) }

func (r kernelRing) health() error { return r.Health(context.Background()) }

func (r kernelRing) sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	return r.Sample(ctx, req, give)
}

func (r kernelRing) causes() []string { return afpacket.Causes() }

func (r kernelRing) doctor() (sdk.Rows, error) {
	rows, err := r.Table(exporter.TableDoctor)
	rows.Rows = append(rows.Rows, []string{"library", exporter.StateOK, "frames come through " + liveName})
	return rows, err
}

func missing(name string) error { return afpacket.Missing(name) }

// checkLibrary refuses what only libpcap can.
func checkLibrary(c *config) (ds diag.Diagnostics) {
	const how = "this plugin was built without libpcap (Debian: install libpcap-dev, then make build)"
	root := diag.Path{}
	if !afpacket.Supported {
		ds = append(ds, diag.Errorf(root.Attr("interface"), "No libpcap", "Interfaces cannot be captured here: %s.", how))
	}
	if c.Filter != "" {
		if _, err := pcapfilter.Compile(c.Filter); err != nil {
			bad := pcapfilter.Complaint(err, root.Attr("filter"))
			bad.Detail += "\n\nMore expressions are read with libpcap, and " + how + "."
			ds = append(ds, bad)
		}
	}
	if c.Timestamps != "" {
		ds = append(ds, diag.Errorf(root.Attr("timestamps"), "No libpcap", "Only libpcap lets choose the clock, and %s.", how))
	}
	return ds
}
