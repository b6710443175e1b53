package main

import (
	"context"

	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	lengthIP    = "ip"
	lengthFrame = "frame"

	maxSpeed = 1e6
)

// config is the plugin's block.
type config struct {
	Files       []string          `hcl:"files" doc:"capture files, played together in order of time"`
	Speed       float64           `hcl:"speed,optional" doc:"2 plays twice as fast as recorded (run only); 1 unless set"`
	Length      string            `hcl:"length,optional" doc:"octets that count: ip (the IP header's length, unless set) or frame"`
	Decapsulate map[string]string `hcl:"decapsulate,optional" doc:"which packet of a tunnel counts, by kind: outer (unless set), inner or both"`
}

// parser reads frames as the configuration says.
func (c *config) parser() (p traffic.Parser) {
	p.LengthFromFrame = c.Length == lengthFrame
	_, _ = p.DecapsulateBy(c.Decapsulate) // Validate complains
	return p
}

// Validate checks what the schema cannot, the beginning of each file too.
func (c *capture) Validate(context.Context) error {
	root := diag.Path{}
	ds := capfile.CheckFiles(c.cfg.Files, root.Attr("files"))
	if s := c.cfg.Speed; !(s > 0 && s <= maxSpeed) {
		ds = append(ds, diag.Errorf(root.Attr("speed"), "Speed out of range",
			"%v is not above 0 and at most %v. 1 plays a file as fast as it was recorded, 2 twice as fast.", s, maxSpeed))
	}
	if l := c.cfg.Length; l != lengthIP && l != lengthFrame {
		ds = append(ds, diag.Errorf(root.Attr("length"), "Unknown length",
			`%q is not a length. Write "ip" to count the IP header's length, "frame" to count the frame's on the wire.`, l))
	}
	if key, err := new(traffic.Parser).DecapsulateBy(c.cfg.Decapsulate); err != nil {
		ds = append(ds, diag.Errorf(root.Attr("decapsulate").Key(key), "Unknown decapsulation", "%v.", err))
	}
	return ds.Err()
}
