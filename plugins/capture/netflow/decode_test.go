package main

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// diff compares all fields of records, the exporter's number apart.
func diff(want, got traffic.Record) string {
	got.Exporter = want.Exporter
	return cmp.Diff(want, got, cmp.AllowUnexported(traffic.Record{}))
}

// expected is the record of a flow, sampled at a rate.
func (f v5Flow) expected(rate uint32) traffic.Record {
	r := traffic.Record{
		Src: f.src.As16(), Dst: f.dst.As16(), NextHop: f.hop.As16(),
		Packets: uint64(f.packets) * uint64(rate), Bytes: uint64(f.octets) * uint64(rate), Sampling: rate,
		SrcPort: f.sport, DstPort: f.dport, Protocol: f.protocol, TCPFlags: f.flags, Marks: traffic.MarkFlow, Time: 1e18,
		InIf: uint32(f.in), OutIf: uint32(f.out), SrcAS: uint32(f.srcAS), DstAS: uint32(f.dstAS), ToS: f.tos,
		DurationMs: f.last - f.first,
	}
	if f.dst.Is6() {
		r.Marks |= traffic.MarkIPv6
	}
	if r.DurationMs > 1000 {
		r.Spread = uint8((r.DurationMs + 999) / 1000)
	}
	return r
}

var (
	flow4 = v5Flow{
		src: netip.MustParseAddr("198.51.100.7"), dst: victim4, hop: netip.MustParseAddr("192.0.2.99"),
		sport: 1234, dport: 80, protocol: 6, flags: 0x12, packets: 11, octets: 7000, first: testUptime - 90500, last: testUptime - 500,
		in: 513, out: 1027, srcAS: 64500, dstAS: 64501, tos: 0xb8,
	}
	flow6 = func() v5Flow {
		f := flow4
		f.src, f.dst, f.hop = netip.MustParseAddr("2001:db8:ffff::9"), victim6, netip.MustParseAddr("fe80::5")
		return f
	}()
)

// Every field of every protocol, in records that held other bytes before.
func TestFields(t *testing.T) {
	r := newRig(t, 2, nil)
	icmp := flow4
	icmp.protocol, icmp.dport = 1, 0x0305
	short := flow4
	short.first = short.last - 1000
	r.give(device, v5Message(3, 0, 0x4000|1000, flow4.v5(), icmp.v5(), short.v5()))
	for _, ipfix := range []bool{false, true} {
		for i, f := range []v5Flow{flow4, flow6} {
			id := uint16(256 + i)
			r.give(device,
				message(ipfix, 0, 1, templateSet(ipfix, id, standard(f.dst.Is6(), ipfix))),
				message(ipfix, 1, 1, set(id, f.record(standard(f.dst.Is6(), ipfix)))))
		}
	}
	wantICMP := icmp.expected(1000)
	wantICMP.ICMPType, wantICMP.ICMPCode, wantICMP.SrcPort, wantICMP.DstPort = 3, 5, 0, 0
	want := []traffic.Record{flow4.expected(1000), wantICMP, short.expected(1000), flow4.expected(1), flow6.expected(1), flow4.expected(1), flow6.expected(1)}
	got := r.take()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d; lost %v", len(got), len(want), r.losses())
	}
	for i := range got {
		if d := diff(want[i], got[i]); d != "" {
			t.Errorf("record %d: want (-) and got (+):\n%s", i, d)
		}
	}
}

// decodes decodes records of a template and returns them with what was lost.
func decodes(t *testing.T, ipfix bool, fields []spec, contents ...[]byte) ([]traffic.Record, map[string]uint64) {
	t.Helper()
	r := newRig(t, 1, nil)
	r.give(device, message(ipfix, 0, 1, templateSet(ipfix, 256, fields)), message(ipfix, 1, 1, set(256, contents...)))
	got, lost := r.take(), r.losses()
	r.check(t)
	return got, lost
}

// basic is what each record begins with in the tests of single elements:
// addresses, 10 packets of 1000 octets.
var basic = ids(8, 4, 12, 4, 2, 4, 1, 4, 4, 1)

func basicRecord(protocol uint8) []byte {
	return (&builder{}).put(flow4.src, flow4.dst, uint32(10), uint32(1000), protocol).b
}

// One element at a time beside the basic ones.
func TestElements(t *testing.T) {
	millis := func(ms uint64) uint64 { return uint64(testExport)*1000 - ms }
	ntp := func(ms uint64) uint64 {
		v := millis(ms)
		return (v/1000+ntpUnix)<<32 | (v%1000)<<32/1000 + 1
	}
	for _, c := range []struct {
		name     string
		protocol uint8
		fields   []spec
		values   []any
		want     func(r *traffic.Record)
	}{
		{"nothing else", 17, nil, nil, func(*traffic.Record) {}},
		{"ports of UDP", 17, ids(180, 2, 181, 2, 182, 2, 183, 2), []any{uint16(1), uint16(2), uint16(3), uint16(4)}, func(r *traffic.Record) { r.SrcPort, r.DstPort = 1, 2 }},
		{"ports of TCP", 6, ids(180, 2, 181, 2, 182, 2, 183, 2), []any{uint16(1), uint16(2), uint16(3), uint16(4)}, func(r *traffic.Record) { r.SrcPort, r.DstPort = 3, 4 }},
		{"port of an octet", 6, ids(7, 1), []any{uint8(25)}, func(r *traffic.Record) { r.SrcPort = 25 }},
		{"TCP flags of two octets", 6, ids(6, 2), []any{uint16(0x0112)}, func(r *traffic.Record) { r.TCPFlags = 0x12 }},
		{"ICMP type and code", 1, ids(32, 2), []any{uint16(0x0b01)}, func(r *traffic.Record) { r.ICMPType, r.ICMPCode = 11, 1 }},
		{"ICMP in the port", 1, ids(11, 2), []any{uint16(0x0b01)}, func(r *traffic.Record) { r.ICMPType, r.ICMPCode = 11, 1 }},
		{"ICMP type and code apart", 1, ids(176, 1, 177, 1), []any{uint8(8), uint8(2)}, func(r *traffic.Record) { r.ICMPType, r.ICMPCode = 8, 2 }},
		{"ICMPv6", 58, ids(178, 1, 179, 1), []any{uint8(135), uint8(1)}, func(r *traffic.Record) { r.ICMPType, r.ICMPCode = 135, 1 }},
		{"ICMP elements of TCP", 6, ids(176, 1, 32, 2), []any{uint8(8), uint16(9)}, func(*traffic.Record) {}},
		{"forwarded", 6, ids(89, 1), []any{uint8(0x40)}, func(*traffic.Record) {}},
		{"dropped", 6, ids(89, 1), []any{uint8(0x81)}, func(r *traffic.Record) { r.Marks |= traffic.MarkDropped }},
		{"dropped, of four octets", 6, ids(89, 4), []any{uint32(0x80)}, func(r *traffic.Record) { r.Marks |= traffic.MarkDropped }},
		{"consumed", 6, ids(89, 1), []any{uint8(0xc0)}, func(*traffic.Record) {}},
		{"later fragment", 17, ids(88, 2), []any{uint16(185)}, func(r *traffic.Record) { r.Marks |= traffic.MarkFragment | traffic.MarkLater }},
		{"first fragment", 17, ids(88, 2, 197, 1), []any{uint16(0), uint8(0x20)}, func(r *traffic.Record) { r.Marks |= traffic.MarkFragment }},
		{"not to be fragmented", 17, ids(197, 1), []any{uint8(0x40)}, func(*traffic.Record) {}},
		{"TTL", 17, ids(52, 1, 192, 1), []any{uint8(1), uint8(63)}, func(r *traffic.Record) { r.TTL = 63 }},
		{"VLAN", 17, ids(243, 2, 58, 2), []any{uint16(1), uint16(0x2064)}, func(r *traffic.Record) { r.VLAN = 100 }},
		{"interfaces of two octets", 17, ids(10, 2, 14, 2), []any{uint16(3), uint16(4)}, func(r *traffic.Record) { r.InIf, r.OutIf = 3, 4 }},
		{"physical interfaces", 17, ids(252, 4, 253, 4), []any{uint32(3), uint32(4)}, func(r *traffic.Record) { r.InIf, r.OutIf = 3, 4 }},
		{"physical interfaces too", 17, ids(252, 4, 253, 4, 10, 4, 14, 4), []any{uint32(3), uint32(4), uint32(5), uint32(6)}, func(r *traffic.Record) { r.InIf, r.OutIf = 5, 6 }},
		{"next hop of BGP", 17, ids(18, 4), []any{flow4.hop}, func(r *traffic.Record) { r.NextHop = flow4.hop.As16() }},
		{"sampling interval", 17, ids(34, 4), []any{uint32(100)}, scaled(100)},
		{"sampling interval of 0", 17, ids(34, 4), []any{uint32(0)}, func(*traffic.Record) {}},
		{"sampling interval swapped", 17, ids(34, 4), []any{uint32(1 << 24)}, func(*traffic.Record) {}},
		{"interval and space", 17, ids(305, 4, 306, 4), []any{uint32(1), uint32(255)}, scaled(256)},
		{"interval alone", 17, ids(305, 4), []any{uint32(64)}, scaled(64)},
		{"observed and selected", 17, ids(318, 8, 319, 8), []any{uint64(4000), uint64(4)}, scaled(1000)},
		{"selected none", 17, ids(318, 8, 319, 8), []any{uint64(4000), uint64(0)}, func(*traffic.Record) {}},
		{"milliseconds", 17, ids(152, 8, 153, 8), []any{millis(90500), millis(500)}, lasting(90000)},
		{"seconds", 17, ids(150, 4, 151, 4), []any{testExport - 40, testExport - 10}, lasting(30000)},
		{"microseconds", 17, ids(154, 8, 155, 8), []any{ntp(3000), ntp(500)}, lasting(2500)},
		{"nanoseconds", 17, ids(156, 8, 157, 8), []any{ntp(3000), ntp(500)}, lasting(2500)},
		{"nanoseconds of Unix", 17, ids(156, 8, 157, 8), []any{millis(3000) * 1e6, millis(500) * 1e6}, lasting(2500)},
		{"microseconds before", 17, ids(158, 4, 159, 4), []any{uint32(5e6), uint32(1e6)}, lasting(4000)},
		{"duration", 17, ids(161, 4), []any{uint32(700)}, lasting(700)},
		{"duration in microseconds", 17, ids(162, 4), []any{uint32(2e6)}, lasting(2000)},
		{"impossible duration", 17, ids(161, 4), []any{uint32(1 << 31)}, func(r *traffic.Record) { r.DurationMs, r.Spread = 1<<31-1, 120 }},
		{"counters out too", 17, ids(23, 4, 24, 4), []any{uint32(99), uint32(98)}, func(*traffic.Record) {}},
		{"NAT event with octets", 17, ids(230, 1), []any{uint8(1)}, func(*traffic.Record) {}},
		{"source address twice", 17, ids(8, 4), []any{flow4.hop}, func(*traffic.Record) {}},
		{"unknown elements", 17, ids(9999, 3, 225, 4, 226, 4), []any{"abc", uint32(1), uint32(2)}, func(*traffic.Record) {}},
		{"lengths that cannot be", 17, ids(7, 4, 10, 8, 6, 4, 21, 16), []any{uint32(1), uint64(2), uint32(3), uint64(0), uint64(0)}, func(*traffic.Record) {}},
		{"no octets at all", 17, ids(7, 0), nil, func(*traffic.Record) {}},
		{"IPv6 beside, unused", 17, ids(27, 16, 28, 16), []any{uint64(0), uint64(0), uint64(0), uint64(0)}, func(*traffic.Record) {}},
	} {
		for _, ipfix := range []bool{false, true} {
			body := append(basicRecord(c.protocol), (&builder{}).put(c.values...).b...)
			got, lost := decodes(t, ipfix, append(basic[:5:5], c.fields...), body)
			want := v5Flow{src: flow4.src, dst: flow4.dst, hop: netip.IPv6Unspecified(), packets: 10, octets: 1000, protocol: c.protocol}.expected(1)
			c.want(&want)
			if len(got) != 1 || len(lost) > 0 {
				t.Errorf("%s: %d records, lost %v", c.name, len(got), lost)
				continue
			}
			if d := diff(want, got[0]); d != "" {
				t.Errorf("%s, IPFIX %v: want (-) and got (+):\n%s", c.name, ipfix, d)
			}
		}
	}
}

func scaled(rate uint32) func(r *traffic.Record) {
	return func(r *traffic.Record) {
		r.Sampling, r.Packets, r.Bytes = rate, r.Packets*uint64(rate), r.Bytes*uint64(rate)
	}
}

func lasting(ms uint32) func(r *traffic.Record) {
	return func(r *traffic.Record) {
		if r.DurationMs = ms; ms > 1000 {
			r.Spread = uint8((ms + 999) / 1000)
		}
	}
}

// Records that are two, or none.
func TestCounters(t *testing.T) {
	a, b := flow4.src, flow4.dst
	ends := ids(8, 4, 12, 4, 7, 2, 11, 2)
	head := func() *builder { return (&builder{}).put(a, b, uint16(5), uint16(6)) }
	type count struct {
		back            bool
		packets, octets uint64
	}
	for _, c := range []struct {
		name   string
		fields []spec
		values []any
		want   []count
		lost   string
	}{
		{"both ways", ids(231, 4, 232, 4, 298, 4, 299, 4), []any{uint32(100), uint32(200), uint32(1), uint32(2)}, []count{{false, 1, 100}, {true, 2, 200}}, ""},
		{"octets of both ways", ids(231, 4, 232, 4), []any{uint32(1501), uint32(100)}, []count{{false, 2, 1501}, {true, 1, 100}}, ""},
		{"there only", ids(231, 4, 232, 4, 298, 4, 299, 4), []any{uint32(100), uint32(0), uint32(1), uint32(0)}, []count{{false, 1, 100}}, ""},
		{"back only", ids(231, 4, 232, 4, 298, 4, 299, 4), []any{uint32(0), uint32(100), uint32(0), uint32(1)}, []count{{true, 1, 100}}, ""},
		{"reverse elements", []spec{{1, 4, 0}, {1, 4, penReverse}, {2, 4, 0}, {2, 4, penReverse}}, []any{uint32(100), uint32(200), uint32(1), uint32(2)}, []count{{false, 1, 100}, {true, 2, 200}}, ""},
		{"out only", ids(1, 4, 2, 4, 23, 4, 24, 4), []any{uint32(0), uint32(0), uint32(50), uint32(1)}, []count{{false, 1, 50}}, ""},
		{"out alone", ids(23, 4, 24, 4), []any{uint32(50), uint32(1)}, []count{{false, 1, 50}}, ""},
		{"totals", ids(85, 8, 86, 8), []any{uint64(50), uint64(1)}, []count{{false, 1, 50}}, ""},
		{"of layer 2", ids(352, 8, 2, 4), []any{uint64(50), uint32(1)}, []count{{false, 1, 50}}, ""},
		{"of three and five octets", ids(1, 3, 2, 5), []any{uint8(1), uint16(0), uint8(0), uint32(7)}, []count{{false, 7, 65536}}, ""},
		{"packets only", ids(2, 4), []any{uint32(7)}, []count{{false, 7, 0}}, ""},
		{"nothing", ids(1, 4, 2, 4), []any{uint32(0), uint32(0)}, nil, "no_counters"},
		{"no counters", ids(4, 1), []any{uint8(6)}, nil, "no_counters"},
		{"NAT event", ids(230, 1, 225, 4), []any{uint8(4), uint32(1)}, nil, "nat_event"},
		{"NAT event of nothing", ids(230, 1, 1, 4), []any{uint8(4), uint32(0)}, nil, "nat_event"},
		{"firewall event", ids(233, 1, 323, 8), []any{uint8(3), uint64(1)}, nil, "firewall_event"},
		{"firewall event of nothing", ids(233, 1, 231, 4, 232, 4), []any{uint8(1), uint32(0), uint32(0)}, nil, "firewall_event"},
	} {
		got, lost := decodes(t, true, append(ends[:4:4], c.fields...), head().put(c.values...).b)
		var counts []count
		for _, r := range got {
			back := r.SrcAddr() == b && r.SrcPort == 6 && r.DstPort == 5
			if !back && (r.SrcAddr() != a || r.SrcPort != 5) {
				t.Errorf("%s: %v:%d > %v:%d", c.name, r.SrcAddr(), r.SrcPort, r.DstAddr(), r.DstPort)
			}
			counts = append(counts, count{back, r.Packets, r.Bytes})
		}
		if d := cmp.Diff(c.want, counts, cmp.AllowUnexported(count{})); d != "" {
			t.Errorf("%s: want (-) and got (+):\n%s", c.name, d)
		}
		if c.lost != "" && lost[c.lost] != 1 || c.lost == "" && len(lost) > 0 {
			t.Errorf("%s: lost %v", c.name, lost)
		}
	}
	if _, lost := decodes(t, true, ids(1, 4, 2, 4), (&builder{}).put(uint32(1), uint32(1)).b); lost["no_addresses"] != 1 {
		t.Errorf("without addresses: lost %v", lost)
	}
	station := func(direction uint8) traffic.Record {
		got, lost := decodes(t, false, ids(366, 4, 61, 1, 1, 8, 2, 8), (&builder{}).put(a, direction, uint64(9), uint64(1)).b)
		if len(got) != 1 {
			t.Fatalf("a station: lost %v", lost)
		}
		return got[0]
	}
	if in, out := station(0), station(1); in.SrcAddr() != a || out.DstAddr() != a || in.DstAddr() != netip.IPv4Unspecified() {
		t.Errorf("a station: %v and %v", in.SrcAddr(), out.DstAddr())
	}
}

// Counters that are never reset: what came since the last export counts.
func TestTotals(t *testing.T) {
	fields := ids(8, 4, 12, 4, 152, 8, 153, 8, 85, 8, 86, 8)
	at := uint64(testExport) * 1000
	record := func(start, octets, packets uint64) []byte {
		return (&builder{}).put(flow4.src, flow4.dst, start, at, octets, packets).b
	}
	got, lost := decodes(t, true, fields, record(at-9000, 1000, 10), record(at-9000, 1500, 12), record(at-9000, 1500, 12), record(at-8000, 1700, 13), record(at-9000, 100, 1))
	want := [][2]uint64{{1000, 10}, {500, 2}, {1700, 13}, {100, 1}}
	if len(got) != len(want) || lost["no_counters"] != 1 {
		t.Fatalf("%d records, lost %v", len(got), lost)
	}
	for i, w := range want {
		if got[i].Bytes != w[0] || got[i].Packets != w[1] {
			t.Errorf("record %d: %d octets, %d packets, want %v", i, got[i].Bytes, got[i].Packets, w)
		}
	}
}

// Of a tunnel's packet in a frame section both packets may count.
func TestSectionTunnel(t *testing.T) {
	in := (&builder{}).put("\x45\x10\x00\x64\x00\x01\x00\x00\x3f\x11\x00\x00", flow4.src, flow4.dst, uint16(53), uint16(4000), uint16(80), uint16(0)).b
	ip := (&builder{}).put("\x45\x00\x00\x78\x00\x01\x00\x00\x3f\x04\x00\x00", flow4.dst, flow4.src, in).b
	for how, want := range map[string][]uint64{"outer": {120}, "inner": {100}, "both": {120, 100}} {
		r := newRig(t, 1, nil)
		if _, err := r.parser.DecapsulateBy(map[string]string{"ipip": how}); err != nil {
			t.Fatal(err)
		}
		fields := []spec{{id: 10, length: 4}, {id: 34, length: 4}, {id: 313, length: variableLength}}
		r.give(device, message(true, 1, 1, templateSet(true, 256, fields), set(256, (&builder{}).put(uint32(7), uint32(10), uint8(len(ip)), ip).b)))
		got := r.take()
		if len(got) != len(want) {
			t.Fatalf("%s: %d records, lost %v", how, len(got), r.losses())
		}
		for i := range got {
			if got[i].Bytes != 10*want[i] || got[i].Packets != 10 || got[i].InIf != 7 || got[i].Exporter == 0 {
				t.Errorf("%s: record %d: %+v", how, i, got[i])
			}
		}
	}
}

// What is too large for any number is no small one: it is nothing.
func TestOverflow(t *testing.T) {
	r := newRig(t, 4, nil)
	r.give(device, unstream(hostile(true)["overflow"])...)
	if got, lost := r.take(), r.losses(); len(got) != 0 || lost["impossible_counters"] != 1 {
		t.Errorf("%+v, lost %v", got, lost)
	}
}

// Frame sections count as packets, whatever element carries them.
func TestSections(t *testing.T) {
	ip := (&builder{}).put("\x45\x10\x05\xdc\x00\x01\x00\x00\x3f\x11\x00\x00", flow4.src, flow4.dst, uint16(53), uint16(4000), uint16(1480), uint16(0)).b
	ethernet := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00"), ip...)
	padded := append(bytes.Clone(ethernet), make([]byte, 64-len(ethernet))...)
	n := uint8(len(ethernet))
	for _, c := range []struct {
		name   string
		fields []spec
		values []any
	}{
		{"315 of variable length", []spec{{id: 10, length: 4}, {id: 312, length: 2}, {id: 315, length: variableLength}}, []any{uint32(7), uint16(1518), n, ethernet}},
		{"315 behind a name", []spec{{id: 82, length: variableLength}, {id: 315, length: variableLength}, {id: 10, length: 4}}, []any{uint8(2), "ae", n, ethernet, uint32(7)}},
		{"315 of fixed length", ids(408, 2, 10, 4, 315, 64), []any{uint16(1), uint32(7), padded}},
		{"104 with its size", ids(10, 4, 103, 2, 104, 64), []any{uint32(7), uint16(n), padded}},
		{"313", []spec{{id: 10, length: 4}, {id: 313, length: variableLength}}, []any{uint32(7), uint8(len(ip)), ip}},
	} {
		r := newRig(t, 1, nil)
		r.give(device,
			message(true, 0, 1, optionsSet(true, 300, 1, ids(144, 4, 305, 4, 306, 4)), set(300, (&builder{}).put(uint32(1), uint32(1), uint32(511)).b)),
			message(true, 1, 1, templateSet(true, 256, c.fields), set(256, (&builder{}).put(c.values...).b)))
		want := traffic.Record{
			Src: flow4.src.As16(), Dst: flow4.dst.As16(), Packets: 512, Bytes: 1500 * 512, Sampling: 512, SrcPort: 53, DstPort: 4000,
			Protocol: 17, Time: 1e18, InIf: 7, TTL: 63, ToS: 0x10,
		}
		frame := bytes.Clone(r.out.frame(0))
		link, wire := r.out.frameInfo(0)
		got := r.take()
		if len(got) != 1 {
			t.Errorf("%s: %d records, lost %v", c.name, len(got), r.losses())
			continue
		}
		known := bytes.Equal(frame, ethernet) || bytes.Equal(frame, padded) || c.name == "313" && bytes.Equal(frame, ip)
		if !known || wire < len(frame) {
			t.Errorf("%s: the frame behind it is % x, of %d octets", c.name, frame, wire)
		}
		if want := map[bool]traffic.LinkType{true: traffic.LinkRaw, false: traffic.LinkEthernet}[c.name == "313"]; link != int(want) {
			t.Errorf("%s: link type %d, want %d", c.name, link, want)
		}
		if r.out.frame(0) != nil {
			t.Errorf("%s: the frame of a batch that is over", c.name)
		}
		if d := diff(want, got[0]); d != "" {
			t.Errorf("%s: want (-) and got (+):\n%s", c.name, d)
		}
	}
	for cause, fields := range map[string][]spec{
		"section_unknown_link": ids(408, 2, 104, 64), "section_bad_header": ids(10, 2, 313, 64), "section_not_ip": ids(10, 2, 104, 64),
	} {
		content := bytes.Repeat([]byte{0x43}, 66)
		if _, lost := decodes(t, true, fields, content); lost[cause] == 0 {
			t.Errorf("%s: lost %v", cause, lost)
		}
	}
}
