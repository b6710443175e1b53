package main

import (
	"context"
	"net/netip"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

const (
	maxWorkers = 64
	maxBuffer  = 1 << 30
	maxSources = 1 << 20
)

// config is the plugin's block.
type config struct {
	Listen        []netip.AddrPort  `hcl:"listen,optional" doc:"addresses and ports to receive on; 0.0.0.0:2055 and [::]:2055 unless set"`
	Workers       int               `hcl:"workers,optional" doc:"sockets, each with its own thread, for each address; 1 unless set"`
	ReceiveBuffer sdk.Size          `hcl:"receive_buffer,optional" doc:"octets that the kernel may hold for each socket; 8MiB unless set"`
	Decapsulate   map[string]string `hcl:"decapsulate,optional" doc:"frame sections: which packet of a tunnel counts, by kind: outer (unless set), inner or both"`
	Exporters     []exporter.Block  `hcl:"exporters,optional" doc:"exporters that are listened to, all others being refused; anybody unless set"`
	MaxExporters  int               `hcl:"max_exporters,optional" doc:"exporters known at a time; 10000 unless set"`
	Sampling      uint32            `hcl:"sampling,optional" doc:"sampling rate of exporters that tell none"`
	Templates     string            `hcl:"templates,optional" doc:"file that keeps templates and sampling rates over a restart; one below the daemon's state_dir unless set"`
	Files         []string          `hcl:"files,optional" doc:"replay only: capture files of datagrams, read in place of the network"`
	Forward       []udp.Forward     `hcl:"forward,block"`
}

// defaultListen is where exporters send to unless told otherwise.
var defaultListen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:2055"), netip.MustParseAddrPort("[::]:2055")}

func defaults() config {
	return config{Workers: 1, ReceiveBuffer: udp.DefaultReceiveBuffer, MaxExporters: exporter.DefaultMax}
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
	var ds diag.Diagnostics
	ds = append(ds, udp.CheckListen(cfg.Listen, "NetFlow and IPFIX usually go", defaultListen[0])...)
	ds = append(ds, udp.CheckForward(cfg.Forward, exporter.Names(cfg.Exporters))...)
	if key, err := new(traffic.Parser).DecapsulateBy(cfg.Decapsulate); err != nil {
		ds = append(ds, diag.Errorf(root.Attr("decapsulate").Key(key), "Unknown decapsulation", "%v.", err))
	}
	if n := cfg.Workers; n < 1 || n > maxWorkers {
		ds = append(ds, diag.Errorf(root.Attr("workers"), "Workers out of range",
			"%d is not from 1 to %d. One worker takes some millions of records a second; more help only where there are more exporters and cores.", n, maxWorkers))
	}
	if n := cfg.ReceiveBuffer; n < 1<<12 || n > maxBuffer {
		ds = append(ds, diag.Errorf(root.Attr("receive_buffer"), "Buffer out of range", `%v is not from 4KiB to 1GiB. Leave it out for 8MiB.`, n))
	}
	if n := cfg.MaxExporters; n < 1 || n > maxSources {
		ds = append(ds, diag.Errorf(root.Attr("max_exporters"), "Number out of range", "%d is not from 1 to %d.", n, maxSources))
	}
	if cfg.Sampling > exporter.MaxRate {
		ds = append(ds, diag.Errorf(root.Attr("sampling"), "Sampling rate out of range",
			"%d is more than %d: one packet of so many is sampled, 4096 for 1:4096.", cfg.Sampling, exporter.MaxRate))
	}
	if info, err := os.Stat(cfg.Templates); cfg.Templates != "" && err == nil && !info.Mode().IsRegular() {
		ds = append(ds, diag.Errorf(root.Attr("templates"), "Not a file",
			"%s is a directory or a device. Name a file in a directory that the plugin may write to.", cfg.Templates))
	}
	ds = append(ds, capfile.CheckReplay(c.cfg.Files, c.replay, "netflow")...)
	return ds.Err()
}
