package main

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Only modes that keep flows whole can tell how many there are.
func TestSplitsFlows(t *testing.T) {
	for fanout, splits := range map[string]bool{
		"hash": false, "cpu": false, "queue_mapping": false, "lb": true, "random": true, "rollover": true, "cbpf": true, "ebpf": true,
	} {
		for _, workers := range []int{1, 2} {
			cfg := defaults()
			cfg.Interfaces, cfg.Fanout, cfg.Workers = []string{"lo"}, fanout, workers
			k, err := newCapture(cfg, sdk.Env{})
			if err != nil {
				t.Fatal(err)
			}
			if got := k.SplitsFlows(); got != (splits && workers > 1) {
				t.Errorf("%s over %d workers: %v", fanout, workers, got)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("packet sockets are Linux's")
	}
	for name, c := range map[string]struct {
		change func(*config)
		path   string
		text   string
	}{
		"defaults": {func(*config) {}, "", ""},
		"everything": {func(c *config) {
			c.Direction, c.Fanout, c.Overload, c.Length, c.CPUs = "both", "queue_mapping", "sample", "frame", []int{0, 1}
		}, "", ""},
		"tunnels":          {func(c *config) { c.Decapsulate = map[string]string{"all": "inner", "gre": "both"} }, "", ""},
		"no tunnel":        {func(c *config) { c.Decapsulate = map[string]string{"grt": "inner"} }, `decapsulate["grt"]`, "vxlan"},
		"half a tunnel":    {func(c *config) { c.Decapsulate = map[string]string{"gre": "half"} }, `decapsulate["gre"]`, "both"},
		"no interface":     {func(c *config) { c.Interfaces = nil }, "interfaces", "from 1 to 64"},
		"long name":        {func(c *config) { c.Interfaces = []string{"an_interface_too_far"} }, "interfaces[0]", "at most 15"},
		"path":             {func(c *config) { c.Interfaces = []string{"lo", "../lo"} }, "interfaces[1]", "cannot be"},
		"twice":            {func(c *config) { c.Interfaces = []string{"lo", "lo"} }, "interfaces[1]", "twice"},
		"not there":        {func(c *config) { c.Interfaces = []string{"lo1"} }, "interfaces[0]", `did you mean "lo"`},
		"direction":        {func(c *config) { c.Direction = "in" }, "direction", `"rx"`},
		"fanout":           {func(c *config) { c.Fanout = "rss" }, "fanout", "queue_mapping"},
		"spread by BPF":    {func(c *config) { c.Fanout, c.FanoutProgram = "cbpf", "1,6 0 0 1" }, "", ""},
		"spread by eBPF":   {func(c *config) { c.Fanout, c.FanoutProgram = "ebpf", "/sys/fs/bpf/spread" }, "", ""},
		"no BPF":           {func(c *config) { c.Fanout = "cbpf" }, "fanout_program", "which worker"},
		"no eBPF":          {func(c *config) { c.Fanout, c.FanoutProgram = "ebpf", "spread" }, "fanout_program", "absolute path"},
		"program unused":   {func(c *config) { c.FanoutProgram = "1,6 0 0 1" }, "fanout_program", "\"cbpf\""},
		"length":           {func(c *config) { c.Length = "wire" }, "length", `"frame"`},
		"overload":         {func(c *config) { c.Overload = "block" }, "overload", `"sample"`},
		"no worker":        {func(c *config) { c.Workers = 0 }, "workers", "1 to 64"},
		"negative workers": {func(c *config) { c.Workers = -1 }, "workers", "1 to 64"},
		"ring":             {func(c *config) { c.RingSize = 4096 }, "ring_size", "1MiB"},
		"snap length":      {func(c *config) { c.SnapLength = 20 }, "snap_length", "128 octets"},
		"delay":            {func(c *config) { c.Delay = time.Minute }, "delay", "20ms"},
		"sampling":         {func(c *config) { c.Sampling = 0 }, "sampling", "every frame"},
		"both samplings":   {func(c *config) { c.Sampling, c.MirrorSampling = 1<<12, 1<<13 }, "mirror_sampling", "divided"},
		"processor":        {func(c *config) { c.CPUs = []int{0, -1} }, "cpus[1]", "1023"},
		"expression":       {func(c *config) { c.Filter = "udp port 53" }, "", ""},
		"wrong expression": {func(c *config) { c.Filter = "udp prt 53" }, "filter", "udp prt 53\n      ^^^"},
		"no program":       {func(c *config) { c.Filter = "1, 2" }, "filter", "tcpdump -y EN10MB -ddd"},
		"jump too far":     {func(c *config) { c.Filter = "2,21 0 7 1,6 0 0 0" }, "filter", "beyond"},
		"no return":        {func(c *config) { c.Filter = "1,40 0 0 12" }, "filter", "return"},
		"wrong number":     {func(c *config) { c.Filter = "3,6 0 0 0" }, "filter", "number of its instructions"},
	} {
		cfg := defaults()
		cfg.Interfaces = []string{"lo"}
		c.change(&cfg)
		k, err := newCapture(cfg, sdk.Env{})
		if err != nil {
			t.Fatal(err)
		}
		err = k.Validate(t.Context())
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var ds diag.Diagnostics
		if !errors.As(err, &ds) || len(ds) != 1 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Detail, c.text) {
			t.Errorf("%s: %v, want a complaint at %s with %q", name, err, c.path, c.text)
		}
	}
}
