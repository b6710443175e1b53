package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// both reads a datagram twice, as usual samples are and as those of every kind
// are, and wants the same of both.
func both(t *testing.T, data []byte) {
	t.Helper()
	var usual, general decoder
	if usual.open(data) != general.open(data) {
		t.Fatalf("%x opens once only", data)
	}
	for n := 0; ; n++ {
		var r, q traffic.Record
		var s, z sample
		got, want := usual.next(&r, &s), general.general(&q, &z)
		if got != want || usual.off != general.off || usual.left != general.left || usual.lost != general.lost || usual.bad != general.bad ||
			usual.unknown != general.unknown || usual.counters != general.counters {
			t.Fatalf("%x, sample %d: %v at %d, lost %v; in general %v at %d, lost %v", data, n, got, usual.off, losses(&usual.lost), want, general.off, losses(&general.lost))
		}
		if got == ended {
			return
		}
		if s != z || got == counted && r != q {
			t.Fatalf("%x, sample %d:\n%+v %+v\nin general\n%+v %+v", data, n, r, s, q, z)
		}
	}
}

// Samples that are read in half the time are read as all others are.
func TestPathsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	all := corpus()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		data := all[name]
		both(t, data)
		for i := range data {
			both(t, data[:i])
			for _, mask := range []byte{0x01, 0x03, 0x04, 0x80, 0xff} {
				changed := bytes.Clone(data)
				changed[i] ^= mask
				if rng.IntN(2) == 0 {
					changed[rng.IntN(len(changed))] ^= byte(1 + rng.IntN(255))
				}
				both(t, changed)
			}
		}
	}
}
