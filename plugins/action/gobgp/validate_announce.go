package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// profile reads an announce block.
func (r *reader) profile(path diag.Path, a announce) *profile {
	p := &profile{name: a.Name, subnet: a.Prefix == prefixSubnet, divert: a.Divert, noExport: a.NoExport, then: a.Then}
	if a.Prefix != prefixHost && a.Prefix != prefixSubnet {
		r.fail(path.Attr("prefix"), "Unknown prefix", `%q is neither "host" nor "subnet".`, a.Prefix)
	}
	r.lengths(path, a, p)
	r.communities(path, a, p)
	p.attrs.localPref, p.attrs.med, p.attrs.prepend = a.LocalPref, a.MED, a.ASPathPrepend
	if a.ASPathPrepend < 0 || a.ASPathPrepend > 20 {
		r.fail(path.Attr("as_path_prepend"), "Number out of range", "%d is not between 0 and 20.", a.ASPathPrepend)
	}
	if p.flowSpec() {
		r.flowSpec(path, a, p)
	} else {
		r.routes(path, a, p)
	}
	return p
}

func (r *reader) lengths(path diag.Path, a announce, p *profile) {
	path = path.Attr("prefix_length")
	switch {
	case a.PrefixLength == nil:
		return
	case p.subnet:
		r.fail(path, "Prefix length of a subnet", `With prefix = "subnet" the length is that of our network. Leave out one of the two.`)
	case len(a.PrefixLength) != 2:
		r.fail(path, "Two lengths are needed", "Write one for IPv4 and one for IPv6, such as [24, 48].")
	default:
		for i, most := range []int{32, 128} {
			if n := a.PrefixLength[i]; n < 1 || n > most {
				r.fail(path.Index(i), "Prefix length out of range", "%d is not between 1 and %d.", n, most)
			}
			p.lengths[i] = a.PrefixLength[i]
		}
	}
}

func (r *reader) communities(path diag.Path, a announce, p *profile) {
	read := func(attr string, list []string, one func(string) error) {
		for i, s := range list {
			if err := one(s); err != nil {
				r.fail(path.Attr(attr).Index(i), "Bad community", "%v.", err)
			}
		}
	}
	read("communities", a.Communities, func(s string) error {
		c, err := parseCommunity(s)
		p.attrs.communities = append(p.attrs.communities, c)
		return err
	})
	read("large_communities", a.LargeCommunities, func(s string) error {
		c, err := parseLarge(s)
		p.attrs.large = append(p.attrs.large, c)
		return err
	})
	read("extended_communities", a.ExtendedCommunities, func(s string) error {
		c, err := parseExtended(s)
		p.attrs.extended = append(p.attrs.extended, c)
		return err
	})
	if a.Communities == nil && a.Then == "" && !a.Divert {
		p.attrs.communities = []uint32{uint32(bgp.COMMUNITY_BLACKHOLE)}
	}
	p.attrs.communities = withNoExport(p.attrs.communities, a.NoExport)
	if a.Divert && slices.Contains(p.attrs.communities, uint32(bgp.COMMUNITY_BLACKHOLE)) {
		r.fail(path.Attr("divert"), "Diverted into a blackhole", "The community BLACKHOLE (65535:666) asks routers to drop the traffic, which divert says is led elsewhere.")
	}
}

// routes checks what only announce blocks for routes have.
func (r *reader) routes(path diag.Path, a announce, p *profile) {
	for _, hop := range []struct {
		attr string
		addr netip.Addr
		v4   bool
	}{{"next_hop", a.NextHop, true}, {"next_hop_v6", a.NextHopV6, false}} {
		if !hop.addr.IsValid() {
			continue
		}
		if err := usableNextHop(hop.addr); err != nil {
			r.fail(path.Attr(hop.attr), "Bad next hop", "%v.", err)
		} else if hop.addr.Is4() != hop.v4 {
			r.fail(path.Attr(hop.attr), "Next hop of the wrong family", "%s is not an address of %s's family: next_hop is for IPv4 routes, next_hop_v6 for IPv6 ones.", hop.addr, hop.attr)
		}
	}
	p.attrs.nextHop, p.attrs.nextHopV6 = a.NextHop, a.NextHopV6
	if !a.NextHop.IsValid() && !a.NextHopV6.IsValid() {
		r.fail(path.Attr("next_hop"), "No next hop", "Write where the traffic shall go: next_hop for IPv4, next_hop_v6 for IPv6 (or, for flow-spec rules, then).")
	}
	for _, x := range []struct {
		attr string
		set  bool
	}{{"match", len(a.Matches) > 0}, {"bytes_per_second", a.BytesPerSecond != nil}, {"redirect", a.Redirect != ""}, {"dscp", a.DSCP != nil}} {
		if x.set {
			r.fail(path.Attr(x.attr), "Not for routes", `%s belongs to flow-spec rules. Say what they do: then = "discard", "rate-limit", "redirect" or "mark".`, x.attr)
		}
	}
}

// flowSpec checks what only announce blocks for flow-spec rules have.
func (r *reader) flowSpec(path diag.Path, a announce, p *profile) {
	for _, x := range []struct {
		attr string
		set  bool
	}{{"next_hop", a.NextHop.IsValid()}, {"next_hop_v6", a.NextHopV6.IsValid()}, {"divert", a.Divert}} {
		if x.set {
			r.fail(path.Attr(x.attr), "Not for flow-spec rules", "%s belongs to routes. Leave out then, or %s.", x.attr, x.attr)
		}
	}
	want := map[string]string{thenRateLimit: "bytes_per_second", thenRedirect: "redirect", thenMark: "dscp"}[a.Then]
	for _, x := range []struct {
		attr string
		set  bool
	}{{"bytes_per_second", a.BytesPerSecond != nil}, {"redirect", a.Redirect != ""}, {"dscp", a.DSCP != nil}} {
		switch {
		case x.set && x.attr != want:
			r.fail(path.Attr(x.attr), "Does not fit", "%s says nothing with then = %q.", x.attr, a.Then)
		case !x.set && x.attr == want:
			r.fail(path.Attr(x.attr), "Missing", "then = %q needs %s.", a.Then, x.attr)
			return
		}
	}
	r.action(path, a, p)
	for i := range a.Matches {
		at := path.Attr("match").Index(i)
		made, err := a.Matches[i].Rule()
		var bad *flowspec.MatchError
		if errors.As(err, &bad) {
			r.fail(at.Attr(bad.Attr), "Bad match", "%v.", bad.Err)
			continue
		}
		p.rules = append(p.rules, made)
	}
}

func (r *reader) action(path diag.Path, a announce, p *profile) {
	switch a.Then {
	case thenDiscard:
		p.action, p.actionText = bgp.NewTrafficRateExtended(0, 0), "discard"
	case thenRateLimit:
		if *a.BytesPerSecond == 0 {
			r.fail(path.Attr("bytes_per_second"), "Rate of nothing", `A limit of 0 drops everything: write then = "discard".`)
		}
		p.action, p.actionText = bgp.NewTrafficRateExtended(0, float32(*a.BytesPerSecond)), fmt.Sprintf("rate-limit %d bytes/s", uint64(*a.BytesPerSecond))
	case thenMark:
		if *a.DSCP < 0 || *a.DSCP > 63 {
			r.fail(path.Attr("dscp"), "Number out of range", "%d is not between 0 and 63.", *a.DSCP)
			return
		}
		p.action, p.actionText = bgp.NewTrafficRemarkExtended(uint8(*a.DSCP)), fmt.Sprintf("mark dscp %d", *a.DSCP)
	case thenRedirect:
		ec, v6, address, err := redirection(a.Redirect)
		if err != nil {
			r.fail(path.Attr("redirect"), "Bad redirection", "%v.", err)
			return
		}
		if address {
			p.hopFamily = 4
			if v6 {
				p.hopFamily = 6
			}
		}
		p.action, p.actionText, p.redirect = ec, "redirect "+a.Redirect, a.Redirect
	default:
		r.fail(path.Attr("then"), "Unknown action", `%q is none of "discard", "rate-limit", "redirect" and "mark".`, a.Then)
	}
}
