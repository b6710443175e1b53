package main

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// settings is the configuration, read.
type settings struct {
	config
	profiles announce.Profiles
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
	s := &settings{config: c}
	s.profiles, r.ds = announce.Read(c.Announce, func(i int) diag.Path { return diag.Path{}.Attr("announce").Key(c.Announce[i].Name) })
	if len(c.Announce) == 0 {
		r.fail(diag.Path{}.Attr("announce"), "Nothing to announce",
			`Write how to announce, such as: announce "blackhole" { next_hop = "192.0.2.66" }. Actions then refer to it: actions = [action.gobgp.NAME.blackhole].`)
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
		if !ok {
			r.fail(path.Attr("families").Index(i), "Unknown family", "%q is not an address family that can be spoken here: they are %s.", name, strings.Join(familyNames, ", "))
			continue
		}
		if slices.Contains(out, f) {
			r.fail(path.Attr("families").Index(i), "Family twice", "%q is in the list twice. Leave one out.", name)
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
			if (profile{p}).needs(families[name]) {
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
		path, p := diag.Path{}.Attr("announce").Key(a.Name), profile{s.profiles[a.Name]}
		for _, name := range familyNames {
			if f := families[name]; p.needs(f) && !spoken(f) {
				r.warn(path, "Nobody to tell", "No neighbour speaks %s, so what announce %q has for this family cannot be announced.", name, a.Name)
			}
		}
		if !p.FlowSpec() && spoken(bgp.RF_IPv6_UC) && !p.Attributes.NextHopV6.IsValid() {
			r.warn(path, "No IPv6 next hop", "Mitigations of IPv6 targets by announce %q will fail: set next_hop_v6.", a.Name)
		}
		if !p.FlowSpec() && spoken(bgp.RF_IPv4_UC) && !p.Attributes.NextHop.IsValid() {
			r.warn(path, "No IPv4 next hop", "Mitigations of IPv4 targets by announce %q will fail: set next_hop.", a.Name)
		}
	}
}
