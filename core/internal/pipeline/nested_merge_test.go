package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// settings are what a block says itself: the text behind each argument.
type settings map[string]string

// mergeGroup is a hostgroup as one reads its block.
type mergeGroup struct {
	base int // -1: none
	says settings
	own  map[string]settings // thresholds
}

var mergeUnits = []string{"pps", "bps", "fps"}

// limitOf is what a group's threshold limits a unit to, "" for nothing: what it
// says itself, unless it disables it, else what its base has.
func limitOf(groups []mergeGroup, i int, threshold, unit string) string {
	if i < 0 {
		return ""
	}
	own := groups[i].own[threshold]
	switch {
	case own[unit] != "":
		return own[unit]
	case strings.Contains(own["disable"], unit):
		return ""
	}
	return limitOf(groups, groups[i].base, threshold, unit)
}

// settingOf is what a group or the nearest of its bases says.
func settingOf(groups []mergeGroup, i int, of func(*mergeGroup) string) string {
	for ; i >= 0; i = groups[i].base {
		if s := of(&groups[i]); s != "" {
			return s
		}
	}
	return ""
}

// ofThreshold is settingOf for an argument of a threshold: nothing reaches past
// a group in which it has no limit left.
func ofThreshold(groups []mergeGroup, i int, threshold, name string) string {
	for ; i >= 0 && has(groups, i, threshold); i = groups[i].base {
		if s := groups[i].own[threshold][name]; s != "" {
			return s
		}
	}
	return ""
}

func has(groups []mergeGroup, i int, threshold string) bool {
	return slices.ContainsFunc(mergeUnits, func(u string) bool { return limitOf(groups, i, threshold, u) != "" })
}

var (
	mergeModes   = []string{`"monitor"`, `"enforce"`}
	mergeActions = []string{"[]", "[action.script.a]", "[action.script.b, action.script.a]"}
	mergeBursts  = []string{"[]", `["2x8"]`, `["7x1.5", "3x4"]`}
)

// mergeSpace is n hostgroups that say at random what they may say.
func mergeSpace(rng *rand.Rand, n int) []mergeGroup {
	groups := make([]mergeGroup, n)
	maybe := func(s settings, name string, values []string) {
		if rng.IntN(4) == 0 {
			s[name] = values[rng.IntN(len(values))]
		}
	}
	for i := range groups {
		g := &groups[i]
		*g = mergeGroup{base: -1, says: settings{}, own: map[string]settings{}}
		if i > 0 && rng.IntN(5) > 0 {
			g.base = rng.IntN(i)
		}
		maybe(g.says, "mode", mergeModes)
		maybe(g.says, "actions", mergeActions)
		maybe(g.says, "burst", mergeBursts)
		maybe(g.says, "v6_host_length", []string{"128", "64", "56"})
		maybe(g.says, "quiet", []string{`"10s"`, `"1m"`})
		for _, name := range []string{"flood", "udp"} {
			if g.base >= 0 && rng.IntN(2) == 0 {
				continue
			}
			t := settings{}
			var disable []string
			for _, u := range mergeUnits {
				if u == "fps" && name == "udp" { // flows are counted for all traffic together
					continue
				}
				inherited := limitOf(groups, g.base, name, u) != ""
				switch k := rng.IntN(3); {
				case k == 0:
					t[u] = fmt.Sprint(1000 + rng.IntN(1_000_000))
				case k == 1 && inherited:
					disable = append(disable, `"`+u+`"`)
				}
			}
			if len(disable) > 0 {
				t["disable"] = "[" + strings.Join(disable, ", ") + "]"
			}
			maybe(t, "mode", mergeModes)
			maybe(t, "actions", mergeActions)
			maybe(t, "burst", mergeBursts)
			maybe(t, "direction", []string{`"incoming"`, `"outgoing"`})
			if g.own[name] = t; !has(groups, i, name) && len(disable) == 0 {
				t["pps"] = "777"
			}
			if name == "udp" {
				t["counter"] = "counter.udp"
			}
		}
	}
	return groups
}

func mergeConfig(groups []mergeGroup) string {
	var b strings.Builder
	b.WriteString(`
daemon { mode = "enforce" }
network "n" { prefixes = ["10.0.0.0/8", "2001:db8::/32"] }
action "script" "a" {}
action "script" "b" {}
action "script" "c" {}
capture "pcap" "c" {}
pipeline "main" {
  captures = [capture.pcap.c]
  actions  = [action.script.c]
}
`)
	write := func(s settings) {
		for _, name := range slices.Sorted(maps.Keys(s)) {
			fmt.Fprintf(&b, "%s = %s\n", name, s[name])
		}
	}
	for i, g := range groups {
		fmt.Fprintf(&b, "hostgroup \"g%d\" {\nprefixes = [\"10.%d.%d.0/24\", \"2001:db8:%x::/48\"]\n", i, i>>8, i&0xff, i)
		if g.base >= 0 {
			fmt.Fprintf(&b, "base = hostgroup.g%d\n", g.base)
		}
		write(g.says)
		for _, name := range slices.Sorted(maps.Keys(g.own)) {
			fmt.Fprintf(&b, "threshold %q {\n", name)
			write(g.own[name])
			b.WriteString("}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// Hostgroups that say at random what they may say, over many generations: each
// has the limits, modes, actions, burst rules and lengths of hosts that a naive
// reader of the text finds, in the configuration and in the plans of captures and
// engine.
func TestMergedSettingsAgainstOracle(t *testing.T) {
	groups := mergeSpace(rand.New(rand.NewPCG(7, 11)), 500)
	cfg := load(t, mergeConfig(groups))
	names := newIDSets()
	plan, err := compileCount(cfg, names, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	rates, _ := compileEngine(cfg, names, plan)
	lengths := map[string]uint8{}
	for _, p := range plan.Prefixes {
		if p.Prefix.Addr().Is6() {
			lengths[names.groups.name(p.Group)] = p.V6HostLen
		}
	}
	limits := map[string][]engine.Limit{}
	for _, g := range rates.Groups {
		limits[names.groups.name(g.ID)] = g.Limits
	}
	for i, g := range cfg.Groups {
		of := func(name string) string {
			return settingOf(groups, i, func(g *mergeGroup) string { return g.says[name] })
		}
		length := of("v6_host_length")
		if length == "" {
			length = "128"
		}
		if fmt.Sprint(lengths[g.Name]) != length {
			t.Fatalf("%s: hosts of /%d, want %s", g.Name, lengths[g.Name], length)
		}
		if quiet := of("quiet"); g.Quiet.String() != map[string]string{"": "30s", `"10s"`: "10s", `"1m"`: "1m0s"}[quiet] {
			t.Fatalf("%s: quiet %s, want %s", g.Name, g.Quiet, quiet)
		}
		var want, compiled []string
		for _, name := range []string{"flood", "udp"} {
			if !has(groups, i, name) {
				continue
			}
			mode := "enforce"
			if of("mode") == `"monitor"` || ofThreshold(groups, i, name, "mode") == `"monitor"` {
				mode = "monitor"
			}
			actions := cmp.Or(ofThreshold(groups, i, name, "actions"), of("actions"), "[action.script.c]")
			burst := cmp.Or(ofThreshold(groups, i, name, "burst"), of("burst"), `["7x1.5", "4x3", "2x8"]`)
			for _, u := range mergeUnits {
				v := limitOf(groups, i, name, u)
				if v == "" {
					continue
				}
				want = append(want, strings.Join([]string{name, u, v, mode, actions}, " "))
				rules := strings.NewReplacer(`"`, "", ",", "").Replace(burst)
				if u == "fps" {
					rules = "[]"
				}
				for _, dir := range []string{"incoming", "outgoing"} {
					if d := ofThreshold(groups, i, name, "direction"); d == "" || d == `"`+dir+`"` {
						compiled = append(compiled, strings.Join([]string{u, v, dir, rules}, " "))
					}
				}
			}
		}
		var got, gotCompiled []string
		for _, l := range groupLimits(g, nil) {
			refs, _ := actionsFor(cfg, l)
			var list []string
			for _, r := range refs {
				list = append(list, r.String())
			}
			got = append(got, fmt.Sprintf("%s %s %.0f %s [%s]", l.name, l.unit, l.value, cfg.EffectiveMode(g, l.threshold, nil), strings.Join(list, ", ")))
		}
		for _, l := range limits[g.Name] {
			unit, value := map[engine.Unit]string{engine.PacketRate: "pps", engine.ByteRate: "bps", engine.FlowRate: "fps"}[l.Unit], l.Value
			if l.Unit == engine.ByteRate {
				value *= 8
			}
			gotCompiled = append(gotCompiled, fmt.Sprintf("%s %.0f %s %v", unit, value, l.Direction, l.Rules))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", g.Name, got, want)
		}
		slices.Sort(compiled)
		slices.Sort(gotCompiled)
		if !slices.Equal(gotCompiled, compiled) {
			t.Fatalf("%s: in the engine %q, want %q", g.Name, gotCompiled, compiled)
		}
	}
}

// A hostgroup that says nothing of bursts has the engine's default rules.
func TestDefaultBurstRules(t *testing.T) {
	if got := burstRules(limit{group: &config.HostGroup{}}); !slices.Equal(got, engine.DefaultRules()) {
		t.Errorf("%v, the engine's are %v", got, engine.DefaultRules())
	}
}
