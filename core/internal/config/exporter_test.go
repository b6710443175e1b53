package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

const exporterConfig = `
daemon {
  mode = "MODE"
}

network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]
  threshold "flood" {
    pps = 20000
  }
}

exporter "fra_r1" {
  source      = ["192.0.2.1", "2001:db8::/64"]
  agent       = ["10.0.0.1"]
  domain      = [0, 4294967295]
  site        = "fra"
  sampling    = 4096
  count       = "ingress"
  interfaces  = [12, "100-120", "ae0", "!ge-0/0/1"]
  deduplicate = "edge"
}

exporter "plain" {
  source = ["192.0.2.1"]
}

capture "flow" "routers" {
  EXPORTERS
}

action "script" "notify" {
  process {
    mode = "ACTION"
  }
}

pipeline "main" {
  captures = [capture.flow.routers]
  actions  = [action.script.notify]
}
`

// flowSchema is how a flow capture describes the exporters it takes; the last
// attribute is one that this core does not fill.
func flowSchema(extra ...string) *host.Block {
	attrs := map[string]cty.Type{
		"name": cty.String, "source": cty.List(cty.String), "agent": cty.List(cty.String), "domain": cty.List(cty.Number), "site": cty.String,
		"sampling": cty.Number, "count": cty.String, "interfaces": cty.List(cty.String), "deduplicate": cty.String,
	}
	for _, name := range extra {
		attrs[name] = cty.String
	}
	return &host.Block{Attributes: []host.Attribute{{Name: "exporters", Type: cty.List(cty.Object(attrs))}}}
}

func loadExporters(t *testing.T, mode, action, exporters string) *Config {
	t.Helper()
	text := strings.NewReplacer("MODE", mode, "ACTION", action, "EXPORTERS", exporters).Replace(exporterConfig)
	file := filepath.Join(t.TempDir(), "x.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, diags := Load(file)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return c
}

func TestExportersReachTheCapture(t *testing.T) {
	c := loadExporters(t, "enforce", "enforce", "exporters = [exporter.plain, exporter.fra_r1]")
	v, diags := c.Decode(c.Captures[0], flowSchema())
	noDiagnostics(t, c, diags)
	texts := func(s ...string) cty.Value {
		if len(s) == 0 {
			return cty.ListValEmpty(cty.String)
		}
		var list []cty.Value
		for _, x := range s {
			list = append(list, cty.StringVal(x))
		}
		return cty.ListVal(list)
	}
	want := cty.ListVal([]cty.Value{
		cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal("plain"), "source": texts("192.0.2.1/32"), "agent": texts(), "domain": cty.ListValEmpty(cty.Number), "site": cty.StringVal(""),
			"sampling": cty.NumberIntVal(0), "count": cty.StringVal(""), "interfaces": texts(), "deduplicate": cty.StringVal(""),
		}),
		cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal("fra_r1"), "source": texts("192.0.2.1/32", "2001:db8::/64"), "agent": texts("10.0.0.1/32"),
			"domain": cty.ListVal([]cty.Value{cty.NumberIntVal(0), cty.NumberIntVal(4294967295)}), "site": cty.StringVal("fra"),
			"sampling": cty.NumberIntVal(4096), "count": cty.StringVal("ingress"), "interfaces": texts("12", "100-120", "ae0", "!ge-0/0/1"), "deduplicate": cty.StringVal("edge"),
		}),
	})
	if got := v.GetAttr("exporters"); !got.RawEquals(want) {
		t.Errorf("got %#v", got)
	}
}

// Blocks inside a plugin's may name exporters too, under a name of their own.
func TestExportersInBlocks(t *testing.T) {
	c := loadExporters(t, "monitor", "monitor", `exporters = [exporter.fra_r1, exporter.plain]
  forward "a" {
    exporters = [exporter.plain]
  }
  forward "b" {
    except_exporters = [exporter.fra_r1, exporter.plain]
  }`)
	schema := flowSchema()
	names := cty.List(cty.Object(map[string]cty.Type{"name": cty.String}))
	schema.Blocks = []host.NestedBlock{{Name: "forward", Labels: []string{"name"}, Block: host.Block{Attributes: []host.Attribute{
		{Name: "exporters", Type: names}, {Name: "except_exporters", Type: names},
	}}}}
	v, diags := c.Decode(c.Captures[0], schema)
	noDiagnostics(t, c, diags)
	of := func(list ...string) cty.Value {
		var out []cty.Value
		for _, n := range list {
			out = append(out, cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(n)}))
		}
		if out == nil {
			return cty.NullVal(names)
		}
		return cty.ListVal(out)
	}
	want := cty.ListVal([]cty.Value{
		cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("a"), "exporters": of("plain"), "except_exporters": of()}),
		cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("b"), "exporters": of(), "except_exporters": of("fra_r1", "plain")}),
	})
	if got := v.GetAttr("forward"); !got.RawEquals(want) {
		t.Errorf("got %#v", got)
	}
}

func TestAllowListIsNeededToEnforce(t *testing.T) {
	for _, c := range []struct {
		mode, action, exporters string
		refused                 bool
	}{
		{"enforce", "enforce", "", true},
		{"enforce", "enforce", "exporters = [exporter.fra_r1]", false},
		{"enforce", "monitor", "", false},
		{"monitor", "enforce", "", false},
	} {
		cfg := loadExporters(t, c.mode, c.action, c.exporters)
		_, diags := cfg.Decode(cfg.Captures[0], flowSchema())
		if diags.HasErrors() != c.refused {
			t.Errorf("%+v: %v", c, diags)
		}
		// A capture that takes no exporters needs none.
		cfg = loadExporters(t, c.mode, c.action, "")
		if _, diags := cfg.Decode(cfg.Captures[0], &host.Block{}); diags.HasErrors() {
			t.Errorf("%+v: %v", c, diags)
		}
	}
}

func TestNewerPluginWantsMoreOfAnExporter(t *testing.T) {
	c := loadExporters(t, "monitor", "monitor", "exporters = [exporter.fra_r1]")
	if _, diags := c.Decode(c.Captures[0], flowSchema("colour")); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "belong together") {
		t.Errorf("%v", diags)
	}
}
