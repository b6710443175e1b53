package announce

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// ErrWaits says that there is nothing to announce before the attack has a label:
// it is no failure.
var ErrWaits = errors.New("waits for a label")

// Plan is what a mitigation comes to: a route to Prefix, or with Rules, which
// FlowSpec profiles always have, one flow-spec rule for each of them with Prefix
// as its destination.
type Plan struct {
	Prefix     netip.Prefix
	Attributes Attributes
	Rules      []*flowspec.Rule
}

// Plan finds out what a mitigation comes to; an error says why it cannot be
// announced. Nothing outside the mitigation's subnet leaves, whatever is asked
// for, and never a default route.
func (p *Profile) Plan(m *sdk.Mitigation) (Plan, error) {
	attrs, err := p.Override(m.Attributes)
	if err != nil {
		return Plan{}, err
	}
	out := Plan{Attributes: attrs}
	if out.Prefix, err = p.destination(m); err != nil {
		return Plan{}, err
	}
	if p.FlowSpec() {
		out.Rules, err = p.rules(m, out.Prefix)
		return out, err
	}
	if !attrs.NextHopOf(out.Prefix).IsValid() {
		attr := "next_hop"
		if out.Prefix.Addr().Is6() {
			attr = "next_hop_v6"
		}
		return Plan{}, fmt.Errorf("announce %q has no %s, so %s cannot be announced", p.Name, attr, out.Prefix)
	}
	return out, nil
}

// destination is the prefix that is announced.
func (p *Profile) destination(m *sdk.Mitigation) (netip.Prefix, error) {
	target := m.Target.Masked()
	if !target.IsValid() {
		return target, errors.New("the mitigation has no single target")
	}
	if target.Addr().Is4In6() {
		return target, fmt.Errorf("%s is an IPv4 address written as IPv6", target)
	}
	out, length := target, p.Lengths[0]
	if target.Addr().Is6() {
		length = p.Lengths[1]
	}
	if length > 0 && length < target.Bits() {
		out = netip.PrefixFrom(target.Addr(), length).Masked()
	}
	if p.Subnet {
		out = m.Subnet.Masked()
	}
	switch {
	case !m.Subnet.IsValid():
		return out, fmt.Errorf("%s lies in none of our networks", target)
	case !Inside(target, m.Subnet):
		return out, fmt.Errorf("%s lies outside %s, the network it is said to be in", target, m.Subnet)
	case !Inside(out, m.Subnet):
		return out, fmt.Errorf("announce %q widens %s to %s, which is more than our network %s", p.Name, target, out, m.Subnet)
	case out.Bits() == 0:
		return out, errors.New("a default route is never announced")
	}
	return out, nil
}

// Inside reports whether a prefix lies in another one, or is the same.
func Inside(p, outer netip.Prefix) bool {
	return p.Addr().BitLen() == outer.Addr().BitLen() && p.Bits() >= outer.Bits() && outer.Contains(p.Addr())
}

// rules are the rules for a mitigation's traffic, at least one.
func (p *Profile) rules(m *sdk.Mitigation, prefix netip.Prefix) ([]*flowspec.Rule, error) {
	v6 := prefix.Addr().Is6()
	switch to := p.Action.To; {
	case m.Direction == "outgoing":
		return nil, errors.New("flow-spec rules are for traffic to our hosts, and this goes out from one")
	case to.IsValid() && to.Is6() != v6:
		return nil, fmt.Errorf("announce %q redirects to %s, an address of the other family, which %s cannot be led to", p.Name, to, prefix)
	}
	var rules []*flowspec.Rule
	for _, r := range p.Rules {
		if r.Fits(v6) {
			rules = append(rules, r)
		}
	}
	switch {
	case len(p.Rules) > 0 && len(rules) == 0:
		return nil, fmt.Errorf("none of the rules of announce %q is for the family of %s", p.Name, prefix)
	case len(p.Rules) == 0:
		rules = flowspec.ForEvent(&m.Event)
	}
	if len(rules) > 0 {
		return rules, nil
	}
	if p.Action.Then == Discard {
		return nil, fmt.Errorf("%w: neither the label %q nor the counter %q says which of the traffic to %s to drop", ErrWaits, m.Event.Label, m.Event.Counter, prefix)
	}
	return []*flowspec.Rule{{}}, nil // all traffic to the target may be limited, led elsewhere or marked
}
