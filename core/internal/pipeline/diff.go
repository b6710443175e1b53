package pipeline

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// differences tells people what changes from one configuration to the next, a
// line each. Values of plugin blocks are not shown: they may be secrets.
func differences(from, to *config.Config) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if from.Daemon.Mode != to.Daemon.Mode {
		add("daemon: mode %s becomes %s", from.Daemon.Mode, to.Daemon.Mode)
	}
	if from.Daemon.Baseline != to.Daemon.Baseline {
		add("daemon: baseline %s becomes %s", from.Daemon.Baseline, to.Daemon.Baseline)
	}
	byName("network", from.Networks, to.Networks, func(n *config.Network) string { return n.Name }, add, func(a, b *config.Network) {
		gone, come := prefixChanges(a.Prefixes, b.Prefixes)
		if gone+come > 0 {
			add("network %s: %d prefixes added, %d removed", b.Name, come, gone)
		}
		if a.CountInternal != b.CountInternal {
			add("network %s: internal traffic is now %s", b.Name, map[bool]string{true: "counted", false: "ignored"}[b.CountInternal])
		}
	})
	byName("counter", from.Counters, to.Counters, func(c *config.Counter) string { return c.Name }, add, func(a, b *config.Counter) {
		if !same(a, b) {
			add("counter %s changes", b.Name)
		}
	})
	byName("exemption", from.Exemptions, to.Exemptions, func(e *config.Exemption) string { return e.Name }, add, func(a, b *config.Exemption) {
		if !same(a, b) {
			add("exemption %s changes", b.Name)
		}
	})
	byName("hostgroup", from.Groups, to.Groups, func(g *config.HostGroup) string { return g.Name }, add, func(a, b *config.HostGroup) { groupChanges(a, b, add) })
	if !sameEvidence(from.Evidence, to.Evidence) {
		add("evidence changes")
	}
	if !same(&from.Guard, &to.Guard) {
		add("guard changes")
	}
	if a, b := from.History, to.History; a.Keep != b.Keep || a.MaxSize != b.MaxSize {
		add("history changes")
	}
	byName("", allBlocks(from), allBlocks(to), blockName, add, func(a, b *config.Plugin) {
		if !sameBlock(a, b) {
			add("%s changes and starts again", blockName(b))
		}
	})
	byName("pipeline", from.Pipelines, to.Pipelines, func(p *config.Pipeline) string { return p.Name }, add, func(a, b *config.Pipeline) {
		if wiringOf(a) != wiringOf(b) {
			add("pipeline %s: %s", b.Name, wiringOf(b))
		}
	})
	return out
}

// byName pairs what has the same name in both lists.
func byName[T any](kind string, from, to []T, name func(T) string, add func(string, ...any), both func(a, b T)) {
	if kind != "" {
		kind += " "
	}
	for _, b := range to {
		i := slices.IndexFunc(from, func(a T) bool { return name(a) == name(b) })
		if i < 0 {
			add("%s%s is new", kind, name(b))
			continue
		}
		both(from[i], b)
	}
	for _, a := range from {
		if !slices.ContainsFunc(to, func(b T) bool { return name(a) == name(b) }) {
			add("%s%s is gone", kind, name(a))
		}
	}
}

func prefixChanges(from, to []netip.Prefix) (gone, come int) {
	had := map[netip.Prefix]bool{}
	for _, p := range from {
		had[p] = true
	}
	for _, p := range to {
		if !had[p] {
			come++
		}
		delete(had, p)
	}
	return len(had), come
}

func groupChanges(a, b *config.HostGroup, add func(string, ...any)) {
	gone, come := prefixChanges(a.Prefixes, b.Prefixes)
	if gone+come > 0 {
		add("hostgroup %s: %d prefixes added, %d removed", b.Name, come, gone)
	}
	if a.Average != b.Average || a.Quiet != b.Quiet || a.Mode != b.Mode || a.V6Host != b.V6Host || a.Detection != b.Detection || referenceNames(a.Actions) != referenceNames(b.Actions) || !sameRules(a.Burst, b.Burst) {
		add("hostgroup %s: settings change", b.Name)
	}
	x, y := a.Mitigation, b.Mitigation
	if x.Set, y.Set = (hcl.Range{}), (hcl.Range{}); !reflect.DeepEqual(x, y) {
		add("hostgroup %s: mitigation changes", b.Name)
	}
	name := func(t *config.Threshold) string { return t.Name }
	byName("hostgroup "+b.Name+": threshold", a.Thresholds, b.Thresholds, name, add, func(x, y *config.Threshold) {
		limits := func(what string, from, to float64) {
			if from != to {
				add("hostgroup %s: threshold %s: %s %s becomes %s", b.Name, y.Name, what, limitText(from), limitText(to))
			}
		}
		limits("pps", x.PPS, y.PPS)
		limits("bps", x.BPS, y.BPS)
		limits("fps", x.FPS, y.FPS)
		if x.Scope != y.Scope || x.PrefixLen != y.PrefixLen || x.Direction != y.Direction || x.Counter != y.Counter || x.Mode != y.Mode || referenceNames(x.Actions) != referenceNames(y.Actions) || !sameRules(x.Burst, y.Burst) {
			add("hostgroup %s: threshold %s changes", b.Name, y.Name)
		}
	})
}

// sameRules tells no rules apart from rules that are not said.
func sameRules(a, b []config.Burst) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func limitText(v float64) string {
	if v == 0 {
		return "unset"
	}
	return fmt.Sprintf("%.0f", v)
}

func blockName(p *config.Plugin) string { return p.Kind + "." + p.Name + "." + p.Instance }

func referenceNames(refs []config.Reference) string {
	if refs == nil {
		return "inherited"
	}
	var names []string
	for _, r := range refs {
		names = append(names, strings.TrimSuffix(strings.Join([]string{r.Kind, r.Plugin, r.Instance, r.Target}, "."), "."))
	}
	return strings.Join(names, ", ")
}

// wiringOf is a pipeline as people write it.
func wiringOf(p *config.Pipeline) string {
	parts := func(blocks []*config.Plugin) string {
		var names []string
		for _, b := range blocks {
			names = append(names, blockName(b))
		}
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("captures [%s], filters [%s], actions [%s], exports [%s]",
		parts(p.Captures), parts(p.Filters), referenceNames(p.Actions), parts(p.Exports))
}

// sameBlock tells whether a plugin would be started with the same words.
func sameBlock(a, b *config.Plugin) bool {
	x, y := a.Process, b.Process
	x.Range, y.Range = hcl.Range{}, hcl.Range{}
	return a.Mode == b.Mode && reflect.DeepEqual(x, y) && a.Value.RawEquals(b.Value)
}

// same compares two values but for where they were written.
func same[T any](a, b *T) bool {
	x, y := *a, *b
	for _, v := range []*T{&x, &y} {
		if f := reflect.ValueOf(v).Elem().FieldByName("Range"); f.IsValid() {
			f.SetZero()
		}
	}
	return reflect.DeepEqual(x, y)
}
