package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Blocks are replaced where they stand, in whichever file, and the rest stays
// as it was written.
func TestRewrite(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.hcl": `
locals { ours = ["203.0.113.0/24"] }
network "n" { prefixes = local.ours }
hostgroup "default" { # } no end
  networks = [
    network.n, # all
  ]
  average = "2s"
  threshold "old" { pps = 5000 }
}
hostgroup "web" {
  base     = hostgroup.default
  prefixes = ["203.0.113.0/28"]
}
`,
		"b.hcl": "hostgroup \"dns\" {\n  base = hostgroup.default\n  prefixes = [\"203.0.113.53/32\"]\n  threshold \"old\" { pps = 70000 }\n}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, diags := Load(dir, ForReplay())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	head := strings.Join(c.GroupHead("default"), "\n")
	if !strings.Contains(head, "networks = [\n    network.n, # all\n  ]") || !strings.Contains(head, `average = "2s"`) || strings.Contains(head, "old") {
		t.Errorf("head: %s", head)
	}
	if len(c.GroupHead("nobody")) != 0 || c.GroupSource("nobody") != "" {
		t.Error("a hostgroup that is not there says something")
	}
	next, diags := c.Rewrite(map[string]string{
		"default": "# new\nhostgroup \"default\" {\n" + head + "\nthreshold \"new\" {\npps = 1\n}\n}\n",
		"dns":     c.GroupSource("dns") + "  threshold \"more\" { bps = 2 }\n}",
	}, "hostgroup \"own\" {\n  base = hostgroup.web\n  prefixes = [\"203.0.113.7/32\"]\n}\n", ForReplay())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got []string
	for _, g := range next.Groups {
		text := g.Name + ":"
		for _, th := range g.Thresholds {
			text += " " + th.Name
		}
		got = append(got, text)
	}
	if want := "default: new, web: new, dns: new old more, own: new"; strings.Join(got, ", ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if next.Groups[0].Average != c.Groups[0].Average || len(next.Groups[3].Prefixes) != 1 {
		t.Errorf("%+v", next.Groups[0])
	}
	if len(c.Groups) != 3 || len(c.Groups[0].Thresholds) != 1 {
		t.Error("the configuration itself has changed")
	}
	if _, diags := c.Rewrite(map[string]string{"web": "hostgroup \"web\" {"}, ""); !diags.HasErrors() {
		t.Error("a text that is none is taken")
	}
	for _, name := range ShippedNames() {
		if shippedCounter(name) == nil {
			t.Errorf("%s", name)
		}
	}
}

// Limits are suggested for the default rule, whatever decides now.
func TestByDefaultRule(t *testing.T) {
	c := mustLoad(t, "testdata/explain.hcl")
	probe := c.GroupSource("community") + "threshold \"probe\" {\ncounter = counter.xmas\npps = 1\nburst = []\n}\n}"
	if _, diags := c.Rewrite(map[string]string{"community": probe}, "", ForReplay()); !diags.HasErrors() {
		t.Error("a counter that the rule does not know is taken")
	}
	next, diags := c.Rewrite(map[string]string{"community": probe}, "", ForReplay(), ByDefaultRule())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, g := range next.Groups {
		if g.Detection != DetectionDefault {
			t.Errorf("hostgroup %s: %s", g.Name, g.Detection)
		}
	}
	if head := strings.Join(c.GroupHead("community"), "\n"); strings.Contains(head, "detection") {
		t.Errorf("head: %s", head)
	}
}
