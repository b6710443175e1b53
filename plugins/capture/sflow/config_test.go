package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

func TestValidate(t *testing.T) {
	address := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	for name, c := range map[string]struct {
		change func(*config)
		path   string
		text   string
	}{
		"defaults":    {func(*config) {}, "", ""},
		"length":      {func(c *config) { c.Length = "ipv6" }, "length", `"frame"`},
		"no address":  {func(c *config) { c.Listen = []netip.AddrPort{} }, "listen", "6343"},
		"no port":     {func(c *config) { c.Listen = []netip.AddrPort{address("0.0.0.0:0")} }, "listen[0]", "6343"},
		"twice":       {func(c *config) { c.Listen = []netip.AddrPort{address("[::]:1"), address("[::]:1")} }, "listen[1]", "workers"},
		"workers":     {func(c *config) { c.Workers = 0 }, "workers", "from 1"},
		"buffer":      {func(c *config) { c.ReceiveBuffer = 1 }, "receive_buffer", "8MiB"},
		"exporters":   {func(c *config) { c.MaxExporters = 0 }, "max_exporters", "from 1"},
		"sampling":    {func(c *config) { c.Sampling = 1 << 25 }, "sampling", "4096"},
		"forward":     {func(c *config) { c.Forward = []udp.Forward{{Name: "a"}} }, "forward[0].target", "192.0.2.10"},
		"frame":       {func(c *config) { c.Length = lengthFrame }, "", ""},
		"own address": {func(c *config) { c.Listen = []netip.AddrPort{address("[2001:db8::1]:6343"), address("192.0.2.1:6343")} }, "", ""},
	} {
		cfg := defaults()
		c.change(&cfg)
		err := (&capture{cfg: cfg}).Validate(t.Context())
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

// A complaint stands at the attribute that is wrong.
func TestComplaint(t *testing.T) {
	ds := sdktest.New(t, plugin(), `listen = ["0.0.0.0:6343", "0.0.0.0:6343"]`).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "listen[1]" {
		t.Errorf("%v", ds)
	}
}
