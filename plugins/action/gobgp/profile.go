package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// profile is an announce block, read.
type profile struct {
	name     string
	subnet   bool
	lengths  [2]int // that hosts are widened to, v4 and v6; 0: they are not
	divert   bool
	attrs    attributes
	noExport bool

	then       string // "" announces routes
	action     bgp.ExtendedCommunityInterface
	actionText string
	redirect   string
	hopFamily  int // of redirect to an address: 4 or 6; 0 it is none
	rules      []*flowspec.Rule
}

func (p *profile) flowSpec() bool { return p.then != "" }

// needs reports whether the profile announces something in a family.
func (p *profile) needs(f bgp.RouteFamily) bool {
	switch f {
	case bgp.RF_FS_IPv4_UC, bgp.RF_FS_IPv6_UC:
		return p.flowSpec()
	case bgp.RF_IPv4_UC:
		return !p.flowSpec() && p.attrs.nextHop.IsValid()
	default:
		return !p.flowSpec() && p.attrs.nextHopV6.IsValid()
	}
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
		return p.flowSpecRoutes(m, prefix, attrs)
	}
	if hop := attrs.nextHopOf(prefix); !hop.IsValid() {
		attr := "next_hop"
		if prefix.Addr().Is6() {
			attr = "next_hop_v6"
		}
		return nil, fmt.Errorf("announce %q has no %s, so %s cannot be announced", p.name, attr, prefix)
	}
	r := route{prefix: prefix, text: prefix.String(), discard: !p.divert, attrs: attrs}
	if prefix.Addr().Is6() {
		r.nlri = prefix6(prefix)
	} else {
		r.nlri = prefix4(prefix)
	}
	made, err := newRoute(r)
	if err != nil {
		return nil, err
	}
	return []*route{made}, nil
}

// destination is the prefix that is announced.
func (p *profile) destination(m *sdk.Mitigation) (netip.Prefix, error) {
	target := m.Target.Masked()
	if !target.IsValid() {
		return target, errors.New("the mitigation has no single target")
	}
	if target.Addr().Is4In6() {
		return target, fmt.Errorf("%s is an IPv4 address written as IPv6", target)
	}
	out := target
	if length := p.lengths[familyIndex(target)]; length > 0 && length < target.Bits() {
		out = netip.PrefixFrom(target.Addr(), length).Masked()
	}
	if p.subnet {
		out = m.Subnet.Masked()
	}
	switch {
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

func familyIndex(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 1
	}
	return 0
}

func inside(p, outer netip.Prefix) bool {
	return p.Addr().BitLen() == outer.Addr().BitLen() && p.Bits() >= outer.Bits() && outer.Contains(p.Addr())
}

// flowSpecRoutes are the rules for a mitigation's traffic.
func (p *profile) flowSpecRoutes(m *sdk.Mitigation, prefix netip.Prefix, attrs attributes) ([]*route, error) {
	v6 := prefix.Addr().Is6()
	switch {
	case m.Direction == "outgoing":
		return nil, errors.New("flow-spec rules are for traffic to our hosts, and this goes out from one")
	case p.hopFamily == 4 && v6, p.hopFamily == 6 && !v6:
		return nil, fmt.Errorf("announce %q redirects to an IPv%d address, which %s cannot be led to", p.name, p.hopFamily, prefix)
	}
	var rules []*flowspec.Rule
	for _, r := range p.rules {
		if r.Fits(v6) {
			rules = append(rules, r)
		}
	}
	switch {
	case len(p.rules) > 0 && len(rules) == 0:
		return nil, fmt.Errorf("none of the rules of announce %q is for the family of %s", p.name, prefix)
	case len(p.rules) == 0:
		rules = flowspec.ForEvent(&m.Event)
	}
	if len(rules) == 0 {
		if p.then == thenDiscard {
			return nil, fmt.Errorf("waits for a label: neither the label %q nor the counter %q says which of the traffic to %s to drop",
				m.Event.Label, m.Event.Counter, prefix)
		}
		rules = []*flowspec.Rule{{}} // all traffic to the target may be limited, led elsewhere or marked
	}
	var out []*route
	for _, r := range rules {
		nlri := nlriOf(r, prefix)
		made, err := newRoute(route{
			prefix: prefix, nlri: nlri, text: nlri.String() + " " + p.actionText, flowSpec: true, discard: p.then == thenDiscard,
			matches: r.Conditions(v6), attrs: attrs, action: p.action,
		})
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o *route) bool { return o.key == made.key }) {
			out = append(out, made)
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

// overridable are the attributes that hostgroups may set.
const overridable = "next_hop, communities, large_communities, extended_communities, local_pref and med"

func (p *profile) set(a *attributes, name string, list []string) error {
	var err error
	switch name {
	case "next_hop", "next_hop_v6":
		return p.setNextHop(a, name, list)
	case "communities":
		if a.communities, err = parseAll(list, parseCommunity); err == nil {
			a.communities = withNoExport(a.communities, p.noExport)
		}
	case "large_communities":
		a.large, err = parseAll(list, parseLarge)
	case "extended_communities":
		a.extended, err = parseAll(list, parseExtended)
	case "local_pref":
		a.localPref, err = oneNumber(list)
	case "med":
		a.med, err = oneNumber(list)
	default:
		return fmt.Errorf("hostgroups may set %s", overridable)
	}
	return err
}

// setNextHop takes one address of each family. Flow-spec rules have no next hop
// and do nothing with it: a hostgroup's attributes are for all its actions.
func (p *profile) setNextHop(a *attributes, name string, list []string) error {
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

// usableNextHop says why an address cannot be a next hop.
func usableNextHop(addr netip.Addr) error {
	if addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() || addr.Zone() != "" || addr.IsLinkLocalUnicast() || addr.IsLoopback() {
		return fmt.Errorf("%s cannot be a next hop: it has to be an ordinary unicast address", addr)
	}
	return nil
}

func withNoExport(list []uint32, add bool) []uint32 {
	if add && !slices.Contains(list, uint32(bgp.COMMUNITY_NO_EXPORT)) {
		return append(list, uint32(bgp.COMMUNITY_NO_EXPORT))
	}
	return list
}

func parseAll[T any](list []string, parse func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func oneNumber(list []string) (*uint32, error) {
	if len(list) == 1 {
		if n, err := numbers(list[0], 32); err == nil {
			v := uint32(n[0])
			return &v, nil
		}
	}
	return nil, errors.New("write one number from 0 to 4294967295")
}
