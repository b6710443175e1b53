package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// profile is an announce block, read.
type profile struct{ *announce.Profile }

// needs reports whether the profile announces something in a family.
func (p profile) needs(f bgp.RouteFamily) bool {
	switch f {
	case bgp.RF_FS_IPv4_UC, bgp.RF_FS_IPv6_UC:
		return p.FlowSpec()
	case bgp.RF_IPv4_UC:
		return !p.FlowSpec() && p.Attributes.NextHop.IsValid()
	default:
		return !p.FlowSpec() && p.Attributes.NextHopV6.IsValid()
	}
}

// plan is all that a mitigation comes to; an error says why it cannot be done.
func (p profile) plan(m *sdk.Mitigation) ([]*route, error) {
	plan, err := p.Plan(m)
	if err != nil {
		return nil, err
	}
	if !p.FlowSpec() {
		made, err := newRoute(route{prefix: plan.Prefix, nlri: prefixOf(plan.Prefix), text: plan.Prefix.String(), discard: p.Discards(), attrs: plan.Attributes})
		if err != nil {
			return nil, err
		}
		return []*route{made}, nil
	}
	var out []*route
	action, text := actionOf(&p.Action)
	for _, rule := range plan.Rules {
		nlri := nlriOf(rule, plan.Prefix)
		made, err := newRoute(route{
			prefix: plan.Prefix, nlri: nlri, text: nlri.String() + " " + text, flowSpec: true, discard: p.Discards(),
			matches: rule.Conditions(plan.Prefix.Addr().Is6()), attrs: plan.Attributes, action: action,
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

func prefixOf(p netip.Prefix) bgp.AddrPrefixInterface {
	if p.Addr().Is6() {
		return prefix6(p)
	}
	return prefix4(p)
}

// redirectNextHop is the subtype of redirect-to-IP
// (draft-ietf-idr-flowspec-redirect-ip; 0x010c and, for IPv6, 0x000c).
const redirectNextHop bgp.ExtendedCommunityAttrSubType = 0x0c

// actionOf writes what rules do, for gobgp and for people.
func actionOf(a *announce.Action) (bgp.ExtendedCommunityInterface, string) {
	switch a.Then {
	case announce.RateLimit:
		return bgp.NewTrafficRateExtended(0, float32(a.BytesPerSecond)), fmt.Sprintf("rate-limit %d bytes/s", a.BytesPerSecond)
	case announce.Mark:
		return bgp.NewTrafficRemarkExtended(a.DSCP), fmt.Sprintf("mark dscp %d", a.DSCP)
	case announce.Redirect:
		switch as, addr, value := a.Target.Administrator(); {
		case a.To.Is4():
			return bgp.NewIPv4AddressSpecificExtended(redirectNextHop, a.To.String(), 0, true), "redirect " + a.To.String()
		case a.To.Is6():
			return bgp.NewIPv6AddressSpecificExtended(redirectNextHop, a.To.String(), 0, true), "redirect " + a.To.String()
		case addr.IsValid():
			return extendedOf(a.Target), fmt.Sprintf("redirect %s:%d", addr, value)
		default:
			return extendedOf(a.Target), fmt.Sprintf("redirect %d:%d", as, value)
		}
	}
	return bgp.NewTrafficRateExtended(0, 0), "discard"
}

// extendedOf has gobgp read an extended community.
func extendedOf(e announce.Extended) bgp.ExtendedCommunityInterface {
	out, err := bgp.ParseExtended(e[:])
	if err != nil {
		return &bgp.UnknownExtended{Type: bgp.ExtendedCommunityAttrType(e[0]), Value: e[1:]}
	}
	return out
}
