package traffic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// tunnelled is a frame with packets in packets.
type tunnelled struct {
	name   string
	kinds  []Tunnel // from the outside in; none: what carries has no IP header
	frame  []byte
	inner  []byte   // the innermost IP packet
	tshark []string // options with which it sees the same
}

func udpWith(dst uint16, payload ...[]byte) []byte {
	body := join(nil, payload...)
	b := binary.BigEndian.AppendUint16(nil, 0xc000)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
	return join(append(b, 0, 0), body)
}

// Headers of tunnels, by hand.
func greHeader(flags, kind uint16, fields int) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags)
	return append(binary.BigEndian.AppendUint16(b, kind), make([]byte, fields)...)
}

func vxlanHeader() []byte { return []byte{8, 0, 0, 0, 0, 0, 42, 0} }

func gpe(next byte) []byte { return []byte{0x0c, 0, 0, next, 0, 0, 42, 0} }

func geneveHeader(kind uint16, options int) []byte {
	b := []byte{byte(options / 4), 0, byte(kind >> 8), byte(kind), 0, 0, 9, 0}
	for ; options > 0; options -= 4 { // each an option without data
		b = append(b, 1, 2, 3, 0)
	}
	return b
}

// nshHeader has the context of metadata type 1.
func nshHeader(next byte) []byte {
	return append([]byte{0x0f, 0xc6, 1, next, 0, 0, 7, 255}, make([]byte, 16)...)
}

func gtpHeader(flags byte, length int, fields ...byte) []byte {
	return append([]byte{0x30 | flags, 255, 0, byte(length + len(fields)), 0, 0, 0, 9}, fields...)
}

func erspan2() []byte { return []byte{0x10, 5, 0, 3, 0, 0, 0, 1} }

func erspan3(sub bool) []byte {
	b := []byte{0x20, 5, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0}
	if sub {
		b[11] = 1
		b = append(b, make([]byte, 8)...)
	}
	return b
}

var pppoeHeader = []byte{0x11, 0, 0, 1, 0, 52, 0, 0x21}

// tunnelledFrames has each encapsulation, and some in each other. An outer IPv4
// header has the addresses of build_test.go; inner ones have their own.
func tunnelledFrames() []tunnelled {
	udp, tcp := udpDatagram(5000, 53), tcpSegment(443, 50123, FlagACK)
	in4 := with(ipv4Packet(ProtoTCP, 0, nil, tcp), 12, 10, 9, 8, 7, 10, 6, 5, 4)
	in6 := with(ipv6Packet(ProtoUDP, udp), 8, 0x20, 1, 0xd, 0xb8, 0xaa)
	eth4, eth6 := ethernet(etherIPv4, in4), ethernet(etherVLAN, tagged(77, etherIPv6, in6))
	over := func(proto uint8, payload ...[]byte) []byte {
		return ethernet(etherIPv4, ipv4Packet(proto, 0, nil, join(nil, payload...)))
	}
	over6 := func(proto uint8, payload ...[]byte) []byte { return ethernet(etherIPv6, ipv6Packet(proto, payload...)) }
	udpOver := func(dst uint16, payload ...[]byte) []byte { return over(ProtoUDP, udpWith(dst, payload...)) }
	cw := []byte{0, 0, 0, 0}
	one := func(k Tunnel) []Tunnel { return []Tunnel{k} }
	vx4 := ipv4Packet(ProtoUDP, 0, nil, udpWith(portVXLAN, vxlanHeader(), eth4))
	deep := ipv4Packet(protoIPv4, 0, nil, ipv4Packet(ProtoUDP, 0, nil,
		udpWith(portGeneve, geneveHeader(etherIPv4, 4), ipv4Packet(ProtoGRE, 0, nil, join(greHeader(0, etherIPv4, 0), in4)))))
	return []tunnelled{
		{"vlan in vlan", nil, ethernet(etherQinQ, tagged(7, etherVLAN, tagged(8, etherIPv4, in4))), in4, nil},
		{"mpls", nil, ethernet(etherMPLS, labels(3, in6)), in6, nil},
		{"ethernet over mpls, control word", nil, ethernet(etherMPLS, labels(2, cw, eth6)), in6, []string{"-d", "mpls.label==17,pwethcw"}},
		{"ethernet over mpls, no control word", nil, ethernet(etherMPLS, labels(2, eth4)), in4, []string{"-d", "mpls.label==17,pwethnocw"}},
		{"ethernet over mpls, an address like an IP header", nil, ethernet(etherMPLS, labels(2, with(eth4, 0, 0x45, 0, 0xff, 0xff))), in4, []string{"-d", "mpls.label==17,pwethnocw"}},
		{"pppoe", nil, ethernet(etherVLAN, tagged(7, etherPPPoE, pppoeHeader, in4)), in4, nil},
		{"nsh", nil, ethernet(etherNSH, nshHeader(nextIPv6), in6), in6, nil},
		{"nsh with a frame", nil, ethernet(etherNSH, nshHeader(nextEthernet), eth4), in4, nil},

		{"gre", one(TunnelGRE), over(ProtoGRE, greHeader(0, etherIPv4, 0), in4), in4, nil},
		{"gre with all fields", one(TunnelGRE), over(ProtoGRE, greHeader(greChecksum|greKey|greSequence, etherIPv6, 12), in6), in6, nil},
		{"gre over v6 with a key", one(TunnelGRE), over6(ProtoGRE, greHeader(greKey, etherIPv4, 4), in4), in4, nil},
		{"nvgre", one(TunnelGRE), over(ProtoGRE, greHeader(greKey, etherTEB, 4), eth6), in6, nil},
		{"mpls in gre", one(TunnelGRE), over(ProtoGRE, greHeader(0, etherMPLS, 0), labels(2, in4)), in4, nil},
		{"nsh in gre", one(TunnelGRE), over(ProtoGRE, greHeader(0, etherNSH, 0), nshHeader(nextIPv4), in4), in4, nil},
		{"pptp", one(TunnelGRE), over(ProtoGRE, with(greHeader(greKey|greSequence|greAck|1, grePPP, 12), 4, 0, byte(len(in4)+4)), []byte{0xff, 3, 0, 0x21}, in4), in4, nil},
		{"erspan I", one(TunnelERSPAN), over(ProtoGRE, greHeader(0, greERSPAN, 0), eth4), in4, nil},
		{"erspan II", one(TunnelERSPAN), over(ProtoGRE, greHeader(greSequence, greERSPAN, 4), erspan2(), eth6), in6, nil},
		{"erspan III", one(TunnelERSPAN), over(ProtoGRE, greHeader(greSequence, greERSPAN3, 4), erspan3(false), eth4), in4, nil},
		{"erspan III with a subheader", one(TunnelERSPAN), over(ProtoGRE, greHeader(greSequence, greERSPAN3, 4), erspan3(true), eth4), in4, nil},
		{"ip in ip", one(TunnelIPIP), over(protoIPv4, in4), in4, nil},
		{"6in4", one(TunnelIPIP), over(protoIPv6, in6), in6, nil},
		{"4in6", one(TunnelIPIP), over6(protoIPv4, in4), in4, nil},
		{"6in6 behind options", one(TunnelIPIP), over6(extOptions, with(extension(protoIPv6, 0), 2, 1, 4), in6), in6, nil},
		{"vxlan", one(TunnelVXLAN), udpOver(portVXLAN, vxlanHeader(), eth6), in6, nil},
		{"vxlan-gpe", one(TunnelVXLAN), udpOver(portVXLANGPE, gpe(nextIPv4), in4), in4, nil},
		{"nsh in vxlan-gpe", one(TunnelVXLAN), udpOver(portVXLANGPE, gpe(nextNSH), nshHeader(nextEthernet), eth4), in4, nil},
		{"geneve", one(TunnelGeneve), udpOver(portGeneve, geneveHeader(etherTEB, 0), eth4), in4, nil},
		{"geneve with options", one(TunnelGeneve), udpOver(portGeneve, geneveHeader(etherIPv6, 8), in6), in6, nil},
		{"gtp-u", one(TunnelGTP), udpOver(portGTP, gtpHeader(0, len(in4)), in4), in4, nil},
		{"gtp-u with extensions", one(TunnelGTP), udpOver(portGTP, gtpHeader(4, len(in6), 0, 0, 0, 0x85, 1, 0, 9, 0), in6), in6, nil},
		{"gtp-u with a number", one(TunnelGTP), udpOver(portGTP, gtpHeader(2, len(in4), 0, 5, 0, 0), in4), in4, nil},
		{"l2tp v2", one(TunnelL2TP), udpOver(portL2TP, []byte{0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21}, in4), in4, nil},
		{"l2tp v2 with all fields", one(TunnelL2TP), udpOver(portL2TP, []byte{0x4a, 2, 0, byte(20 + len(in6)), 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 3, 0, 0x57}, in6), in6, nil},
		{"l2tp v3 over ip", one(TunnelL2TP), over(protoL2TP, []byte{0, 0, 0, 9}, eth4), in4, []string{"-"}},
		{"l2tp v3 over ip with cookie", one(TunnelL2TP), over(protoL2TP, []byte{0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8}, eth6), in6, []string{"-"}},
		{"l2tp v3 over udp with sublayer", one(TunnelL2TP), udpOver(portL2TP, []byte{0, 3, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0x40, 0, 0, 1}, eth4), in4, []string{"-"}},

		{"gre in vxlan in 6in4", []Tunnel{TunnelIPIP, TunnelVXLAN, TunnelGRE}, over(protoIPv6, ipv6Packet(ProtoUDP, udpWith(portVXLAN, vxlanHeader(),
			ethernet(etherIPv4, ipv4Packet(ProtoGRE, 0, nil, join(greHeader(greKey, etherIPv6, 4), in6)))))), in6, nil},
		{"vxlan in erspan behind tags and labels", []Tunnel{TunnelERSPAN, TunnelVXLAN}, ethernet(etherVLAN, tagged(7, etherMPLS, labels(2, ipv4Packet(ProtoGRE, 0, nil,
			join(greHeader(greSequence, greERSPAN, 4), erspan2(), ethernet(etherVLAN, tagged(9, etherIPv4, vx4))))))), in4, nil},
		{"four levels", []Tunnel{TunnelGTP, TunnelIPIP, TunnelGeneve, TunnelGRE}, udpOver(portGTP, gtpHeader(0, len(deep)), deep), in4, nil},
	}
}

// decapsulating is a parser that treats all tunnels alike.
func decapsulating(how Decapsulation) *Parser {
	p := &Parser{}
	for t := range tunnels {
		p.Decapsulate(Tunnel(t), how)
	}
	return p
}

func parse(t *testing.T, p *Parser, name string, frame []byte) Record {
	t.Helper()
	r := dirty()
	if o := p.Ethernet(&r, frame, len(frame)); o != OK {
		t.Fatalf("%s: %v", name, o)
	}
	return r
}

// Of every tunnel the outer packet, the inner one or both count, as asked.
func TestTunnels(t *testing.T) {
	for _, c := range tunnelledFrames() {
		var plain Parser
		want := Record{}
		if o := plain.IP(&want, c.inner, 0); o != OK {
			t.Fatalf("%s: the inner packet: %v", c.name, o)
		}
		outer, inner := parse(t, &plain, c.name, c.frame), parse(t, decapsulating(Inner), c.name, c.frame)
		want.VLAN = inner.VLAN
		if inner != want {
			t.Errorf("%s: inside\n got %+v\nwant %+v", c.name, inner, want)
		}
		if len(c.kinds) == 0 && outer != inner {
			t.Errorf("%s: what has no IP header outside counts as\n%+v", c.name, outer)
		}
		both := decapsulating(Both)
		if first := parse(t, both, c.name, c.frame); first != outer {
			t.Errorf("%s: both: first\n got %+v\nwant %+v", c.name, first, outer)
		}
		var more [MaxTunnels]Record
		n := both.More(more[:], LinkEthernet, c.frame, len(c.frame))
		if n != len(c.kinds) || n > 0 && !slices.ContainsFunc(more[:n], func(r Record) bool { r.VLAN = want.VLAN; return r == want }) {
			t.Errorf("%s: both: %d more, %+v", c.name, n, more[:n])
		}
		// Only the kinds that are asked for are looked into.
		for k := range tunnels {
			var p Parser
			p.Decapsulate(Tunnel(k), Inner)
			if got := parse(t, &p, c.name, c.frame); len(c.kinds) > 0 && Tunnel(k) != c.kinds[0] && got != outer {
				t.Errorf("%s: with %v decapsulated it counts as %+v", c.name, Tunnel(k), got)
			}
		}
	}
}

// A tunnel whose inside cannot be read counts as what carries it, wherever it
// is cut; and what is read of the inside is right.
func TestTunnelsEveryCut(t *testing.T) {
	for _, c := range tunnelledFrames() {
		var plain Parser
		inner, both := decapsulating(Inner), decapsulating(Both)
		whole := parse(t, inner, c.name, c.frame)
		counted := false
		for n := range len(c.frame) + 1 {
			cut := c.frame[:n:n]
			var outer Record
			o := plain.Ethernet(&outer, cut, len(c.frame))
			r := dirty()
			if got := inner.Ethernet(&r, cut, len(c.frame)); got != o {
				t.Fatalf("%s cut at %d: %v, outer %v", c.name, n, got, o)
			}
			var more [MaxTunnels]Record
			if k := both.More(more[:], LinkEthernet, cut, len(c.frame)); k > len(c.kinds) {
				t.Fatalf("%s cut at %d: %d packets inside", c.name, n, k)
			}
			if o != OK {
				continue
			}
			isInner := r.Src == whole.Src && r.Dst == whole.Dst && r.Bytes == whole.Bytes
			if counted && !isInner {
				t.Fatalf("%s cut at %d is the inner packet no more: %+v", c.name, n, r)
			}
			counted = isInner
		}
		if !counted {
			t.Errorf("%s: the whole frame is not the inner packet", c.name)
		}
	}
}

// Fragments: the first leads inside, the others count as what carries.
func TestTunnelFragments(t *testing.T) {
	p := decapsulating(Inner)
	in4 := with(ipv4Packet(ProtoTCP, 0, nil, tcpSegment(1, 2, FlagACK)), 12, 10, 9, 8, 7)
	first, later := ethernet(etherIPv4, ipv4Packet(protoIPv4, 0x2000, nil, in4)), ethernet(etherIPv4, ipv4Packet(protoIPv4, 0x2005, nil, in4))
	if r := parse(t, p, "first", first); r.SrcAddr() != netip.MustParseAddr("10.9.8.7") {
		t.Errorf("the first fragment: %+v", r)
	}
	if r := parse(t, p, "later", later); r.Protocol != protoIPv4 || r.Marks&MarkLater == 0 {
		t.Errorf("a later fragment: %+v", r)
	}
}

// Deeper than MaxTunnels nothing is looked into, whatever it costs to build.
func TestTunnelsTooDeep(t *testing.T) {
	packet := ipv4Packet(ProtoUDP, 0, nil, udpDatagram(1, 2))
	for range 100 {
		packet = ipv4Packet(protoIPv4, 0, nil, packet)
	}
	r := parse(t, decapsulating(Inner), "a hundred", ethernet(etherIPv4, packet))
	if want := uint64(len(packet) - MaxTunnels*20); r.Bytes != want {
		t.Errorf("%d octets, want %d", r.Bytes, want)
	}
	frame := ethernet(etherIPv4, packet)
	for range 100 {
		frame = ethernet(etherMPLS, labels(1, []byte{0, 0, 0, 0}, frame))
	}
	var p Parser
	if o := p.Ethernet(&r, frame, len(frame)); o != TooManyTags {
		t.Errorf("a hundred pseudowires: %v", o)
	}
}

func TestDecapsulateBy(t *testing.T) {
	var p, want Parser
	if key, err := p.DecapsulateBy(map[string]string{"all": "inner", "gre": "outer", "vxlan": "both"}); err != nil {
		t.Fatal(key, err)
	}
	for k := range tunnels {
		want.Decapsulate(Tunnel(k), Inner)
	}
	want.Decapsulate(TunnelGRE, Outer)
	want.Decapsulate(TunnelVXLAN, Both)
	if p != want || !p.Several() {
		t.Errorf("%+v, want %+v", p, want)
	}
	for key, text := range map[string]string{"gre": "inside", "teredo": "inner"} {
		if got, err := p.DecapsulateBy(map[string]string{key: text}); got != key || err == nil {
			t.Errorf("%s = %s: %q, %v", key, text, got, err)
		}
	}
}

// tshark sees the same packet inside of each.
func TestTunnelsAgreeWithTshark(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, c := range tunnelledFrames() {
		if len(c.tshark) == 1 {
			continue // it does not guess where a cookie ends
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var file bytes.Buffer
			w := pcapgo.NewWriter(&file)
			if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
				t.Fatal(err)
			}
			if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(c.frame), Length: len(c.frame)}, c.frame); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(t.TempDir(), "tunnel.pcap")
			if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"-n", "-r", name, "-T", "fields", "-E", "occurrence=l", "-o", "ip.defragment:FALSE"}, c.tshark...)
			for _, f := range []string{"frame.protocols", "ip.src", "ip.dst", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.plen", "tcp.srcport", "udp.srcport"} {
				args = append(args, "-e", f)
			}
			out, err := exec.Command(path, args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			f := strings.Split(strings.TrimRight(string(out), "\n"), "\t")
			r := parse(t, decapsulating(Inner), c.name, c.frame)
			src, dst, size, port := f[1], f[2], f[3], f[7]
			if strings.LastIndex(f[0], ":ipv6") > strings.LastIndex(f[0], ":ip:") {
				n, _ := strconv.Atoi(f[6])
				src, dst, size, port = f[4], f[5], strconv.Itoa(n+40), f[8]
			}
			if got := fmt.Sprint(r.SrcAddr(), r.DstAddr(), r.Bytes, r.SrcPort); got != strings.Join([]string{src, dst, size, port}, " ") {
				t.Errorf("%s, tshark says %s %s %s %s (%s)", got, src, dst, size, port, f[0])
			}
		})
	}
}

func BenchmarkTunnels(b *testing.B) {
	for _, c := range tunnelledFrames() {
		if len(c.kinds) == 0 {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			p := decapsulating(Inner)
			var r Record
			b.ReportAllocs()
			for b.Loop() {
				p.Ethernet(&r, c.frame, len(c.frame))
			}
			if r.SrcPort == 0 {
				b.Fatalf("%+v", r)
			}
		})
	}
}
