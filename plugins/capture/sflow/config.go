package main

import (
	"context"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

const (
	lengthIP    = "ip"
	lengthFrame = "frame"

	maxWorkers   = 64 // for each address
	minBuffer    = 1 << 12
	maxBuffer    = 1 << 30
	maxExporters = 1 << 20
)

// config is the plugin's block.
type config struct {
	Listen        []netip.AddrPort  `hcl:"listen,optional" doc:"addresses and ports to receive on; 0.0.0.0:6343 and [::]:6343 unless set"`
	Workers       int               `hcl:"workers,optional" doc:"sockets, each with its own thread, for each address; 1 unless set"`
	ReceiveBuffer sdk.Size          `hcl:"receive_buffer,optional" doc:"octets that the kernel may hold for each socket; 8MiB unless set"`
	Length        string            `hcl:"length,optional" doc:"octets that count: ip (the IP header's length, unless set) or frame"`
	Decapsulate   map[string]string `hcl:"decapsulate,optional" doc:"which packet of a tunnel counts, by kind: outer (unless set), inner or both"`
	Exporters     []exporter.Block  `hcl:"exporters,optional" doc:"exporters that are listened to, all others being refused; anybody unless set"`
	MaxExporters  int               `hcl:"max_exporters,optional" doc:"exporters known at a time; 10000 unless set"`
	Sampling      uint32            `hcl:"sampling,optional" doc:"sampling rate of exporters that tell none"`
	Files         []string          `hcl:"files,optional" doc:"replay only: capture files of datagrams, read in place of the network"`
	Forward       []udp.Forward     `hcl:"forward,block"`
}

// defaultListen is where agents send to unless told otherwise (IANA: sflow).
var defaultListen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:6343"), netip.MustParseAddrPort("[::]:6343")}

func defaults() config {
	return config{Workers: 1, ReceiveBuffer: udp.DefaultReceiveBuffer, Length: lengthIP, MaxExporters: exporter.DefaultMax}
}

// listen is the addresses to receive on. chosen says that somebody has named
// them.
func (c *config) listen() (addresses []netip.AddrPort, chosen bool) {
	if c.Listen == nil {
		return defaultListen, false
	}
	return c.Listen, true
}

// ports are those of listen, where somebody has named them: in files too only
// what went there counts.
func (c *config) ports() (out []uint16) {
	for _, a := range c.Listen {
		out = append(out, a.Port())
	}
	return out
}

// Validate checks what the schema cannot.
func (c *capture) Validate(context.Context) error {
	cfg, root := &c.cfg, diag.Path{}
	ds := append(udp.CheckListen(cfg.Listen, "sFlow usually goes", defaultListen[0]), udp.CheckForward(cfg.Forward, exporter.Names(cfg.Exporters))...)
	fault := func(attr, summary, format string, args ...any) {
		ds = append(ds, diag.Errorf(root.Attr(attr), summary, format, args...))
	}
	if n := cfg.Workers; n < 1 || n > maxWorkers {
		fault("workers", "Workers out of range",
			"%d is not from 1 to %d. One worker takes some millions of samples a second; more help only where there are more exporters and cores.", n, maxWorkers)
	}
	if n := cfg.ReceiveBuffer; n < minBuffer || n > maxBuffer {
		fault("receive_buffer", "Buffer out of range", "%v is not from 4KiB to 1GiB. Leave it out for 8MiB.", n)
	}
	if l := cfg.Length; l != lengthIP && l != lengthFrame {
		fault("length", "Unknown length",
			`%q is not a length. Write "ip" to count the IP header's length, "frame" to count the frame's on the wire.`, l)
	}
	if key, err := new(traffic.Parser).DecapsulateBy(cfg.Decapsulate); err != nil {
		ds = append(ds, diag.Errorf(root.Attr("decapsulate").Key(key), "Unknown decapsulation", "%v.", err))
	}
	if n := cfg.MaxExporters; n < 1 || n > maxExporters {
		fault("max_exporters", "Number out of range", "%d is not from 1 to %d.", n, maxExporters)
	}
	if cfg.Sampling > exporter.MaxRate {
		fault("sampling", "Sampling rate out of range",
			"%d is more than %d: one packet of so many is sampled, 4096 for 1:4096.", cfg.Sampling, exporter.MaxRate)
	}
	ds = append(ds, capfile.CheckReplay(c.cfg.Files, c.replay, "sflow")...)
	return ds.Err()
}
