package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// read is what decoding a datagram gives.
type read struct {
	records []traffic.Record
	samples []sample // of records
	others  int      // samples without a record
	lost    map[string]uint64
}

// decode reads a datagram with a decoder that has read nothing before.
func decode(p traffic.Parser, data []byte) read {
	d := &decoder{parser: p}
	var out read
	if d.open(data) {
		for {
			r := traffic.Record{Class: 77, Verdict: 1} // old bytes
			s := sample{dropped: true, discard: true, rate: 99}
			got := d.next(&r, &s)
			if got == ended {
				break
			}
			if got == counted {
				out.records, out.samples = append(out.records, r), append(out.samples, s)
			} else {
				out.others++
			}
		}
		d.close()
	}
	out.lost = losses(&d.lost)
	return out
}

func losses(lost *[causes]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for i, name := range (&capture{}).Causes()[:causes] {
		if lost[i] > 0 {
			out[name] = lost[i]
		}
	}
	return out
}

// parsed is the record that the parser makes of a whole frame.
func parsed(frame []byte) traffic.Record {
	var p traffic.Parser
	var r traffic.Record
	if o := p.Ethernet(&r, frame, len(frame)); o != traffic.OK {
		panic(o)
	}
	return r
}

func TestDecodeKinds(t *testing.T) {
	f4, f6 := someFrames(1, false)[0], someFrames(1, true)[0]
	s := flowSample{sequence: 9, index: 12, rate: 1000, pool: 5000, drops: 3, in: 12, out: 13}
	with := func(records ...[]byte) flowSample {
		c := s
		c.records = records
		return c
	}
	raw4, raw6 := header(1, uint32(len(f4)+4), f4), header(1, uint32(len(f6)+4), f6)
	want4, want6 := parsed(f4), parsed(f6)
	for _, r := range []*traffic.Record{&want4, &want6} {
		r.InIf, r.OutIf = 12, 13
	}
	change := func(r traffic.Record, f func(*traffic.Record)) traffic.Record {
		f(&r)
		return r
	}
	own4 := traffic.Record{
		Src: src4.As16(), Dst: dst4.As16(), Packets: 1, Sampling: 1, Bytes: 1400, Protocol: 6, SrcPort: 443, DstPort: 50000,
		TCPFlags: 0x12, ToS: 0xb8, InIf: 12, OutIf: 13,
	}
	own6 := change(own4, func(r *traffic.Record) {
		r.Src, r.Dst, r.Protocol, r.TCPFlags, r.Marks = src6.As16(), dst6.As16(), 17, 0, traffic.MarkIPv6
	})
	ip4 := decodedIP(1400, 6, src4, dst4, 443, 50000, 0x12, 0xb8)
	ip6 := decodedIP(1400, 17, src6, dst6, 443, 50000, 0, 0xb8)
	routed := change(want4, func(r *traffic.Record) {
		r.VLAN, r.NextHop, r.SrcAS, r.DstAS = 100, hop4.As16(), 64501, 64504
	})
	bgp := change(want4, func(r *traffic.Record) { r.NextHop, r.SrcAS, r.DstAS = hop6.As16(), 64501, 64506 })
	vlan := tlv(recordSwitch, numbers(100, 0, 200, 0))
	router := tlv(recordRouter, addressOf(hop4), numbers(24, 24))
	gateway := tlv(recordGateway, gatewayData(addressOf(hop6), asPath([]uint32{64502, 64503, 64504})))
	set := tlv(recordGateway, gatewayData(addressOf(hop6), asPath([]uint32{64502}, 64505, 64506)))
	none := change(want4, func(r *traffic.Record) { r.InIf, r.OutIf = 0, 0 })
	dropped := change(want4, func(r *traffic.Record) { r.OutIf, r.Marks = 0, r.Marks|traffic.MarkDropped })
	several := change(want4, func(r *traffic.Record) { r.OutIf = 0 })
	noAS := change(want4, func(r *traffic.Record) { r.NextHop, r.SrcAS = hop6.As16(), 64501 })
	form := func(format, out uint32, records ...[]byte) flowSample {
		c := with(records...)
		c.outFormat, c.out = format, out
		return c
	}
	internal := with(raw4)
	internal.in, internal.out = 0x3fffffff, 0x3fffffff
	internalExp := with(raw4)
	internalExp.in, internalExp.out = 0xffffffff, 0xffffffff
	for name, c := range map[string]struct {
		version uint32
		sample  []byte
		want    traffic.Record
	}{
		"header":                             {5, with(raw4).compact(), want4},
		"header v6":                          {5, with(raw6).compact(), want6},
		"expanded":                           {5, with(raw4).expanded(), want4},
		"IPv4 header":                        {5, with(header(11, uint32(len(f4)), f4[14:])).compact(), want4},
		"IPv6 header":                        {5, with(header(12, uint32(len(f6)), f6[14:])).compact(), want6},
		"AAL5 IP header":                     {5, with(header(10, uint32(len(f4)), f4[14:])).compact(), want4},
		"PPP header":                         {5, with(header(7, uint32(len(f4)), join([]byte{0xff, 0x03, 0x00, 0x21}, f4[14:]))).compact(), want4},
		"POS header":                         {5, with(header(14, uint32(len(f6)), join([]byte{0xff, 0x03, 0x00, 0x57}, f6[14:]))).compact(), want6},
		"MPLS header":                        {5, with(header(13, uint32(len(f4)), join([]byte{0, 1, 0x01, 64}, f4[14:]))).compact(), want4},
		"IPv4 data":                          {5, with(tlv(recordIPv4, ip4)).compact(), own4},
		"IPv6 data":                          {5, with(tlv(recordIPv6, ip6)).expanded(), own6},
		"header before data":                 {5, with(tlv(recordIPv4, ip4), raw4).compact(), want4},
		"data for a header that is not read": {5, with(header(15, 100, f4), tlv(recordIPv4, ip4)).compact(), own4},
		"switch, router, gateway":            {5, with(vlan, raw4, router, gateway).compact(), routed},
		"gateway, set at the end":            {5, with(raw4, set).compact(), bgp},
		"gateway, empty path":                {5, with(raw4, tlv(recordGateway, gatewayData(addressOf(hop6), numbers(0)))).compact(), noAS},
		"gateway cut":                        {5, with(raw4, tlv(recordGateway, addressOf(hop6), numbers(1, 2, 3, 4, 2, 0x40000000))).compact(), want4},
		"vendor record":                      {5, with(tlv(4413<<12|1, []byte("abcdefg")), raw4).compact(), want4},
		"discarded":                          {5, form(1, 256, raw4).compact(), dropped},
		"discarded, expanded":                {5, form(1, 256, raw4).expanded(), dropped},
		"several outputs":                    {5, form(2, 3, raw4).compact(), several},
		"several outputs, expanded":          {5, form(2, 3, raw4).expanded(), several},
		"the device itself":                  {5, internal.compact(), none},
		"the device itself, expanded":        {5, internalExp.expanded(), none},
		"drop notice":                        {5, with(raw4, tlv(1039, opaque([]byte("acl")))).discard(258), change(want4, func(r *traffic.Record) { r.Marks |= traffic.MarkDropped })},
		"v4 header":                          {4, s.old(header4(1, uint32(len(f4)), f4)), want4},
		"v4 IPv4 data":                       {4, s.old(join(numbers(packet4IPv4), ip4)), own4},
		"v4 IPv6 data":                       {4, s.old(join(numbers(packet4IPv6), ip6)), own6},
		"v4 extended": {4, s.old(header4(1, uint32(len(f4)), f4), numbers(extended4Switch, 100, 0, 200, 0),
			join(numbers(extended4Router), addressOf(hop4), numbers(24, 24)),
			join(numbers(extended4Gateway), gatewayData(nil, asPath([]uint32{64502, 64503, 64504}))),
			join(numbers(extended4User), opaque([]byte("a")), opaque([]byte("bcde"))),
			join(numbers(extended4URL, 1), opaque([]byte("http://example.net")))), routed},
		"v2 extended": {2, s.old(header4(1, uint32(len(f4)), f4), numbers(extended4Switch, 100, 0, 200, 0),
			join(numbers(extended4Router), addressOf(hop4), numbers(24, 24)),
			numbers(extended4Gateway, 64500, 64501, 64502, 3, 64502, 64503, 64504)), routed},
		"v4 several outputs": {4, func() []byte { c := s; c.out = 1<<31 | 2; return c.old(header4(1, uint32(len(f4)), f4)) }(), several},
	} {
		g := datagram{version: c.version, agent: agent6, subAgent: 4, sequence: 8, samples: [][]byte{c.sample, c.sample}}
		got := decode(traffic.Parser{}, g.bytes())
		if d := cmp.Diff([]traffic.Record{c.want, c.want}, got.records, cmp.AllowUnexported(traffic.Record{})); d != "" || len(got.lost) != 0 {
			t.Errorf("%s: lost %v, (-want +got)\n%s", name, got.lost, d)
			continue
		}
		x := got.samples[1]
		rate, discard := uint32(1000), false
		if name == "drop notice" {
			rate, discard = 1, true
		}
		if x.sequence != 9 || x.source != 12 || x.rate != rate || x.drops != 3 || !x.flow || x.discard != discard {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

// Datagrams say who sent them.
func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		g    datagram
		want string
		sub  uint32
	}{
		"v5":          {datagram{agent: agent4, subAgent: 7, sequence: 5}, "192.0.2.1", 7},
		"v5, IPv6":    {datagram{agent: agent6, subAgent: 7, sequence: 5}, "2001:db8:ffff::1", 7},
		"v5, unknown": {datagram{subAgent: 7, sequence: 5}, "invalid IP", 7},
		"v4":          {datagram{version: 4, agent: agent4, sequence: 5}, "192.0.2.1", 0},
		"v2":          {datagram{version: 2, agent: agent6, sequence: 5}, "2001:db8:ffff::1", 0},
	} {
		var d decoder
		d.subAgent = 99
		if !d.open(c.g.bytes()) || d.agent.String() != c.want || d.subAgent != c.sub || d.sequence != 5 {
			t.Errorf("%s: agent %v, sub-agent %d, sequence %d, lost %v", name, d.agent, d.subAgent, d.sequence, losses(&d.lost))
		}
	}
}

// By length = "frame" a packet has the octets that its frame had.
func TestFrameLength(t *testing.T) {
	f := someFrames(1, false)[0]
	frames := traffic.Parser{LengthFromFrame: true}
	ip4 := tlv(recordIPv4, decodedIP(1400, 6, src4, dst4, 443, 50000, 0, 0))
	ethernet := tlv(recordEthernet, numbers(1418), make([]byte, 16), numbers(0x0800))
	for name, c := range map[string]struct {
		records [][]byte
		want    uint64
	}{
		"header":                {[][]byte{header(1, 1522, f)}, 1522},
		"data":                  {[][]byte{ip4}, 1400},
		"data and frame length": {[][]byte{ethernet, ip4}, 1418},
	} {
		s := flowSample{rate: 1, records: c.records}.compact()
		got := decode(frames, datagram{agent: agent4, samples: [][]byte{s}}.bytes())
		if len(got.records) != 1 || got.records[0].Bytes != c.want {
			t.Errorf("%s: %+v, want %d octets", name, got, c.want)
		}
	}
}

// An interface's name in a counter sample is found.
func TestPortName(t *testing.T) {
	var d decoder
	var r traffic.Record
	var s sample
	if !d.open(datagram{agent: agent4, samples: [][]byte{ifCounters(12, "ae0")}}.bytes()) || d.next(&r, &s) != nothing ||
		d.portName.index != 12 || string(d.portName.name) != "ae0" || d.counters != 1 {
		t.Errorf("%+v", d.portName)
	}
}
