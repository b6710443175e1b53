package traffic

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// TestParseAgreesWithGopacket serialises random packets with gopacket,
// decodes them with it and compares.
func TestParseAgreesWithGopacket(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	seen := map[string]int{}
	for i := range 20000 {
		frame := randomFrame(t, rng)
		want, kind := decodeWithGopacket(t, frame)
		seen[kind]++
		var p Parser
		got := dirty()
		if o := p.Ethernet(&got, frame, len(frame)); o != OK {
			t.Fatalf("packet %d (%s): %v\n% x", i, kind, o, frame)
		}
		if got != want {
			t.Fatalf("packet %d (%s):\n got %+v\nwant %+v\n% x", i, kind, got, want, frame)
		}
	}
	for _, kind := range []string{"v4 TCP", "v4 UDP", "v4 ICMP", "v4 fragment", "v6 TCP", "v6 UDP", "v6 ICMP", "v6 fragment"} {
		if seen[kind] < 100 {
			t.Errorf("only %d packets of kind %q: %v", seen[kind], kind, seen)
		}
	}
}

func randomFrame(t *testing.T, rng *rand.Rand) []byte {
	t.Helper()
	v6 := rng.IntN(2) == 0
	kind := layers.EthernetTypeIPv4
	if v6 {
		kind = layers.EthernetTypeIPv6
	}
	var stack []gopacket.SerializableLayer
	tags, labels := rng.IntN(MaxTags+1), 0
	if rng.IntN(3) == 0 {
		labels = 1 + rng.IntN(4)
	}
	inner := kind
	if labels > 0 {
		inner = layers.EthernetTypeMPLSUnicast
	}
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: inner}
	if tags > 0 {
		eth.EthernetType = layers.EthernetTypeDot1Q
	}
	stack = append(stack, eth)
	for i := range tags {
		next := layers.EthernetTypeDot1Q
		if i == tags-1 {
			next = inner
		}
		stack = append(stack, &layers.Dot1Q{VLANIdentifier: uint16(rng.IntN(4096)), Priority: uint8(rng.IntN(8)), Type: next})
	}
	for i := range labels {
		stack = append(stack, &layers.MPLS{Label: uint32(rng.IntN(1 << 20)), StackBottom: i == labels-1, TTL: 9})
	}
	stack = append(stack, randomIP(rng, v6)...)
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, stack...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func randomIP(rng *rand.Rand, v6 bool) []gopacket.SerializableLayer {
	payload := make(gopacket.Payload, rng.IntN(1200))
	for i := range payload {
		payload[i] = byte(rng.Uint32())
	}
	var proto layers.IPProtocol
	var upper gopacket.SerializableLayer
	switch rng.IntN(4) {
	case 0:
		proto, upper = layers.IPProtocolUDP, &layers.UDP{SrcPort: layers.UDPPort(rng.Uint32()), DstPort: layers.UDPPort(rng.Uint32())}
	case 1:
		proto, upper = layers.IPProtocolICMPv4, &layers.ICMPv4{TypeCode: layers.ICMPv4TypeCode(rng.Uint32())}
		if v6 {
			proto, upper = layers.IPProtocolICMPv6, &layers.ICMPv6{TypeCode: layers.ICMPv6TypeCode(rng.Uint32())}
		}
	default:
		f := rng.Uint32()
		proto, upper = layers.IPProtocolTCP, &layers.TCP{
			SrcPort: layers.TCPPort(rng.Uint32()), DstPort: layers.TCPPort(rng.Uint32()),
			FIN: f&1 != 0, SYN: f&2 != 0, RST: f&4 != 0, PSH: f&8 != 0, ACK: f&16 != 0, URG: f&32 != 0, ECE: f&64 != 0, CWR: f&128 != 0,
		}
	}
	address := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	if v6 {
		ip := &layers.IPv6{
			Version: 6, TrafficClass: uint8(rng.Uint32()), FlowLabel: uint32(rng.IntN(1 << 20)),
			HopLimit: uint8(rng.Uint32()), NextHeader: proto, SrcIP: address(16), DstIP: address(16),
		}
		chain := randomExtensions(rng, ip)
		return []gopacket.SerializableLayer{ip, chain, upper, payload}
	}
	ip := &layers.IPv4{
		Version: 4, TOS: uint8(rng.Uint32()), Id: uint16(rng.Uint32()), TTL: uint8(rng.Uint32()),
		Protocol: proto, SrcIP: address(4), DstIP: address(4),
	}
	switch rng.IntN(4) {
	case 0:
		ip.Flags, ip.FragOffset = layers.IPv4Flag(rng.IntN(4)), uint16(rng.IntN(8192))
	case 1:
		ip.Options = []layers.IPv4Option{{OptionType: 130, OptionLength: 11, OptionData: make([]byte, 9)}, {OptionType: 1}}
	}
	return []gopacket.SerializableLayer{ip, upper, payload}
}

// randomExtensions gives up to three headers as they stand on the wire:
// gopacket reads more kinds than it writes.
func randomExtensions(rng *rand.Rand, ip *layers.IPv6) gopacket.Payload {
	next := uint8(ip.NextHeader)
	var chain []byte
	if rng.IntN(4) == 0 {
		chain = append(fragmentHeader(next, uint16(rng.IntN(3)), rng.IntN(2) == 0), chain...)
		next = extFragment
	}
	if rng.IntN(4) == 0 {
		options := extension(next, rng.IntN(3))
		options[2], options[3] = 1, byte(len(options)-4) // PadN over the rest
		chain = append(options, chain...)
		next = extOptions
	}
	if rng.IntN(4) == 0 {
		options := extension(next, 0)
		options[2], options[3] = 1, 4
		chain = append(options, chain...)
		next = extHopByHop
	}
	ip.NextHeader = layers.IPProtocol(next)
	return chain
}

// decodeWithGopacket makes the record from gopacket's layers.
func decodeWithGopacket(t *testing.T, frame []byte) (Record, string) {
	t.Helper()
	pkt := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	r := Record{Packets: 1, Sampling: 1}
	kind := "v4 "
	for i, l := range pkt.Layers() {
		switch l := l.(type) {
		case *layers.Dot1Q:
			if i == 1 {
				r.VLAN = l.VLANIdentifier
			}
		case *layers.IPv4:
			src, _ := netip.AddrFromSlice(l.SrcIP)
			dst, _ := netip.AddrFromSlice(l.DstIP)
			r.Src, r.Dst = src.As16(), dst.As16()
			r.Bytes, r.Protocol, r.TTL, r.ToS = uint64(l.Length), uint8(l.Protocol), l.TTL, l.TOS
			if l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
				r.Marks |= MarkFragment
			}
			if l.FragOffset != 0 {
				r.Marks |= MarkLater
			}
		case *layers.IPv6:
			kind = "v6 "
			r.Src, r.Dst = [16]byte(l.SrcIP), [16]byte(l.DstIP)
			r.Bytes, r.Protocol, r.TTL, r.ToS = uint64(l.Length)+40, uint8(l.NextHeader), l.HopLimit, l.TrafficClass
			r.Marks |= MarkIPv6
		case *layers.IPv6HopByHop:
			r.Protocol = uint8(l.NextHeader)
		case *layers.IPv6Destination:
			r.Protocol = uint8(l.NextHeader)
		case *layers.IPv6Fragment:
			r.Protocol = uint8(l.NextHeader)
			r.Marks |= MarkFragment
			if l.FragmentOffset != 0 {
				r.Marks |= MarkLater
			}
			// gopacket stops at any fragment, the parser only at later ones.
			return transportOfFragment(r, l.LayerPayload()), kind + "fragment"
		}
	}
	if tr := pkt.TransportLayer(); tr != nil {
		src, dst := tr.TransportFlow().Endpoints()
		r.SrcPort, r.DstPort = binary.BigEndian.Uint16(src.Raw()), binary.BigEndian.Uint16(dst.Raw())
	}
	switch {
	case r.Marks&MarkLater != 0:
		return r, kind + "fragment"
	case pkt.Layer(layers.LayerTypeTCP) != nil:
		r.TCPFlags = pkt.Layer(layers.LayerTypeTCP).LayerContents()[13]
		kind += "TCP"
	case pkt.Layer(layers.LayerTypeUDP) != nil:
		kind += "UDP"
	case pkt.Layer(layers.LayerTypeICMPv4) != nil:
		code := pkt.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4).TypeCode
		r.ICMPType, r.ICMPCode = code.Type(), code.Code()
		kind += "ICMP"
	case pkt.Layer(layers.LayerTypeICMPv6) != nil:
		code := pkt.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode
		r.ICMPType, r.ICMPCode = code.Type(), code.Code()
		kind += "ICMP"
	default:
		return transportOfFragment(r, pkt.Layer(layers.LayerTypeIPv4).LayerPayload()), kind + "fragment"
	}
	return r, kind
}

// transportOfFragment reads what gopacket left undecoded in a fragment.
func transportOfFragment(r Record, b []byte) Record {
	if r.Marks&MarkLater != 0 {
		return r
	}
	first := layers.LayerTypeUDP
	switch r.Protocol {
	case ProtoTCP:
		first = layers.LayerTypeTCP
	case ProtoICMP, ProtoICMPv6:
		r.ICMPType, r.ICMPCode = b[0], b[1]
		return r
	}
	pkt := gopacket.NewPacket(b, first, gopacket.NoCopy)
	src, dst := pkt.TransportLayer().TransportFlow().Endpoints()
	r.SrcPort, r.DstPort = binary.BigEndian.Uint16(src.Raw()), binary.BigEndian.Uint16(dst.Raw())
	if r.Protocol == ProtoTCP {
		r.TCPFlags = pkt.TransportLayer().LayerContents()[13]
	}
	return r
}
