package main

import "testing"

// Counters that no link can have carried count nothing, under a cause of their
// own; large ones that a link can do.
func TestImpossibleCounters(t *testing.T) {
	fields := ids(8, 4, 12, 4, 1, 8, 2, 8, 152, 8, 153, 8, 4, 1)
	at := uint64(testExport) * 1000
	record := func(octets, packets, ms uint64) []byte {
		return (&builder{}).put(flow4.src, flow4.dst, octets, packets, at-ms, at, uint8(17)).b
	}
	for _, c := range []struct {
		name                string
		octets, packets, ms uint64
		counts              bool
	}{
		{"a packet of the largest kind", 65535, 1, 0, true},
		{"what a card puts together", 512 << 10, 1, 0, true},
		{"a packet of a mebioctet", 1 << 20, 1, 0, false},
		{"a packet with half of all numbers", 1 << 63, 1, 0, false},
		{"octets below zero, of 32 bits", 1<<32 - 60, 1, 0, false},
		{"packets below zero", 60, 1<<64 - 1, 0, false},
		{"packets below zero, of 32 bits", 60, 1<<32 - 1, 0, false},
		{"nothing but packets", 0, 1 << 30, 1000, true},
		{"a minute at 400 Gbit/s", 3e12, 2e9, 60000, true},
		{"a day at 400 Gbit/s", 4320e12, 2880e9, 86400e3, true},
		{"100 Gbit/s of the shortest packets", 60 * 148e6, 148e6, 1000, true},
		{"a second at 200 Tbit/s", 25e12, 25e9, 1000, false},
		{"a second at 200 G packets", 2000e9, 200e9, 1000, false},
		{"nothing but octets", 1 << 62, 0, 1000, false},
	} {
		for _, ipfix := range []bool{false, true} {
			got, lost := decodes(t, ipfix, fields, record(c.octets, c.packets, c.ms))
			if counts := len(got) == 1; counts != c.counts || !counts && lost["impossible_counters"] != 1 {
				t.Errorf("%s: %d records, lost %v", c.name, len(got), lost)
			}
			if len(got) == 1 && (got[0].Bytes != c.octets || got[0].Packets != c.packets) {
				t.Errorf("%s: %d octets of %d packets", c.name, got[0].Bytes, got[0].Packets)
			}
		}
	}
	// What came back counts for the same.
	both := ids(8, 4, 12, 4, 231, 8, 232, 8, 298, 8, 299, 8)
	got, lost := decodes(t, true, both, (&builder{}).put(flow4.src, flow4.dst, uint64(1000), uint64(1)<<40, uint64(10), uint64(2)).b,
		(&builder{}).put(flow4.src, flow4.dst, uint64(1000), uint64(2000), uint64(10), uint64(2)).b)
	if len(got) != 2 || lost["impossible_counters"] != 1 {
		t.Errorf("both ways: %d records, lost %v", len(got), lost)
	}
	// Of the sampled packets there may be few; what they stand for counts.
	r := newRig(t, 4, nil)
	r.give(device, message(true, 0, 1, optionsSet(true, 300, 1, ids(144, 4, 34, 4)), set(300, (&builder{}).put(uint32(0), uint32(10000)).b),
		templateSet(true, 256, fields), set(256, record(1<<31, 1<<21, 1000), record(1<<33, 1<<23, 1000))))
	if got, lost := r.take(), r.losses(); len(got) != 1 || lost["impossible_counters"] != 1 {
		t.Errorf("sampled: %+v, lost %v", got, lost)
	}
}

// NetFlow v5 has counters of 32 bits, which can be as impossible.
func TestImpossibleCountersV5(t *testing.T) {
	r := newRig(t, 4, nil)
	f := flow4
	f.packets, f.octets = 1, 1<<32-60
	g := flow4
	g.packets, g.octets = 3000, 3000<<19
	r.give(device, v5Message(3, 0, 0, f.v5(), g.v5(), f.v5()))
	if got, lost := r.take(), r.losses(); len(got) != 1 || got[0].Bytes != 3000<<19 || lost["impossible_counters"] != 2 {
		t.Errorf("%+v, lost %v", got, lost)
	}
}
