package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/afpacket"
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
	Files       []string          `hcl:"files,optional" doc:"capture files, played together in order of time"`
	Interface   string            `hcl:"interface,optional" doc:"network interface, in place of files; any for all of a Linux machine's (libpcap)"`
	Speed       float64           `hcl:"speed,optional" doc:"files: 2 plays twice as fast as recorded (run only); 1 unless set"`
	Length      string            `hcl:"length,optional" doc:"octets that count: ip (the IP header's length, unless set) or frame"`
	Decapsulate map[string]string `hcl:"decapsulate,optional" doc:"which packet of a tunnel counts, by kind: outer (unless set), inner or both"`

	Filter      string        `hcl:"filter,optional" doc:"interface: expression of tcpdump that chooses frames"`
	Direction   string        `hcl:"direction,optional" doc:"interface: rx (what comes in, unless set), tx (what goes out) or both"`
	Promiscuous bool          `hcl:"promiscuous,optional" doc:"interface: take frames for other machines; true unless set"`
	SnapLength  int           `hcl:"snap_length,optional" doc:"interface: octets of a frame that are copied; 2048 unless set"`
	Buffer      sdk.Size      `hcl:"buffer,optional" doc:"interface: octets that the kernel may hold; 16MiB unless set"`
	Delay       time.Duration `hcl:"delay,optional" doc:"interface: how long a frame waits for company at most; 20ms unless set"`
	Timestamps  string        `hcl:"timestamps,optional" doc:"interface: whose clock: host, host_lowprec, host_hiprec, adapter or adapter_unsynced (libpcap)"`
}

const defaultBuffer = 16 << 20

func defaults() config {
	return config{
		Speed: 1, Length: lengthIP, Direction: afpacket.Receive.String(), Promiscuous: true,
		SnapLength: afpacket.DefaultSnapLength, Buffer: defaultBuffer, Delay: afpacket.DefaultDelay,
	}
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
	var ds diag.Diagnostics
	switch {
	case c.cfg.Interface != "" && len(c.cfg.Files) > 0:
		ds = append(ds, diag.Errorf(root.Attr("interface"), "Files and an interface", "Only one of the two can be read. Write a capture block for each."))
	case c.cfg.Interface != "":
		ds = c.checkLive()
	default:
		ds = capfile.CheckFiles(c.cfg.Files, root.Attr("files"))
	}
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

const (
	minBuffer = 1 << 20
	maxBuffer = 1 << 30
	minDelay  = time.Millisecond
	maxDelay  = time.Second
)

var timestamps = []string{"", "host", "host_lowprec", "host_hiprec", "adapter", "adapter_unsynced"}

// checkLive complains of what is said of an interface.
func (c *capture) checkLive() (ds diag.Diagnostics) {
	cfg, root := &c.cfg, diag.Path{}
	fault := func(attr, summary, format string, args ...any) {
		ds = append(ds, diag.Errorf(root.Attr(attr), summary, format, args...))
	}
	if err := afpacket.CheckName(cfg.Interface); err != nil {
		fault("interface", "Not an interface", "%v.", err)
	} else if err := missing(cfg.Interface); err != nil {
		ds = append(ds, diag.Warningf(root.Attr("interface"), "Interface missing", "On this machine %v. It is captured when it comes.", err))
	}
	if _, err := afpacket.ParseDirection(cfg.Direction); err != nil {
		fault("direction", "Unknown direction", "%v.", err)
	}
	if n := cfg.SnapLength; n < afpacket.MinSnapLength || n > afpacket.MaxSnapLength {
		fault("snap_length", "Snap length out of range", "%d is not from %d to %d.", n, afpacket.MinSnapLength, afpacket.MaxSnapLength)
	}
	if n := cfg.Buffer; n < minBuffer || n > maxBuffer {
		fault("buffer", "Buffer out of range", "%v is not from 1MiB to 1GiB. Leave it out for 16MiB.", n)
	}
	if d := cfg.Delay; d < minDelay || d > maxDelay {
		fault("delay", "Delay out of range", "%v is not from %v to %v. Leave it out for 20ms.", d, minDelay, maxDelay)
	}
	if !slices.Contains(timestamps, cfg.Timestamps) {
		fault("timestamps", "Unknown timestamps", "%q is none of %s.", cfg.Timestamps, strings.Join(timestamps[1:], ", "))
	}
	return append(ds, checkLibrary(cfg)...)
}
