package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// element is one line of the tables of elements that FastNetMon Community reads:
// the lengths in which exporters send it, and what becomes of its value.
type element struct {
	id      uint16
	lengths []uint16
	put     uint64 // the number sent, in all lengths
	proto   uint8  // of the record, 0 for UDP
	beside  []spec // further fields, all of them 0xff
	want    func(r *traffic.Record) any
	says    any // what want is then
	bare    any // and where the element is not there, or of a length that it cannot have
}

var octets1to8 = []uint16{1, 2, 3, 4, 5, 6, 7, 8}

// contractElements are the elements that can be proven one by one; those that make
// sense together only stand in contracts.
var contractElements = []element{
	{id: 1, lengths: octets1to8, put: 200, want: func(r *traffic.Record) any { return r.Bytes }, says: uint64(200), bare: uint64(0)},
	{id: 2, lengths: octets1to8, put: 7, want: func(r *traffic.Record) any { return r.Packets }, says: uint64(7), bare: uint64(1)},
	{id: 85, lengths: octets1to8, put: 200, want: func(r *traffic.Record) any { return r.Bytes }, says: uint64(200), bare: uint64(0)},
	{id: 86, lengths: octets1to8, put: 7, want: func(r *traffic.Record) any { return r.Packets }, says: uint64(7), bare: uint64(1)},
	{id: 4, lengths: []uint16{1}, put: 47, want: func(r *traffic.Record) any { return r.Protocol }, says: uint8(47), bare: uint8(0)},
	{id: 6, lengths: []uint16{1, 2}, put: 0x12, want: func(r *traffic.Record) any { return r.TCPFlags }, says: uint8(0x12), bare: uint8(0)},
	{id: 7, lengths: []uint16{1, 2}, put: 53, want: func(r *traffic.Record) any { return r.SrcPort }, says: uint16(53), bare: uint16(0)},
	{id: 11, lengths: []uint16{1, 2}, put: 53, want: func(r *traffic.Record) any { return r.DstPort }, says: uint16(53), bare: uint16(0)},
	{id: 10, lengths: []uint16{1, 2, 4}, put: 9, want: func(r *traffic.Record) any { return r.InIf }, says: uint32(9), bare: uint32(0)},
	{id: 14, lengths: []uint16{1, 2, 4}, put: 9, want: func(r *traffic.Record) any { return r.OutIf }, says: uint32(9), bare: uint32(0)},
	{id: 16, lengths: []uint16{2, 4}, put: 65001, want: func(r *traffic.Record) any { return r.SrcAS }, says: uint32(65001), bare: uint32(0)},
	{id: 17, lengths: []uint16{2, 4}, put: 65001, want: func(r *traffic.Record) any { return r.DstAS }, says: uint32(65001), bare: uint32(0)},
	{id: 15, lengths: []uint16{4}, put: 0xc0000209, want: nextHop, says: "192.0.2.9", bare: "::"},
	{id: 18, lengths: []uint16{4}, put: 0xc0000209, want: nextHop, says: "192.0.2.9", bare: "::"},
	{id: 34, lengths: []uint16{2, 4}, put: 100, want: func(r *traffic.Record) any { return r.Sampling }, says: uint32(100), bare: uint32(1)},
	{id: 89, lengths: []uint16{1}, put: 0x80, want: dropped, says: true, bare: false},
	{id: 180, lengths: []uint16{2}, put: 53, proto: 17, beside: ids(181, 2), want: func(r *traffic.Record) any { return r.SrcPort }, says: uint16(53), bare: uint16(0)},
	{id: 182, lengths: []uint16{2}, put: 80, proto: 6, beside: ids(183, 2), want: func(r *traffic.Record) any { return r.SrcPort }, says: uint16(80), bare: uint16(0)},
}

func nextHop(r *traffic.Record) any { return netip.AddrFrom16(r.NextHop).Unmap().String() }
func dropped(r *traffic.Record) any { return r.Marks&traffic.MarkDropped != 0 }

// Every element is read in each length in which it comes, in NetFlow v9 and IPFIX,
// whatever stands before it; in another length it is skipped, and the rest of the
// record counts.
func TestContractElements(t *testing.T) {
	for _, e := range contractElements {
		for length := uint16(1); length <= 17; length++ {
			says := e.bare
			for _, l := range e.lengths {
				if l == length {
					says = e.says
				}
			}
			if says == e.bare && length < e.lengths[len(e.lengths)-1] {
				continue // what is shorter than usual is reduced-size encoding (RFC 7011 6.2), and may be read
			}
			if says == e.bare && (e.id == 89 && length <= 4) { // of IOS-XR: see contracts
				continue
			}
			for _, ipfix := range []bool{false, true} {
				fields := append(ids(9999, 3), spec{id: e.id, length: length})
				fields = append(fields, e.beside...)
				value := binary.BigEndian.AppendUint64(make([]byte, 16), e.put)
				body := append([]byte("abc"), value[len(value)-int(length):]...)
				for _, f := range e.beside {
					body = append(body, bytes.Repeat([]byte{0xff}, int(f.length))...)
				}
				fields = append(fields, ids(8, 4, 12, 4)...)
				body = (&builder{}).put(body, flow4.src, flow4.dst).b
				if e.id == 2 || e.id == 86 {
					fields, body = append(fields, ids(1, 4)...), append(body, 0, 0, 1, 0)
				} else {
					fields, body = append(fields, ids(2, 4)...), append(body, 0, 0, 0, 1)
				}
				if e.proto != 0 {
					fields, body = append(fields, ids(4, 1)...), append(body, e.proto)
				}
				got, lost := decodes(t, ipfix, fields, body)
				if len(got) != 1 || len(lost) > 0 {
					t.Errorf("element %d of %d octets, IPFIX %v: %d records, lost %v", e.id, length, ipfix, len(got), lost)
					continue
				}
				if v := e.want(&got[0]); v != says {
					t.Errorf("element %d of %d octets, IPFIX %v: %v, want %v", e.id, length, ipfix, v, says)
				}
			}
		}
	}
}

// contract is something that FastNetMon Community promises of its collector, or
// that it broke on: the section of its facts, and what has to come out.
type contract struct {
	section, says string
	give          [][]byte
	records       int
	lost          string // by cause
	check         func(r []traffic.Record) bool
}

func flowContracts() []contract {
	v5 := flow4.v5()
	v9 := func(sets ...[]byte) []byte { return message(false, 0, 1, sets...) }
	ix := func(sets ...[]byte) []byte { return message(true, 0, 1, sets...) }
	ends := ids(8, 4, 12, 4)
	head := func() *builder { return (&builder{}).put(flow4.src, flow4.dst) }
	counted := append(ends[:2:2], ids(1, 4, 2, 4)...)
	body := head().put(uint32(1000), uint32(10)).b
	with := func(more ...spec) []spec { return append(counted[:4:4], more...) }
	packets := func(n uint64) func([]traffic.Record) bool {
		return func(r []traffic.Record) bool { return r[0].Packets == n }
	}
	icmp := flow4
	icmp.protocol, icmp.dport = 1, 0x0800
	gre := flow4
	gre.protocol = 47
	frame := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45\x00\x05\xdc\x00\x01\x00\x00\x3f\x11\x00\x00"),
		(&builder{}).put(flow4.src, flow4.dst, uint16(53), uint16(4000), uint16(1480), uint16(0)).b...)
	asFrame := func(r []traffic.Record) bool {
		return r[0].Packets == 1 && r[0].Bytes == 1500 && r[0].SrcPort == 53 && r[0].Marks&traffic.MarkFlow == 0
	}
	return []contract{
		{"4.2", "the rate is in the low 14 bits, the mode above them is not looked at", [][]byte{v5Message(1, 0, 0x4000|100, v5)}, 1, "", func(r []traffic.Record) bool {
			return r[0].Sampling == 100 && r[0].Packets == 100*uint64(flow4.packets)
		}},
		{"4.2", "a rate of 0 is 1", [][]byte{v5Message(1, 0, 0, v5)}, 1, "", packets(uint64(flow4.packets))},
		{"4.2", "a count of 0", [][]byte{v5Message(0, 0, 0)}, 0, "bad_count:1", nil},
		{"4.2", "more records announced than there are: these count", [][]byte{v5Message(30, 0, 0, v5)}, 1, "bad_count:1", nil},
		{"4.2", "a record that is cut", [][]byte{v5Message(1, 0, 0, v5[:47])}, 0, "bad_count:1 trailing_octets:1", nil},
		{"4.2", "protocols beside ICMP, TCP and UDP count, which the original loses", [][]byte{v5Message(1, 0, 0, gre.v5())}, 1, "", func(r []traffic.Record) bool { return r[0].Protocol == 47 }},
		{"4.2", "interfaces, AS, next hop, flags and times", [][]byte{v5Message(1, 0, 0, v5)}, 1, "", func(r []traffic.Record) bool {
			return r[0].InIf == uint32(flow4.in) && r[0].OutIf == uint32(flow4.out) && r[0].SrcAS == uint32(flow4.srcAS) && r[0].DstAS == uint32(flow4.dstAS) && r[0].TCPFlags == flow4.flags
		}},
		{
			"4.2", "a flow's volume is spread over its time",
			[][]byte{v5Message(1, 0, 0, func() []byte { f := flow4; f.first, f.last = testUptime-60000, testUptime; return f.v5() }())},
			1, "",
			func(r []traffic.Record) bool { return r[0].DurationMs == 60000 && r[0].Spread == 60 },
		},
		{"4.3", "ports of ICMP are 0", [][]byte{v5Message(1, 0, 0, icmp.v5())}, 1, "", func(r []traffic.Record) bool {
			return r[0].SrcPort == 0 && r[0].DstPort == 0 && r[0].ICMPType == 8
		}},
		{"4.3", "data without its template waits", [][]byte{v9(set(256, body))}, 0, "", nil},
		{"4.3", "a template's id is 256 or more", [][]byte{v9(templateSet(false, 255, counted)), v9(set(255, body))}, 0, "unknown_set:1 bad_template:1", nil},
		{"4.3", "scope and options of no multiple of 4", [][]byte{v9(set(1, word(257), word(3), word(5), word(34), word(4), word(34), word(4)))}, 0, "bad_template:1", nil},
		{"4.3", "scope and options out of the set", [][]byte{v9(set(1, word(257), word(4), word(400), word(1), word(4)))}, 0, "bad_template:1", nil},
		{"4.3", "templates of another source id are others", [][]byte{v9(templateSet(false, 256, counted)), message(false, 0, 2, set(256, body))}, 0, "", nil},
		{"4.3", "more than 256 sets in a datagram", [][]byte{v9(append([][]byte{templateSet(false, 256, counted)}, many(300, set(256, body))...)...)}, 300, "", nil},
		{"4.3", "more than 256 records in a set", [][]byte{v9(templateSet(false, 256, counted), set(256, many(300, body)...))}, 300, "", nil},
		{
			"4.3", "addresses of IPv6 make it IPv6",
			[][]byte{v9(templateSet(false, 256, ids(27, 16, 28, 16, 1, 4, 2, 4)), set(256, (&builder{}).put(flow6.src, flow6.dst, uint32(9), uint32(1)).b))},
			1, "",
			func(r []traffic.Record) bool { return r[0].IsIPv6() && r[0].SrcAddr() == flow6.src },
		},
		{
			"4.3", "IPv6 addresses of 0 beside others of IPv4",
			[][]byte{v9(templateSet(false, 256, with(ids(27, 16, 28, 16)...)), set(256, body, make([]byte, 32)))},
			1, "",
			func(r []traffic.Record) bool { return !r[0].IsIPv6() && r[0].SrcAddr() == flow4.src },
		},
		{
			"4.3", "RouterOS sends a rate of 0, or 1 in the wrong order",
			[][]byte{v9(templateSet(false, 256, with(ids(34, 4)...)), set(256, body, make([]byte, 4), body, []byte{1, 0, 0, 0}))},
			2, "",
			func(r []traffic.Record) bool { return r[0].Sampling == 1 && r[1].Sampling == 1 },
		},
		{
			"4.3", "Cisco ASA's flows of both ways are two",
			[][]byte{v9(templateSet(false, 256, append(ends[:2:2], ids(231, 4, 232, 4, 298, 4, 299, 4)...)), set(256, head().put(uint32(100), uint32(200), uint32(1), uint32(2)).b))},
			2, "",
			func(r []traffic.Record) bool {
				return r[0].Bytes == 100 && r[1].Bytes == 200 && r[1].SrcAddr() == flow4.dst
			},
		},
		{"4.3", "an event of address translation is no traffic", [][]byte{v9(templateSet(false, 256, append(ends[:2:2], ids(230, 1)...)), set(256, head().put(uint8(1)).b))}, 0, "nat_event:1", nil},
		{"4.3", "observed and selected packets are a rate", [][]byte{v9(templateSet(false, 256, with(ids(318, 8, 319, 8)...)), set(256, body, (&builder{}).put(uint64(1000), uint64(10)).b))}, 1, "", packets(1000)},
		{"4.3", "NetFlow Lite: one packet, by the length in its IP header", [][]byte{v9(templateSet(false, 256, ids(103, 2, 104, 42)), set(256, word(42), frame))}, 1, "", asFrame},
		{"4.3", "options: the rate of all flows that follow", [][]byte{v9(optionsSet(false, 300, 1, ids(1, 4, 34, 2)), set(300, (&builder{}).put(uint32(0), uint16(50)).b), templateSet(false, 256, counted), set(256, body))}, 1, "", packets(500)},
		{"4.3", "options: an interface's description without a NUL", [][]byte{v9(optionsSet(false, 300, 1, ids(2, 4, 83, 8)), set(300, (&builder{}).put(uint32(3), "uplink-1").b))}, 0, "", nil},
		{
			"4.3", "forwarding status in its top bits",
			[][]byte{v9(templateSet(false, 256, with(ids(89, 1)...)), set(256, body, []byte{0x40}, body, []byte{0xbf}, body, []byte{0xc0}))},
			3, "",
			func(r []traffic.Record) bool {
				return dropped(&r[0]) == false && dropped(&r[1]) == true && dropped(&r[2]) == false
			},
		},
		{"4.4", "enterprise elements are skipped by their length", [][]byte{ix(templateSet(true, 256, append([]spec{{1, 6, 9999}, {8, 4, 9}}, counted...)), set(256, []byte("abcdef1234"), body))}, 1, "", packets(10)},
		{"4.4", "variable lengths of one octet and of three", [][]byte{ix(templateSet(true, 256, append([]spec{{82, variableLength, 0}}, counted...)), set(256, []byte{3}, []byte("eth"), body, []byte{255, 0, 4}, []byte("eth0"), body, []byte{0}, body))}, 3, "", packets(10)},
		{"4.4", "a variable length beyond the set", [][]byte{ix(templateSet(true, 256, append(counted[:4:4], spec{82, variableLength, 0})), set(256, body, []byte{200}, []byte("eth")))}, 0, "cut_record:1", nil},
		{"4.4", "forwarding status of four octets, as IOS-XR sends it", [][]byte{ix(templateSet(true, 256, with(ids(89, 4)...)), set(256, body, []byte{0, 0, 0, 0x80}))}, 1, "", func(r []traffic.Record) bool { return dropped(&r[0]) == true }},
		{
			"4.4", "a next hop of IPv6",
			[][]byte{ix(templateSet(true, 256, ids(27, 16, 28, 16, 62, 16, 1, 4, 2, 4)), set(256, (&builder{}).put(flow6.src, flow6.dst, flow6.hop, uint32(9), uint32(1)).b))},
			1, "",
			func(r []traffic.Record) bool { return netip.AddrFrom16(r[0].NextHop) == flow6.hop },
		},
		{
			"4.4", "times in nanoseconds of Unix, as Netgate's TNSR sends them",
			[][]byte{ix(templateSet(true, 256, with(ids(156, 8, 157, 8)...)), set(256, body, (&builder{}).put(uint64(testExport-30)*1e9, uint64(testExport)*1e9).b))},
			1, "",
			func(r []traffic.Record) bool { return r[0].DurationMs == 30000 },
		},
		{
			"4.4", "ports of UDP and TCP stand before the protocol",
			[][]byte{ix(templateSet(true, 256, append(ids(180, 2, 181, 2, 182, 2, 183, 2), with(ids(4, 1)...)...)), set(256, (&builder{}).put(uint16(53), uint16(54), uint16(80), uint16(81)).b, body, []byte{6}))},
			1, "",
			func(r []traffic.Record) bool { return r[0].SrcPort == 80 && r[0].DstPort == 81 },
		},
		{"4.4", "Juniper's sampled frames: one packet, by the length in its IP header", [][]byte{ix(templateSet(true, 256, []spec{{10, 4, 0}, {312, 2, 0}, {315, variableLength, 0}}), set(256, make([]byte, 4), word(1514), []byte{byte(len(frame))}, frame))}, 1, "", asFrame},
		{"4.4", "a sampled frame of no octets", [][]byte{ix(templateSet(true, 256, []spec{{312, 2, 0}, {315, variableLength, 0}}), set(256, word(1514), []byte{0}))}, 0, "section_truncated:1", nil},
		{"4.4", "options: interval and space", [][]byte{ix(optionsSet(true, 300, 1, ids(144, 4, 304, 2, 305, 4, 306, 4)), set(300, (&builder{}).put(uint32(1), uint16(1), uint32(2), uint32(198)).b), templateSet(true, 256, counted), set(256, body))}, 1, "", packets(1000)},
		{"4.4", "options: the interval alone", [][]byte{ix(optionsSet(true, 300, 1, ids(144, 4, 305, 4)), set(300, (&builder{}).put(uint32(1), uint32(20)).b), templateSet(true, 256, counted), set(256, body))}, 1, "", packets(200)},
		{"4.4", "all records of a set of options are read, of which the original reads the first", [][]byte{ix(optionsSet(true, 300, 1, ids(144, 4, 34, 4)), set(300, (&builder{}).put(uint32(0), uint32(2), uint32(0), uint32(3)).b), templateSet(true, 256, counted), set(256, body))}, 1, "", packets(30)},
		{"4.4", "an options template filled up with zeroes", [][]byte{ix(set(3, (&builder{}).put(uint16(300), uint16(2), uint16(1), specs(ids(144, 4, 34, 4), true)).b, make([]byte, 2)), set(300, (&builder{}).put(uint32(0), uint32(5)).b), templateSet(true, 256, counted), set(256, body))}, 1, "", packets(50)},
		{"4.4", "two messages in a datagram", [][]byte{append(ix(templateSet(true, 256, counted)), ix(set(256, body))...)}, 1, "", packets(10)},
		{"4.5", "the version word picks the decoder", [][]byte{word(7), {0, 5}, {0, 9}, {0, 10}, {5}}, 0, "short_datagram:4 unknown_version:1", nil},
		{"4.8", "CVE-2024-56073: records of no octets", [][]byte{v9(set(0, word(256), word(2), word(8), word(0), word(12), word(0))), v9(set(256, body))}, 0, "bad_template:1", nil},
		{"4.8", "CVE-2026-48683: scope and options lengths of the largest kind", [][]byte{v9(set(1, word(257), word(65532), word(65532), word(34), word(4)))}, 0, "bad_template:1", nil},
		{"4.8", "#1029: records that end behind their set", [][]byte{v9(templateSet(false, 256, counted), (&builder{}).put(word(256), word(uint16(4+len(body)+7)), body, body[:7]).b)}, 1, "cut_record:1", nil},
		{"4.8", "#1030: the same of IPFIX", [][]byte{ix(templateSet(true, 256, counted), (&builder{}).put(word(256), word(uint16(4+len(body)+7)), body, body[:7]).b)}, 1, "cut_record:1", nil},
		{"4.8", "a set of 0 to 3 octets", [][]byte{v9(word(256), word(0), []byte{1}), v9(word(256), word(3), []byte{1})}, 0, "bad_set:2", nil},
		{"4.8", "a set that ends behind its message: whole records of it count", [][]byte{v9(templateSet(false, 256, counted), word(256), word(60000), body)}, 1, "bad_set:1", nil},
		{"4.8", "three octets behind the last set", [][]byte{v9(templateSet(false, 256, counted), set(256, body), []byte{1, 2, 3})}, 1, "bad_set:1", nil},
		{"4.8", "a template id twice with other lengths: the last one holds", [][]byte{v9(templateSet(false, 256, ids(8, 4, 12, 4)), templateSet(false, 256, counted), set(256, body))}, 1, "", packets(10)},
		{"4.8", "a template of 65,535 fields", [][]byte{v9(set(0, word(256), word(65535), word(8), word(4)))}, 0, "bad_template:1", nil},
		{"4.8", "a record longer than a datagram", [][]byte{v9(templateSet(false, 256, ids(8, 40000, 12, 40000)))}, 0, "bad_template:1", nil},
	}
}

func many(n int, b []byte) (out [][]byte) {
	for range n {
		out = append(out, b)
	}
	return out
}

// Each contract holds: what counts, what does not and why.
func TestContracts(t *testing.T) {
	for _, c := range flowContracts() {
		r := newRig(t, 3, nil)
		r.give(device, c.give...)
		got := r.take()
		lost := ""
		for i, name := range (&capture{}).Causes()[:causes] {
			if n := r.lost[i]; n > 0 {
				lost += fmt.Sprintf(" %s:%d", name, n)
			}
		}
		want := ""
		if c.lost != "" {
			want = " " + c.lost
		}
		if len(got) != c.records || lost != want {
			t.Errorf("%s, %s: %d records, lost%s; want %d, lost%s", c.section, c.says, len(got), lost, c.records, want)
			continue
		}
		if c.check != nil && !c.check(got) {
			t.Errorf("%s, %s: %+v", c.section, c.says, got[0])
		}
		r.check(t)
	}
}
