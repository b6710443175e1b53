package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Mitigation says how long a hostgroup's mitigations last.
type Mitigation struct {
	Hold       time.Duration
	Max        time.Duration
	Release    string              // ReleaseAuto, ReleaseWhenQuiet, ReleaseAfterHold or ReleaseManual
	Backoff    float64             // Hold is multiplied with it at each recurrence
	Attributes map[string][]string // stand instead of a profile's own; nil: none
	Set        hcl.Range           // of Attributes
}

// Ways to release a mitigation.
const (
	ReleaseAuto      = "auto"
	ReleaseWhenQuiet = "when_quiet"
	ReleaseAfterHold = "after_hold"
	ReleaseManual    = "manual"
)

// Defaults of a hostgroup's mitigation block.
const (
	DefaultHold    = 10 * time.Minute
	DefaultMax     = 24 * time.Hour
	DefaultBackoff = 2

	mostBackoff    = 10
	maxAttributes  = 32
	maxAttributeNo = 100
)

// Guard is the guard block: what is never announced, and what only a person lets
// pass.
type Guard struct {
	MaxActive       int     // mitigations in force at a time
	MaxShare        float64 // of our addresses of a family, 0 … 1
	MaxNewPerMinute int
	Protected       []netip.Prefix
	Shortest        [2]uint8 // lengths that announcements have at least: IPv4 and IPv6
	Range           hcl.Range
}

// Values of on_stop: what a planned stop does with what is in force.
const (
	OnStopKeep     = "keep"
	OnStopWithdraw = "withdraw"
)

var defaultGuard = Guard{MaxActive: 100, MaxShare: 0.02, MaxNewPerMinute: 20, Shortest: [2]uint8{32, 128}}

// readGuard reads the guard block, which may be missing.
func (l *loader) readGuard() {
	g := &l.conf.Guard
	*g = defaultGuard
	for _, blk := range l.blocks["guard"] {
		b := l.open(blk, "the guard block", nil, shape{attrs: []string{"max_active", "max_share", "max_new_per_minute", "protected", "shortest_prefix"}})
		g.Range = blk.DefRange()
		b.number("max_active", 10_000, &g.MaxActive)
		b.number("max_new_per_minute", 10_000, &g.MaxNewPerMinute)
		if i, ok := b.one("max_share"); ok {
			if v, ok := percent(i.Value); ok {
				g.MaxShare = v
			} else {
				l.errorf(i.at, "Invalid share", "%s is no share of our addresses: write one such as \"2%%\", up to \"100%%\".", i.text())
			}
		}
		g.Protected = plainPrefixes(b.prefixes("protected"))
		if n := b.prefixLengths("shortest_prefix"); n != [2]uint8{} {
			g.Shortest = n
		}
	}
}

// number reads a whole number from 0.
func (b body) number(name string, most int64, to *int) {
	i, ok := b.one(name)
	if !ok {
		return
	}
	n, fits := whole(i.Value, 0, most)
	if !fits {
		b.l.errorf(i.at, "Invalid number", "%s is not a value of %q: it takes a whole number from 0 to %d.", i.text(), name, most)
		return
	}
	*to = int(n)
}

// percent reads a text such as "2%" or "0.5 %" as 0 … 1.
func percent(v cty.Value) (float64, bool) {
	if v.Type() != cty.String {
		return 0, false
	}
	digits, ok := strings.CutSuffix(v.AsString(), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	return n / 100, ok && err == nil && n >= 0 && n <= 100
}

// readMitigations reads a hostgroup's mitigation block, which may be missing.
func (l *loader) readMitigations(g *group, blk *hclsyntax.Block) {
	var first *hclsyntax.Block
	for _, n := range blk.Body.Blocks {
		switch {
		case n.Type != "mitigation":
		case first != nil:
			l.errorf(n.DefRange(), "Duplicate block", "%s already has a mitigation block at %s. Merge the two.", header(blk), place(first.DefRange()))
		default:
			first = n
			l.readMitigation(g, n)
		}
	}
}

func (l *loader) readMitigation(g *group, blk *hclsyntax.Block) {
	b := l.open(blk, "the mitigation block", nil, shape{attrs: []string{"hold", "max", "release", "backoff", "attributes"}})
	m := &g.Mitigation
	m.Hold, _ = b.duration("hold")
	m.Max, _ = b.duration("max")
	m.Release, _ = b.choice("release", ReleaseAuto, ReleaseWhenQuiet, ReleaseAfterHold, ReleaseManual)
	if i, ok := b.one("backoff"); ok {
		m.Backoff = DefaultBackoff
		if i.Type() == cty.Number {
			m.Backoff, _ = i.AsBigFloat().Float64()
		}
		if i.Type() != cty.Number || m.Backoff < 1 || m.Backoff > mostBackoff {
			l.errorf(i.at, "Invalid number", "%s is not a value of \"backoff\": hold is multiplied with it each time that an attack comes again, so it takes a number from 1 to %d.", i.text(), mostBackoff)
			m.Backoff = DefaultBackoff
		}
	}
	b.attributes("attributes", m)
}

// attributes reads an object of texts and lists of texts.
func (b body) attributes(name string, m *Mitigation) {
	a := b.attr(name)
	if a == nil {
		return
	}
	i, ok := b.one(name)
	if !ok {
		return
	}
	if ty := i.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		b.wrongType(i, name, `an object such as { communities = ["65535:666"] }`)
		return
	}
	m.Attributes, m.Set = map[string][]string{}, a.Expr.Range()
	for it := i.ElementIterator(); it.Next(); {
		k, v := it.Element()
		texts, err := attributeTexts(v)
		if err != nil {
			b.l.errorf(i.at, "Wrong type", "%q of %q %v.", k.AsString(), name, err)
			continue
		}
		m.Attributes[k.AsString()] = texts
	}
	if len(m.Attributes) > maxAttributes {
		b.l.errorf(i.at, "Too many attributes", "%q sets %d attributes; at most %d are possible.", name, len(m.Attributes), maxAttributes)
	}
}

// attributeTexts reads a text, a number, true or false, or a list of those.
func attributeTexts(v cty.Value) ([]string, error) {
	wrong := fmt.Errorf("needs a text or a list of texts")
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return nil, wrong
	}
	switch ty := v.Type(); {
	case ty == cty.String:
		return []string{v.AsString()}, nil
	case ty == cty.Number:
		return []string{v.AsBigFloat().Text('f', -1)}, nil
	case ty == cty.Bool:
		return []string{strconv.FormatBool(v.True())}, nil
	case !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType():
		return nil, wrong
	}
	out := []string{}
	for it := v.ElementIterator(); it.Next(); {
		_, elem := it.Element()
		one, err := attributeTexts(elem)
		if err != nil || len(one) != 1 {
			return nil, wrong
		}
		if out = append(out, one...); len(out) > maxAttributeNo {
			return nil, fmt.Errorf("has more than %d values", maxAttributeNo)
		}
	}
	return out, nil
}

// inheritMitigation fills in what a group leaves out, from its base and from the
// defaults.
func (l *loader) inheritMitigation(g *group) {
	m := &g.Mitigation
	if g.Base != nil {
		from := &g.Base.Mitigation
		m.Hold, m.Max = either(m.Hold, from.Hold), either(m.Max, from.Max)
		m.Release, m.Backoff = either(m.Release, from.Release), either(m.Backoff, from.Backoff)
		if m.Attributes == nil {
			m.Attributes, m.Set = from.Attributes, from.Set
		}
	}
	ownMax := m.Max
	m.Hold, m.Max = either(m.Hold, DefaultHold), either(m.Max, DefaultMax)
	m.Release, m.Backoff = either(m.Release, ReleaseAuto), either(m.Backoff, float64(DefaultBackoff))
	if m.Hold <= m.Max {
		return
	}
	if ownMax == 0 {
		m.Max = m.Hold
		return
	}
	l.errorf(g.Range, "Contradiction", "The mitigations of hostgroup.%s hold for %s and last %s at most. Make max at least as long as hold.", g.Name, m.Hold, m.Max)
}

// CheckOverride complains about attributes of a hostgroup that a plugin does
// not take.
func (g *HostGroup) CheckOverride(ref Reference, why string) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Attributes refused", Subject: g.Mitigation.Set.Ptr(),
		Detail: fmt.Sprintf("%s does not take what hostgroup.%s sets instead of its attributes: %s.", ref, g.Name, strings.TrimSuffix(why, ".")),
	}
}
