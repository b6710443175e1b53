package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// space is the table of our own addresses: each prefix with the ids of the
// longest network and hostgroup that hold it.
type space struct {
	networks, groups bart.Table[uint32]
	all              []netip.Prefix
}

func (s *space) add(table *bart.Table[uint32], prefixes []netip.Prefix, id uint32) {
	for _, p := range prefixes {
		table.Insert(p, id)
		s.all = append(s.all, p)
	}
}

// compileCount makes the counting plan that captures get. Only counters that
// a threshold uses are in it.
func compileCount(cfg *config.Config, names *idSets, revision, seed uint64) (*count.Plan, error) {
	plan := &count.Plan{Revision: revision, Seed: seed}
	var own space
	internal := map[uint32]bool{}
	for _, n := range cfg.Networks {
		id := names.networks.of(n.Name)
		internal[id] = n.CountInternal
		own.add(&own.networks, n.Prefixes, id)
	}
	hostLen := map[uint32]uint8{}
	for _, g := range cfg.Groups {
		id := names.groups.of(g.Name)
		hostLen[id] = g.V6Host
		own.add(&own.groups, g.Prefixes, id)
		plan.Groups = append(plan.Groups, smallestLimits(g, id))
		for _, t := range g.Thresholds {
			plan.CountFlows = plan.CountFlows || t.FPS > 0
		}
	}
	slices.SortFunc(own.all, comparePrefixes)
	for _, p := range slices.Compact(own.all) {
		network, _ := own.networks.LookupPrefix(p)
		group, _ := own.groups.LookupPrefix(p)
		plan.Prefixes = append(plan.Prefixes, count.Prefix{
			Prefix: p, Network: network, Group: group,
			V6HostLen: hostLen[group], CountInternal: internal[network],
		})
	}
	if err := addCounters(plan, cfg, names); err != nil {
		return nil, err
	}
	return plan, addExemptions(plan, cfg, names)
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// smallestLimits is what decides which rows a capture flushes first.
func smallestLimits(g *config.HostGroup, id uint32) count.Group {
	out := count.Group{ID: id, Community: g.Detection == config.DetectionCommunity}
	least := func(to *float64, limit float64) {
		if limit > 0 && (*to == 0 || limit < *to) {
			*to = limit
		}
	}
	for _, t := range g.Thresholds {
		least(&out.Packets, t.PPS)
		least(&out.Bytes, t.BPS/8)
		least(&out.Flows, t.FPS)
	}
	return out
}

func addCounters(plan *count.Plan, cfg *config.Config, names *idSets) error {
	used := map[string]bool{}
	for _, g := range cfg.Groups {
		for _, t := range g.Thresholds {
			used[t.Counter] = true
		}
	}
	for _, c := range cfg.Counters {
		if !used[c.Name] {
			continue
		}
		id := names.counters.of(c.Name) - 1
		if id >= count.MaxCounters {
			return fmt.Errorf("counter %q is number %d that this process has seen; a process tells %d apart: restart it to use others", c.Name, id+1, count.MaxCounters)
		}
		plan.Counters = append(plan.Counters, compileCounter(c, uint8(id)))
	}
	return nil
}

func compileCounter(c *config.Counter, id uint8) count.Counter {
	out := count.Counter{
		ID: id, Name: c.Name, Protocols: c.Protocols, SrcPorts: ports(c.SourcePorts), DstPorts: ports(c.DestinationPorts),
		FlagsSet: c.FlagsSet, FlagsClear: c.FlagsClear, Fragment: c.Fragment, Dropped: c.Dropped, Classes: c.Classes,
	}
	for _, l := range c.Lengths {
		out.Lengths = append(out.Lengths, count.Range{From: l[0], To: l[1]})
	}
	return out
}

func ports(ranges [][2]uint16) []count.PortRange {
	var out []count.PortRange
	for _, r := range ranges {
		out = append(out, count.PortRange{From: r[0], To: r[1]})
	}
	return out
}

// addExemptions adds what is kept out of the rates. One with a limit is counted
// by itself.
func addExemptions(plan *count.Plan, cfg *config.Config, names *idSets) error {
	for _, e := range cfg.Exemptions {
		if e.DoNotAct {
			continue
		}
		x := compileExemption(e)
		if e.LimitBPS > 0 {
			id := names.counters.of(exemptCounter(e))
			if id > count.MaxCounters {
				return fmt.Errorf("exemption %q with its limit is counter number %d that this process has seen; a process tells %d apart: restart it to use others", e.Name, id, count.MaxCounters)
			}
			x.Counter = uint8(id)
		}
		plan.Exemptions = append(plan.Exemptions, x)
	}
	return nil
}

// exemptCounter names the counter of an exemption that has a limit. A counter
// block's name has no dot.
func exemptCounter(e *config.Exemption) string { return "exemption." + e.Name }

func compileExemption(e *config.Exemption) count.Exemption {
	out := count.Exemption{
		Name: e.Name, Local: e.Local, Remote: e.Remote, Protocols: e.Protocols, Ports: ports(e.Ports),
		Incoming: e.Incoming, Outgoing: e.Outgoing,
	}
	if !e.Until.IsZero() {
		out.UntilUnix = e.Until.Unix()
	}
	return out
}

// limit is what stands behind the id of an engine's limit.
type limit struct {
	group     *config.HostGroup
	threshold *config.Threshold // nil for what exemptions allow
	name      string            // of the threshold
	counter   string
	unit      config.Unit
	value     float64           // in the unit: bps is bits
	exemption *config.Exemption // whose limit it is, or nil
}

// compileEngine makes the engine's side of the plan, and tells what each
// limit's id stands for.
func compileEngine(cfg *config.Config, names *idSets, plan *count.Plan) (*engine.Plan, map[uint32]limit) {
	out := &engine.Plan{Revision: plan.Revision}
	for _, p := range plan.Prefixes {
		out.Prefixes = append(out.Prefixes, engine.Prefix{Prefix: p.Prefix, Network: p.Network, Group: p.Group})
	}
	limits := map[uint32]limit{}
	owners := networkOwners(cfg, names)
	for _, g := range cfg.Groups {
		group := engine.Group{ID: names.groups.of(g.Name), Tau: g.Average, Community: g.Detection == config.DetectionCommunity}
		for _, l := range groupLimits(g, cfg.Exemptions) {
			for _, d := range directions(l.threshold) {
				if e := l.exemption; e != nil && (d == ring.Incoming && !e.Incoming || d == ring.Outgoing && !e.Outgoing) {
					continue
				}
				id := names.limits.of(strings.Join(append([]string{g.Name, l.name, l.counter, string(l.unit), d.String()}, l.scopeName()...), "\x00"))
				limits[id] = l
				limit := engineLimit(l, id, d, names)
				if limit.Scope == engine.ScopeNetwork {
					limit.Networks = owners[g]
				}
				group.Limits = append(group.Limits, limit)
			}
		}
		out.Groups = append(out.Groups, group)
	}
	return out, limits
}

// networkOwners are the ids of the networks of which each hostgroup gives the
// limits: those that it names, and no group before it.
func networkOwners(cfg *config.Config, names *idSets) map[*config.HostGroup][]uint32 {
	out := map[*config.HostGroup][]uint32{}
	taken := map[string]bool{}
	for _, g := range cfg.Groups {
		for _, n := range g.Networks {
			if !taken[n.Name] {
				taken[n.Name] = true
				out[g] = append(out[g], names.networks.of(n.Name))
			}
		}
	}
	return out
}

// scope is whose traffic a limit is about.
func (l limit) scope() engine.ScopeKind {
	if l.threshold == nil {
		return engine.ScopeHost
	}
	for _, k := range []engine.ScopeKind{engine.ScopePrefix, engine.ScopeGroup, engine.ScopeNetwork} {
		if k.String() == l.threshold.Scope {
			return k
		}
	}
	return engine.ScopeHost
}

// scopeName is what tells limits of a threshold of different scopes apart.
func (l limit) scopeName() []string {
	switch l.scope() {
	case engine.ScopeHost:
		return nil
	case engine.ScopePrefix:
		return []string{fmt.Sprint(l.threshold.Scope, l.threshold.PrefixLen)}
	}
	return []string{l.threshold.Scope}
}

// groupLimits lists a group's limits in the order in which the first to be
// crossed names an attack.
func groupLimits(g *config.HostGroup, exemptions []*config.Exemption) []limit {
	var out []limit
	for _, t := range g.Thresholds {
		for _, u := range []struct {
			unit  config.Unit
			value float64
		}{{config.PPS, t.PPS}, {config.BPS, t.BPS}, {config.FPS, t.FPS}} {
			if u.value > 0 {
				out = append(out, limit{group: g, threshold: t, name: t.Name, counter: t.Counter, unit: u.unit, value: u.value})
			}
		}
	}
	if g.Detection == config.DetectionCommunity {
		slices.SortStableFunc(out, func(a, b limit) int { return cmp.Compare(a.rank(), b.rank()) })
	}
	for _, e := range exemptions {
		if e.LimitBPS > 0 && (e.Until.IsZero() || e.Until.After(time.Now())) {
			out = append(out, limit{group: g, name: "exemption", counter: exemptCounter(e), unit: config.BPS, value: e.LimitBPS, exemption: e})
		}
	}
	return out
}

// rank is the place of a limit among those of a group that decides as
// FastNetMon Community does: its limits first, in its order.
func (l limit) rank() int {
	if !l.community() {
		return math.MaxInt
	}
	return config.CommunityRank(l.counter, l.unit)
}

// community tells whether a limit is decided as FastNetMon Community decides:
// it knows no scope but the host, and no exemptions.
func (l limit) community() bool {
	return l.group.Detection == config.DetectionCommunity && l.threshold != nil && l.scope() == engine.ScopeHost
}

func directions(t *config.Threshold) []ring.Direction {
	switch {
	case t != nil && t.Direction == "incoming":
		return []ring.Direction{ring.Incoming}
	case t != nil && t.Direction == "outgoing":
		return []ring.Direction{ring.Outgoing}
	}
	return []ring.Direction{ring.Incoming, ring.Outgoing}
}

func engineLimit(l limit, id uint32, d ring.Direction, names *idSets) engine.Limit {
	out := engine.Limit{ID: id, Direction: d, Value: l.value, Rules: burstRules(l), Scope: l.scope()}
	if out.Scope == engine.ScopePrefix {
		out.Length = l.threshold.PrefixLen
	}
	if i := slices.Index(detect.CounterNames[:], l.counter); i >= 0 {
		out.Counter = uint16(i)
	} else {
		out.Counter = engine.FirstUser + uint16(names.counters.of(l.counter)-1)
	}
	switch l.unit {
	case config.BPS:
		out.Unit, out.Value = engine.ByteRate, l.value/8
	case config.FPS:
		out.Unit, out.Rules = engine.FlowRate, nil
	}
	return out
}

// burstRules are those of a limit's threshold, else of its group, else the
// default ones.
func burstRules(l limit) []engine.Rule {
	if l.community() {
		return nil
	}
	rules := config.DefaultBurst()
	switch {
	case l.threshold != nil && l.threshold.Burst != nil:
		rules = l.threshold.Burst
	case l.group.Burst != nil:
		rules = l.group.Burst
	}
	var out []engine.Rule
	for _, r := range rules {
		out = append(out, engine.Rule(r))
	}
	return out
}

// idSets are the ids of everything that has one, for the daemon's lifetime.
type idSets struct{ networks, groups, counters, limits *ids }

func newIDSets() *idSets { return &idSets{newIDs(), newIDs(), newIDs(), newIDs()} }
