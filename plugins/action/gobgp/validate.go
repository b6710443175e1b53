package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// settings is the configuration, read.
type settings struct {
	config
	profiles map[string]*profile
	peers    []peerSettings
}

// peerSettings is a neighbour block, read.
type peerSettings struct {
	neighbor
	address  netip.Addr
	families []bgp.RouteFamily
	internal bool // in our AS
}

// reader gathers what is wrong with a configuration.
type reader struct{ ds diag.Diagnostics }

func (r *reader) fail(p diag.Path, summary, detail string, args ...any) {
	r.ds = append(r.ds, diag.Errorf(p, summary, detail, args...))
}

func (r *reader) warn(p diag.Path, summary, detail string, args ...any) {
	r.ds = append(r.ds, diag.Warningf(p, summary, detail, args...))
}

// read checks a configuration and says all that is wrong with it.
func read(c config) (*settings, diag.Diagnostics) {
	r := &reader{}
	s := &settings{config: c, profiles: map[string]*profile{}}
	if len(c.Announce) == 0 {
		r.fail(diag.Path{}.Attr("announce"), "Nothing to announce",
			`Write how to announce, such as: announce "blackhole" { next_hop = "192.0.2.66" }. Actions then refer to it: actions = [action.gobgp.NAME.blackhole].`)
	}
	for _, a := range c.Announce {
		path := diag.Path{}.Attr("announce").Key(a.Name)
		if s.profiles[a.Name] != nil {
			r.fail(path, "Announce block twice", "There are two announce blocks with the label %q. Give each its own.", a.Name)
			continue
		}
		s.profiles[a.Name] = r.profile(path, a)
	}
	r.speaker(s)
	for _, n := range c.Neighbors {
		path := diag.Path{}.Attr("neighbor").Key(n.Address)
		p := r.neighbor(path, s, n)
		if slices.ContainsFunc(s.peers, func(o peerSettings) bool { return o.address == p.address }) {
			r.fail(path, "Neighbour twice", "There are two neighbour blocks for %s.", n.Address)
			continue
		}
		s.peers = append(s.peers, p)
	}
	r.together(s)
	return s, r.ds
}

// speaker checks what concerns no single block.
func (r *reader) speaker(s *settings) {
	root := diag.Path{}
	switch {
	case s.API == "" && len(s.Neighbors) == 0:
		r.fail(root.Attr("neighbor"), "Nobody to tell",
			`Write a neighbour: neighbor "192.0.2.254" { peer_as = 65001 }. Or drive a gobgpd that runs already: api = "127.0.0.1:50051".`)
		return
	case s.API != "" && len(s.Neighbors) > 0:
		r.fail(root.Attr("api"), "Both a gobgpd and neighbours", "With api the neighbours are those of gobgpd, and are written in its configuration. Leave out api or the neighbor blocks.")
		return
	case s.API != "":
		r.api(s)
		return
	}
	if s.LocalAS == 0 {
		r.fail(root.Attr("local_as"), "No AS number", "Write the AS number that we speak for: local_as = 65001.")
	}
	if id := s.RouterID; !id.Is4() || id.IsUnspecified() {
		r.fail(root.Attr("router_id"), "No router id", "The router id is an IPv4 address, mostly one of this machine's: router_id = \"192.0.2.10\". It must differ from every neighbour's.")
	}
	for i, l := range s.Listen {
		if l.Port() == 0 || l.Addr().Zone() != "" {
			r.fail(root.Attr("listen").Index(i), "Bad address to listen on", "Write an address and a port, such as 192.0.2.10:179.")
		}
	}
	passive := slices.ContainsFunc(s.Neighbors, func(n neighbor) bool { return n.Passive })
	if len(s.Listen) > 0 && !passive && !r.ds.HasErrors() {
		r.warn(root.Attr("listen"), "Nobody may connect", "No neighbour is passive = true, so nobody is let in on these addresses and they are not opened.")
	}
}

func (r *reader) api(s *settings) {
	root := diag.Path{}
	if host, port, err := net.SplitHostPort(s.API); err != nil || host == "" || port == "" {
		r.fail(root.Attr("api"), "Bad address", "%q is not host:port, such as 127.0.0.1:50051.", s.API)
	}
	for _, a := range []struct {
		name string
		set  bool
	}{{"local_as", s.LocalAS != 0}, {"router_id", s.RouterID.IsValid()}, {"listen", len(s.Listen) > 0}} {
		if a.set {
			r.fail(root.Attr(a.name), "Not with api", "%s is for a speaker of our own. gobgpd has its own in its configuration.", a.name)
		}
	}
	if (s.APICert == "") != (s.APIKey == "") {
		r.fail(root.Attr("api_cert"), "Half a certificate", "api_cert and api_key belong together.")
	}
	if s.APICA == "" && (s.APICert != "" || s.APIName != "") {
		r.fail(root.Attr("api_ca"), "No TLS without authorities", "Name the file with the certificates that gobgpd's is checked against: api_ca = \"…\".")
	}
	if s.APICA != "" && !r.ds.HasErrors() {
		if _, err := s.tls(); err != nil {
			r.fail(root.Attr("api_ca"), "TLS cannot be set up", "%v.", err)
		}
	}
	for _, a := range s.Announce {
		if a.ASPathPrepend != 0 {
			r.fail(root.Attr("announce").Key(a.Name).Attr("as_path_prepend"), "Not with api", "Paths are prolonged for each neighbour apart, which gobgpd does by its own policies.")
		}
	}
}

func (r *reader) neighbor(path diag.Path, s *settings, n neighbor) peerSettings {
	p := peerSettings{neighbor: n, internal: n.PeerAS == s.LocalAS}
	var err error
	if p.address, err = netip.ParseAddr(n.Address); err != nil || p.address.IsUnspecified() || p.address.IsMulticast() || p.address.Is4In6() {
		r.fail(path, "Bad neighbour address", "%q is not the address of a neighbour. Names are not looked up.", n.Address)
	}
	if n.PeerAS == 0 {
		r.fail(path.Attr("peer_as"), "No AS number", "Write the neighbour's AS number.")
	}
	if n.Port == 0 {
		r.fail(path.Attr("port"), "Bad port", "A port is a number from 1 to 65535.")
	}
	if l := n.LocalAddress; l.IsValid() && (l.BitLen() != p.address.BitLen() || l.IsUnspecified()) {
		r.fail(path.Attr("local_address"), "Bad local address", "%s cannot be the near end of a session with %s.", l, n.Address)
	}
	if len(n.Password) > 80 { // TCP_MD5SIG_MAXKEYLEN
		r.fail(path.Attr("password"), "Password too long", "A TCP MD5 password has at most 80 octets.")
	}
	if (n.Password != "" || n.TTLSecurity > 0) && runtime.GOOS != "linux" {
		r.fail(path, "Not on this system", "password and ttl_security are there on Linux only.")
	}
	switch {
	case n.Multihop > 0 && n.TTLSecurity > 0:
		r.fail(path.Attr("multihop"), "Multihop and TTL security", "multihop and ttl_security exclude each other: ttl_security = 3 is for a neighbour up to three hops away.")
	case n.Multihop > 1 && p.internal:
		r.warn(path.Attr("multihop"), "Multihop for an internal neighbour", "Neighbours in our own AS may be any number of hops away, so multihop does nothing here.")
	}
	r.times(path, n)
	if n.Passive && len(s.Listen) == 0 {
		r.fail(path.Attr("passive"), "Nowhere to connect to", `A passive neighbour needs an address of ours to connect to: listen = ["192.0.2.10:179"].`)
	}
	p.families = r.families(path, s, n)
	return p
}

func (r *reader) times(path diag.Path, n neighbor) {
	if n.HoldTime < 3*time.Second || n.HoldTime > 65535*time.Second || n.HoldTime%time.Second != 0 {
		r.fail(path.Attr("hold_time"), "Hold time out of range", "%s is not between 3s and 65535s in whole seconds (RFC 4271).", n.HoldTime)
	}
	if n.ConnectRetry < 100*time.Millisecond || n.ConnectRetry > time.Hour {
		r.fail(path.Attr("connect_retry"), "Pause out of range", "%s is not between 100ms and 1h.", n.ConnectRetry)
	}
	if g := n.GracefulRestart; g < 0 || g > 4095*time.Second || g%time.Second != 0 {
		r.fail(path.Attr("graceful_restart"), "Restart time out of range", "%s is not between 0s and 4095s in whole seconds (RFC 4724).", g)
	}
}

func (r *reader) families(path diag.Path, s *settings, n neighbor) []bgp.RouteFamily {
	var out []bgp.RouteFamily
	for i, name := range n.Families {
		f, ok := families[name]
		if !ok || slices.Contains(out, f) {
			r.fail(path.Attr("families").Index(i), "Unknown family", "%q is not an address family that can be spoken here, or it is there twice: they are %s.", name, strings.Join(familyNames, ", "))
			continue
		}
		out = append(out, f)
	}
	if n.Families != nil {
		if len(n.Families) == 0 {
			r.fail(path.Attr("families"), "No family", "Name at least one: %s.", strings.Join(familyNames, ", "))
		}
		return out
	}
	for _, name := range familyNames {
		for _, p := range s.profiles {
			if p.needs(families[name]) {
				out = append(out, families[name])
				break
			}
		}
	}
	return out
}

// together looks at announce blocks and neighbours side by side.
func (r *reader) together(s *settings) {
	if len(s.peers) == 0 || r.ds.HasErrors() {
		return
	}
	spoken := func(f bgp.RouteFamily) bool {
		return slices.ContainsFunc(s.peers, func(p peerSettings) bool { return slices.Contains(p.families, f) })
	}
	for _, a := range s.Announce {
		path, p := diag.Path{}.Attr("announce").Key(a.Name), s.profiles[a.Name]
		for _, name := range familyNames {
			if f := families[name]; p.needs(f) && !spoken(f) {
				r.warn(path, "Nobody to tell", "No neighbour speaks %s, so what announce %q has for this family cannot be announced.", name, a.Name)
			}
		}
		if !p.flowSpec() && spoken(bgp.RF_IPv6_UC) && !p.attrs.nextHopV6.IsValid() {
			r.warn(path, "No IPv6 next hop", "Mitigations of IPv6 targets by announce %q will fail: set next_hop_v6.", a.Name)
		}
		if !p.flowSpec() && spoken(bgp.RF_IPv4_UC) && !p.attrs.nextHop.IsValid() {
			r.warn(path, "No IPv4 next hop", "Mitigations of IPv4 targets by announce %q will fail: set next_hop.", a.Name)
		}
	}
}

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
