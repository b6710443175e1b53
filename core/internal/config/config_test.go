package config

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// mustLoad loads a configuration that has to be right.
func mustLoad(t *testing.T, path string, opts ...Option) *Config {
	t.Helper()
	c, diags := Load(path, append([]Option{fixed}, opts...)...)
	noDiagnostics(t, c, diags)
	return c
}

func noDiagnostics(t *testing.T, c *Config, diags hcl.Diagnostics) {
	t.Helper()
	if len(diags) > 0 {
		var out bytes.Buffer
		if err := Render(&out, diags, c.Files, false, 0); err != nil {
			t.Error(err)
		}
		t.Fatalf("unexpected diagnostics:\n%s", out.String())
	}
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// noRanges compares what a configuration says, not where it says it.
var noRanges = cmp.Options{
	cmpopts.IgnoreTypes(hcl.Range{}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b *Plugin) bool { return a == b }),
}

func TestFull(t *testing.T) {
	c := mustLoad(t, "testdata/good/full.hcl")
	no, dropped := false, true
	want := []struct {
		name      string
		got, want any
	}{
		{"language", c.Language, 1},
		{"daemon", c.Daemon, Daemon{Enforce, "/srv/state", "/srv/run", 2 << 30, 7 * 24 * time.Hour}},
		{"summary", c.Summary, Summary{7, 90 * time.Second, [2]uint8{22, 40}, 10 * time.Minute}},
		{"summaries", c.Actions[0].Process.Single, true},
		{"networks", c.Networks, []*Network{
			{
				Name: "customers", Prefixes: prefixes("203.0.113.0/24", "2001:db8::/32", "198.51.100.0/25", "2001:db8:1::/48", "192.0.2.1/32"),
				Files: []string{"testdata/good/lists/more"}, CountInternal: true,
			},
			{Name: "servers", Prefixes: prefixes("203.0.113.128/25")},
		}},
		{"counters", c.Counters, []*Counter{
			{
				Name: "ntp_answers", Protocols: []uint8{17}, SourcePorts: [][2]uint16{{123, 123}, {1024, 2047}},
				Lengths: [][2]uint32{{400, 1500}}, Fragment: &no, Dropped: &dropped, Classes: []uint8{0, 63},
			},
			{Name: "handshake", Protocols: []uint8{6, 132}, DestinationPorts: [][2]uint16{{80, 80}}, FlagsSet: 0x12, FlagsClear: 0x04},
		}},
		{"exemptions", c.Exemptions, []*Exemption{{
			Name: "speedtest", Local: prefixes("203.0.113.0/24"), Remote: prefixes("198.51.100.7/32"),
			Protocols: []uint8{6}, Ports: [][2]uint16{{8080, 8080}}, Incoming: true, LimitBPS: 2e9, Until: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
		}}},
		{"pipeline", c.Pipelines, []*Pipeline{{
			Name: "main", Captures: c.Captures, Filters: []*Plugin{c.Filters[1], c.Filters[0]},
			Actions: []Reference{
				{Kind: "action", Plugin: "script", Instance: "notify", Block: c.Actions[0]},
				{Kind: "action", Plugin: "gobgp", Instance: "edge", Target: "flowspec", Block: c.Actions[1]},
			},
			Exports: c.Exports,
		}}},
		{"process", c.Captures[0].Process, Process{
			Path: "/opt/pcap", Env: map[string]string{"TOKEN": secret, "PLAIN": "x"}, User: "fnm-capture",
			Capabilities: []string{"CAP_NET_RAW"}, Memory: 512 << 20, Backoff: time.Second, MaxBackoff: 2 * time.Minute, StartTimeout: 5 * time.Second, Timeout: 500 * time.Millisecond,
		}},
		{"on_failure", c.Filters[0].Process.OnFailure, "stop"},
		{"action mode", c.Actions[0].Mode, Monitor},
		{"period", c.Exports[0].Process.Period, time.Second},
	}
	for _, w := range want {
		if d := cmp.Diff(w.want, w.got, noRanges); d != "" {
			t.Errorf("%s (-want +got):\n%s", w.name, d)
		}
	}
}

func TestInheritance(t *testing.T) {
	c := mustLoad(t, "testdata/good/full.hcl")
	dns, def := c.Groups[0], c.Groups[1]
	notify := []Reference{{Kind: "action", Plugin: "script", Instance: "notify", Block: c.Actions[0]}}
	flowspec := []Reference{{Kind: "action", Plugin: "gobgp", Instance: "edge", Target: "flowspec", Block: c.Actions[1]}}
	flood := Threshold{Name: "flood", Direction: "incoming", Counter: "total", Scope: "host", PPS: 20000, BPS: 1e9, Mode: Monitor}
	faster := flood
	faster.PPS, faster.BPS = 200000, 0
	ntp := Threshold{Name: "ntp", Counter: "ntp_answers", Scope: "host", PPS: 5000, Actions: flowspec}
	handshakes := Threshold{Name: "handshakes", Counter: "handshake", Scope: "host", PPS: 1.5, Actions: []Reference{}}
	own := Threshold{Name: "own", Counter: "total", Scope: "host", FPS: 100}
	lasting := Mitigation{Hold: DefaultHold, Max: DefaultMax, Release: ReleaseAuto, Backoff: DefaultBackoff}
	want := []*HostGroup{
		{
			Name: "dns", Base: def, Prefixes: prefixes("203.0.113.53/32", "2001:db8:0:1::/64"), Average: 10 * time.Second, Quiet: time.Minute,
			Mode: Monitor, V6Host: 64, Detection: "default", Actions: notify, Thresholds: []*Threshold{&faster, &handshakes, &own}, Mitigation: lasting,
		},
		{
			Name: "default", Networks: c.Networks,
			Prefixes: prefixes("203.0.113.0/24", "2001:db8::/32", "198.51.100.0/25", "2001:db8:1::/48", "192.0.2.1/32", "203.0.113.128/25"),
			Average:  10 * time.Second, Quiet: time.Minute, Mode: Enforce, V6Host: 128, Detection: "default", Actions: notify,
			Thresholds: []*Threshold{&flood, &ntp, &handshakes}, Mitigation: lasting,
		},
	}
	if d := cmp.Diff(want, []*HostGroup{dns, def}, noRanges); d != "" {
		t.Errorf("hostgroups (-want +got):\n%s", d)
	}
	if dns.Thresholds[1] != def.Thresholds[2] {
		t.Error("an unchanged threshold is the base's own")
	}
}

func TestDefaults(t *testing.T) {
	c, diags := LoadBytes("x.hcl", []byte("network \"n\" {\n  prefixes = [\"10.0.0.0/8\"]\n}\nhostgroup \"g\" {\n  networks = [network.n]\n  threshold \"t\" {\n    pps = 1\n  }\n}\n"))
	noDiagnostics(t, c, diags)
	if d := cmp.Diff(Daemon{Mode: Monitor, StateDir: "/var/lib/fastnetmon", RuntimeDir: "/run/fastnetmon", Baseline: 7 * 24 * time.Hour}, c.Daemon); d != "" {
		t.Error(d)
	}
	g := c.Groups[0]
	if g.Average != 5*time.Second || g.Quiet != 30*time.Second || g.V6Host != 128 || g.Mode != "" || g.Actions != nil {
		t.Errorf("defaults of a hostgroup: %+v", g)
	}
}

func TestEffectiveMode(t *testing.T) {
	modes := []Mode{"", Monitor, Enforce}
	for _, d := range modes {
		for _, g := range modes {
			for _, th := range modes {
				for _, a := range modes {
					c := &Config{Daemon: Daemon{Mode: d}}
					want := Enforce
					if d != Enforce || g == Monitor || th == Monitor || a == Monitor {
						want = Monitor
					}
					if got := c.EffectiveMode(&HostGroup{Mode: g}, &Threshold{Mode: th}, &Plugin{Mode: a}); got != want {
						t.Errorf("daemon %q, group %q, threshold %q, action %q: %s, want %s", d, g, th, a, got, want)
					}
				}
			}
		}
	}
	if got := (&Config{Daemon: Daemon{Mode: Enforce}}).EffectiveMode(nil, nil, nil); got != Enforce {
		t.Error(got)
	}
}

func TestDirectory(t *testing.T) {
	c := mustLoad(t, "testdata/good/split")
	if c.Daemon.Mode != Enforce || c.Groups[0].Thresholds[0].PPS != 100 || len(c.Files) != 2 {
		t.Errorf("not all files were read: %+v", c)
	}
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if _, diags := Load(dir); !strings.Contains(diags.Error(), "no *.hcl file") {
		t.Errorf("empty directory: %v", diags)
	}
	write(dir, "b.hcl", "language = 1\nnetwork \"n\" {\n  prefixes = [\"10.0.0.0/8\"]\n}\n")
	write(dir, "a.hcl", "language = 1\nnetwork \"n\" {\n  prefixes = [\"10.0.0.0/8\"]\n}\n")
	write(dir, ".hidden.hcl", "nonsense")
	_, diags := Load(dir)
	if len(diags) != 2 || diags[0].Summary != "Duplicate argument" || diags[1].Summary != "Duplicate block" {
		t.Fatalf("want language and network given twice, got %v", diags)
	}
	for _, d := range diags {
		if d.Subject.Filename != filepath.Join(dir, "b.hcl") || !strings.Contains(d.Detail, filepath.Join(dir, "a.hcl")+":") {
			t.Errorf("the second place is at fault and names the first: %v", d)
		}
	}
	if _, diags := Load(filepath.Join(dir, "absent.hcl")); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "no such file") {
		t.Errorf("absent file: %v", diags)
	}
}

func TestRevision(t *testing.T) {
	load := func(name, src string) string {
		c, _ := LoadBytes(name, []byte(src))
		return c.Revision
	}
	a := load("a.hcl", "language = 1\n")
	if len(a) != 16 || a != load("b.hcl", "language = 1\n") {
		t.Errorf("revision %q depends on the name", a)
	}
	if a == load("a.hcl", "language = 1 \n") {
		t.Error("another text, the same revision")
	}
	dir := t.TempDir()
	conf, lst := filepath.Join(dir, "c.hcl"), filepath.Join(dir, "list")
	revision := func(list string) string {
		if err := os.WriteFile(lst, []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
		c, _ := Load(conf)
		return c.Revision
	}
	if err := os.WriteFile(conf, []byte("network \"n\" {\n  files = [\"list\"]\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if revision("10.0.0.0/8\n") == revision("10.0.0.0/9\n") {
		t.Error("a list of prefixes is part of the configuration")
	}
}

// TestReplay: a replay needs no captures and does not look at those named.
func TestReplay(t *testing.T) {
	src := []byte("action \"script\" \"a\" {}\npipeline \"main\" {\n  captures = [capture.sflow.absent]\n  actions = [action.script.a]\n}\npipeline \"second\" {\n}\n")
	if _, diags := LoadBytes("x.hcl", src); len(diags) != 2 {
		t.Errorf("run needs captures: %v", diags)
	}
	c, diags := LoadBytes("x.hcl", src, ForReplay())
	noDiagnostics(t, c, diags)
	if len(c.Pipelines) != 2 || len(c.Pipelines[0].Actions) != 1 || c.Pipelines[0].Captures != nil {
		t.Errorf("%+v", c.Pipelines)
	}
}

func TestDecode(t *testing.T) {
	src := `locals {
  as = 65001
}
capture "pcap" "file" {
  files    = ["a.pcap", env("SECRET")]
  speed    = "2"
  password = "plain"
  neighbor "192.0.2.254" {
    peer_as = local.as
  }
  neighbor "any text" {}
  process {}
}
pipeline "main" {
  captures = [capture.pcap.file]
}
`
	c, diags := LoadBytes("x.hcl", []byte(src), fixed)
	noDiagnostics(t, c, diags)
	p, schema := c.Captures[0], testSchema("pcap")
	v, diags := c.Decode(p, schema)
	noDiagnostics(t, c, diags)
	if !v.GetAttr("password").HasMark(Sensitive) {
		t.Error("password is not marked as a secret")
	}
	if !v.GetAttr("files").Index(cty.NumberIntVal(1)).HasMark(Sensitive) && !v.GetAttr("files").HasMark(Sensitive) {
		t.Error("the value of env() is not marked as a secret")
	}
	bare, _ := v.UnmarkDeep()
	if !bare.Type().Equals(schema.ImpliedType()) {
		t.Errorf("type %#v, want %#v", bare.Type(), schema.ImpliedType())
	}
	neighbor := func(address string, as cty.Value) cty.Value {
		return cty.ObjectVal(map[string]cty.Value{"address": cty.StringVal(address), "peer_as": as})
	}
	want := cty.ObjectVal(map[string]cty.Value{
		"files":    cty.ListVal([]cty.Value{cty.StringVal("a.pcap"), cty.StringVal(secret)}),
		"speed":    cty.NumberIntVal(2),
		"weights":  cty.NullVal(cty.Map(cty.Number)),
		"password": cty.StringVal("plain"),
		"neighbor": cty.ListVal([]cty.Value{neighbor("192.0.2.254", cty.NumberIntVal(65001)), neighbor("any text", cty.NullVal(cty.Number))}),
		"tls":      cty.ListValEmpty(cty.EmptyObject),
	})
	if !bare.RawEquals(want) {
		t.Errorf("got %#v\nwant %#v", bare, want)
	}
	if p.Value == cty.NilVal {
		t.Error("Value is not set")
	}
	if _, diags := c.Decode(p, &host.Block{}); !diags.HasErrors() || p.Value != cty.NilVal {
		t.Errorf("an empty schema takes nothing: %v", diags)
	}
}

func TestTargets(t *testing.T) {
	c := mustLoad(t, "testdata/good/full.hcl")
	noDiagnostics(t, c, c.CheckTargets(c.Actions[0], ""))
	noDiagnostics(t, c, c.CheckTargets(c.Actions[1], "announce"))
}

// TestExample: the configuration at the top level is right and complete.
func TestExample(t *testing.T) {
	c := mustLoad(t, "../../../fastnetmon.hcl")
	src := c.Files["../../../fastnetmon.hcl"].Bytes
	if !bytes.Equal(hclwrite.Format(src), src) {
		t.Error("fastnetmon.hcl is not formatted")
	}
	if len(c.Groups) != 2 || len(c.Pipelines) != 1 || c.Daemon.Mode != Monitor {
		t.Errorf("%+v", c)
	}
}

func TestRender(t *testing.T) {
	src := "daemon {\n\tmode = \"" + strings.Repeat("x", 200) + "\"\n}\n"
	c, diags := LoadBytes("x.hcl", []byte(src))
	var out bytes.Buffer
	if err := Render(&out, diags, c.Files, true, 60); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), bold+red+"Error: "+reset) {
		t.Errorf("no colour: %q", out.String())
	}
	out.Reset()
	if err := Render(&out, diags, c.Files, false, 60); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if n := len([]rune(line)); n > 60 && !strings.Contains(line, "xxx") {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.Contains(line, "   2: ") && len([]rune(line)) > 60 {
			t.Errorf("the source line is not cut: %s", line)
		}
	}
	var again bytes.Buffer
	_, diags = LoadBytes("x.hcl", []byte(src))
	if err := Render(&again, diags, c.Files, false, 60); err != nil || again.String() != out.String() {
		t.Error("the text is not always the same")
	}
}
