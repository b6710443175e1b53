package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

func TestValidate(t *testing.T) {
	addresses := func(text ...string) (out []netip.AddrPort) {
		for _, s := range text {
			out = append(out, netip.MustParseAddrPort(s))
		}
		return out
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		change func(*config)
		path   string
		text   string
	}{
		"defaults": {func(*config) {}, "", ""},
		"everything": {func(c *config) {
			c.Listen = addresses("127.0.0.1:2055", "[::1]:4739")
			c.Workers = 4
			c.Sampling = 1000
			c.Templates = dir + "/t"
		}, "", ""},
		"no address":        {func(c *config) { c.Listen = []netip.AddrPort{} }, "listen", "Name addresses"},
		"no port":           {func(c *config) { c.Listen = addresses("10.0.0.1:0") }, "listen[0]", "2055"},
		"twice":             {func(c *config) { c.Listen = addresses("10.0.0.1:1", "10.0.0.1:1") }, "listen[1]", "workers"},
		"no workers":        {func(c *config) { c.Workers = 0 }, "workers", "not from 1"},
		"small buffer":      {func(c *config) { c.ReceiveBuffer = sdk.Size(10) }, "receive_buffer", "8MiB"},
		"exporters":         {func(c *config) { c.MaxExporters = 0 }, "max_exporters", "not from 1"},
		"sampling":          {func(c *config) { c.Sampling = 1 << 30 }, "sampling", "4096"},
		"templates":         {func(c *config) { c.Templates = dir }, "templates", "directory"},
		"forward":           {func(c *config) { c.Forward = []udp.Forward{{Name: "a"}} }, "forward[0].target", "nowhere"},
		"two blocks at one": {func(c *config) { c.Exporters = []exporter.Block{{Name: "a", Count: "both"}} }, "exporters[0].count", "ingress"},
	} {
		cfg := defaults()
		c.change(&cfg)
		x, err := newCapture(cfg, sdk.Env{})
		if err == nil {
			err = x.Validate(t.Context())
		}
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var ds diag.Diagnostics
		if !errors.As(err, &ds) || len(ds) != 1 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Detail, c.text) {
			t.Errorf("%s: %v, want a complaint at %s", name, err, c.path)
		}
	}
}

// Each address has its sockets; without IPv6 the default still works.
func TestWorkers(t *testing.T) {
	for n, c := range map[int]config{
		2: {Workers: 1},
		6: {Workers: 3},
		3: {Workers: 1, Listen: make([]netip.AddrPort, 3)},
	} {
		if got := (&capture{cfg: c}).Workers(); got != n {
			t.Errorf("%d workers, want %d", got, n)
		}
	}
}
