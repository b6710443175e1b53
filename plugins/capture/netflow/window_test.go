package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Where in a record its fields lie changes nothing: elements that nobody reads
// stand between them, so many that a window does not reach them all, or they
// have a length of their own.
func TestLayouts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	far := 0
	for round := range 300 {
		v6, ipfix := rng.IntN(2) == 0, rng.IntN(2) == 0
		fields := standard(v6, ipfix)[:18]
		rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		for range rng.IntN(12) {
			gap := spec{id: 9000, length: uint16(rng.IntN(60))}
			if ipfix && rng.IntN(4) == 0 {
				gap.length = variableLength
			}
			fields = slices.Insert(fields, rng.IntN(len(fields)+1), gap)
		}
		var contents [][]byte
		var want []v5Flow
		for range 1 + rng.IntN(5) {
			f := random(rng, v6)
			want = append(want, f)
			contents = append(contents, f.record(fields))
		}
		r := newRig(t, 1+rng.IntN(7), nil)
		datagram := message(ipfix, 1, 1, set(256, contents...))
		if round%2 == 0 { // received with room behind it, else without
			datagram = slices.Grow(datagram, slack)
		}
		r.give(device, message(ipfix, 0, 1, templateSet(ipfix, 256, fields)), slices.Clip(datagram))
		r.give(device, datagram)
		if tmpl := r.src.dom.table.Load().find(256); tmpl.far != nil {
			far++
		}
		got := r.take()
		if len(got) != 2*len(want) {
			t.Fatalf("round %d: %d records of %d, lost %v", round, len(got), 2*len(want), r.losses())
		}
		for i := range got {
			if d := diff(want[i%len(want)].expected(1), got[i]); d != "" {
				t.Fatalf("round %d, fields %v: want (-) and got (+):\n%s", round, fields, d)
			}
		}
	}
	if far == 0 {
		t.Error("no layout was too long for a window")
	}
}
