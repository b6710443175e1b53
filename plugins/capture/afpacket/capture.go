package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/afpacket"
)

// capture is the block's configuration and what it makes of package afpacket.
type capture struct {
	*afpacket.Capture
	cfg config
}

func newCapture(c config, env sdk.Env) (*capture, error) {
	o, _ := c.options() // Validate complains
	o.Logger = env.Logger
	return &capture{Capture: afpacket.New(o), cfg: c}, nil
}

// Causes names the causes of loss.
func (c *capture) Causes() []string { return afpacket.Causes() }

// SplitsFlows reports whether frames of one flow reach several workers.
func (c *capture) SplitsFlows() bool {
	o, _ := c.cfg.options()
	return c.cfg.Workers > 1 && o.Fanout.SplitsFlows()
}

// Table gives this capture's part of doctor.
func (c *capture) Table(_ context.Context, name string) (sdk.Rows, error) {
	return c.Capture.Table(name)
}
