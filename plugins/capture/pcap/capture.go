package main

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The causes of loss beyond the parser's: their indices follow its outcomes'.
const (
	causeInterface = int(traffic.UnknownLink) + iota // a packet of an interface that the file does not describe
	causeCut                                         // the packet in which a file ends
	causeDamaged                                     // the packet at which a file makes no more sense
	causes
)

// capture reads its files once, merged by time.
type capture struct {
	cfg    config
	replay bool
	log    hclog.Logger
	files  []*capfile.Reader
	recent *recent // what was played last; nil in a replay
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	return &capture{cfg: c, replay: env.Mode == sdk.ModeReplay, log: env.Logger}, nil
}

// Causes names the causes of loss.
func (c *capture) Causes() []string {
	names := make([]string, causes)
	for o := traffic.OK + 1; int(o) < traffic.Outcomes; o++ {
		names[o-1] = o.String()
	}
	names[causeInterface] = "unknown_interface"
	names[causeCut] = "cut_file"
	names[causeDamaged] = "damaged_file"
	return names
}

// Start opens the files.
func (c *capture) Start(context.Context) (err error) {
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
	p := c.newPlayer(w)
	if c.replay {
		return p.replay(ctx)
	}
	return p.play(ctx, c.cfg.Speed)
}
