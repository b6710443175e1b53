package announce

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// Profiles are announce blocks by their labels.
type Profiles map[string]*Profile

// Find is the profile that a mitigation names. action is what the plugin is
// called in a configuration, for the error.
func (p Profiles) Find(action, name string) (*Profile, error) {
	if found, ok := p[name]; ok {
		return found, nil
	}
	labels := slices.Sorted(maps.Keys(p))
	switch {
	case len(labels) == 0:
		return nil, errors.New("there is no announce block")
	case name == "":
		return nil, fmt.Errorf("say which announce block is meant: action.%s.NAME.%s", action, labels[0])
	}
	return nil, fmt.Errorf("there is no announce block %q; there are %q", name, labels)
}

// reader gathers what is wrong with a block.
type reader struct {
	ds   diag.Diagnostics
	path diag.Path
	b    *Block
	p    *Profile
}

func (r *reader) fail(p diag.Path, summary, detail string, args ...any) {
	r.ds = append(r.ds, diag.Errorf(p, summary, detail, args...))
}

// Read checks announce blocks and says all that is wrong with them; path gives
// where each of them stands. A block with mistakes has a profile too, so that
// more can be checked.
func Read(blocks []Block, path func(i int) diag.Path) (Profiles, diag.Diagnostics) {
	out, ds := Profiles{}, diag.Diagnostics(nil)
	for i := range blocks {
		b := &blocks[i]
		if out[b.Name] != nil {
			ds = append(ds, diag.Errorf(path(i), "Announce block twice", "There are two announce blocks with the label %q. Give each its own.", b.Name))
			continue
		}
		r := &reader{path: path(i), b: b, p: &Profile{Name: b.Name, Subnet: b.Prefix == PrefixSubnet, Divert: b.Divert, NoExport: b.NoExport}}
		r.read()
		out[b.Name], ds = r.p, append(ds, r.ds...)
	}
	return out, ds
}

func (r *reader) read() {
	b, p := r.b, r.p
	if b.Prefix != PrefixHost && b.Prefix != PrefixSubnet {
		r.fail(r.path.Attr("prefix"), "Unknown prefix", `%q is neither "host" nor "subnet".`, b.Prefix)
	}
	r.lengths()
	r.communities()
	p.Attributes.LocalPref, p.Attributes.MED, p.Attributes.Prepend = b.LocalPref, b.MED, b.ASPathPrepend
	if b.ASPathPrepend < 0 || b.ASPathPrepend > 20 {
		r.fail(r.path.Attr("as_path_prepend"), "Number out of range", "%d is not between 0 and 20.", b.ASPathPrepend)
	}
	if b.Then != "" {
		r.flowSpec()
	} else {
		r.routes()
	}
}

func (r *reader) lengths() {
	path, given := r.path.Attr("prefix_length"), r.b.PrefixLength
	switch {
	case given == nil:
		return
	case r.p.Subnet:
		r.fail(path, "Prefix length of a subnet", `With prefix = "subnet" the length is that of our network. Leave out one of the two.`)
	case len(given) != 2:
		r.fail(path, "Two lengths are needed", "Write one for IPv4 and one for IPv6, such as [24, 48].")
	default:
		for i, most := range []int{32, 128} {
			if given[i] < 1 || given[i] > most {
				r.fail(path.Index(i), "Prefix length out of range", "%d is not between 1 and %d.", given[i], most)
			}
			r.p.Lengths[i] = given[i]
		}
	}
}

func (r *reader) communities() {
	a := &r.p.Attributes
	a.Communities = readList(r, "communities", r.b.Communities, ParseCommunity)
	a.Large = readList(r, "large_communities", r.b.LargeCommunities, ParseLarge)
	a.Extended = readList(r, "extended_communities", r.b.ExtendedCommunities, ParseExtended)
	if r.b.Communities == nil && r.b.Then == "" && !r.b.Divert {
		a.Communities = []Community{Blackhole}
	}
	a.Communities = r.p.withNoExport(a.Communities)
	if r.b.Divert && slices.Contains(a.Communities, Blackhole) {
		r.fail(r.path.Attr("divert"), "Diverted into a blackhole", "The community BLACKHOLE (65535:666) asks routers to drop the traffic, which divert says is led elsewhere.")
	}
}

func readList[T any](r *reader, attr string, list []string, parse func(string) (T, error)) []T {
	var out []T
	for i, s := range list {
		v, err := parse(s)
		if err != nil {
			r.fail(r.path.Attr(attr).Index(i), "Bad community", "%v.", err)
			continue
		}
		out = append(out, v)
	}
	return out
}

// given is an attribute and whether it is set.
type given struct {
	attr string
	set  bool
}

// refuse complains of attributes that do not belong here; detail has a place for
// the attribute's name.
func (r *reader) refuse(summary, detail string, attrs ...given) {
	for _, x := range attrs {
		if x.set {
			r.fail(r.path.Attr(x.attr), summary, detail, x.attr)
		}
	}
}

// ofActions are the attributes that belong to one kind of action each.
func (r *reader) ofActions() []given {
	return []given{{"bytes_per_second", r.b.BytesPerSecond != nil}, {"redirect", r.b.Redirect != ""}, {"dscp", r.b.DSCP != nil}}
}

// routes checks what only announce blocks for routes have.
func (r *reader) routes() {
	b := r.b
	for _, hop := range []struct {
		attr string
		addr netip.Addr
		v4   bool
	}{{"next_hop", b.NextHop, true}, {"next_hop_v6", b.NextHopV6, false}} {
		if !hop.addr.IsValid() {
			continue
		}
		if err := usable(hop.addr); err != nil {
			r.fail(r.path.Attr(hop.attr), "Bad next hop", "%v.", err)
		} else if hop.addr.Is4() != hop.v4 {
			r.fail(r.path.Attr(hop.attr), "Next hop of the wrong family", "%s is an address of the other family: next_hop is for IPv4 routes, next_hop_v6 for IPv6 ones.", hop.addr)
		}
	}
	r.p.Attributes.NextHop, r.p.Attributes.NextHopV6 = b.NextHop, b.NextHopV6
	if !b.NextHop.IsValid() && !b.NextHopV6.IsValid() {
		r.fail(r.path.Attr("next_hop"), "No next hop", "Write where the traffic shall go: next_hop for IPv4, next_hop_v6 for IPv6 (or, for flow-spec rules, then).")
	}
	r.refuse("Not for routes", `%s belongs to flow-spec rules. Say what they do: then = "discard", "rate-limit", "redirect" or "mark".`,
		append([]given{{"match", len(b.Matches) > 0}}, r.ofActions()...)...)
}

// flowSpec checks what only announce blocks for flow-spec rules have.
func (r *reader) flowSpec() {
	b := r.b
	r.refuse("Not for flow-spec rules", "%s belongs to routes. Leave it out, or leave out then.",
		given{"next_hop", b.NextHop.IsValid()}, given{"next_hop_v6", b.NextHopV6.IsValid()}, given{"divert", b.Divert})
	r.p.Action.Then = b.Then
	want, known := map[string]string{Discard: "", RateLimit: "bytes_per_second", Redirect: "redirect", Mark: "dscp"}[b.Then]
	if !known {
		r.fail(r.path.Attr("then"), "Unknown action", `%q is none of "discard" (which drops), "rate-limit", "redirect" and "mark".`, b.Then)
		return
	}
	for _, x := range r.ofActions() {
		switch {
		case x.set && x.attr != want:
			r.fail(r.path.Attr(x.attr), "Does not fit", "%s says nothing with then = %q. Leave it out.", x.attr, b.Then)
		case !x.set && x.attr == want:
			r.fail(r.path.Attr(x.attr), "Missing", "then = %q needs %s, such as %s = %s.", b.Then, x.attr, x.attr,
				map[string]string{"bytes_per_second": `"1M"`, "redirect": `"65001:100"`, "dscp": "8"}[x.attr])
			return
		}
	}
	r.action()
	for i := range b.Matches {
		rule, err := b.Matches[i].Rule()
		var bad *flowspec.MatchError
		if errors.As(err, &bad) {
			r.fail(r.path.Attr("match").Index(i).Attr(bad.Attr), "Bad match", "%v.", bad.Err)
			continue
		}
		r.p.Rules = append(r.p.Rules, rule)
	}
}

// action reads what the rules do. What it needs is there.
func (r *reader) action() {
	b, a := r.b, &r.p.Action
	switch b.Then {
	case RateLimit:
		if a.BytesPerSecond = uint64(*b.BytesPerSecond); a.BytesPerSecond == 0 {
			r.fail(r.path.Attr("bytes_per_second"), "Rate of nothing", `A limit of 0 drops everything: write then = "discard".`)
		}
	case Mark:
		if *b.DSCP < 0 || *b.DSCP > 63 {
			r.fail(r.path.Attr("dscp"), "Number out of range", "%d is not between 0 and 63.", *b.DSCP)
			return
		}
		a.DSCP = uint8(*b.DSCP)
	case Redirect:
		if err := a.redirect(b.Redirect); err != nil {
			r.fail(r.path.Attr("redirect"), "Bad redirection", "%v.", err)
		}
	}
}

// redirect reads where rules redirect to: a route target (RFC 8955, 7.4) or an
// address (draft-ietf-idr-flowspec-redirect-ip).
func (a *Action) redirect(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		a.To = addr
		if usable(addr) != nil {
			return fmt.Errorf("traffic cannot be led to %s: it has to be an ordinary unicast address", addr)
		}
		return nil
	}
	target, ok := administrated(subtypeRedirect, s)
	if !ok {
		return fmt.Errorf("%q is neither a route target, such as 65001:100, nor an address", s)
	}
	target[0] |= experimental
	a.Target = target
	return nil
}
