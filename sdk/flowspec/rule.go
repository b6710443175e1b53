// Package flowspec is what mitigators that announce flow-spec rules (RFC 8955,
// RFC 8956) have in common, whatever they announce them with: rules by hand, and
// rules by an attack's label.
package flowspec

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Component is the type of a numeric condition, as on the wire (RFC 8955, 4.2.2).
type Component uint8

// The numeric components.
const (
	Port            Component = 4
	DestinationPort Component = 5
	SourcePort      Component = 6
	ICMPType        Component = 7
	ICMPCode        Component = 8
	PacketLength    Component = 10
	DSCP            Component = 11
)

// Kinds of fragment, as on the wire (RFC 8955, 4.2.2.12). DontFragment does not
// exist in IPv6 (RFC 8956, 3.6).
const (
	DontFragment  = 0x01
	IsFragment    = 0x02
	FirstFragment = 0x04
	LastFragment  = 0x08
)

// Bit is a bit with its name.
type Bit struct {
	Name string
	Bit  uint8
}

// TCPFlags are the names of TCP flags, in the order of their bits.
var TCPFlags = []Bit{{"fin", 0x01}, {"syn", 0x02}, {"rst", 0x04}, {"psh", 0x08}, {"ack", 0x10}, {"urg", 0x20}, {"ece", 0x40}, {"cwr", 0x80}}

// Fragments are the names of kinds of fragment.
var Fragments = []Bit{{"dont-fragment", DontFragment}, {"is-fragment", IsFragment}, {"first-fragment", FirstFragment}, {"last-fragment", LastFragment}}

// Span is a value or a range, both ends included.
type Span struct{ Low, High uint64 }

// Protocol is a protocol's number, in each family.
type Protocol struct{ V4, V6 uint8 }

// Rule is a flow-spec rule but for its destination: in each field any of the
// values, all fields together. A field without values says nothing.
type Rule struct {
	Protocols []Protocol
	Sources   []netip.Prefix // at most one of each family
	Numeric   map[Component][]Span
	Set       uint8 // TCP flags that are all set
	Clear     uint8 // TCP flags of which none is set
	Fragment  uint8 // any of these kinds of fragment
}

// Conditions counts what the rule asks for in one family, beside the destination.
func (r *Rule) Conditions(v6 bool) int {
	n := len(r.Numeric)
	for _, set := range []bool{len(r.Protocols) > 0, r.Set|r.Clear != 0, r.Fragment != 0} {
		if set {
			n++
		}
	}
	if r.Source(v6).IsValid() {
		n++
	}
	return n
}

// Source is the source prefix in a family; invalid there is none.
func (r *Rule) Source(v6 bool) netip.Prefix {
	for _, s := range r.Sources {
		if s.Addr().Is6() == v6 {
			return s
		}
	}
	return netip.Prefix{}
}

// Fits reports whether the rule says anything in a family: not where it has
// sources of the other one only, or asks for a bit that does not exist there.
func (r *Rule) Fits(v6 bool) bool {
	if v6 && r.Fragment == DontFragment {
		return false
	}
	return len(r.Sources) == 0 || r.Source(v6).IsValid()
}

// Match is the block of a rule by hand: conditions beside the destination; all
// must hold, of the values of each one.
type Match struct {
	Protocol        []string       `hcl:"protocol,optional" doc:"names or numbers, such as udp"`
	Source          []netip.Prefix `hcl:"source,optional" doc:"source prefix, at most one of each family"`
	Port            []string       `hcl:"port,optional" doc:"source or destination ports, such as 53 or 1024-2047"`
	SourcePort      []string       `hcl:"source_port,optional" doc:"source ports"`
	DestinationPort []string       `hcl:"destination_port,optional" doc:"destination ports"`
	PacketLength    []string       `hcl:"packet_length,optional" doc:"lengths by the IP header, such as 1000-1500"`
	TCPFlags        []string       `hcl:"tcp_flags,optional" doc:"flags that are all set, with ! in front not set"`
	Fragment        []string       `hcl:"fragment,optional" doc:"is-fragment, first-fragment, last-fragment, dont-fragment"`
	ICMPType        []string       `hcl:"icmp_type,optional" doc:"numbers"`
	ICMPCode        []string       `hcl:"icmp_code,optional" doc:"numbers"`
	DSCP            []string       `hcl:"dscp,optional" doc:"numbers"`
}

// MatchError is what is wrong with one attribute of a Match.
type MatchError struct {
	Attr string
	Err  error
}

func (e *MatchError) Error() string { return e.Attr + ": " + e.Err.Error() }
func (e *MatchError) Unwrap() error { return e.Err }

// Rule reads the block. Its error is a *MatchError.
func (m *Match) Rule() (*Rule, error) {
	r := &Rule{Numeric: map[Component][]Span{}}
	for _, s := range m.Protocol {
		p, err := parseProtocol(s)
		if err != nil {
			return nil, &MatchError{"protocol", err}
		}
		r.Protocols = append(r.Protocols, p)
	}
	for _, s := range m.Source {
		if r.Source(s.Addr().Is6()).IsValid() {
			return nil, &MatchError{"source", fmt.Errorf("a rule has one source prefix of each family: write a match block for each one more")}
		}
		r.Sources = append(r.Sources, s.Masked())
	}
	for _, c := range []struct {
		attr string
		in   []string
		kind Component
		most uint64
	}{
		{"port", m.Port, Port, 65535},
		{"source_port", m.SourcePort, SourcePort, 65535},
		{"destination_port", m.DestinationPort, DestinationPort, 65535},
		{"packet_length", m.PacketLength, PacketLength, 65535},
		{"icmp_type", m.ICMPType, ICMPType, 255},
		{"icmp_code", m.ICMPCode, ICMPCode, 255},
		{"dscp", m.DSCP, DSCP, 63},
	} {
		for _, s := range c.in {
			v, err := parseSpan(s, c.most)
			if err != nil {
				return nil, &MatchError{c.attr, err}
			}
			r.Numeric[c.kind] = append(r.Numeric[c.kind], v)
		}
	}
	if err := m.bits(r); err != nil {
		return nil, err
	}
	if r.Conditions(false)+r.Conditions(true) == 0 {
		return nil, &MatchError{"protocol", fmt.Errorf("the rule has no condition and would fit all traffic to the target")}
	}
	return r, nil
}

// bits reads the attributes that name bits.
func (m *Match) bits(r *Rule) error {
	for _, s := range m.TCPFlags {
		name, not := strings.CutPrefix(s, "!")
		bit := find(TCPFlags, name)
		if bit == 0 {
			return &MatchError{"tcp_flags", fmt.Errorf("%q is no TCP flag: they are %s, with ! in front where one must not be set", s, names(TCPFlags))}
		}
		if not {
			r.Clear |= bit
		} else {
			r.Set |= bit
		}
	}
	if r.Set&r.Clear != 0 {
		return &MatchError{"tcp_flags", fmt.Errorf("the same flag cannot be set and not set")}
	}
	for _, s := range m.Fragment {
		bit := find(Fragments, s)
		if bit == 0 {
			return &MatchError{"fragment", fmt.Errorf("%q is no kind of fragment: they are %s", s, names(Fragments))}
		}
		r.Fragment |= bit
	}
	return nil
}

func find(bits []Bit, name string) uint8 {
	for _, b := range bits {
		if b.Name == strings.ToLower(name) {
			return b.Bit
		}
	}
	return 0
}

func names(bits []Bit) string {
	var out []string
	for _, b := range bits {
		out = append(out, b.Name)
	}
	return strings.Join(out, ", ")
}

var protocols = map[string]Protocol{
	"icmp": {1, 58}, "tcp": {6, 6}, "udp": {17, 17}, "gre": {47, 47}, "esp": {50, 50}, "ah": {51, 51}, "ipip": {4, 4},
	"ipv6": {41, 41}, "ospf": {89, 89}, "sctp": {132, 132},
}

func parseProtocol(s string) (Protocol, error) {
	if p, ok := protocols[strings.ToLower(s)]; ok {
		return p, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return Protocol{}, fmt.Errorf("%q is no protocol: write a number from 0 to 255 or %s", s, strings.Join(slices.Sorted(maps.Keys(protocols)), ", "))
	}
	return Protocol{uint8(n), uint8(n)}, nil
}

// parseSpan reads 53 or 1024-65535.
func parseSpan(s string, most uint64) (Span, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 32)
	b, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil || a > b || b > most {
		return Span{}, fmt.Errorf("%q is neither a number from 0 to %d nor a range of them, such as 1-10", s, most)
	}
	return Span{a, b}, nil
}
