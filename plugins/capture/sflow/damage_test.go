package main

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// What does not count is counted by cause, and the samples around it count.
func TestCauses(t *testing.T) {
	f := someFrames(1, false)[0]
	frame := uint32(len(f))
	arp := append([]byte(nil), f[:42]...)
	arp[12], arp[13] = 0x08, 0x06
	s := flowSample{rate: 10, index: 1}
	with := func(records ...[]byte) []byte {
		c := s
		c.records = records
		return c.compact()
	}
	good := with(header(1, frame, f))
	raw := func(values ...uint32) []byte { return tlv(recordHeader, numbers(values...), f[:64]) }
	old := s.old(header4(1, frame, f))
	for name, c := range map[string]struct {
		data []byte
		good int
		lost map[string]uint64
	}{
		"empty":                 {nil, 0, map[string]uint64{"bad_datagram": 1}},
		"version only":          {numbers(5), 0, map[string]uint64{"bad_datagram": 1}},
		"version 3":             {datagram{version: 3, agent: agent4}.bytes(), 0, map[string]uint64{"unknown_version": 1}},
		"NetFlow 5":             {append([]byte{0, 5, 0, 1}, make([]byte, 68)...), 0, map[string]uint64{"unknown_version": 1}},
		"address type":          {numbers(5, 3, 1, 2, 3, 4, 5, 6, 7, 8), 0, map[string]uint64{"bad_datagram": 1}},
		"address cut":           {numbers(5, 2, 1, 2, 3), 0, map[string]uint64{"bad_datagram": 1}},
		"header cut":            {numbers(5, 1, 1, 2, 3), 0, map[string]uint64{"bad_datagram": 1}},
		"no samples":            {datagram{agent: agent4}.bytes(), 0, nil},
		"huge count":            {datagram{agent: agent4, count: 0xffffff00, samples: [][]byte{good}}.bytes(), 1, map[string]uint64{"cut_datagram": 1}},
		"count too small":       {datagram{agent: agent4, count: ^uint32(0), samples: [][]byte{good, good}}.bytes(), 1, map[string]uint64{"trailing_data": 1}},
		"padded":                {append(datagram{agent: agent4, samples: [][]byte{good}}.bytes(), 0, 0, 0, 0, 0), 1, nil},
		"counters":              {wrap(good, ifCounters(1, "a"), good), 2, nil},
		"unknown sample":        {wrap(good, tlv(6, []byte("abcdef")), tlv(4300<<12|1002, nil), good), 2, map[string]uint64{"unknown_sample": 2}},
		"ARP":                   {wrap(good, with(header(1, 42, arp)), good), 2, map[string]uint64{"not_ip": 1}},
		"802.11":                {wrap(good, with(header(15, frame, f)), good), 2, map[string]uint64{"unknown_link": 1}},
		"header too short":      {wrap(good, with(header(1, frame, f[:33])), good), 2, map[string]uint64{"truncated": 1}},
		"no records":            {wrap(good, with(), good), 2, map[string]uint64{"no_packet": 1}},
		"switch only":           {wrap(good, with(tlv(recordSwitch, numbers(1, 0, 1, 0))), good), 2, map[string]uint64{"no_packet": 1}},
		"ethernet only":         {wrap(good, with(tlv(recordEthernet, make([]byte, 24))), good), 2, map[string]uint64{"no_packet": 1}},
		"header size too large": {wrap(good, with(raw(1, frame, 4, 65)), good), 2, map[string]uint64{"bad_sample": 1}},
		"header size negative":  {wrap(good, with(raw(1, frame, 4, 0xfffffff0)), good), 2, map[string]uint64{"bad_sample": 1}},
		"header record short":   {wrap(good, with(tlv(recordHeader, numbers(1, 2, 3))), good), 2, map[string]uint64{"bad_sample": 1}},
		"frame too long":        {wrap(good, with(header(1, 0x80000000, f)), good), 2, map[string]uint64{"bad_sample": 1}},
		"data short":            {wrap(good, with(tlv(recordIPv4, make([]byte, 28))), good), 2, map[string]uint64{"bad_sample": 1}},
		"data impossible":       {wrap(good, with(tlv(recordIPv4, decodedIP(60, 256, src4, dst4, 1, 2, 0, 0))), good), 2, map[string]uint64{"bad_sample": 1}},
		"port impossible":       {wrap(good, with(tlv(recordIPv6, decodedIP(60, 6, src6, dst6, 65536, 2, 0, 0))), good), 2, map[string]uint64{"bad_sample": 1}},
		"sample short":          {wrap(good, tlv(sampleFlow, make([]byte, 28)), good), 2, map[string]uint64{"bad_sample": 1}},
		"expanded short":        {wrap(good, tlv(sampleFlowExpanded, make([]byte, 40)), good), 2, map[string]uint64{"bad_sample": 1}},
		"record past sample":    {wrap(good, tlv(sampleFlow, numbers(1, 1, 1, 1, 1, 1, 1, 1, recordHeader, 65000), f[:64]), good), 2, map[string]uint64{"bad_sample": 1}},
		"more records told":     {wrap(good, patched(with(header(1, frame, f)), 8+31, 200), good), 3, nil},
		"sample past datagram":  {wrap(good, patched(good, 5, 0xff), good), 2, map[string]uint64{"bad_sample": 1}},
		"sample into the next":  {wrap(good, patched(good, 7, good[7]+8), good), 3, nil},
		"sample ends early":     {wrap(good, patched(good, 7, 64), good), 2, map[string]uint64{"bad_sample": 1}},
		"sample all too short":  {wrap(good, patched(good, 7, 20), good), 2, map[string]uint64{"bad_sample": 1}},
		"not to be followed":    {wrap(good, patched(patched(good, 3, 3), 7, 44), good), 1, map[string]uint64{"no_packet": 1, "cut_datagram": 1}},
		"counters past end":     {wrap(good, patched(ifCounters(1, "a"), 4, 1), good), 2, map[string]uint64{"bad_sample": 1}},
		"unknown past end":      {wrap(good, numbers(77, 1<<20), good), 1, map[string]uint64{"cut_datagram": 1}},
		"v4":                    {wrap4(old, old), 2, nil},
		"v4 ARP":                {wrap4(old, s.old(header4(1, 42, arp)), old), 2, map[string]uint64{"not_ip": 1}},
		"v4 counters":           {wrap4(old, numbers(sample4Counters, 1, 2, 3, 1), make([]byte, 88), old), 2, nil},
		"v4 VLAN counters":      {wrap4(old, numbers(sample4Counters, 1, 2, 3, 7), make([]byte, 28), old), 2, nil},
		"v4 unknown counters":   {wrap4(old, numbers(sample4Counters, 1, 2, 3, 8), old), 1, map[string]uint64{"cut_datagram": 1}},
		"v4 unknown sample":     {wrap4(old, numbers(9), old), 1, map[string]uint64{"cut_datagram": 1}},
		"v4 unknown packet":     {wrap4(old, s.old(numbers(9)), old), 1, map[string]uint64{"cut_datagram": 1}},
		"v4 unknown extension":  {wrap4(old, s.old(header4(1, frame, f), numbers(9)), old), 1, map[string]uint64{"cut_datagram": 1}},
		"v4 header negative":    {wrap4(old, s.old(numbers(packet4Header, 1, frame, 0xfffffffc)), old), 1, map[string]uint64{"cut_datagram": 1}},
		"v4 AS path negative": {
			wrap4(old, s.old(header4(1, frame, f), numbers(extended4Gateway, 1, 2, 3, 1, 2, 0xffffffff)), old), 1, map[string]uint64{"cut_datagram": 1},
		},
		"v4 communities negative": {
			wrap4(old, s.old(header4(1, frame, f), numbers(extended4Gateway, 1, 2, 3, 0, 0x40000000)), old), 1, map[string]uint64{"cut_datagram": 1},
		},
	} {
		got := decode(traffic.Parser{}, c.data)
		if c.lost == nil {
			c.lost = map[string]uint64{}
		}
		if len(got.records) != c.good || fmt.Sprint(got.lost) != fmt.Sprint(c.lost) {
			t.Errorf("%s: %d records, lost %v, want %d and %v", name, len(got.records), got.lost, c.good, c.lost)
		}
	}
}

// wrap makes a datagram of version 5 of samples.
func wrap(samples ...[]byte) []byte { return datagram{agent: agent4, samples: samples}.bytes() }

// wrap4 makes one of version 4; counters come in two parts.
func wrap4(parts ...[]byte) []byte {
	b := datagram{version: 4, agent: agent4, samples: parts}.bytes()
	n := uint32(0)
	for _, p := range parts {
		if len(p) >= 4 && binary.BigEndian.Uint32(p) != 0 {
			n++
		}
	}
	copy(b[20:], numbers(n))
	return b
}

func patched(b []byte, at int, value byte) []byte {
	b = append([]byte(nil), b...)
	b[at] = value
	return b
}

// specimens are datagrams of all kinds; each holds several samples.
func specimens() map[string][]byte {
	f4, f6 := someFrames(4, false), someFrames(4, true)
	vlan := tlv(recordSwitch, numbers(100, 0, 200, 0))
	router := tlv(recordRouter, addressOf(hop4), numbers(24, 24))
	gateway := tlv(recordGateway, gatewayData(addressOf(hop6), asPath([]uint32{64502, 64503}, 64504)))
	s := func(records ...[]byte) flowSample {
		return flowSample{sequence: 1, index: 12, rate: 1000, pool: 9000, in: 12, out: 13, records: records}
	}
	raw := func(f []byte) []byte { return header(1, uint32(len(f)+4), sampledHeader(f, 128)) }
	old := func(version uint32) []byte {
		path := asPath([]uint32{64502, 64503}, 64504)
		tail := numbers(0, 100)
		if version == version2 {
			path, tail = numbers(2, 64502, 64503), nil
		}
		extended := [][]byte{
			numbers(extended4Switch, 100, 0, 200, 0), join(numbers(extended4Router), addressOf(hop6), numbers(48, 48)),
			join(numbers(extended4Gateway, 1, 2, 3), path, tail), join(numbers(extended4User), opaque([]byte("abc")), opaque(nil)),
		}
		return datagram{version: version, agent: agent4, sequence: 7, samples: [][]byte{
			s().old(header4(1, 1500, sampledHeader(f4[0], 128)), extended...),
			join(numbers(sample4Counters, 1, 2, 3, 2), make([]byte, 140)),
			s().old(join(numbers(packet4IPv4), decodedIP(1400, 6, src4, dst4, 443, 50000, 0x12, 0))),
			s().old(join(numbers(packet4IPv6), decodedIP(1400, 6, src6, dst6, 443, 50000, 0x12, 0))),
		}}.bytes()
	}
	return map[string][]byte{
		"compact":  wrap(s(raw(f4[0])).compact(), s(raw(f6[0])).compact(), s(raw(f4[1])).compact(), s(raw(f6[1])).compact()),
		"expanded": wrap(s(raw(f4[0]), vlan, router, gateway).expanded(), s(vlan, raw(f6[0])).expanded(), s(raw(f4[1])).expanded()),
		"decoded": wrap(s(tlv(recordIPv4, decodedIP(1400, 6, src4, dst4, 443, 50000, 0x12, 0))).compact(),
			s(tlv(recordEthernet, make([]byte, 24)), tlv(recordIPv6, decodedIP(1400, 17, src6, dst6, 53, 50000, 0, 0))).compact()),
		"mixed": wrap(ifCounters(3, "ge-0/0/1"), s(raw(f4[0])).discard(256), tlv(4300<<12|2, make([]byte, 12)), s(raw(f4[1])).compact(),
			tlv(sampleCountersExp, numbers(1, 0, 3, 1), tlv(1, make([]byte, 88))), s(header(11, 1500, f4[2][14:64])).compact()),
		"v4": old(version4),
		"v2": old(version2),
	}
}

// A datagram that ends at any byte gives the samples that are whole, and
// accounts for the rest.
func TestTruncated(t *testing.T) {
	for name, data := range specimens() {
		whole := decode(traffic.Parser{}, data)
		if len(whole.records) < 2 {
			t.Fatalf("%s: %+v", name, whole)
		}
		for n := range data {
			got := decode(traffic.Parser{}, data[:n])
			if len(got.records) > len(whole.records) {
				t.Fatalf("%s cut at %d: %d records", name, n, len(got.records))
			}
			for i := range got.records {
				if got.records[i] != whole.records[i] {
					t.Fatalf("%s cut at %d: record %d is %+v", name, n, i, got.records[i])
				}
			}
			if got.lost["bad_datagram"]+got.lost["cut_datagram"] != 1 {
				t.Fatalf("%s cut at %d: lost %v", name, n, got.lost)
			}
		}
	}
}

// Whatever becomes of a byte of one sample of version 5, the other samples
// count as before.
func TestFlipped(t *testing.T) {
	for name, data := range specimens() {
		whole := decode(traffic.Parser{}, data)
		bounds := sampleBounds(data)
		for at := range data {
			for _, mask := range []byte{0xff, 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01} {
				got := decode(traffic.Parser{}, patched(data, at, data[at]^mask))
				if len(bounds) == 0 || at < bounds[0] || vendorLength(data, bounds, at) {
					continue // no way to tell where the next sample is: no panic is enough
				}
				if missing := absent(whole.records, got.records); missing > 1 || len(got.records)+1 < len(whole.records) {
					t.Fatalf("%s: byte %d ^ %#x: %d of %d records are gone, lost %v", name, at, mask, missing, len(whole.records), got.lost)
				}
			}
		}
	}
}

// vendorLength reports whether at is in the length of a vendor's own sample.
func vendorLength(data []byte, bounds []int, at int) bool {
	for _, b := range bounds {
		if at >= b && at < b+8 {
			return be.Uint32(data[b:]) >= sampleKinds && at >= b+4
		}
	}
	return false
}

// sampleBounds tells where the samples of a datagram of version 5 begin.
func sampleBounds(data []byte) (at []int) {
	var d decoder
	if !d.open(data) || d.version != version5 {
		return nil
	}
	var r traffic.Record
	var s sample
	for d.left > 0 {
		at = append(at, d.off)
		d.next(&r, &s)
	}
	return at
}

// absent counts the records of a that are not in b.
func absent(a, b []traffic.Record) (n int) {
	left := map[traffic.Record]int{}
	for _, r := range b {
		left[r]++
	}
	for _, r := range a {
		if left[r]--; left[r] < 0 {
			n++
		}
	}
	return n
}

// Many samples whose ends must be searched cost no more than their length.
func TestSearchIsBounded(t *testing.T) {
	var samples [][]byte
	for range 3000 {
		samples = append(samples, numbers(sampleFlow, 12, 1, 0xffffffff, 3))
	}
	var d decoder
	if !d.open(wrap(samples...)) {
		t.Fatal("not opened")
	}
	var r traffic.Record
	var s sample
	for d.next(&r, &s) != ended {
	}
	if d.repairs > maxRepairs || d.lost[causeSample] != 3000 {
		t.Errorf("%d searches, lost %v", d.repairs, losses(&d.lost))
	}
}
