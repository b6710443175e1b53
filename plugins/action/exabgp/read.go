package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// settings is a configuration, read.
type settings struct {
	config
	profiles map[string]*profile
}

// reader gathers what is wrong with a configuration.
type reader struct {
	ds      diag.Diagnostics
	localAS uint32
}

func (r *reader) fail(path diag.Path, summary, detail string, args ...any) {
	r.ds = append(r.ds, diag.Errorf(path, summary, detail, args...))
}

// read checks a configuration. It opens nothing.
func read(c config) (*settings, error) {
	s, r, root := &settings{config: c, profiles: map[string]*profile{}}, &reader{localAS: c.LocalAS}, diag.Path{}
	switch {
	case c.Pipe == "" && c.CLI == "":
		r.fail(root, "No pipe", `Write pipe = "/run/exabgp.cmd" for a named pipe that a process of ExaBGP's reads, or cli = "/run/exabgp/exabgp" for its CLI's pipes.`)
	case c.Pipe != "" && c.CLI != "":
		r.fail(root.Attr("cli"), "Two ways", "Write pipe or cli, not both.")
	}
	if c.Refresh < time.Second || c.Refresh > 24*time.Hour {
		r.fail(root.Attr("refresh"), "Duration out of range", "%s is not between 1s and 24h.", c.Refresh)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		r.fail(root.Attr("timeout"), "Duration out of range", "%s is not between 100ms and 1m.", c.Timeout)
	}
	for i, a := range c.Neighbors {
		if a.IsUnspecified() {
			r.fail(root.Attr("neighbors").Index(i), "Not an address", "%s is nobody's address.", a)
		}
	}
	if len(c.Announce) == 0 {
		r.fail(root, "Nothing to announce", `Write at least one announce "name" {} block.`)
	}
	for i, a := range c.Announce {
		path := root.Attr("announce").Index(i)
		if s.profiles[a.Name] != nil {
			r.fail(path, "Name used twice", "There are two announce blocks %q.", a.Name)
			continue
		}
		s.profiles[a.Name] = r.profile(path, &c.Announce[i])
	}
	return s, r.ds.Err()
}

func (r *reader) profile(path diag.Path, a *announce) *profile {
	p := &profile{name: a.Name, subnet: a.Prefix == prefixSubnet, divert: a.Divert, noExport: a.NoExport, then: a.Then, localAS: r.localAS}
	if a.Prefix != prefixHost && a.Prefix != prefixSubnet {
		r.fail(path.Attr("prefix"), "Unknown prefix", `%q is neither "host" nor "subnet".`, a.Prefix)
	}
	r.lengths(path.Attr("prefix_length"), a, p)
	r.communities(path, a, p)
	p.attrs.localPref, p.attrs.med, p.attrs.prepend = a.LocalPref, a.MED, a.ASPathPrepend
	switch {
	case a.ASPathPrepend < 0 || a.ASPathPrepend > 20:
		r.fail(path.Attr("as_path_prepend"), "Number out of range", "%d is not between 0 and 20.", a.ASPathPrepend)
	case a.ASPathPrepend > 0 && r.localAS == 0:
		r.fail(path.Attr("as_path_prepend"), "No AS number", "Which number is put in front? Write local_as beside the announce blocks.")
	}
	if p.flowSpec() {
		r.flowSpec(path, a, p)
	} else {
		r.routes(path, a, p)
	}
	return p
}

func (r *reader) lengths(path diag.Path, a *announce, p *profile) {
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

func (r *reader) communities(path diag.Path, a *announce, p *profile) {
	for _, x := range []struct {
		attr  string
		list  []string
		parse func(string) (string, error)
		out   *[]string
	}{
		{"communities", a.Communities, community, &p.attrs.communities},
		{"large_communities", a.LargeCommunities, largeCommunity, &p.attrs.large},
		{"extended_communities", a.ExtendedCommunities, extendedCommunity, &p.attrs.extended},
	} {
		for i, s := range x.list {
			c, err := x.parse(s)
			if err != nil {
				r.fail(path.Attr(x.attr).Index(i), "Bad community", "%v.", err)
				continue
			}
			*x.out = append(*x.out, c)
		}
	}
	if a.Communities == nil && a.Then == "" && !a.Divert {
		p.attrs.communities = []string{blackhole}
	}
	for i, c := range p.attrs.communities {
		if a.Divert && c == blackhole {
			r.fail(path.Attr("communities").Index(i), "Diverted into a blackhole", "The community BLACKHOLE (65535:666) asks routers to drop the traffic, which divert says is led elsewhere.")
		}
	}
	p.attrs.communities = withNoExport(p.attrs.communities, a.NoExport)
}

// routes checks what only announce blocks for routes have.
func (r *reader) routes(path diag.Path, a *announce, p *profile) {
	for _, hop := range []struct {
		attr string
		addr netip.Addr
		v6   bool
	}{{"next_hop", a.NextHop, false}, {"next_hop_v6", a.NextHopV6, true}} {
		if !hop.addr.IsValid() {
			continue
		}
		if err := usableNextHop(hop.addr); err != nil {
			r.fail(path.Attr(hop.attr), "Bad next hop", "%v.", err)
		} else if hop.addr.Is6() != hop.v6 {
			r.fail(path.Attr(hop.attr), "Next hop of the wrong family", "next_hop is for IPv4 routes, next_hop_v6 for IPv6 ones; %s is of the other family.", hop.addr)
		}
	}
	p.attrs.nextHop, p.attrs.nextHopV6 = a.NextHop, a.NextHopV6
	if !a.NextHop.IsValid() && !a.NextHopV6.IsValid() {
		r.fail(path, "No next hop", "Write where the traffic shall go: next_hop for IPv4, next_hop_v6 for IPv6 (or, for flow-spec rules, then).")
	}
	r.refuse(path, "Not for routes", `%s belongs to flow-spec rules. Say what they do: then = "discard", "rate-limit", "redirect" or "mark".`,
		named{"match", len(a.Matches) > 0}, named{"bytes_per_second", a.BytesPerSecond != nil}, named{"redirect", a.Redirect != ""}, named{"dscp", a.DSCP != nil})
}

type named struct {
	attr string
	set  bool
}

func (r *reader) refuse(path diag.Path, summary, detail string, attrs ...named) {
	for _, x := range attrs {
		if x.set {
			r.fail(path.Attr(x.attr), summary, detail, x.attr)
		}
	}
}

// flowSpec checks what only announce blocks for flow-spec rules have.
func (r *reader) flowSpec(path diag.Path, a *announce, p *profile) {
	r.refuse(path, "Not for flow-spec rules", "%s belongs to routes. Leave it out, or leave out then.",
		named{"next_hop", a.NextHop.IsValid()}, named{"next_hop_v6", a.NextHopV6.IsValid()}, named{"divert", a.Divert})
	var err error
	if p.action, p.hop, err = actionText(a); err != nil {
		var at *attrError
		if errors.As(err, &at) {
			path = path.Attr(at.attr)
		}
		r.fail(path, "Action cannot be taken", "%v.", err)
	}
	for i := range a.Matches {
		rule, err := a.Matches[i].Rule()
		var bad *flowspec.MatchError
		if errors.As(err, &bad) {
			r.fail(path.Attr("match").Index(i).Attr(bad.Attr), "Bad match", "%v.", bad.Err)
			continue
		}
		p.rules = append(p.rules, rule)
	}
}

// attrError is an error of an attribute.
type attrError struct {
	attr string
	text string
}

func (e *attrError) Error() string { return e.text }

// actionText writes what a flow-spec rule does; hop is where redirect leads, if
// that is an address.
func actionText(a *announce) (text string, hop netip.Addr, err error) {
	bad := func(attr, format string, args ...any) (string, netip.Addr, error) {
		return "", netip.Addr{}, &attrError{attr, fmt.Sprintf(format, args...)}
	}
	needs := map[string]string{thenDiscard: "", thenRateLimit: "bytes_per_second", thenRedirect: "redirect", thenMark: "dscp"}
	want, known := needs[a.Then]
	if !known {
		return bad("then", `%q is none of "discard", "rate-limit", "redirect" and "mark"`, a.Then)
	}
	for _, x := range []named{{"bytes_per_second", a.BytesPerSecond != nil}, {"redirect", a.Redirect != ""}, {"dscp", a.DSCP != nil}} {
		switch {
		case x.set && x.attr != want:
			return bad(x.attr, "%s says nothing with then = %q", x.attr, a.Then)
		case !x.set && x.attr == want:
			return bad("then", "then = %q needs %s", a.Then, want)
		}
	}
	switch a.Then {
	case thenRateLimit:
		if *a.BytesPerSecond == 0 {
			return bad("bytes_per_second", `a limit of 0 drops everything: write then = "discard"`)
		}
		return fmt.Sprintf("rate-limit %d", uint64(*a.BytesPerSecond)), hop, nil
	case thenMark:
		if *a.DSCP < 0 || *a.DSCP > 63 {
			return bad("dscp", "%d is not between 0 and 63", *a.DSCP)
		}
		return fmt.Sprintf("mark %d", *a.DSCP), hop, nil
	case thenRedirect:
		if addr, err := netip.ParseAddr(a.Redirect); err == nil {
			if err := usableNextHop(addr); err != nil {
				return bad("redirect", "%v", err)
			}
			if addr.Is6() {
				return bad("redirect", "ExaBGP cannot redirect to an IPv6 address: write a route target")
			}
			return "redirect " + addr.String(), addr, nil
		}
		if out, err := numbers(a.Redirect, 16, 32); err == nil {
			return "redirect " + out, hop, nil
		}
		if out, err := numbers(a.Redirect, 32, 16); err == nil && strings.Contains(out, ":") {
			return "redirect " + out, hop, nil
		}
		return bad("redirect", "%q is neither a route target, such as 65001:100, nor an address", a.Redirect)
	}
	return a.Then, hop, nil
}
