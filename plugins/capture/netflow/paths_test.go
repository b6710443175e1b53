package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// both decodes datagrams twice, by the loop for plain records and one at a
// time as the odd ones are, and wants the same of both.
func both(t *testing.T, room int, datagrams ...[]byte) {
	t.Helper()
	quick, odd := newRig(t, room, nil), newRig(t, room, nil)
	for i, data := range datagrams {
		for _, r := range []*rig{quick, odd} {
			r.give(device, data)
			for _, d := range r.store.domains {
				d.perInterface.Store(d.perInterface.Load() || r == odd)
			}
		}
		want, got := odd.take(), quick.take()
		if len(want) != len(got) {
			t.Fatalf("datagram %d %x: %d records, one at a time %d", i, data, len(got), len(want))
		}
		for n := range want {
			if d := diff(want[n], got[n]); d != "" {
				t.Fatalf("datagram %d %x, record %d: one at a time (-) and together (+):\n%s", i, data, n, d)
			}
		}
		if quick.lost != odd.lost {
			t.Fatalf("datagram %d %x: lost %v, one at a time %v", i, data, quick.losses(), odd.losses())
		}
	}
}

// The loop for plain records decodes as the way for odd ones does, whatever
// templates and records say.
func TestPathsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, group := range inputs(t) {
		damaged := [][]byte{}
		for _, data := range group {
			damaged = append(damaged, data)
			for range soak(40, 400) {
				changed := slices.Clone(data)
				for range 1 + rng.IntN(3) {
					changed[rng.IntN(len(changed))] ^= byte(1 + rng.IntN(255))
				}
				damaged = append(damaged, changed, data)
			}
		}
		both(t, 1+rng.IntN(9), damaged...)
	}
	for range soak(300, 30000) {
		ipfix, v6 := rng.IntN(2) == 0, rng.IntN(2) == 0
		fields := standard(v6, ipfix)
		for i := range fields { // reduced sizes
			if n := fields[i].length; (n == 4 || n == 8) && !isAddress(fields[i].id) && rng.IntN(3) == 0 {
				fields[i].length = uint16(1 + rng.IntN(int(n)))
			}
		}
		rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		fields = fields[:1+rng.IntN(len(fields))]
		for range rng.IntN(8) {
			extra := []spec{{id: 34, length: 4}, {id: 88, length: 2}, {id: 197, length: 1}, {id: 89, length: 1}, {id: 58, length: 2}, {id: 23, length: 4}, {id: 3, length: 4}, {id: 32, length: 2}, {id: 9000, length: 60}}
			fields = slices.Insert(fields, rng.IntN(len(fields)+1), extra[rng.IntN(len(extra))])
		}
		var contents [][]byte
		for range 1 + rng.IntN(6) {
			f := random(rng, v6)
			if rng.IntN(4) == 0 {
				f.protocol = []uint8{1, 58}[rng.IntN(2)]
			}
			if rng.IntN(6) == 0 {
				f.packets = 0
			}
			if rng.IntN(6) == 0 {
				f.octets = 0
			}
			contents = append(contents, f.record(fields))
		}
		both(t, 1+rng.IntN(7), message(ipfix, 0, 1, templateSet(ipfix, 256, fields)), message(ipfix, 1, 1, set(256, contents...)))
	}
}
