package config

import (
	"bytes"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// secret must appear in no diagnostic.
const secret = "hunter2-5f3a"

// fixed makes a load independent of the clock and the environment.
func fixed(l *loader) {
	l.now = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	l.getenv = func(name string) (string, bool) { return secret, name == "SECRET" }
}

// testSchema is what the captures of the mistakes describe.
func testSchema(plugin string) *host.Block {
	s := &host.Block{
		Attributes: []host.Attribute{
			{Name: "files", Type: cty.List(cty.String), Required: true, Summary: "capture files"},
			{Name: "speed", Type: cty.Number},
			{Name: "weights", Type: cty.Map(cty.Number)},
			{Name: "password", Type: cty.String, Sensitive: true},
		},
		Blocks: []host.NestedBlock{
			{Name: "neighbor", Labels: []string{"address"}, Block: host.Block{Attributes: []host.Attribute{{Name: "peer_as", Type: cty.Number}}}},
			{Name: "tls", Max: 1},
		},
	}
	if plugin == "bgp" {
		s.Blocks[0].Min = 1
	}
	if plugin == "flow" {
		device := cty.Object(map[string]cty.Type{"name": cty.String, "source": cty.List(cty.String), "sampling": cty.Number})
		s = &host.Block{Attributes: []host.Attribute{{Name: "exporters", Type: cty.List(device)}}}
	}
	return s
}

// complaints is what the test's plugin says to a configuration it dislikes.
func complaints() diag.Diagnostics {
	var root diag.Path
	return diag.Diagnostics{
		diag.Errorf(root.Attr("files").Index(1), "Not a capture file", "complain.pcap is neither pcap nor pcapng. Name another file."),
		diag.Warningf(root.Attr("neighbor").Index(0).Attr("peer_as"), "Odd AS number", "666 is reserved by nobody, but odd."),
		diag.Warningf(root.Attr("neighbor").Key("192.0.2.254").Attr("absent"), "No such thing", "A path that leads nowhere points at what was found last."),
		diag.Errorf(nil, "Whole block", "A complaint without a path points at the block."),
	}
}

// loadMistake loads a file and, where its name begins with plugin, decodes
// the plugins' bodies too.
func loadMistake(path string) (*Config, hcl.Diagnostics) {
	c, diags := Load(path, fixed)
	if !strings.HasPrefix(filepath.Base(path), "plugin_") || diags.HasErrors() {
		return c, diags
	}
	for _, p := range c.Captures {
		_, d := c.Decode(p, testSchema(p.Name))
		diags = append(diags, d...)
		if strings.Contains(path, "complaint") {
			diags = append(diags, c.PluginDiagnostics(p, complaints())...)
		}
	}
	for _, p := range c.Actions {
		diags = append(diags, c.CheckTargets(p, map[string]string{"gobgp": "announce"}[p.Name])...)
	}
	return c, diags
}

// TestMistakes compares what is said about each mistake with its golden file.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.hcl")
	if err != nil || len(files) < 45 {
		t.Fatalf("%d mistakes, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".hcl"), func(t *testing.T) {
			c, diags := loadMistake(file)
			if len(diags) == 0 {
				t.Fatal("nothing is said about the mistake")
			}
			if warn := strings.HasPrefix(filepath.Base(file), "warn_"); diags.HasErrors() == warn {
				t.Errorf("errors: %v", diags.HasErrors())
			}
			var got bytes.Buffer
			if err := Render(&got, diags, c.Files, false, 100); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got.String(), secret) {
				t.Error("a secret is shown")
			}
			if strings.ContainsRune(got.String(), '\x1b') {
				t.Error("an escape sequence of the source reaches the terminal")
			}
			for _, d := range diags {
				if d.Subject == nil || c.Files[d.Subject.Filename] == nil || d.Detail == "" {
					t.Errorf("%s: no place or no advice: %s", d.Summary, d.Detail)
				}
			}
			for _, g := range c.Groups {
				if text, ok := c.ExplainGroup(g.Name); !ok || !strings.Contains(text, `hostgroup "`) {
					t.Errorf("hostgroup.%s cannot be explained: %q", g.Name, text)
				}
			}
			sdktest.Golden(t, strings.TrimSuffix(file, ".hcl")+".golden", got.String(), *update)
		})
	}
}
