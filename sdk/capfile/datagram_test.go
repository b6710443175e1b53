package capfile

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// frameOf has gopacket make a frame of layers.
func frameOf(t testing.TB, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, l...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	ether4 = &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4}
	ether6 = &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv6}
	qinq   = &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeQinQ}
	ip4    = &layers.IPv4{Version: 4, TTL: 9, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 10}}
	ip6    = &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
	udpTo  = &layers.UDP{SrcPort: 5000, DstPort: 2055}
	load   = gopacket.Payload("flow records")
)

func TestDatagram(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("[2001:db8::1]:5000")
	padded := append(frameOf(t, ether4, ip4, udpTo, load), make([]byte, 18)...)
	fragment := *ip4
	fragment.Flags = layers.IPv4MoreFragments
	other := *ip4
	other.Protocol = layers.IPProtocolTCP
	raw := frameOf(t, ip4, udpTo, load)
	long := bytes.Clone(raw)
	binary.BigEndian.PutUint16(long[24:], 500) // the UDP header's length
	short := bytes.Clone(raw)
	binary.BigEndian.PutUint16(short[24:], 7)
	family := append([]byte{2, 0, 0, 0}, raw...)
	for name, c := range map[string]struct {
		link  traffic.LinkType
		frame []byte
		from  netip.AddrPort
		loss  int // below 0: none
	}{
		"ethernet, padded":  {traffic.LinkEthernet, padded, v4, -1},
		"IPv6":              {traffic.LinkEthernet, frameOf(t, ether6, ip6, udpTo, load), v6, -1},
		"two VLAN tags":     {traffic.LinkEthernet, frameOf(t, qinq, &layers.Dot1Q{Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{Type: layers.EthernetTypeIPv4}, ip4, udpTo, load), v4, -1},
		"raw":               {traffic.LinkRaw, raw, v4, -1},
		"raw IPv6":          {traffic.LinkIPv6, frameOf(t, ip6, udpTo, load), v6, -1},
		"loopback":          {traffic.LinkNull, family, v4, -1},
		"cooked":            {traffic.LinkSLL, append(append(make([]byte, 14), 8, 0), raw...), v4, -1},
		"cooked 2":          {traffic.LinkSLL2, append(append([]byte{8, 0}, make([]byte, 18)...), raw...), v4, -1},
		"fragment":          {traffic.LinkRaw, frameOf(t, &fragment, udpTo, load), v4, int(LossFragment)},
		"TCP":               {traffic.LinkRaw, frameOf(t, &other, udpTo, load), v4, int(LossNotUDP)},
		"ARP":               {traffic.LinkEthernet, append(append(make([]byte, 12), 8, 6), raw...), v4, int(LossNotUDP)},
		"cut":               {traffic.LinkRaw, raw[:len(raw)-1], v4, int(LossCutFrame)},
		"too long for IP":   {traffic.LinkRaw, long, v4, int(LossCutFrame)},
		"a length of seven": {traffic.LinkRaw, short, v4, int(LossNotUDP)},
		"unknown link":      {147, raw, v4, int(LossNotUDP)},
		"nothing":           {traffic.LinkEthernet, nil, v4, int(LossNotUDP)},
	} {
		g, port, loss := datagram(c.link, c.frame)
		if loss != c.loss {
			t.Errorf("%s: loss %d, want %d", name, loss, c.loss)
		} else if loss < 0 && (g.From != c.from || port != 2055 || string(g.Data) != "flow records") {
			t.Errorf("%s: %q from %v to port %d", name, g.Data, g.From, port)
		}
	}
}

// Datagrams come in order of time, only those to the ports asked for, and what
// gave none is counted.
func TestDatagrams(t *testing.T) {
	raw := func(port uint16, text string) string {
		return string(frameOf(t, ip4, &layers.UDP{SrcPort: 5000, DstPort: layers.UDPPort(port)}, gopacket.Payload(text)))
	}
	var files []*Reader
	a := classic(binary.LittleEndian, true, traffic.LinkRaw)
	a.record(want{Time: noon + 1, Data: raw(2055, "one")}, 1).record(want{Time: noon + 5, Data: raw(2055, "three")}, 1)
	a.record(want{Time: noon + 6, Data: "no packet"}, 1).record(want{Time: noon + 7, Data: raw(2055, "cut off")}, 1)
	b := classic(binary.BigEndian, true, traffic.LinkRaw)
	b.record(want{Time: noon + 2, Data: raw(53, "no")}, 1).record(want{Time: noon + 3, Data: raw(4739, "two")}, 1)
	for _, data := range [][]byte{a.Bytes()[:a.Len()-3], b.Bytes()} {
		r, err := NewReader("test", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, r)
	}
	failures := 0
	in := NewDatagrams(files, []uint16{2055, 4739}, func(error) { failures++ })
	var got []string
	var last int64
	for g, at, ok := in.Next(); ok; g, at, ok = in.Next() {
		got = append(got, string(g.Data))
		if at < last {
			t.Errorf("time goes back at %q", g.Data)
		}
		last = at
	}
	if strings.Join(got, " ") != "one two three" || failures != 1 {
		t.Errorf("%q, %d failures", got, failures)
	}
	want := [Losses]uint64{LossOtherPort: 1, LossNotUDP: 1, LossCutFile: 1}
	if lost := in.Lost(); lost != want || in.Lost() != [Losses]uint64{} {
		t.Errorf("lost %v, want %v, and nothing the second time", lost, want)
	}
}

// FuzzDatagram gives the header walk anything: what it returns lies in the
// frame.
func FuzzDatagram(f *testing.F) {
	f.Add(uint16(traffic.LinkEthernet), frameOf(f, ether4, ip4, udpTo, load))
	f.Add(uint16(traffic.LinkEthernet), frameOf(f, qinq, &layers.Dot1Q{Type: layers.EthernetTypeIPv6}, ip6, udpTo, load))
	f.Add(uint16(traffic.LinkRaw), frameOf(f, ip4, udpTo, load))
	f.Add(uint16(traffic.LinkSLL2), append([]byte{0x81, 0}, make([]byte, 30)...))
	f.Fuzz(func(t *testing.T, link uint16, frame []byte) {
		g, _, loss := datagram(traffic.LinkType(link), frame)
		if loss >= Losses || len(g.Data) > len(frame) || loss < 0 && !g.From.IsValid() {
			t.Fatalf("loss %d, %d octets of %d from %v", loss, len(g.Data), len(frame), g.From)
		}
	})
}
