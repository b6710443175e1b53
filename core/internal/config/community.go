package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// How the limits of a hostgroup are decided.
const (
	DetectionDefault   = "default"    // averages and burst rules
	DetectionCommunity = "fastnetmon" // once a second, as FastNetMon Community does
)

// communityOrder is the order in which FastNetMon Community compares limits,
// and all the limits it has.
var communityOrder = []struct {
	counter string
	unit    Unit
}{
	{"total", PPS},
	{"total", BPS},
	{"total", FPS},
	{"tcp", PPS},
	{"udp", PPS},
	{"icmp", PPS},
	{"tcp", BPS},
	{"udp", BPS},
	{"icmp", BPS},
}

// CommunityRank is the place of a limit in the order in which FastNetMon
// Community compares them, from 0; -1 where it has no such limit.
func CommunityRank(counter string, unit Unit) int {
	for i, l := range communityOrder {
		if l.counter == counter && l.unit == unit {
			return i
		}
	}
	return -1
}

// mega is the unit of the original's limits on bandwidth, bits per second: it
// cuts averages off to whole ones before it compares them.
const mega = 1e6

// checkCommunity complains about what a group says beside detection =
// "fastnetmon" that has no meaning there. What it inherits from groups that
// decide otherwise is not its fault, unless limits would be lost.
func (l *loader) checkCommunity(g *group) {
	if g.Detection != DetectionCommunity {
		return
	}
	said := g
	for said.base != nil && said.attr("detection") == nil {
		said = said.base
	}
	since := fmt.Sprintf("hostgroup.%s has detection = %q", g.Name, DetectionCommunity)
	if a := said.attr("detection"); a != nil && said != g {
		since += fmt.Sprintf(" from %s", place(a.NameRange))
	}
	complain := func(b body, name string) {
		if a := b.attr(name); a != nil {
			l.errorf(a.NameRange, "Burst rules and FastNetMon Community's rule", "%s, which compares averages once a second and knows no burst rules. Remove burst, or write detection = %q.", since, DetectionDefault)
		}
	}
	if !hasWider(g.HostGroup) {
		complain(g.body, "burst")
	}
	own := map[string]*threshold{}
	for _, t := range g.thresholds {
		own[t.Name] = t
	}
	for _, t := range g.Thresholds {
		if t.Scope != "host" {
			continue
		}
		var at hcl.Range
		from := ""
		switch {
		case own[t.Name] != nil:
			complain(own[t.Name].body, "burst")
			at = own[t.Name].Range
		case g.attr("detection") != nil:
			at, from = g.attr("detection").Expr.Range(), ", which it inherits,"
		default:
			continue // the base has been told
		}
		l.checkCommunityLimits(t, at, from, since)
	}
}

// hasWider tells whether a group has thresholds of a wider scope than host,
// which FastNetMon Community does not know: its rule does not decide them.
func hasWider(g *HostGroup) bool {
	return slices.ContainsFunc(g.Thresholds, func(t *Threshold) bool { return t.Scope != "host" })
}

// checkCommunityLimits complains about limits that the original does not have.
func (l *loader) checkCommunityLimits(t *Threshold, at hcl.Range, from, since string) {
	if CommunityRank(t.Counter, PPS) < 0 {
		l.errorf(at, "Counter without a limit in FastNetMon Community", "%s, and its threshold %q%s limits counter.%s. That rule has limits on counter.total, counter.tcp, counter.udp and counter.icmp. Disable the limit in this group, or put its hosts into one with detection = %q.", since, t.Name, from, t.Counter, DetectionDefault)
		return
	}
	if whole := math.Round(t.BPS / mega); whole*mega != t.BPS {
		l.errorf(at, "Bandwidth in parts of a megabit", "%s, and its threshold %q%s limits bps to %s. That rule cuts bandwidth off to whole megabits a second before it compares. Write %s, or another whole number of them.", since, t.Name, from, rateText(t.BPS),
			rateText(max(whole, 1)*mega))
	}
}

// communityLimits names a group's limits in the order in which the original
// compares them.
func communityLimits(g *HostGroup) []string {
	type ranked struct {
		rank int
		name string
	}
	var all []ranked
	for _, t := range g.Thresholds {
		if t.Scope != "host" {
			continue
		}
		for _, u := range []struct {
			unit  Unit
			value float64
		}{{PPS, t.PPS}, {BPS, t.BPS}, {FPS, t.FPS}} {
			if u.value > 0 {
				all = append(all, ranked{CommunityRank(t.Counter, u.unit), t.Name + " " + string(u.unit)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	var names []string
	for _, r := range all {
		names = append(names, r.name)
	}
	return names
}

// communityText tells what detection = "fastnetmon" means for a group.
func communityText(g *HostGroup) string {
	text := fmt.Sprintf("Once a second each host's averages over %s, cut off to whole numbers, bandwidth to whole Mbit/s, are compared", strings.Trim(quotedDuration(g.Average), `"`))
	if names := communityLimits(g); len(names) > 0 {
		text += " in this order: " + strings.Join(names, ", ")
	}
	if hasWider(g) {
		return text + ". Limits of wider scopes have averages and burst rules as everywhere."
	}
	return text + ". No burst rules."
}
