package pipeline

import (
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// A wider limit without actions of its own is warned about where a narrower one
// of the same hosts and direction mitigates, and only there.
func TestTakeovers(t *testing.T) {
	const base = `
daemon { mode = "enforce" }
network "n" { prefixes = ["10.0.0.0/8"] }
action "acts" "now" {}
action "tells" "only" {}
capture "pcap" "c" { files = ["x"] }
pipeline "main" {
  captures = [capture.pcap.c]
  actions  = [action.acts.now, action.tells.only]
}
`
	group := func(body string) string {
		return base + "hostgroup \"g\" {\n  networks = [network.n]\n  threshold \"flood\" {\n    direction = \"incoming\"\n    pps = 1000\n  }\n" + body + "\n}\n"
	}
	wide := func(scope, more string) string {
		if scope == "prefix" {
			more += "\n prefix_length = [24, 64]"
		}
		return "threshold \"wide\" {\n scope = \"" + scope + "\"\n pps = 5000\n" + more + "\n}"
	}
	for name, c := range map[string]struct {
		text string
		want string // in the only warning; "": none
	}{
		"prefix":                {group(wide("prefix", "")), `threshold "wide" of hostgroup.g is about a whole prefix`},
		"hostgroup":             {group(wide("hostgroup", "")), "action.acts.now is not called"},
		"network":               {group(wide("network", "")), `what crosses threshold "flood" of hostgroup.g`},
		"with actions":          {group(wide("prefix", "actions = [action.acts.now]")), ""},
		"told is enough":        {group(wide("prefix", "actions = [action.tells.only]")), ""},
		"the other way":         {group(wide("prefix", `direction = "outgoing"`)), ""},
		"the narrow one tells":  {strings.Replace(group(wide("prefix", "")), "pps = 1000", "pps = 1000\n actions = [action.tells.only]", 1), ""},
		"the narrow one waits":  {strings.Replace(group(wide("prefix", "")), "pps = 1000", "pps = 1000\n mode = \"monitor\"", 1), ""},
		"nothing is enforced":   {strings.Replace(group(wide("prefix", "")), `mode = "enforce"`, "", 1), ""},
		"no wider limit":        {group(""), ""},
		"another's in the same": {group(wide("prefix", "actions = []")) + "hostgroup \"h\" {\n prefixes = [\"10.1.0.0/16\"]\n" + wide("prefix", "") + "\n}", ""},
		"another's network": {
			base + "hostgroup \"g\" {\n networks = [network.n]\n" + wide("network", "") + "\n}\nhostgroup \"h\" {\n prefixes = [\"10.1.0.0/16\"]\n threshold \"own\" {\n pps = 9\n }\n}",
			`threshold "own" of hostgroup.h`,
		},
		"inherited twice": {group(wide("prefix", "")) + "hostgroup \"h\" {\n base = hostgroup.g\n prefixes = [\"10.1.0.0/16\"]\n}", "only notifies"},
		"prefix in a hostgroup": {
			group(strings.Replace(wide("prefix", "actions = [action.acts.now]"), "wide", "narrow", 1) + "\n" + wide("hostgroup", "")), "about a whole hostgroup",
		},
	} {
		cfg := load(t, c.text)
		var known []*prepared
		for _, b := range cfg.Actions {
			about := &host.Description{Features: []string{host.FeatureNotifier}}
			if b.Name == "acts" {
				about.Features = []string{host.FeatureMitigator}
			}
			known = append(known, &prepared{cfg: cfg, block: b, about: about})
		}
		diags := checkTakeovers(cfg, known)
		switch {
		case c.want == "" && len(diags) > 0:
			t.Errorf("%s: %v", name, diags)
		case c.want != "" && (len(diags) != 1 || !strings.Contains(diags[0].Detail, c.want) || diags[0].Subject == nil):
			t.Errorf("%s: %v, want one with %q", name, diags, c.want)
		}
	}
}
