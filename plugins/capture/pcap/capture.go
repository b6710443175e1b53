package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The causes of loss beyond the parser's: their indices follow its outcomes'.
const (
	causeInterface = int(traffic.UnknownLink) + iota // a packet of an interface that the file does not describe
	causeCut                                         // the packet in which a file ends
	causeDamaged                                     // the packet at which a file makes no more sense
	causeKernel                                      // live: the kernel had no room for it
	causes
)

// capture reads its files once, merged by time, or takes frames from an
// interface.
type capture struct {
	cfg    config
	replay bool
	log    hclog.Logger
	files  []*capfile.Reader
	recent *recent // what was played last; nil in a replay
	live   live    // nil: files are played
}

// live takes frames from an interface: through libpcap, or, where this plugin
// was built without it, through the kernel's packet ring.
type live interface {
	run(ctx context.Context, w *sdk.Writer) error
	health() error
	doctor() (sdk.Rows, error)
	sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error
	causes() []string
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	x := &capture{cfg: c, replay: env.Mode == sdk.ModeReplay, log: env.Logger}
	if c.Interface != "" && !x.replay {
		x.live = newLive(x)
	}
	return x, nil
}

// Causes names the causes of loss.
func (c *capture) Causes() []string {
	if c.live != nil {
		return c.live.causes()
	}
	return fileCauses()
}

func fileCauses() []string {
	names := make([]string, causes)
	for o := traffic.OK + 1; int(o) < traffic.Outcomes; o++ {
		names[o-1] = o.String()
	}
	names[causeInterface] = "unknown_interface"
	names[causeCut] = "cut_file"
	names[causeDamaged] = "damaged_file"
	names[causeKernel] = "kernel_drop"
	return names
}

// Start opens the files.
func (c *capture) Start(context.Context) (err error) {
	if c.live != nil {
		c.recent = newRecent(recentBytes, recentFrames)
		return nil
	}
	if c.files, err = capfile.OpenAll(c.cfg.Files); err != nil {
		return err
	}
	if !c.replay {
		c.recent = newRecent(recentBytes, recentFrames)
	}
	return nil
}

// Close closes the files.
func (c *capture) Close(context.Context) error {
	capfile.CloseAll(c.files)
	c.files = nil
	return nil
}

// Run gives all packets once: as fast as they are taken in a replay, else at
// the speed at which they were recorded.
func (c *capture) Run(ctx context.Context, w *sdk.Writer) error {
	if c.live != nil {
		return c.live.run(ctx, w)
	}
	p := c.newPlayer(w)
	if c.replay {
		return p.replay(ctx)
	}
	return p.play(ctx, c.cfg.Speed)
}

// Health says why no frames can come from the interface.
func (c *capture) Health(context.Context) error {
	if c.live == nil {
		return nil
	}
	return c.live.health()
}

// Table gives this capture's part of doctor.
func (c *capture) Table(_ context.Context, name string) (sdk.Rows, error) {
	switch {
	case name != exporter.TableDoctor:
		return sdk.Rows{}, nil // of devices that send to us there are none
	case c.live != nil:
		return c.live.doctor()
	}
	return sdk.Rows{Columns: doctorColumns, Rows: [][]string{{"files", exporter.StateOK, fmt.Sprintf("%d capture files are played", len(c.cfg.Files))}}}, nil
}

var doctorColumns = []string{"check", "state", "detail"}
