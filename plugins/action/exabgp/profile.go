package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// profile is an announce block, read.
type profile struct {
	name     string
	subnet   bool
	lengths  [2]int // that hosts are widened to, v4 and v6; 0: they are not
	divert   bool
	noExport bool
	attrs    attributes
	localAS  uint32

	then   string // "" announces routes
	action string // the same in ExaBGP's words
	hop    netip.Addr
	rules  []*flowspec.Rule
}

// attributes are what a route carries, the same for all of a profile's but for
// what a hostgroup sets otherwise. Communities are in ExaBGP's words.
type attributes struct {
	nextHop, nextHopV6           netip.Addr
	communities, large, extended []string
	localPref, med               *uint32
	prepend                      int
}

func (p *profile) flowSpec() bool { return p.then != "" }

// nextHop is the next hop in a prefix's family.
func (a *attributes) nextHopOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return a.nextHopV6
	}
	return a.nextHop
}

// plan is all that a mitigation comes to; an error says why it cannot be done.
// Nothing outside the mitigation's subnet leaves, whatever is asked for.
func (p *profile) plan(m *sdk.Mitigation) ([]*route, error) {
	attrs := p.attrs
	if err := p.override(&attrs, m.Attributes); err != nil {
		return nil, err
	}
	prefix, err := p.destination(m)
	if err != nil {
		return nil, err
	}
	if p.flowSpec() {
		return p.flowRoutes(m, prefix, attrs)
	}
	if !attrs.nextHopOf(prefix).IsValid() {
		attr := "next_hop"
		if prefix.Addr().Is6() {
			attr = "next_hop_v6"
		}
		return nil, fmt.Errorf("announce %q has no %s, so %s cannot be announced", p.name, attr, prefix)
	}
	r, err := p.unicast(prefix, attrs)
	if err != nil {
		return nil, err
	}
	return []*route{r}, nil
}

// destination is the prefix that is announced.
func (p *profile) destination(m *sdk.Mitigation) (netip.Prefix, error) {
	target := m.Target.Masked()
	if !target.IsValid() {
		return target, errors.New("the mitigation has no single target")
	}
	out, v6 := target, target.Addr().Is6()
	length := p.lengths[0]
	if v6 {
		length = p.lengths[1]
	}
	if length > 0 && length < target.Bits() {
		out = netip.PrefixFrom(target.Addr(), length).Masked()
	}
	if p.subnet {
		out = m.Subnet.Masked()
	}
	switch {
	case target.Addr().Is4In6():
		return out, fmt.Errorf("%s is an IPv4 address written as IPv6", target)
	case !m.Subnet.IsValid():
		return out, fmt.Errorf("%s lies in none of our networks", target)
	case !inside(target, m.Subnet):
		return out, fmt.Errorf("%s lies outside %s, the network it is said to be in", target, m.Subnet)
	case !inside(out, m.Subnet):
		return out, fmt.Errorf("announce %q widens %s to %s, which is more than our network %s", p.name, target, out, m.Subnet)
	case out.Bits() == 0:
		return out, errors.New("a default route is never announced")
	}
	return out, nil
}

func inside(p, outer netip.Prefix) bool {
	return p.Addr().BitLen() == outer.Addr().BitLen() && p.Bits() >= outer.Bits() && outer.Contains(p.Addr())
}

// flowRoutes are the rules for a mitigation's traffic.
func (p *profile) flowRoutes(m *sdk.Mitigation, prefix netip.Prefix, attrs attributes) ([]*route, error) {
	v6 := prefix.Addr().Is6()
	switch {
	case m.Direction == "outgoing":
		return nil, errors.New("flow-spec rules are for traffic to our hosts, and this goes out from one")
	case p.hop.IsValid() && p.hop.Is6() != v6:
		return nil, fmt.Errorf("announce %q redirects to %s, where %s cannot be led", p.name, p.hop, prefix)
	}
	rules := flowspec.ForEvent(&m.Event)
	if len(p.rules) > 0 {
		rules = slices.DeleteFunc(slices.Clone(p.rules), func(r *flowspec.Rule) bool { return !r.Fits(v6) })
		if len(rules) == 0 {
			return nil, fmt.Errorf("none of the rules of announce %q is for the family of %s", p.name, prefix)
		}
	}
	if len(rules) == 0 {
		if p.then == thenDiscard {
			return nil, fmt.Errorf("waits for a label: neither the label %q nor the counter %q says which of the traffic to %s to drop",
				m.Event.Label, m.Event.Counter, prefix)
		}
		rules = []*flowspec.Rule{{}} // all traffic to the target may be limited, led elsewhere or marked
	}
	var out []*route
	for _, rule := range rules {
		r, err := p.flow(prefix, rule, attrs)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o *route) bool { return o.key == r.key }) {
			out = append(out, r)
		}
	}
	return out, nil
}

// override puts what a hostgroup sets in the place of the profile's own.
func (p *profile) override(a *attributes, values map[string][]string) error {
	for name, list := range values {
		if err := p.set(a, name, list); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

func (p *profile) set(a *attributes, name string, list []string) error {
	var err error
	switch name {
	case "next_hop", "next_hop_v6":
		return p.setNextHop(a, name, list)
	case "communities":
		if a.communities, err = parseAll(list, community); err == nil {
			a.communities = withNoExport(a.communities, p.noExport)
		}
	case "large_communities":
		a.large, err = parseAll(list, largeCommunity)
	case "extended_communities":
		a.extended, err = parseAll(list, extendedCommunity)
	case "local_pref":
		a.localPref, err = oneNumber(list)
	case "med":
		a.med, err = oneNumber(list)
	default:
		return errors.New("hostgroups may set next_hop, communities, large_communities, extended_communities, local_pref and med")
	}
	return err
}

// setNextHop takes one address of each family.
func (p *profile) setNextHop(a *attributes, name string, list []string) error {
	if p.flowSpec() {
		return fmt.Errorf("announce %q makes flow-spec rules, which have no next hop", p.name)
	}
	if len(list) == 0 {
		return errors.New("name an address")
	}
	var seen [2]bool
	for _, s := range list {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is no address", s)
		}
		if err := usableNextHop(addr); err != nil {
			return err
		}
		i := addr.BitLen() / 128
		if seen[i] || name == "next_hop_v6" && addr.Is4() {
			return fmt.Errorf("%q is one address too many of its family here", s)
		}
		seen[i] = true
		if addr.Is4() {
			a.nextHop = addr
		} else {
			a.nextHopV6 = addr
		}
	}
	return nil
}

func withNoExport(list []string, add bool) []string {
	if add && !slices.Contains(list, noExport) {
		return append(slices.Clip(list), noExport)
	}
	return list
}
