package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// What FastNetMon Community promises of sFlow, or broke on, by the section of its
// facts; TestDecodeKinds and TestCauses have the formats and damages one by one.
func TestContracts(t *testing.T) {
	f4, f6 := someFrames(1, false)[0], someFrames(1, true)[0]
	s := func(records ...[]byte) flowSample {
		return flowSample{sequence: 1, index: 12, rate: 1000, pool: 5000, in: 12, out: 13, records: records}
	}
	raw := header(1, uint32(len(f4)+4), f4)
	good := s(raw).compact()
	times := func(n int, b []byte) (out [][]byte) {
		for range n {
			out = append(out, b)
		}
		return out
	}
	discarded := s(raw)
	discarded.outFormat, discarded.out = 1, 256
	gateway := tlv(recordGateway, gatewayData(addressOf(hop6), asPath([]uint32{64502, 64503, 64504})))
	for _, c := range []struct {
		section, says string
		data          []byte
		records       int
		lost          string
		check         func(r *traffic.Record) bool
	}{
		{"4.6", "an agent of IPv4", datagram{agent: agent4, samples: [][]byte{good}}.bytes(), 1, "", nil},
		{"4.6", "an agent of IPv6", datagram{agent: agent6, samples: [][]byte{good}}.bytes(), 1, "", nil},
		{"4.6", "an agent's address of another type", numbers(5, 3, 1, 2, 3, 4, 5, 6, 7, 8), 0, "bad_datagram:1", nil},
		{"4.6", "more than 256 samples", datagram{agent: agent4, samples: times(300, good)}.bytes(), 300, "", nil},
		{"4.6", "more than 256 records in a sample, the packet the last of them", wrap(s(append(times(300, tlv(recordRouter, addressOf(hop4), numbers(24, 24))), raw)...).compact()), 1, "", nil},
		{"4.6", "more than 256 records of counters", wrap(good, tlv(2, numbers(1, 1, 300), join(times(300, tlv(1, make([]byte, 88)))...)), good), 2, "", nil},
		{"4.6", "padding behind the last sample", append(wrap(good), make([]byte, 16)...), 1, "", nil},
		{"4.6", "samples of other enterprises are skipped", wrap(good, tlv(9<<12|1, []byte("abcdefgh")), good), 2, "unknown_sample:1", nil},
		{"4.6", "records of other enterprises are skipped", wrap(s(tlv(9<<12|1, []byte("abcd")), raw).compact()), 1, "", nil},
		{"4.6", "expanded samples of flows and counters", wrap(s(raw).expanded(), tlv(sampleCountersExp, numbers(1, 0, 3, 1), tlv(1, make([]byte, 88)))), 1, "", nil},
		{"4.6", "a sampled header of IPv6, which the original drops", wrap(s(header(12, uint32(len(f6)), f6[14:])).compact()), 1, "", (*traffic.Record).IsIPv6},
		{"4.6", "a sampled header of IPv4", wrap(s(header(11, uint32(len(f4)), f4[14:])).compact()), 1, "", func(r *traffic.Record) bool { return !r.IsIPv6() }},
		{"4.6", "source and destination AS, which the original swaps", wrap(s(raw, gateway).compact()), 1, "", func(r *traffic.Record) bool { return r.SrcAS == 64501 && r.DstAS == 64504 }},
		{"4.6", "an output port of format 1 is a discard", wrap(discarded.compact()), 1, "", func(r *traffic.Record) bool { return r.Marks&traffic.MarkDropped != 0 }},
		{"4.8", "GHSA-852r-3wcv-pjx2: a header larger than its record", wrap(good, s(tlv(recordHeader, numbers(1, 60, 4, 65), f4[:64])).compact(), good), 2, "bad_sample:1", nil},
		{"4.8", "GHSA-852r-3wcv-pjx2: a record of less than 16 octets", wrap(good, s(tlv(recordHeader, numbers(1, 2, 3))).compact(), good), 2, "bad_sample:1", nil},
		{"4.8", "GHSA-852r-3wcv-pjx2: a length below zero", wrap(good, s(tlv(recordHeader, numbers(1, 60, 4, 0xfffffff0), f4[:64])).compact(), good), 2, "bad_sample:1", nil},
		{"4.8", "CVE-2024-56072: a huge count of samples", datagram{agent: agent4, count: 0xffffff00, samples: [][]byte{good}}.bytes(), 1, "cut_datagram:1", nil},
		{"4.8", "#847: a huge count of records", wrap(patched(good, 8+28, 0xff), good), 2, "", nil},
		{"4.8", "the version word only", numbers(5), 0, "bad_datagram:1", nil},
	} {
		got := decode(traffic.Parser{}, c.data)
		lost := ""
		for _, name := range (&capture{}).Causes()[:causes] {
			if n := got.lost[name]; n > 0 {
				lost += fmt.Sprintf("%s:%d", name, n)
			}
		}
		if len(got.records) != c.records || lost != c.lost {
			t.Errorf("%s, %s: %d records, lost %s; want %d, lost %s", c.section, c.says, len(got.records), lost, c.records, c.lost)
			continue
		}
		if c.check != nil && !c.check(&got.records[0]) {
			t.Errorf("%s, %s: %+v", c.section, c.says, got.records[0])
		}
	}
}
