package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// route is one route or flow-spec rule in ExaBGP's words, as FastNetMon
// Community writes them.
type route struct {
	key      string // what tells it from others in a RIB: family and NLRI
	family   string // as ExaBGP names it: ipv4 unicast, ipv6 flow
	prefix   netip.Prefix
	announce string // the command, without its line end
	withdraw string
	flowSpec bool
	discard  bool
	matches  int
}

// maxCommand bounds a command, its line end included: so much is written to a
// pipe whole or not at all (PIPE_BUF).
const maxCommand = 4096

// unicast writes a route:
//
//	announce route 10.10.10.221/32 next-hop 10.0.3.114 community [65001:666 65001:777]
func (p profile) unicast(prefix netip.Prefix, a announce.Attributes) (*route, error) {
	at := fmt.Sprintf("route %s next-hop %s", prefix, a.NextHopOf(prefix))
	r := &route{
		key: familyOf(prefix, "unicast") + " " + prefix.String(), family: familyOf(prefix, "unicast"), prefix: prefix,
		announce: "announce " + at + p.attributes(a), withdraw: "withdraw " + at, discard: p.Discards(),
	}
	return r, r.check()
}

func familyOf(p netip.Prefix, safi string) string {
	if p.Addr().Is6() {
		return "ipv6 " + safi
	}
	return "ipv4 " + safi
}

// attributes writes what follows the next hop.
func (p profile) attributes(a announce.Attributes) string {
	var b strings.Builder
	list := func(name string, n int, values string) {
		switch n {
		case 0:
		case 1:
			b.WriteString(" " + name + " " + values)
		default:
			b.WriteString(" " + name + " [" + values + "]")
		}
	}
	if a.Prepend > 0 && !p.FlowSpec() {
		as := strconv.FormatUint(uint64(p.localAS), 10)
		b.WriteString(" as-path [" + strings.TrimSpace(strings.Repeat(as+" ", a.Prepend+1)) + "]")
	}
	if a.LocalPref != nil {
		fmt.Fprintf(&b, " local-preference %d", *a.LocalPref)
	}
	if a.MED != nil {
		fmt.Fprintf(&b, " med %d", *a.MED)
	}
	list("community", len(a.Communities), words(a.Communities, announce.Community.String))
	list("large-community", len(a.Large), words(a.Large, announce.Large.String))
	list("extended-community", len(a.Extended), words(a.Extended, extendedText))
	return b.String()
}

// flow writes a flow-spec rule:
//
//	announce flow route destination 127.0.0.2/32 protocol [ =udp ] source-port [ =53 ] rate-limit 1024
func (p profile) flow(prefix netip.Prefix, rule *flowspec.Rule, a announce.Attributes) (*route, error) {
	action, err := actionText(&p.Action)
	if err != nil {
		return nil, err
	}
	match := matchText(prefix, rule)
	family := familyOf(prefix, "flow")
	r := &route{
		key: family + " " + match, family: family, prefix: prefix,
		announce: "announce flow route " + match + " " + action + p.attributes(a),
		withdraw: "withdraw flow route " + match + " " + action,
		flowSpec: true, discard: p.Discards(), matches: rule.Conditions(prefix.Addr().Is6()),
	}
	return r, r.check()
}

// exaProtocols are the protocols that ExaBGP knows by name.
var exaProtocols = map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 89: "ospf", 94: "ipip", 132: "sctp"}

// exaFlags are TCP flags as ExaBGP names them, in the order of flowspec.TCPFlags.
var exaFlags = []string{"fin", "syn", "rst", "push", "ack", "urgent", "ece", "cwr"}

// matchText writes a rule's conditions in the original's order.
func matchText(prefix netip.Prefix, r *flowspec.Rule) string {
	v6 := prefix.Addr().Is6()
	var b strings.Builder
	if s := r.Source(v6); s.IsValid() {
		b.WriteString("source " + s.String() + " ")
	}
	b.WriteString("destination " + prefix.String())
	list := func(name string, values []string) {
		if len(values) > 0 {
			b.WriteString(" " + name + " [ " + strings.Join(values, " ") + " ]")
		}
	}
	var protocols []string
	for _, p := range r.Protocols {
		n := p.V4
		if v6 {
			n = p.V6
		}
		name, ok := exaProtocols[n]
		if !ok {
			name = strconv.Itoa(int(n))
		}
		protocols = append(protocols, "="+name)
	}
	list(map[bool]string{false: "protocol", true: "next-header"}[v6], protocols)
	for _, c := range []struct {
		kind flowspec.Component
		name string
	}{
		{flowspec.Port, "port"},
		{flowspec.SourcePort, "source-port"},
		{flowspec.DestinationPort, "destination-port"},
		{flowspec.PacketLength, "packet-length"},
		{flowspec.ICMPType, "icmp-type"},
		{flowspec.ICMPCode, "icmp-code"},
		{flowspec.DSCP, map[bool]string{false: "dscp", true: "traffic-class"}[v6]},
	} {
		list(c.name, spans(r.Numeric[c.kind]))
	}
	var fragments []string
	for _, f := range flowspec.Fragments {
		if r.Fragment&f.Bit != 0 && (!v6 || f.Bit != flowspec.DontFragment) {
			fragments = append(fragments, f.Name)
		}
	}
	list("fragment", fragments)
	if flags := flagText(r); flags != "" {
		list("tcp-flags", []string{flags})
	}
	return b.String()
}

func spans(in []flowspec.Span) []string {
	var out []string
	for _, s := range in {
		switch s.Low {
		case s.High:
			out = append(out, fmt.Sprintf("=%d", s.Low))
		case 0:
			out = append(out, fmt.Sprintf("<=%d", s.High))
		default:
			out = append(out, fmt.Sprintf(">=%d&<=%d", s.Low, s.High))
		}
	}
	return out
}

// flagText asks for each flag by itself, all of them together.
func flagText(r *flowspec.Rule) string {
	var out []string
	for i, f := range flowspec.TCPFlags {
		switch {
		case r.Set&f.Bit != 0:
			out = append(out, exaFlags[i])
		case r.Clear&f.Bit != 0:
			out = append(out, "!"+exaFlags[i])
		}
	}
	return strings.Join(out, "&")
}

// check refuses what could be another command. All parts are numbers, addresses
// and words of our own, so this never happens; it stands between a mistake here
// and a line in the pipe.
func (r *route) check() error {
	for _, line := range []string{r.announce, r.withdraw} {
		if len(line) >= maxCommand {
			return fmt.Errorf("the command for %s has %d octets, more than %d: name fewer values or communities", r.prefix, len(line), maxCommand-1)
		}
		if i := strings.IndexFunc(line, func(c rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .:/-[]=<>&!", c)
		}); i >= 0 {
			return fmt.Errorf("the command for %s has a character that no command has: %q", r.prefix, line[i:])
		}
	}
	return nil
}

// Key is what tells the route from others.
func (r *route) Key() string { return r.key }

// announcement is what people and guards are told of a route.
func (r *route) announcement() sdk.Announcement {
	return sdk.Announcement{
		Prefix: r.prefix, Text: strings.TrimPrefix(r.announce, "announce "), FlowSpec: r.flowSpec, Discard: r.discard, Matches: r.matches,
	}
}
