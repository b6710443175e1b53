package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// Operators of flow-spec components (RFC 8955, 4.2.1.1 and 4.2.1.2).
const (
	opAnd     = 0x40
	opLess    = 0x04
	opGreater = 0x02
	opEqual   = 0x01

	bitNot   = 0x02
	bitMatch = 0x01 // all bits of the value, else any of them
)

// span is a value or a range of a numeric component.
type span struct{ low, high uint64 }

// rule is a flow-spec rule but for its destination: in each field any of the
// values, all fields together. A field without values says nothing.
type rule struct {
	protocols []protocol
	sources   []netip.Prefix // at most one of each family
	numeric   map[bgp.BGPFlowSpecType][]span
	set       uint8 // TCP flags that are set
	clear     uint8 // TCP flags that are not set
	fragment  uint8 // any of these kinds of fragment
}

// protocol is a protocol's number, in each family.
type protocol struct{ v4, v6 uint8 }

var protocolNames = map[string]protocol{
	"icmp": {1, 58}, "tcp": {6, 6}, "udp": {17, 17}, "gre": {47, 47}, "esp": {50, 50}, "ah": {51, 51}, "ipip": {4, 4},
	"ipv6": {41, 41}, "ospf": {89, 89}, "sctp": {132, 132},
}

var tcpFlagNames = map[string]uint8{
	"fin": 0x01, "syn": 0x02, "rst": 0x04, "psh": 0x08, "ack": 0x10, "urg": 0x20, "ece": 0x40, "cwr": 0x80,
}

// Kinds of fragment (RFC 8955, 4.2.2.12).
const (
	dontFragment  = 0x01
	isFragment    = 0x02
	firstFragment = 0x04
	lastFragment  = 0x08
)

var fragmentNames = map[string]uint8{
	"dont-fragment": dontFragment, "is-fragment": isFragment, "first-fragment": firstFragment, "last-fragment": lastFragment,
}

// conditions counts what the rule asks for in one family, beside the destination.
func (r *rule) conditions(v6 bool) int {
	n := len(r.numeric)
	for _, set := range []bool{len(r.protocols) > 0, r.set|r.clear != 0, r.fragment != 0} {
		if set {
			n++
		}
	}
	for _, s := range r.sources {
		if s.Addr().Is6() == v6 {
			n++
		}
	}
	return n
}

// fits reports why the rule says nothing in a family: it has sources of the
// other one only, or asks for a bit that does not exist there.
func (r *rule) fits(v6 bool) bool {
	if v6 && r.fragment == dontFragment {
		return false
	}
	return len(r.sources) == 0 || slices.ContainsFunc(r.sources, func(p netip.Prefix) bool { return p.Addr().Is6() == v6 })
}

// nlri writes the rule with a destination.
func (r *rule) nlri(destination netip.Prefix) bgp.AddrPrefixInterface {
	v6 := destination.Addr().Is6()
	var parts []bgp.FlowSpecComponentInterface
	if v6 {
		parts = append(parts, bgp.NewFlowSpecDestinationPrefix6(prefix6(destination), 0))
	} else {
		parts = append(parts, bgp.NewFlowSpecDestinationPrefix(prefix4(destination)))
	}
	for _, s := range r.sources {
		switch {
		case s.Addr().Is6() != v6:
		case v6:
			parts = append(parts, bgp.NewFlowSpecSourcePrefix6(prefix6(s), 0))
		default:
			parts = append(parts, bgp.NewFlowSpecSourcePrefix(prefix4(s)))
		}
	}
	if len(r.protocols) > 0 {
		var spans []span
		for _, p := range r.protocols {
			n := uint64(p.v4)
			if v6 {
				n = uint64(p.v6)
			}
			spans = append(spans, span{n, n})
		}
		parts = append(parts, numericComponent(bgp.FLOW_SPEC_TYPE_IP_PROTO, spans))
	}
	for _, typ := range slices.Sorted(maps.Keys(r.numeric)) {
		parts = append(parts, numericComponent(typ, r.numeric[typ]))
	}
	if c := flagComponent(r.set, r.clear); c != nil {
		parts = append(parts, c)
	}
	if f := r.fragment; f != 0 {
		if v6 {
			f &^= dontFragment // there is no such bit (RFC 8956, 3.6)
		}
		parts = append(parts, bgp.NewFlowSpecComponent(bgp.FLOW_SPEC_TYPE_FRAGMENT, []*bgp.FlowSpecComponentItem{item(0, uint64(f))}))
	}
	if v6 {
		return bgp.NewFlowSpecIPv6Unicast(parts)
	}
	return bgp.NewFlowSpecIPv4Unicast(parts)
}

func prefix4(p netip.Prefix) bgp.AddrPrefixInterface {
	return bgp.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String())
}

func prefix6(p netip.Prefix) bgp.AddrPrefixInterface {
	return bgp.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String())
}

// item is a value with its operator. The library puts the value's length into it.
func item(op uint8, value uint64) *bgp.FlowSpecComponentItem {
	return bgp.NewFlowSpecComponentItem(op, value)
}

func numericComponent(typ bgp.BGPFlowSpecType, spans []span) *bgp.FlowSpecComponent {
	var items []*bgp.FlowSpecComponentItem
	for _, s := range spans {
		if s.low == s.high {
			items = append(items, item(opEqual, s.low))
			continue
		}
		items = append(items, item(opGreater|opEqual, s.low), item(opAnd|opLess|opEqual, s.high))
	}
	return bgp.NewFlowSpecComponent(typ, items)
}

// flagComponent asks for TCP flags; nil for none.
func flagComponent(set, unset uint8) *bgp.FlowSpecComponent {
	var items []*bgp.FlowSpecComponentItem
	if set != 0 {
		items = append(items, item(bitMatch, uint64(set)))
	}
	if unset != 0 {
		op := uint8(bitNot) // not any of them
		if len(items) > 0 {
			op |= opAnd
		}
		items = append(items, item(op, uint64(unset)))
	}
	if items == nil {
		return nil
	}
	return bgp.NewFlowSpecComponent(bgp.FLOW_SPEC_TYPE_TCP_FLAG, items)
}

// matchError is what is wrong with one attribute of a match block.
type matchError struct {
	attr string
	err  error
}

// rule reads a match block.
func (m *match) rule() (*rule, *matchError) {
	r := &rule{numeric: map[bgp.BGPFlowSpecType][]span{}}
	for _, s := range m.Protocol {
		p, err := parseProtocol(s)
		if err != nil {
			return nil, &matchError{"protocol", err}
		}
		r.protocols = append(r.protocols, p)
	}
	seen := map[bool]bool{}
	for _, s := range m.Source {
		if seen[s.Addr().Is6()] {
			return nil, &matchError{"source", fmt.Errorf("a rule has one source prefix of each family: write a match block for each one more")}
		}
		seen[s.Addr().Is6()] = true
		r.sources = append(r.sources, s.Masked())
	}
	for _, c := range []struct {
		attr string
		in   []string
		typ  bgp.BGPFlowSpecType
		most uint64
	}{
		{"port", m.Port, bgp.FLOW_SPEC_TYPE_PORT, 65535},
		{"source_port", m.SourcePort, bgp.FLOW_SPEC_TYPE_SRC_PORT, 65535},
		{"destination_port", m.DestinationPort, bgp.FLOW_SPEC_TYPE_DST_PORT, 65535},
		{"packet_length", m.PacketLength, bgp.FLOW_SPEC_TYPE_PKT_LEN, 65535},
		{"icmp_type", m.ICMPType, bgp.FLOW_SPEC_TYPE_ICMP_TYPE, 255},
		{"icmp_code", m.ICMPCode, bgp.FLOW_SPEC_TYPE_ICMP_CODE, 255},
		{"dscp", m.DSCP, bgp.FLOW_SPEC_TYPE_DSCP, 63},
	} {
		for _, s := range c.in {
			v, err := parseSpan(s, c.most)
			if err != nil {
				return nil, &matchError{c.attr, err}
			}
			r.numeric[c.typ] = append(r.numeric[c.typ], v)
		}
	}
	return r, m.bits(r)
}

// bits reads the attributes that name bits.
func (m *match) bits(r *rule) *matchError {
	for _, s := range m.TCPFlags {
		name, not := strings.CutPrefix(s, "!")
		bit, ok := tcpFlagNames[strings.ToLower(name)]
		if !ok {
			return &matchError{"tcp_flags", fmt.Errorf("%q is no TCP flag: they are fin, syn, rst, psh, ack, urg, ece and cwr, with ! in front where one must not be set", s)}
		}
		if not {
			r.clear |= bit
		} else {
			r.set |= bit
		}
	}
	if r.set&r.clear != 0 {
		return &matchError{"tcp_flags", fmt.Errorf("the same flag cannot be set and not set")}
	}
	for _, s := range m.Fragment {
		bit, ok := fragmentNames[strings.ToLower(s)]
		if !ok {
			return &matchError{"fragment", fmt.Errorf("%q is no kind of fragment: they are is-fragment, first-fragment, last-fragment and dont-fragment", s)}
		}
		r.fragment |= bit
	}
	return nil
}

func parseProtocol(s string) (protocol, error) {
	if p, ok := protocolNames[strings.ToLower(s)]; ok {
		return p, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return protocol{}, fmt.Errorf("%q is no protocol: write a number from 0 to 255 or %s", s, strings.Join(slices.Sorted(maps.Keys(protocolNames)), ", "))
	}
	return protocol{uint8(n), uint8(n)}, nil
}

// parseSpan reads 53 or 1024-65535.
func parseSpan(s string, most uint64) (span, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 32)
	b, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil || a > b || b > most {
		return span{}, fmt.Errorf("%q is neither a number from 0 to %d nor a range of them, such as 1-10", s, most)
	}
	return span{a, b}, nil
}
