package pcapfilter

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// atom is one address, network, port or protocol with its qualifiers.
func (p *parser) atom(q qualifier) (node, *Error) {
	t := p.peek()
	if t.kind == end || t.kind == punct {
		return nil, p.unexpected(t, "What "+q.text()+" is about must follow, such as "+q.example()+".")
	}
	if t.kind == word && !t.escaped && isKeyword(t.text) && q.what != "proto" {
		return nil, p.unexpected(t, "What "+q.text()+" is about must follow, such as "+q.example()+".")
	}
	allowed := map[string][]string{"": {"", "ip", "ip6"}, "host": {"", "ip", "ip6"}, "net": {"", "ip", "ip6"}, "proto": {"", "ip", "ip6"}}[q.what]
	if allowed == nil {
		allowed = []string{"", "tcp", "udp", "sctp"}
	}
	if !slices.Contains(allowed, q.proto) {
		return nil, p.err(token{at: q.at, len: q.len}, fmt.Sprintf("%q does not go with %s", q.proto, q.whatName()), "Write %s and %s …", q.proto, q.whatName())
	}
	p.take()
	switch q.what {
	case "port", "portrange":
		return p.port(q, t)
	case "proto":
		return p.proto(q, t)
	}
	return p.address(q, t)
}

func (q *qualifier) whatName() string {
	if q.what == "" {
		return "host"
	}
	return q.what
}

func (q *qualifier) text() string {
	dir := map[direction]string{src: "src ", dst: "dst ", srcAndDst: "src and dst "}[q.dir]
	return strings.TrimSpace(strings.TrimSpace(q.proto+" "+dir) + " " + q.what)
}

func (q *qualifier) example() string {
	return map[string]string{"net": "198.51.100.0/24", "port": "53", "portrange": "6000-6008", "proto": "17"}[q.what] + map[bool]string{true: "198.51.100.1"}[q.whatName() == "host"]
}

// directed makes a test of source and destination of one.
func directed(d direction, test func(direction) node) node {
	if d == srcAndDst {
		return both{test(src), test(dst)}
	}
	return test(d)
}

// address reads a host or, after net, a network.
func (p *parser) address(q qualifier, t token) (node, *Error) {
	text := p.src[t.at : t.at+t.len]
	if t.kind == word {
		return nil, p.err(t, fmt.Sprintf("%q is no address", text), "Names of hosts and networks are not looked up: write their addresses.")
	}
	bits := -1
	if p.peek().is("/") {
		p.take()
		n := p.take()
		if q.what != "net" {
			return nil, p.err(t, "a length makes it a network", "Write net instead of host.")
		}
		if bits = int(min(n.value, 1000)); n.kind != number {
			return nil, p.unexpected(n, "The length of the prefix must follow /.")
		}
		t.len = n.at + n.len - t.at
	}
	prefix, complete, ok := parseNet(text)
	switch {
	case !ok:
		return nil, p.err(t, fmt.Sprintf("%q is no address", text), "Write %s or %s.", q.example(), "2001:db8::1")
	case !complete && q.what != "net":
		return nil, p.err(t, "an incomplete address", "Write all four numbers of it, or net.")
	case bits > prefix.Addr().BitLen():
		return nil, p.err(t, fmt.Sprintf("a prefix of %d bits", bits), "IPv4 has 32 and IPv6 128.")
	case bits >= 0:
		prefix = netip.PrefixFrom(prefix.Addr(), bits)
	}
	if p.peek().is("mask") {
		var err *Error
		if prefix, err = p.mask(q, t, prefix); err != nil {
			return nil, err
		}
	}
	switch {
	case prefix != prefix.Masked():
		return nil, p.err(t, fmt.Sprintf("%v has bits behind its length", prefix), "Write net %v.", prefix.Masked())
	case q.proto == "ip" && prefix.Addr().Is6(), q.proto == "ip6" && prefix.Addr().Is4():
		return nil, p.err(t, fmt.Sprintf("%q does not go with this address", q.proto), "It is one of the other family.")
	}
	return directed(q.dir, func(d direction) node { return netTest{d, prefix} }), nil
}

// parseNet reads an address; of IPv4 perhaps only its first octets, which then
// are a network.
func parseNet(text string) (prefix netip.Prefix, complete, ok bool) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), true, true
	}
	var octets [4]byte
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return prefix, false, false
	}
	for i, s := range parts {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return prefix, false, false
		}
		octets[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(parts)), false, true
}

func (p *parser) mask(q qualifier, t token, prefix netip.Prefix) (netip.Prefix, *Error) {
	p.take()
	m := p.take()
	text := p.src[m.at : m.at+m.len]
	mask, err := netip.ParseAddr(text)
	if err != nil || !mask.Is4() || !prefix.Addr().Is4() || q.what != "net" {
		return prefix, p.err(m, fmt.Sprintf("%q is no mask here", text), "Write net 198.51.100.0 mask 255.255.255.0, or net 198.51.100.0/24.")
	}
	bits, _ := net.IPMask(mask.AsSlice()).Size()
	if bits == 0 && mask != netip.IPv4Unspecified() {
		return prefix, p.err(m, "a mask with holes", "Its set bits must come first, as in 255.255.255.0.")
	}
	return netip.PrefixFrom(prefix.Addr(), bits), nil
}

// port reads a port's number or name, or two with a dash between.
func (p *parser) port(q qualifier, t token) (node, *Error) {
	text := p.src[t.at : t.at+t.len]
	protos := map[string]transports{"": overTCP | overUDP | overSCTP, "tcp": overTCP, "udp": overUDP, "sctp": overSCTP}[q.proto]
	var lo, hi uint16
	var ok bool
	if first, second, dash := strings.Cut(text, "-"); dash && q.what == "portrange" {
		var ok2 bool
		lo, ok = portNumber(first)
		hi, ok2 = portNumber(second)
		ok = ok && ok2
		lo, hi = min(lo, hi), max(lo, hi)
	} else if lo, ok = portNumber(text); !ok && t.kind == word {
		lo, protos, ok = portNamed(strings.TrimPrefix(t.text, `\`), protos)
		hi = lo
	} else {
		hi = lo
	}
	if !ok {
		return nil, p.err(t, fmt.Sprintf("%q is no %s", text, q.what), "Write %s, or a name that this machine knows for a port.", q.example())
	}
	return directed(q.dir, func(d direction) node { return portTest{d, lo, hi, protos} }), nil
}

func portNumber(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 0, 16)
	return uint16(n), err == nil
}

// portNamed looks a name up for each protocol; those that do not have it are
// not meant.
func portNamed(name string, protos transports) (port uint16, of transports, ok bool) {
	for network, proto := range map[string]transports{"tcp": overTCP, "udp": overUDP} {
		n, err := net.LookupPort(network, name)
		switch {
		case protos&proto == 0 || err != nil:
		case of != 0 && port != uint16(n):
			return 0, 0, false
		default:
			port, of = uint16(n), of|proto
		}
	}
	return port, of, of != 0
}

// proto reads a protocol's number or name.
func (p *parser) proto(q qualifier, t token) (node, *Error) {
	n, ok := uint32(0), false
	switch t.kind {
	case number:
		n, ok = t.value, t.value <= 255
	case word:
		var named uint8
		named, ok = protoNumbers[t.text]
		n = uint32(named)
	}
	if !ok {
		return nil, p.err(t, fmt.Sprintf("%q is no protocol", p.src[t.at:t.at+t.len]), "Write a number from 0 to 255, or a name such as udp.")
	}
	families := map[string]uint8{"": v4 | v6, "ip": v4, "ip6": v6}[q.proto]
	if q.dir != srcOrDst {
		return nil, p.err(t, "a protocol has no direction", "Remove src or dst.")
	}
	return protoTest{uint8(n), families}, nil
}

// multicast is ip multicast or ip6 multicast.
func (p *parser) multicast(q qualifier) (node, *Error) {
	p.last = nil
	switch q.proto {
	case "ip":
		return netTest{dst, netip.MustParsePrefix("224.0.0.0/4")}, nil
	case "ip6":
		return netTest{dst, netip.MustParsePrefix("ff00::/8")}, nil
	}
	return nil, p.err(token{at: q.at, len: q.len}, fmt.Sprintf("%q has no multicast addresses", q.proto), "Write ip multicast or ip6 multicast.")
}
