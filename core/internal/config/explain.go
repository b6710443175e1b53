package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// ExplainGroup writes a hostgroup as it holds: everything that it inherits
// merged in, behind each setting where it comes from. What it writes could
// stand in the configuration in the group's place. False means that there is
// no such group.
func (c *Config) ExplainGroup(name string) (string, bool) {
	i := slices.IndexFunc(c.Groups, func(g *HostGroup) bool { return g.Name == name })
	if i < 0 {
		return "", false
	}
	e := &explainer{c: c, g: c.Groups[i]}
	e.group()
	return string(hclwrite.Format([]byte(e.out.String()))), true
}

// NearestGroup is the hostgroup whose name is most like one, "" if none is.
func (c *Config) NearestGroup(name string) string {
	var names []string
	for _, g := range c.Groups {
		names = append(names, g.Name)
	}
	return newLoader(nil).nearest(name, names)
}

// explainer writes one group.
type explainer struct {
	c   *Config
	g   *HostGroup
	out strings.Builder
}

func (e *explainer) line(format string, args ...any) { fmt.Fprintf(&e.out, format+"\n", args...) }

// origin is where a setting was written.
type origin struct {
	group *HostGroup
	attr  *hclsyntax.Attribute
}

func (o origin) String() string {
	if o.attr == nil {
		return "default"
	}
	return fmt.Sprintf("hostgroup.%s, %s", o.group.Name, place(o.attr.NameRange))
}

// set returns an attribute that says something; null does not.
func set(b *hclsyntax.Body, name string) *hclsyntax.Attribute {
	a := b.Attributes[name]
	if a == nil {
		return nil
	}
	if lit, ok := unwrap(a.Expr).(*hclsyntax.LiteralValueExpr); ok && lit.Val.IsNull() {
		return nil
	}
	return a
}

// ofGroup finds who says a setting of the group: itself, else its nearest
// ancestor.
func (e *explainer) ofGroup(name string) origin {
	return e.of(name, func(h *HostGroup) *hclsyntax.Body { return e.c.bodies[h] })
}

// of finds who says a setting in one of the blocks of a group.
func (e *explainer) of(name string, body func(*HostGroup) *hclsyntax.Body) origin {
	for h := e.g; h != nil; h = h.Base {
		if b := body(h); b != nil {
			if a := set(b, name); a != nil {
				return origin{h, a}
			}
		}
	}
	return origin{}
}

// thresholdBody is what a group itself says about a threshold, or nil.
func (e *explainer) thresholdBody(h *HostGroup, name string) *hclsyntax.Body {
	for _, b := range e.c.bodies[h].Blocks {
		if b.Type == "threshold" && len(b.Labels) == 1 && b.Labels[0] == name {
			return b.Body
		}
	}
	return nil
}

func (e *explainer) ofThreshold(threshold, name string) origin {
	return e.of(name, func(h *HostGroup) *hclsyntax.Body { return e.thresholdBody(h, threshold) })
}

// source is an expression as it was written, for settings that are shown as
// they stand.
func (e *explainer) source(a *hclsyntax.Attribute) string {
	r := a.Expr.Range()
	if f := e.c.Files[r.Filename]; f != nil && r.End.Byte <= len(f.Bytes) {
		return string(f.Bytes[r.Start.Byte:r.End.Byte])
	}
	return "null"
}

func (e *explainer) group() {
	g := e.g
	if g.Base != nil {
		var chain []string
		for h := g.Base; h != nil; h = h.Base {
			chain = append(chain, "hostgroup."+h.Name)
		}
		e.line("# Merged with its base: %s.", strings.Join(chain, ", then "))
	}
	e.line("# %s", e.modeText())
	e.line("hostgroup %q {", g.Name)
	own := slices.Clone(g.Prefixes)
	if len(g.Networks) > 0 {
		var names []string
		for _, n := range g.Networks {
			names = append(names, "network."+n.Name)
			own = slices.DeleteFunc(own, func(p netip.Prefix) bool { return slices.Contains(n.Prefixes, p) })
		}
		e.line("networks = [%s] # %s", strings.Join(names, ", "), e.ofGroup("networks"))
	}
	if len(own) > 0 {
		e.line("# %s", e.ofGroup("prefixes"))
		e.line("prefixes = %s", prefixList(own))
	}
	e.setting("average", quotedDuration(g.Average))
	e.setting("quiet", quotedDuration(g.Quiet))
	if g.Mode != "" {
		e.setting("mode", strconv.Quote(string(g.Mode)))
	}
	e.setting("v6_host_length", strconv.Itoa(int(g.V6Host)))
	e.setting("detection", strconv.Quote(g.Detection))
	if g.Detection == DetectionCommunity {
		e.line("# %s", communityText(g))
	}
	if g.Detection != DetectionCommunity || hasWider(g) {
		rules := g.Burst
		if rules == nil {
			rules = DefaultBurst()
		}
		e.setting("burst", burstList(rules))
	}
	if g.Actions != nil {
		e.setting("actions", actionList(g.Actions))
	}
	known := []string{"base", "networks", "prefixes", "average", "quiet", "mode", "v6_host_length", "detection", "burst", "actions"}
	for _, name := range e.others(known, func(h *HostGroup) *hclsyntax.Body { return e.c.bodies[h] }) {
		e.setting(name, e.source(e.ofGroup(name).attr))
	}
	for _, t := range g.Thresholds {
		e.threshold(t)
	}
	e.mitigation()
	e.removed()
	e.line("}")
}

func (e *explainer) setting(name, value string) { e.line("%s = %s # %s", name, value, e.ofGroup(name)) }

// others lists the settings of a chain of blocks beside the known ones.
func (e *explainer) others(known []string, body func(*HostGroup) *hclsyntax.Body) (out []string) {
	for h := e.g; h != nil; h = h.Base {
		b := body(h)
		if b == nil {
			continue
		}
		for _, a := range sortedAttributes(b) {
			if set(b, a.Name) != nil && !has(known, a.Name) && !has(out, a.Name) {
				out = append(out, a.Name)
			}
		}
	}
	return out
}

// modeText tells what is done about the group's attacks.
func (e *explainer) modeText() string {
	mode, why := e.c.ExplainMode(e.g, nil)
	return fmt.Sprintf("Mode in force: %s, since %s.", mode, why)
}

// ExplainMode is EffectiveMode without an action, and the reason for it.
func (c *Config) ExplainMode(g *HostGroup, t *Threshold) (Mode, string) {
	switch {
	case t != nil && t.Mode == Monitor:
		return Monitor, fmt.Sprintf("threshold %q says so", t.Name)
	case g != nil && g.Mode == Monitor:
		e := &explainer{c: c, g: g}
		if o := e.ofGroup("mode"); o.group != nil {
			g = o.group
		}
		return Monitor, fmt.Sprintf("hostgroup.%s says so", g.Name)
	case c.Daemon.Mode == Enforce:
		return Enforce, "the daemon block says so, and nothing else says monitor"
	}
	return Monitor, "the daemon's mode is monitor"
}

func (e *explainer) threshold(t *Threshold) {
	e.line("\nthreshold %q {", t.Name)
	say := func(name, value string) { e.line("%s = %s # %s", name, value, e.ofThreshold(t.Name, name)) }
	if t.Direction != "" {
		say("direction", strconv.Quote(t.Direction))
	}
	say("counter", "counter."+t.Counter)
	for _, u := range []struct {
		name  Unit
		value float64
	}{{PPS, t.PPS}, {BPS, t.BPS}, {FPS, t.FPS}} {
		switch at := e.ofThreshold(t.Name, string(u.name)); {
		case u.value > 0:
			say(string(u.name), rateText(u.value))
		case at.attr != nil:
			e.line("# no %s: disabled by %s", u.name, e.ofThreshold(t.Name, "disable"))
		}
	}
	if t.Burst != nil && (e.g.Detection != DetectionCommunity || t.Scope != "host") {
		say("burst", burstList(t.Burst))
	}
	if t.Mode != "" {
		say("mode", strconv.Quote(string(t.Mode)))
	}
	if t.Actions != nil {
		say("actions", actionList(t.Actions))
	}
	known := []string{"direction", "counter", "pps", "bps", "fps", "burst", "mode", "actions", "disable"}
	for _, name := range e.others(known, func(h *HostGroup) *hclsyntax.Body { return e.thresholdBody(h, t.Name) }) {
		say(name, e.source(e.ofThreshold(t.Name, name).attr))
	}
	e.line("}")
}

// mitigation tells how long what is done about the group's attacks lasts.
func (e *explainer) mitigation() {
	m := &e.g.Mitigation
	say := func(name, value string) {
		e.line("%s = %s # %s", name, value, e.of(name, e.mitigationBody))
	}
	e.line("\nmitigation {")
	say("hold", quotedDuration(m.Hold))
	say("max", quotedDuration(m.Max))
	say("release", strconv.Quote(m.Release))
	say("backoff", strconv.FormatFloat(m.Backoff, 'f', -1, 64))
	if m.Attributes != nil {
		e.line("# %s", e.of("attributes", e.mitigationBody))
		e.line("attributes = {")
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			var texts []string
			for _, t := range m.Attributes[name] {
				texts = append(texts, strconv.Quote(t))
			}
			e.line("%s = [%s]", name, strings.Join(texts, ", "))
		}
		e.line("}")
	}
	e.line("}")
}

// mitigationBody is what a group itself says about its mitigations, or nil.
func (e *explainer) mitigationBody(h *HostGroup) *hclsyntax.Body {
	for _, b := range e.c.bodies[h].Blocks {
		if b.Type == "mitigation" {
			return b.Body
		}
	}
	return nil
}

// removed tells of thresholds that the group takes out of what it inherits.
func (e *explainer) removed() {
	var told []string
	for h := e.g; h != nil; h = h.Base {
		for _, b := range e.c.bodies[h].Blocks {
			if b.Type != "threshold" || len(b.Labels) != 1 || has(told, b.Labels[0]) {
				continue
			}
			name := b.Labels[0]
			told = append(told, name)
			if !slices.ContainsFunc(e.g.Thresholds, func(t *Threshold) bool { return t.Name == name }) {
				e.line("\n# threshold %q has no limit left: disabled by %s", name, e.ofThreshold(name, "disable"))
			}
		}
	}
}

func prefixList(list []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("[\n")
	for _, p := range list {
		fmt.Fprintf(&b, "%q,\n", p)
	}
	return b.String() + "]"
}

func actionList(refs []Reference) string {
	var names []string
	for _, r := range refs {
		names = append(names, r.String())
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// String writes a reference as it stands in a configuration.
func (r Reference) String() string {
	s := r.Kind + "." + r.Plugin + "." + r.Instance
	if r.Target != "" {
		s += "." + r.Target
	}
	return s
}

// quotedDuration writes a duration as the language reads it.
func quotedDuration(d time.Duration) string {
	s := strings.ReplaceAll(d.String(), "µ", "u")
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return strconv.Quote(s)
}

// rateText writes a rate as the language reads it: round ones from a million
// on with a unit.
func rateText(v float64) string {
	for _, u := range []struct {
		scale float64
		name  string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}} {
		if v >= u.scale && v == float64(int64(v/u.scale*1000))*(u.scale/1000) {
			return strconv.Quote(strconv.FormatFloat(v/u.scale, 'f', -1, 64) + u.name)
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// keepBody remembers what a group says itself.
func (l *loader) keepBody(g *HostGroup, b *hclsyntax.Body) {
	if l.conf.bodies == nil {
		l.conf.bodies = map[*HostGroup]*hclsyntax.Body{}
	}
	l.conf.bodies[g] = b
}
