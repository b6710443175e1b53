package exporter

import (
	"math"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// flow is one exporter's datagrams, each of so many units.
func flow(from uint32, n int, units uint32) (out [][2]uint32) {
	for i := range uint32(n) {
		out = append(out, [2]uint32{from + i*units, units})
	}
	return out
}

func without(in [][2]uint32, drop ...int) (out [][2]uint32) {
	for i, d := range in {
		keep := true
		for _, k := range drop {
			keep = keep && i != k
		}
		if keep {
			out = append(out, d)
		}
	}
	return out
}

func join(lists ...[][2]uint32) (out [][2]uint32) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func swapped(in [][2]uint32, i, k int) [][2]uint32 {
	in[i], in[k] = in[k], in[i]
	return in
}

func TestSequence(t *testing.T) {
	for _, c := range []struct {
		name                 string
		in                   [][2]uint32
		lost, late, restarts uint64
	}{
		{"in order", flow(1, 100, 30), 0, 0, 0},
		{"by one", flow(1, 100, 1), 0, 0, 0},
		{"wraps", flow(math.MaxUint32-50, 100, 7), 0, 0, 0},
		{"one lost", without(flow(1, 100, 30), 50), 30, 0, 0},
		{"many lost", join(flow(0, 10, 1), flow(1010, 10, 1)), 1000, 0, 0},
		{"a second lost", join(flow(0, 10, 30), flow(900_300, 10, 30)), 900_000, 0, 0},
		{"swapped", swapped(flow(1, 100, 30), 50, 51), 0, 1, 0},
		{"late by five", swapped(flow(1, 100, 1), 50, 55), 0, 5, 0},
		{"restart", join(flow(3_000_000_000, 50, 30), flow(0, 50, 30)), 0, 0, 1},
		{"restart, small", join(flow(50_000, 50, 1), flow(1, 50, 1)), 0, 0, 1},
		{"one stray", join(flow(1, 50, 1), flow(2_000_000_000, 1, 1), flow(51, 50, 1)), 0, 0, 0},
		{"nothing told", flow(9, 100, 0), 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, clock, log := set(t, Options{})
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			for _, d := range c.in {
				clock.pass(time.Millisecond)
				e.Sequence(d[0], d[1])
			}
			// Each of the datagrams between two that changed places is late but one.
			if q := &e.seq; q.lost != c.lost || q.late > c.late || (c.late > 0 && q.late == 0) || q.restarts != c.restarts || q.several {
				t.Errorf("lost %d, late %d, restarts %d, several %v; want %d, %d, %d", q.lost, q.late, q.restarts, q.several, c.lost, c.late, c.restarts)
			}
			if log.Len() > 0 {
				t.Errorf("%s", log)
			}
		})
	}
}

func TestTwoSequenceSpacesAreTold(t *testing.T) {
	for _, second := range []uint32{1 << 20, 1 << 27, 3 << 30} {
		s, c, log := set(t, Options{})
		e := find(t, s.View(), id("192.0.2.1:1", 1))
		rnd := rand.New(rand.NewSource(int64(second)))
		a, b := uint32(1), second
		for range 400 {
			c.pass(10 * time.Millisecond)
			if rnd.Intn(2) == 0 {
				e.Sequence(a, 1)
				a++
			} else {
				e.Sequence(b, 1)
				b++
			}
		}
		if q := &e.seq; !q.several || q.lost != 0 || q.restarts != 0 {
			t.Errorf("second at %d: several %v, lost %d, restarts %d", second, q.several, q.lost, q.restarts)
		}
		if !strings.Contains(log.String(), "more than one sequence space") || !strings.Contains(row(t, s, e)["notes"], "sequence space") {
			t.Errorf("it is not told: %s", log)
		}
		// A loss in one of them is still seen.
		e.Sequence(a+5, 1)
		if e.seq.lost != 5 {
			t.Errorf("lost %d", e.seq.lost)
		}
	}
}

func FuzzSequence(f *testing.F) {
	f.Add(uint32(1), uint32(30), uint32(7), int64(1))
	f.Add(uint32(1<<31), uint32(0), uint32(1<<30), int64(5e9))
	f.Fuzz(func(t *testing.T, start, advance, jump uint32, step int64) {
		var q sequence
		n, now := start, int64(1)
		for i := range uint32(64) {
			now += step & (1<<40 - 1)
			q.see(n, advance, now)
			n += advance
			if i%5 == 0 {
				n += jump * (i & 3)
			}
		}
		if q.lost > 1<<40 || q.used > spaces || q.current >= spaces {
			t.Fatalf("lost %d, %d spaces, current %d", q.lost, q.used, q.current)
		}
	})
}
