package config

import (
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Defaults of a hostgroup.
const (
	DefaultAverage = 5 * time.Second
	DefaultQuiet   = 30 * time.Second
	DefaultV6Host  = 128
)

// group is a hostgroup while it is read: what it says itself.
type group struct {
	*HostGroup
	body
	base       *group
	own        []prefixAt
	nets       []ref
	thresholds []*threshold
	state      int // of inherit: 1 in progress, 2 done
}

// threshold is what one threshold block says itself.
type threshold struct {
	Threshold
	body
	disable map[Unit]item
	faulty  bool // a limit was written that could not be read

	noLength bool // nor could prefix_length
}

// readGroups reads the hostgroups and lets each inherit from its base.
func (l *loader) readGroups() {
	var groups []*group
	byName := map[string]*group{}
	for _, blk := range l.blocks["hostgroup"] {
		g := l.readGroup(blk)
		if g == nil {
			continue
		}
		groups = append(groups, g)
		byName[g.Name] = g
		l.set("hostgroup", g.Name, g.HostGroup)
		l.own[g.HostGroup] = g
		l.keepBody(g.HostGroup, blk.Body)
		l.conf.Groups = append(l.conf.Groups, g.HostGroup)
	}
	for _, g := range groups {
		a := g.attr("base")
		if a == nil {
			continue
		}
		if r, ok := g.reference(a.Expr, "hostgroup"); ok {
			g.base = byName[r.parts[1]]
		}
	}
	total := 0
	for _, g := range groups {
		l.inherit(g, nil)
		if total += len(g.Thresholds); total > maxThresholds {
			l.errorf(g.Range, "Too many thresholds", "With those that are inherited the hostgroups have more than %d thresholds. Use fewer groups or thresholds.", maxThresholds)
			return
		}
	}
}

func (l *loader) readGroup(blk *hclsyntax.Block) *group {
	b := l.open(blk, "a hostgroup", []string{"name"}, shape{
		attrs:  []string{"base", "networks", "prefixes", "average", "quiet", "mode", "v6_host_length", "detection", "burst", "actions"},
		blocks: []string{"threshold", "mitigation"},
	})
	if !b.named {
		return nil
	}
	g := &group{HostGroup: &HostGroup{Name: blk.Labels[0], Range: blk.DefRange()}, body: b}
	g.own = b.prefixes("prefixes")
	g.nets, _ = b.refs("networks", "network")
	g.Average, _ = b.duration("average")
	g.Quiet, _ = b.duration("quiet")
	if a := b.attr("average"); a != nil && g.Average > 0 && (g.Average < 100*time.Millisecond || g.Average > time.Hour) {
		l.errorf(a.Expr.Range(), "Invalid value", "An average is taken over 100ms to 1h, not %s.", g.Average)
	}
	g.Mode = b.mode("mode")
	if i, ok := b.one("v6_host_length"); ok {
		for _, n := range []int64{128, 64, 56} {
			if _, ok := whole(i.Value, n, n); ok {
				g.V6Host = uint8(n)
			}
		}
		if g.V6Host == 0 {
			l.errorf(i.at, "Invalid value", "%s is not a length of IPv6 hosts: it takes 128, 64 or 56.", i.text())
		}
	}
	if g.Detection, _ = b.choice("detection", DetectionDefault, DetectionCommunity); l.byDefault {
		g.Detection = DetectionDefault
	}
	g.Burst = b.bursts("burst")
	g.Actions = b.actions("actions")
	first := map[string]*hclsyntax.Block{}
	l.readMitigations(g, blk)
	for _, n := range blk.Body.Blocks {
		if n.Type != "threshold" {
			continue
		}
		t := l.readThreshold(n)
		if t == nil {
			continue
		}
		if f := first[t.Name]; f != nil {
			l.errorf(n.DefRange(), "Duplicate block", "%s is already declared at %s. Use another name, or merge the two.", header(n), place(f.DefRange()))
			continue
		}
		first[t.Name] = n
		g.thresholds = append(g.thresholds, t)
	}
	return g
}

func (l *loader) readThreshold(blk *hclsyntax.Block) *threshold {
	b := l.open(blk, "a threshold", []string{"name"}, shape{
		attrs: []string{"direction", "counter", "scope", "prefix_length", "pps", "bps", "fps", "burst", "disable", "mode", "actions"},
	})
	if !b.named {
		return nil
	}
	t := &threshold{Threshold: Threshold{Name: blk.Labels[0], Range: blk.DefRange()}, body: b, disable: map[Unit]item{}}
	t.Direction, _ = b.choice("direction", "incoming", "outgoing")
	if a := b.attr("counter"); a != nil {
		if r, ok := b.reference(a.Expr, "counter"); ok {
			t.Counter = l.counterName(r.parts[1])
		}
	}
	t.Scope, _ = b.choice("scope", "host", "prefix", "hostgroup", "network")
	t.PrefixLen = b.prefixLengths("prefix_length")
	t.PPS, _ = b.rate("pps")
	t.BPS, _ = b.rate("bps")
	t.FPS, _ = b.rate("fps")
	t.Burst = b.bursts("burst")
	t.Mode = b.mode("mode")
	t.Actions = b.actions("actions")
	b.readDisable(t)
	t.faulty = b.attr("pps") != nil && t.PPS == 0 || b.attr("bps") != nil && t.BPS == 0 || b.attr("fps") != nil && t.FPS == 0 ||
		b.attr("disable") != nil && len(t.disable) == 0
	t.noLength = b.attr("prefix_length") != nil && t.PrefixLen == [2]uint8{}
	return t
}

// readDisable reads the units whose inherited limit is removed.
func (b body) readDisable(t *threshold) {
	texts, items, _ := b.strs("disable")
	units := []string{string(PPS), string(BPS), string(FPS)}
	for n, s := range texts {
		if !has(units, s) {
			b.l.errorf(items[n].at, "Unknown unit", "%s is not the unit of a limit: disable takes %s.%s", items[n].text(), quoted(units), b.l.secretMeant(items[n], units))
			continue
		}
		if a := b.attr(s); a != nil {
			b.l.errorf(items[n].at, "Contradiction", "%s is disabled here and set at line %d. Remove one of the two.", s, a.NameRange.Start.Line)
			continue
		}
		t.disable[Unit(s)] = items[n]
	}
}

// inherit merges what a group's base has into what the group says itself.
func (l *loader) inherit(g *group, path []*group) {
	if g.state == 2 {
		return
	}
	g.state = 1
	if g.base != nil && g.base.state == 1 {
		names := make([]string, 0, len(path)+1)
		for _, p := range append(path, g) {
			if p == g.base || len(names) > 0 {
				names = append(names, p.Name)
			}
		}
		l.errorf(g.attr("base").Expr.Range(), "Hostgroups in a circle", "hostgroup.%s inherits from itself: %s. Remove one base.", g.base.Name, circle("hostgroup.", names, g.base.Name))
		g.base = nil
	}
	h := g.HostGroup
	if g.base != nil {
		l.inherit(g.base, append(path, g))
		from := g.base.HostGroup
		h.Base = from
		h.Average, h.Quiet = either(h.Average, from.Average), either(h.Quiet, from.Quiet)
		h.Mode, h.V6Host = either(h.Mode, from.Mode), either(h.V6Host, from.V6Host)
		h.Detection = either(h.Detection, from.Detection)
		if h.Actions == nil {
			h.Actions = from.Actions
		}
		if h.Burst == nil {
			h.Burst = from.Burst
		}
	}
	h.Average, h.Quiet, h.V6Host = either(h.Average, DefaultAverage), either(h.Quiet, DefaultQuiet), either(h.V6Host, DefaultV6Host)
	h.Detection = either(h.Detection, DetectionDefault)
	l.inheritMitigation(g)
	l.mergeThresholds(g)
	l.checkCommunity(g)
	g.state = 2
}

// either is a unless it is unset.
func either[T comparable](a, b T) T {
	var unset T
	if a == unset {
		return b
	}
	return a
}

// mergeThresholds puts the base's thresholds first, each changed by the one
// of the same name here, then those that are new.
func (l *loader) mergeThresholds(g *group) {
	own := map[string]*threshold{}
	for _, t := range g.thresholds {
		own[t.Name] = t
	}
	var out []*Threshold
	if g.Base != nil {
		for _, from := range g.Base.Thresholds {
			t := own[from.Name]
			if t == nil {
				out = append(out, from)
				continue
			}
			delete(own, from.Name)
			out = l.addThreshold(out, t, from)
		}
	}
	for _, t := range g.thresholds {
		if own[t.Name] != nil {
			out = l.addThreshold(out, t, &Threshold{})
		}
	}
	g.Thresholds = out
}

// addThreshold merges attribute by attribute. A threshold whose inherited
// limits are all disabled is gone.
func (l *loader) addThreshold(out []*Threshold, t *threshold, from *Threshold) []*Threshold {
	m := t.Threshold
	m.Scope, m.PrefixLen = either(m.Scope, either(from.Scope, "host")), either(m.PrefixLen, from.PrefixLen)
	l.checkScope(t, &m)
	m.Direction, m.Counter, m.Mode = either(m.Direction, from.Direction), either(m.Counter, either(from.Counter, "total")), either(m.Mode, from.Mode)
	if m.Actions == nil {
		m.Actions = from.Actions
	}
	if m.Burst == nil {
		m.Burst = from.Burst
	}
	merge := func(unit Unit, own *float64, inherited float64) {
		at, disabled := t.disable[unit]
		switch {
		case disabled && inherited == 0:
			l.errorf(at.at, "Nothing to disable", "threshold %q inherits no %s limit, so there is none to remove. Remove %q from disable.", t.Name, unit, unit)
		case !disabled:
			*own = either(*own, inherited)
		}
	}
	merge(PPS, &m.PPS, from.PPS)
	merge(BPS, &m.BPS, from.BPS)
	merge(FPS, &m.FPS, from.FPS)
	if m.FPS > 0 && m.Counter != "total" {
		l.errorf(m.Range, "Flows of one counter", "threshold %q limits fps of counter.%s, but new flows are counted for all traffic of a host together. Put fps into a threshold without counter.", m.Name, m.Counter)
	}
	if m.PPS+m.BPS+m.FPS == 0 {
		if len(t.disable) == 0 && !t.faulty {
			l.errorf(m.Range, "Threshold without a limit", "threshold %q has no limit and inherits none. Write one, such as pps = 20000 or bps = \"1G\".", m.Name)
		}
		return out
	}
	return append(out, &m)
}

// checkSpace compares the prefixes of hostgroups and networks.
func (l *loader) checkSpace() {
	s := newSpace(l)
	for _, g := range l.conf.Groups {
		s.addGroup(l.own[g])
	}
	for _, n := range l.conf.Networks {
		s.checkNetwork(n)
	}
	bases := map[*HostGroup]bool{}
	for _, g := range l.conf.Groups {
		bases[g.Base] = true
	}
	for _, g := range l.conf.Groups {
		if own := l.own[g]; own.attr("networks") == nil && own.attr("prefixes") == nil && !bases[g] {
			l.hint(g.Range, "Hostgroup without hosts", "hostgroup.%s has neither networks nor prefixes and is nobody's base, so its thresholds protect nothing. Write networks = [network.NAME] or prefixes = [...].", g.Name)
		}
		l.checkGroupScopes(g, bases[g])
		l.checkTwins(g)
		if len(g.Thresholds) == 0 && !bases[g] {
			l.hint(g.Range, "Hostgroup without thresholds", "hostgroup.%s has no threshold, so no attack on its hosts is seen.", g.Name)
		}
	}
}
