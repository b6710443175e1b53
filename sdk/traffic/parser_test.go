package traffic

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// dirty is a record as a ring slot may hold it: every octet set.
func dirty() Record {
	r := Record{
		Packets: ^uint64(0), Bytes: ^uint64(0), Sampling: ^uint32(0), DurationMs: ^uint32(0),
		SrcPort: 0xffff, DstPort: 0xffff, Protocol: 0xff, TCPFlags: 0xff, Marks: 0xffff,
		Time: -1, Class: ^uint64(0), Exporter: ^uint32(0), InIf: ^uint32(0), OutIf: ^uint32(0),
		SrcAS: ^uint32(0), DstAS: ^uint32(0), VLAN: 0xffff, TTL: 0xff, ToS: 0xff, ICMPType: 0xff,
		ICMPCode: 0xff, Verdict: 0xff,
	}
	for i := range r.Src {
		r.Src[i], r.Dst[i], r.NextHop[i] = 0xff, 0xff, 0xff
	}
	return r
}

// want4 and want6 are the records of the hand-made packets, set changing
// what is particular to one of them.
func want4(proto uint8, length int, set func(*Record)) Record {
	r := Record{
		Src: [16]byte{10: 0xff, 11: 0xff, 12: src4[0], 13: src4[1], 14: src4[2], 15: src4[3]},
		Dst: [16]byte{10: 0xff, 11: 0xff, 12: dst4[0], 13: dst4[1], 14: dst4[2], 15: dst4[3]},
	}
	return finish(r, proto, length, set)
}

func want6(proto uint8, length int, set func(*Record)) Record {
	return finish(Record{Src: src6, Dst: dst6, Marks: MarkIPv6}, proto, length, set)
}

func finish(r Record, proto uint8, length int, set func(*Record)) Record {
	r.Packets, r.Sampling, r.Bytes, r.Protocol, r.TTL, r.ToS = 1, 1, uint64(length), proto, 61, 0x2e
	if set != nil {
		set(&r)
	}
	return r
}

func ports(src, dst uint16, marks Marks) func(*Record) {
	return func(r *Record) { r.SrcPort, r.DstPort, r.Marks = src, dst, r.Marks|marks }
}

func marks(m Marks) func(*Record) { return func(r *Record) { r.Marks |= m } }

func both(f ...func(*Record)) func(*Record) {
	return func(r *Record) {
		for _, set := range f {
			set(r)
		}
	}
}

func vlan(id uint16) func(*Record) { return func(r *Record) { r.VLAN = id } }

func flags(f uint8) func(*Record) { return func(r *Record) { r.TCPFlags = f } }

func icmp(kind, code uint8) func(*Record) {
	return func(r *Record) { r.ICMPType, r.ICMPCode = kind, code }
}

func pad(frame []byte, size int) []byte { return append(frame, make([]byte, size-len(frame))...) }

func with(b []byte, at int, octets ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], octets)
	return b
}

func TestParseShapes(t *testing.T) {
	udp, tcp := udpDatagram(53, 40000), tcpSegment(443, 50123, FlagSYN|FlagECE)
	sctp := udpDatagram(2905, 2906)
	echo := []byte{8, 3, 0, 0, 0, 1, 0, 1}
	udp4, tcp4 := ipv4Packet(ProtoUDP, 0, nil, udp), ipv4Packet(ProtoTCP, 0, nil, tcp)
	udp6, tcp6 := ipv6Packet(ProtoUDP, udp), ipv6Packet(ProtoTCP, tcp)
	n4, n6 := 20+len(udp), 40+len(udp)
	isUDP, isTCP := ports(53, 40000, 0), both(ports(443, 50123, 0), flags(FlagSYN|FlagECE))
	sll := func(kind uint16, p []byte) []byte {
		return join(binary.BigEndian.AppendUint16(make([]byte, 14), kind), p)
	}
	sll2 := func(kind uint16, p []byte) []byte {
		return join(binary.BigEndian.AppendUint16(nil, kind), make([]byte, 18), p)
	}
	pppoe := []byte{0x11, 0, 0, 1, 0, 64}

	for _, c := range []struct {
		name  string
		link  LinkType
		frame []byte
		want  Record
	}{
		{"v4 udp", LinkEthernet, ethernet(etherIPv4, udp4), want4(ProtoUDP, n4, isUDP)},
		{"v4 udp padded", LinkEthernet, pad(ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0, nil, udp[:8])), 60), want4(ProtoUDP, 28, isUDP)},
		{"v4 without payload, padding is no port", LinkEthernet, append(ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0, nil, nil)), 1, 2, 3, 4), want4(ProtoUDP, 20, nil)},
		{"v4 udp in 802.3 with SNAP", LinkEthernet, ethernet(uint16(8+n4), []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, udp4), want4(ProtoUDP, n4, isUDP)},
		{"v4 tcp", LinkEthernet, ethernet(etherIPv4, tcp4), want4(ProtoTCP, 20+len(tcp), isTCP)},
		{"v4 icmp", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoICMP, 0, nil, echo)), want4(ProtoICMP, 28, icmp(8, 3))},
		{"v4 sctp", LinkEthernet, ethernet(etherIPv4, ipv4Packet(protoSCTP, 0, nil, sctp)), want4(protoSCTP, n4, ports(2905, 2906, 0))},
		{"v4 gre has no ports", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoGRE, 0, nil, udp)), want4(ProtoGRE, n4, nil)},
		{"v4 options", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0, make([]byte, 40), udp)), want4(ProtoUDP, n4+40, isUDP)},
		{"v4 do not fragment", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0x4000, nil, udp)), want4(ProtoUDP, n4, isUDP)},
		{"v4 first fragment", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0x2000, nil, udp)), want4(ProtoUDP, n4, ports(53, 40000, MarkFragment))},
		{"v4 later fragment", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoTCP, 0x2001, nil, tcp)), want4(ProtoTCP, 20+len(tcp), marks(MarkFragment|MarkLater))},
		{"v4 last fragment", LinkEthernet, ethernet(etherIPv4, ipv4Packet(ProtoUDP, 185, nil, udp)), want4(ProtoUDP, n4, marks(MarkFragment|MarkLater))},
		{"v4 length 0 (offload)", LinkEthernet, ethernet(etherIPv4, with(tcp4, 2, 0, 0)), want4(ProtoTCP, 20+len(tcp), isTCP)},
		{"v4 vlan", LinkEthernet, ethernet(etherVLAN, tagged(101, etherIPv4, udp4)), want4(ProtoUDP, n4, both(isUDP, vlan(101)))},
		{"v4 qinq keeps the outer id", LinkEthernet, ethernet(etherQinQ, tagged(4095, etherVLAN, tagged(2, etherIPv4, udp4))), want4(ProtoUDP, n4, both(isUDP, vlan(4095)))},
		{"v4 four tags", LinkEthernet, ethernet(etherQinQ, tagged(1, etherQinQ1, tagged(2, etherQinQ2, tagged(3, etherVLAN, tagged(4, etherIPv4, udp4))))), want4(ProtoUDP, n4, both(isUDP, vlan(1)))},
		{"v4 mpls", LinkEthernet, ethernet(etherMPLS, labels(1, tcp4)), want4(ProtoTCP, 20+len(tcp), isTCP)},
		{"v6 mpls multicast, most labels", LinkEthernet, ethernet(etherMPLSM, labels(MaxLabels, udp6)), want6(ProtoUDP, n6, isUDP)},
		{"v4 vlan mpls", LinkEthernet, ethernet(etherVLAN, tagged(7, etherMPLS, labels(3, udp4))), want4(ProtoUDP, n4, both(isUDP, vlan(7)))},
		{"v4 pppoe", LinkEthernet, ethernet(etherPPPoE, pppoe, []byte{0, 0x21}, udp4), want4(ProtoUDP, n4, isUDP)},

		{"v6 udp", LinkEthernet, ethernet(etherIPv6, udp6), want6(ProtoUDP, n6, isUDP)},
		{"v6 tcp", LinkEthernet, ethernet(etherIPv6, tcp6), want6(ProtoTCP, 40+len(tcp), isTCP)},
		{"v6 icmp", LinkEthernet, ethernet(etherIPv6, ipv6Packet(ProtoICMPv6, echo)), want6(ProtoICMPv6, 48, icmp(8, 3))},
		{"v6 vlan", LinkEthernet, ethernet(etherVLAN, tagged(12, etherIPv6, udp6)), want6(ProtoUDP, n6, both(isUDP, vlan(12)))},
		{"v6 no next header", LinkEthernet, ethernet(etherIPv6, ipv6Packet(noNextHeader)), want6(noNextHeader, 40, nil)},
		{"v6 esp", LinkEthernet, ethernet(etherIPv6, ipv6Packet(50, udp)), want6(50, n6, nil)},
		{
			"v6 extensions", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extHopByHop, extension(extRouting, 0), extension(extAuth, 2), authHeader(extOptions), extension(extMobility, 0), extension(ProtoTCP, 0), tcp)),
			want6(ProtoTCP, 40+8+24+24+8+8+len(tcp), isTCP),
		},
		{"v6 most extensions", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extOptions, chain(MaxExtensions, ProtoUDP), udp)), want6(ProtoUDP, n6+8*MaxExtensions, isUDP)},
		{"v6 too many extensions", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extOptions, chain(MaxExtensions+1, ProtoUDP), udp)), want6(extOptions, n6+8*(MaxExtensions+1), nil)},
		{"v6 extension longer than the packet", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extOptions, []byte{ProtoUDP, 255, 0, 0, 0, 0, 0, 0}, udp)), want6(ProtoUDP, n6+8, nil)},
		{"v6 first fragment", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extFragment, fragmentHeader(ProtoUDP, 0, true), udp)), want6(ProtoUDP, n6+8, ports(53, 40000, MarkFragment))},
		{"v6 atomic fragment", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extFragment, fragmentHeader(ProtoUDP, 0, false), udp)), want6(ProtoUDP, n6+8, ports(53, 40000, MarkFragment))},
		{"v6 later fragment", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extHopByHop, extension(extFragment, 0), fragmentHeader(ProtoTCP, 1, true), tcp)), want6(ProtoTCP, 56+len(tcp), marks(MarkFragment|MarkLater))},
		{"v6 options behind a first fragment", LinkEthernet, ethernet(etherIPv6, ipv6Packet(extFragment, fragmentHeader(extOptions, 0, true), extension(ProtoUDP, 1), udp)), want6(ProtoUDP, n6+24, ports(53, 40000, MarkFragment))},
		{"v6 length 0 (jumbogram, offload)", LinkEthernet, ethernet(etherIPv6, with(tcp6, 4, 0, 0)), want6(ProtoTCP, 40+len(tcp), isTCP)},

		{"raw v4", LinkRaw, udp4, want4(ProtoUDP, n4, isUDP)},
		{"raw v6", LinkRaw, udp6, want6(ProtoUDP, n6, isUDP)},
		{"raw 12", LinkRawBSD, udp6, want6(ProtoUDP, n6, isUDP)},
		{"raw 14", LinkRawOBSD, udp4, want4(ProtoUDP, n4, isUDP)},
		{"ipv4", LinkIPv4, udp4, want4(ProtoUDP, n4, isUDP)},
		{"ipv6", LinkIPv6, udp6, want6(ProtoUDP, n6, isUDP)},
		{"null little-endian", LinkNull, join([]byte{2, 0, 0, 0}, udp4), want4(ProtoUDP, n4, isUDP)},
		{"null big-endian", LinkNull, join([]byte{0, 0, 0, 2}, udp4), want4(ProtoUDP, n4, isUDP)},
		{"null v6 darwin", LinkNull, join([]byte{30, 0, 0, 0}, udp6), want6(ProtoUDP, n6, isUDP)},
		{"loop v6 openbsd", LinkLoop, join([]byte{0, 0, 0, 24}, udp6), want6(ProtoUDP, n6, isUDP)},
		{"sll v4", LinkSLL, sll(etherIPv4, udp4), want4(ProtoUDP, n4, isUDP)},
		{"sll vlan v6", LinkSLL, sll(etherVLAN, tagged(5, etherIPv6, udp6)), want6(ProtoUDP, n6, both(isUDP, vlan(5)))},
		{"sll2 v4", LinkSLL2, sll2(etherIPv4, udp4), want4(ProtoUDP, n4, isUDP)},
		{"sll2 v6", LinkSLL2, sll2(etherIPv6, udp6), want6(ProtoUDP, n6, isUDP)},
		{"ppp", LinkPPP, join([]byte{0, 0x21}, udp4), want4(ProtoUDP, n4, isUDP)},
		{"ppp hdlc", LinkPPP, join([]byte{0xff, 3, 0, 0x57}, udp6), want6(ProtoUDP, n6, isUDP)},
		{"ppp compressed protocol", LinkPPP, join([]byte{0x21}, udp4), want4(ProtoUDP, n4, isUDP)},
		{"ppp mpls", LinkPPP, join([]byte{0x02, 0x81}, labels(1, udp4)), want4(ProtoUDP, n4, isUDP)},
		{"mpls", LinkMPLS, labels(2, udp6), want6(ProtoUDP, n6, isUDP)},
	} {
		var p Parser
		r := dirty()
		if got := p.Frame(&r, c.link, c.frame, len(c.frame)); got != OK {
			t.Errorf("%s: %v", c.name, got)
		} else if r != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, r, c.want)
		}
		framed := Parser{LengthFromFrame: true}
		if framed.Frame(&r, c.link, c.frame, len(c.frame)+4); r.Bytes != uint64(len(c.frame)+4) {
			t.Errorf("%s: %d bytes by the frame, want %d", c.name, r.Bytes, len(c.frame)+4)
		}
	}
}

// chain is n destination options headers.
func chain(n int, next uint8) []byte {
	var b []byte
	for i := range n {
		follows := uint8(extOptions)
		if i == n-1 {
			follows = next
		}
		b = append(b, extension(follows, 0)...)
	}
	return b
}

func TestParseRefuses(t *testing.T) {
	udp4, udp6 := ipv4Packet(ProtoUDP, 0, nil, udpDatagram(1, 2)), ipv6Packet(ProtoUDP, udpDatagram(1, 2))
	tags := ethernet(etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherIPv4, udp4))))))
	for _, c := range []struct {
		name  string
		link  LinkType
		frame []byte
		want  Outcome
	}{
		{"empty", LinkEthernet, nil, Truncated},
		{"empty raw", LinkRaw, nil, Truncated},
		{"arp", LinkEthernet, ethernet(0x0806, make([]byte, 46)), NotIP},
		{"802.3 llc", LinkEthernet, ethernet(38, []byte{0x42, 0x42, 3}, make([]byte, 43)), NotIP},
		{"802.3 with SNAP, no IP", LinkEthernet, ethernet(38, []byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0}, make([]byte, 38)), NotIP},
		{"802.3 with SNAP twice", LinkEthernet, ethernet(38, []byte{0xaa, 0xaa, 3, 0, 0, 0, 0, 30, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, make([]byte, 38)), NotIP},
		{"vlan arp", LinkEthernet, ethernet(etherVLAN, tagged(1, 0x0806, make([]byte, 46))), NotIP},
		{"five tags", LinkEthernet, tags, TooManyTags},
		{"too many labels", LinkEthernet, ethernet(etherMPLS, labels(MaxLabels+1, udp4)), TooManyTags},
		{"pseudowire", LinkEthernet, ethernet(etherMPLS, labels(1, make([]byte, 64))), NotIP},
		{"version 6 as IPv4", LinkEthernet, ethernet(etherIPv4, udp6), BadHeader},
		{"version 4 as IPv6", LinkEthernet, ethernet(etherIPv6, pad(udp4, 60)), BadHeader},
		{"header of 16 octets", LinkEthernet, ethernet(etherIPv4, with(udp4, 0, 0x44)), BadHeader},
		{"total length 19", LinkEthernet, ethernet(etherIPv4, with(udp4, 2, 0, 19)), BadHeader},
		{"total length below options", LinkEthernet, ethernet(etherIPv4, with(udp4, 0, 0x46, 0, 0, 23)), BadHeader},
		{"raw version 5", LinkRaw, with(udp4, 0, 0x55), NotIP},
		{"null family 7", LinkNull, []byte{7, 0, 0, 0, 0x45}, NotIP},
		{"ppp lcp", LinkPPP, []byte{0xc0, 0x21, 1, 1}, NotIP},
		{"802.11", LinkType(105), udp4, UnknownLink},
	} {
		var p Parser
		r := dirty()
		if got := p.Frame(&r, c.link, c.frame, 0); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestParseOffloadCut: with the length field 0 a cut packet counts what the
// wire had, not what the snap length left.
func TestParseOffloadCut(t *testing.T) {
	tcp := tcpSegment(443, 50123, FlagACK)
	for name, frame := range map[string][]byte{
		"v4": ethernet(etherVLAN, tagged(1, etherIPv4, with(ipv4Packet(ProtoTCP, 0, nil, tcp), 2, 0, 0))),
		"v6": ethernet(etherVLAN, tagged(1, etherIPv6, with(ipv6Packet(ProtoTCP, tcp), 4, 0, 0))),
	} {
		var p Parser
		var r Record
		if o := p.Ethernet(&r, frame, 64018); o != OK || r.Bytes != 64000 {
			t.Errorf("%s: %v with %d bytes, want 64000", name, o, r.Bytes)
		}
	}
}

// TestParseEveryCut cuts every shape at every octet: first nothing counts,
// then the packet does, with the same bytes, and what is known only grows.
func TestParseEveryCut(t *testing.T) {
	shapes := append(benchShapes(),
		shape{"options", ethernet(etherIPv4, ipv4Packet(ProtoTCP, 0, make([]byte, 12), tcpSegment(1, 2, FlagRST)))},
		shape{"icmp", ethernet(etherIPv4, ipv4Packet(ProtoICMP, 0, nil, []byte{3, 1, 0, 0}))},
		shape{"extensions", ethernet(etherIPv6, ipv6Packet(extHopByHop, extension(extAuth, 1), authHeader(ProtoTCP), tcpSegment(1, 2, FlagRST)))},
	)
	for _, s := range shapes {
		var p Parser
		var whole Record
		if o := p.Ethernet(&whole, s.frame, len(s.frame)); o != OK {
			t.Fatalf("%s: %v", s.name, o)
		}
		counted, known := false, 0
		for n := range len(s.frame) + 1 {
			r := dirty()
			o := p.Ethernet(&r, s.frame[:n:n], len(s.frame))
			if o != OK {
				if o != Truncated || counted {
					t.Fatalf("%s cut at %d: %v (counted before: %v)", s.name, n, o, counted)
				}
				continue
			}
			counted = true
			if r.Src != whole.Src || r.Dst != whole.Dst || r.Bytes != whole.Bytes || r.VLAN != whole.VLAN {
				t.Fatalf("%s cut at %d: %+v, whole %+v", s.name, n, r, whole)
			}
			k := agreement(r, whole)
			if k < known {
				t.Fatalf("%s cut at %d knows less than the shorter cut: %+v", s.name, n, r)
			}
			known = k
			if r.SrcPort != 0 && r.SrcPort != whole.SrcPort || r.TCPFlags != 0 && r.TCPFlags != whole.TCPFlags {
				t.Fatalf("%s cut at %d made up %+v, whole %+v", s.name, n, r, whole)
			}
		}
		if known != agreement(whole, whole) {
			t.Fatalf("%s: the whole frame knows %d of %d", s.name, known, agreement(whole, whole))
		}
	}
}

// agreement counts the facts in which a cut packet's record agrees with the
// whole packet's.
func agreement(r, whole Record) int {
	n := 0
	for _, same := range []bool{
		r.Protocol == whole.Protocol, r.SrcPort == whole.SrcPort, r.DstPort == whole.DstPort,
		r.TCPFlags == whole.TCPFlags, r.ICMPType == whole.ICMPType, r.Marks == whole.Marks,
	} {
		if same {
			n++
		}
	}
	return n
}

func TestNames(t *testing.T) {
	if got := Truncated.String() + " " + Outcome(200).String() + " " + LinkSLL2.String() + " " + LinkType(147).String(); got != "truncated unknown LINUX_SLL2 147" {
		t.Errorf("names: %s", got)
	}
	var p Parser
	var r Record
	for l := range 1024 {
		link := LinkType(l)
		if (p.Frame(&r, link, nil, 0) != UnknownLink) != link.Supported() {
			t.Errorf("link type %v: Supported says %v", link, link.Supported())
		}
	}
}
