package gen

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var (
	target4 = netip.MustParseAddr("203.0.113.10")
	target6 = netip.MustParseAddr("2001:db8:0:7::10")
)

// everything has ordinary traffic of both families and every kind of attack
// on both, all for three seconds.
func everything() *Scenario {
	s := &Scenario{
		Seed: 7, Start: time.Unix(1_700_000_000, 5), Duration: 3 * time.Second,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Hosts:    50, Benign: Benign{PPS: 3000, IPv6: 0.3, VLAN: 0.25},
	}
	for i, k := range Kinds() {
		a := Attack{Kind: k.Kind, Target: target4, PPS: 400 + float64(i), Start: time.Second, Duration: 1500 * time.Millisecond}
		s.Attacks = append(s.Attacks, a)
		a.Target, a.Duration = target6, 0
		s.Attacks = append(s.Attacks, a)
		a.Direction = Outgoing
		s.Attacks = append(s.Attacks, a)
	}
	return s
}

func collect(t *testing.T, s *Scenario, f func(p *Packet)) int {
	t.Helper()
	n := 0
	if err := s.Packets(func(p *Packet) bool { n++; f(p); return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

func digest(t *testing.T, s *Scenario) string {
	t.Helper()
	h := sha256.New()
	if _, err := WritePcap(h, s); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestDeterministic: the same scenario gives the same octets, another seed
// others.
func TestDeterministic(t *testing.T) {
	first, second := digest(t, everything()), digest(t, everything())
	if first != second {
		t.Fatal("the same scenario gave two captures")
	}
	other := everything()
	other.Seed++
	if digest(t, other) == first {
		t.Error("another seed gave the same capture")
	}
}

// TestParserAgrees parses every frame and compares with the truth.
func TestParserAgrees(t *testing.T) {
	var p traffic.Parser
	last := int64(math.MinInt64)
	marks := map[traffic.Marks]int{}
	tagged := 0
	n := collect(t, everything(), func(pk *Packet) {
		if pk.Time < last {
			t.Fatalf("time runs back from %d to %d", last, pk.Time)
		}
		last = pk.Time
		if len(pk.Frame) < 60 || len(pk.Frame) > 1518 {
			t.Fatalf("frame of %d octets", len(pk.Frame))
		}
		var got traffic.Record
		o := p.Ethernet(&got, pk.Frame, len(pk.Frame))
		got.Time = pk.Time
		if o != traffic.OK || got != pk.Record {
			t.Fatalf("%v\nparsed %+v\n truth %+v\n% x", o, got, pk.Record, pk.Frame)
		}
		marks[got.Marks]++
		if got.VLAN == benignVLAN {
			tagged++
		}
	})
	for _, m := range []traffic.Marks{0, traffic.MarkFragment, traffic.MarkFragment | traffic.MarkLater} {
		if marks[m] < 100 || marks[m|traffic.MarkIPv6] < 100 {
			t.Errorf("few packets with marks %b: %v", m, marks)
		}
	}
	if tagged == 0 || n < 30000 {
		t.Errorf("%d packets, %d of them tagged", n, tagged)
	}
}

// TestRates counts what each kind gives its target, per second and direction.
func TestRates(t *testing.T) {
	for _, k := range Kinds() {
		for _, target := range []netip.Addr{target4, target6} {
			for _, d := range []Direction{Incoming, Outgoing} {
				s := &Scenario{
					Seed: 3, Duration: 4 * time.Second, Networks: everything().Networks,
					Attacks: []Attack{{Kind: k.Kind, Target: target, Direction: d, Start: time.Second, Duration: 2 * time.Second, PPS: 2500}},
				}
				var perSecond [4]int
				around := netip.PrefixFrom(target, target.BitLen())
				if k.Kind == Carpet {
					around = netip.PrefixFrom(target, target.BitLen()-8)
				}
				hosts := map[netip.Addr]bool{}
				collect(t, s, func(p *Packet) {
					ours := p.Record.DstAddr()
					if d == Outgoing {
						ours = p.Record.SrcAddr()
					}
					if around.Contains(ours) {
						perSecond[(p.Time-defaultStart.UnixNano())/1e9]++
						hosts[ours] = true
					}
				})
				if perSecond[0] != 0 || perSecond[3] != 0 || !within(perSecond[1], 2500, 0.02) || !within(perSecond[2], 2500, 0.02) {
					t.Errorf("%s %s %v: %v packets in the seconds, want 0, 2500, 2500, 0", k.Kind, d, target, perSecond)
				}
				if k.Kind == Carpet && len(hosts) != 256 {
					t.Errorf("carpet over %d addresses, want 256", len(hosts))
				}
			}
		}
	}
}

func within(got int, want, tolerance float64) bool {
	return math.Abs(float64(got)-want) <= tolerance*want
}

// TestBenign: rate, shares of protocols, families and hosts.
func TestBenign(t *testing.T) {
	s := everything()
	s.Attacks, s.Duration = nil, 10*time.Second
	proto := map[uint8]int{}
	hosts := map[netip.Addr]int{}
	v6, in := 0, 0
	n := collect(t, s, func(p *Packet) {
		proto[p.Record.Protocol]++
		if p.Record.IsIPv6() {
			v6++
		}
		src, dst := p.Record.SrcAddr(), p.Record.DstAddr()
		srcOurs := slices.ContainsFunc(s.Networks, func(n netip.Prefix) bool { return n.Contains(src) })
		dstOurs := slices.ContainsFunc(s.Networks, func(n netip.Prefix) bool { return n.Contains(dst) })
		if srcOurs == dstOurs {
			t.Fatalf("%v to %v: one of them must be ours", src, dst)
		}
		if dstOurs {
			in++
			src = dst
		}
		hosts[src]++
	})
	for what, c := range map[string]struct {
		got  int
		want float64
	}{
		"packets": {n, 30000}, "IPv6": {v6, 0.3 * 30000}, "incoming": {in, 0.5 * 30000},
		"TCP": {proto[traffic.ProtoTCP], 0.7 * 30000}, "UDP": {proto[traffic.ProtoUDP], 0.27 * 30000},
	} {
		if tolerance := 0.1; !within(c.got, c.want, tolerance) {
			t.Errorf("%s: %d, want %v", what, c.got, c.want)
		}
	}
	if !within(n, 30000, 0.02) || proto[traffic.ProtoICMP] == 0 || proto[traffic.ProtoICMPv6] == 0 {
		t.Errorf("%d packets, by protocol %v", n, proto)
	}
	top := 0
	for _, c := range hosts {
		top = max(top, c)
	}
	if share := float64(top) / float64(n); len(hosts) > 100 || len(hosts) < 60 || share < 0.1 || share > 0.3 {
		t.Errorf("%d hosts, the busiest with %.2f of all", len(hosts), share)
	}
}

// TestChecksums recomputes every checksum with gopacket.
func TestChecksums(t *testing.T) {
	i := 0
	collect(t, everything(), func(p *Packet) {
		if i++; i%7 != 0 || p.Record.Marks&traffic.MarkFragment != 0 {
			return
		}
		pkt := gopacket.NewPacket(p.Frame, layers.LayerTypeEthernet, gopacket.Default)
		var stack []gopacket.SerializableLayer
		for _, l := range pkt.Layers() {
			switch l := l.(type) {
			case *layers.Ethernet, *layers.Dot1Q, *layers.ICMPv4:
				stack = append(stack, l.(gopacket.SerializableLayer))
			case *layers.IPv4:
				stack = append(stack, l)
			case *layers.IPv6:
				stack = append(stack, l)
			case *layers.TCP:
				_ = l.SetNetworkLayerForChecksum(pkt.NetworkLayer())
				stack = append(stack, l, gopacket.Payload(l.Payload))
			case *layers.UDP:
				_ = l.SetNetworkLayerForChecksum(pkt.NetworkLayer())
				stack = append(stack, l, gopacket.Payload(l.Payload))
			case *layers.ICMPv6:
				_ = l.SetNetworkLayerForChecksum(pkt.NetworkLayer())
				stack = append(stack, l, gopacket.Payload(l.Payload))
			}
		}
		if l := pkt.Layer(layers.LayerTypeICMPv4); l != nil {
			stack = append(stack, gopacket.Payload(l.LayerPayload()))
		}
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, stack...); err != nil {
			t.Fatal(err)
		}
		if got := buf.Bytes(); !bytes.Equal(got, p.Frame[:len(got)]) {
			t.Fatalf("checksums differ:\n ours % x\nwant % x", p.Frame, got)
		}
	})
}

// TestReassembly puts fragmented datagrams together and checks their UDP
// checksum over the whole.
func TestReassembly(t *testing.T) {
	for _, target := range []netip.Addr{target4, target6} {
		var b builder
		src := newAttack(Attack{Kind: DNSAmplification, Target: target}, everything().rng(1), mustTable(t, everything()))
		rng := everything().rng(2)
		for range 50 {
			s := &b.spec
			src.next(s, rng)
			b.begin()
			var whole []byte
			header := header4 + 14
			if s.v6 {
				header = header6 + fragHeader6 + 14
			}
			var p Packet
			frames := 0
			for b.more() {
				b.emit(&p)
				whole = append(whole, p.Frame[header:]...)
				frames++
			}
			sum := uint64(traffic.ProtoUDP) + uint64(len(whole))
			sum = add(add(sum, s.src[addrAt(s.v6):]), s.dst[addrAt(s.v6):])
			if check := fold(add(sum, whole)); check != 0 || frames != 3 || int(whole[4])<<8|int(whole[5]) != len(whole) {
				t.Fatalf("%v: %d frames, %d octets, checksum off by %x", target, frames, len(whole), check)
			}
		}
	}
}

func addrAt(v6 bool) int {
	if v6 {
		return 0
	}
	return 12
}

func TestWritePcap(t *testing.T) {
	var file bytes.Buffer
	s := everything()
	n, err := WritePcap(&file, s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	collect(t, s, func(p *Packet) {
		data, ci, err := r.ReadPacketData()
		if err != nil || !bytes.Equal(data, p.Frame) || ci.Timestamp.UnixNano() != p.Time || ci.Length != len(p.Frame) {
			t.Fatalf("packet %d of %d: %v, %v, want %d", read, n, err, ci, p.Time)
		}
		read++
	})
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) || read != n {
		t.Errorf("%d packets written, %d read, then %v", n, read, err)
	}
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestWritePcapReportsWriteErrors(t *testing.T) {
	if _, err := WritePcap(&fullDisk{3 << 20}, everything()); err == nil || !strings.Contains(err.Error(), "write capture file after") {
		t.Errorf("full disk: %v", err)
	}
}

func TestScenarioRefuses(t *testing.T) {
	attack := func(change func(a *Attack)) func(s *Scenario) {
		return func(s *Scenario) { change(&s.Attacks[0]) }
	}
	for want, change := range map[string]func(s *Scenario){
		"duration 0s":                      func(s *Scenario) { s.Duration = 0 },
		"no networks":                      func(s *Scenario) { s.Networks = nil },
		"is there twice":                   func(s *Scenario) { s.Networks = append(s.Networks, s.Networks[0]) },
		"shares must be 0 to 1":            func(s *Scenario) { s.Benign.VLAN = 1.5 },
		"the kinds are [ack_flood ard_amp": attack(func(a *Attack) { a.Kind = "teardrop" }),
		"no target":                        attack(func(a *Attack) { a.Target = netip.Addr{} }),
		"the target is in none of the":     attack(func(a *Attack) { a.Target = netip.MustParseAddr("198.51.100.1") }),
		`direction "up"`:                   attack(func(a *Attack) { a.Direction = "up" }),
		"is not within the scenario's 3s":  attack(func(a *Attack) { a.Start = 2 * time.Second }),
		"0 packets a second":               attack(func(a *Attack) { a.PPS = 0 }),
		"packet size 9000":                 attack(func(a *Attack) { a.PacketSize = 9000 }),
	} {
		s := everything()
		change(s)
		n := 0
		err := s.Packets(func(*Packet) bool { n++; return true })
		if err == nil || !strings.Contains(err.Error(), want) || n != 0 {
			t.Errorf("%d packets, %v, want %q", n, err, want)
		}
	}
}

// TestAnySize: every kind takes every packet size.
func TestAnySize(t *testing.T) {
	var p traffic.Parser
	for _, k := range Kinds() {
		for _, target := range []netip.Addr{target4, target6} {
			for size := 1; size <= maxDatagram; size += 1 + size/5 {
				s := everything()
				s.Benign.PPS, s.Duration = 0, time.Second
				s.Attacks = []Attack{{Kind: k.Kind, Target: target, PPS: 12, PacketSize: size}}
				collect(t, s, func(pk *Packet) {
					var got traffic.Record
					o := p.Ethernet(&got, pk.Frame, len(pk.Frame))
					got.Time = pk.Time
					if o != traffic.OK || got != pk.Record {
						t.Fatalf("%s of %d octets: %v\nparsed %+v\n truth %+v", k.Kind, size, o, got, pk.Record)
					}
				})
			}
		}
	}
}

func TestStop(t *testing.T) {
	n := 0
	if err := everything().Packets(func(*Packet) bool { n++; return n < 10 }); err != nil || n != 10 {
		t.Errorf("%d packets, %v; want 10", n, err)
	}
}
