package traffic

import "testing"

// Packets on which parsers have broken, by the section of FastNetMon's facts: what
// is cut or goes in circles ends, and says how.
func TestContracts(t *testing.T) {
	udp := udpDatagram(53, 40000)
	udp4 := ipv4Packet(ProtoUDP, 0, nil, udp)
	tags := udp4
	kind := uint16(etherIPv4)
	for range 100 {
		tags = tagged(1, kind, tags)
		kind = etherVLAN
	}
	// Each options header says that another one follows, to the end of the packet.
	var chain []byte
	for range 150 {
		chain = append(chain, 60, 0, 0, 0, 0, 0, 0, 0)
	}
	fragment := []byte{ProtoUDP, 0, 0, 1, 0, 0, 0, 7}
	for _, c := range []struct {
		section, says string
		frame         []byte
		want          Outcome
		check         func(r *Record) bool
	}{
		{"4.8", "a hundred VLAN tags", ethernet(etherVLAN, tags), TooManyTags, nil},
		{"4.8", "extension headers that go on for ever", ethernet(etherIPv6, ipv6Packet(60, chain)), OK, func(r *Record) bool { return r.SrcPort|r.DstPort == 0 }},
		{"4.8", "GHSA-jmjw-392h-4g93: a fragment header that is cut", ethernet(etherIPv6, ipv6Packet(44, fragment[:5])), OK, func(r *Record) bool { return r.SrcPort|r.DstPort == 0 }},
		{"4.8", "CVE-2026-48682: a header length beyond the packet", ethernet(etherIPv4, with(ipv4Packet(ProtoUDP, 0, nil, nil), 0, 0x4f)), BadHeader, nil},
		{"4.1", "a fragment of IPv6 has its protocol and its ports, which the original loses", ethernet(etherIPv6, ipv6Packet(44, append(fragment, udp...))), OK, func(r *Record) bool {
			return r.Protocol == ProtoUDP && r.SrcPort == 53 && r.Marks&MarkFragment != 0
		}},
		{"4.1", "hop-by-hop options of IPv6, which the original drops", ethernet(etherIPv6, ipv6Packet(0, append([]byte{ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, udp...))), OK, func(r *Record) bool {
			return r.Protocol == ProtoUDP && r.DstPort == 40000
		}},
		{"4.1", "QinQ (802.1ad), which the original does not know", ethernet(0x88a8, tagged(7, etherVLAN, tagged(9, etherIPv4, udp4))), OK, func(r *Record) bool { return r.SrcPort == 53 }},
		{"4.1", "a TCP header that is cut still has ports", ethernet(etherIPv4, ipv4Packet(ProtoTCP, 0, nil, tcpSegment(443, 50123, FlagSYN)[:4])), OK, func(r *Record) bool { return r.SrcPort == 443 && r.DstPort == 50123 }},
	} {
		var p Parser
		r := dirty()
		if got := p.Frame(&r, LinkEthernet, c.frame, 0); got != c.want || c.check != nil && !c.check(&r) {
			t.Errorf("%s, %s: %v, want %v; %+v", c.section, c.says, got, c.want, r)
		}
	}
}
