package engine

import (
	"math"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// A walk in slices meets every host once, whatever their number, with the rates
// that the host is compared with, and tells which directions are attacked.
func TestWalk(t *testing.T) {
	const hosts = 700
	e := newEngine(t, Options{Seed: 3}, testPlan(1,
		Limit{ID: 1, Value: 1e5, Rules: DefaultRules()}, Limit{ID: 2, Counter: FirstUser, Value: 1e9},
		Limit{ID: 3, Scope: ScopePrefix, Length: [2]uint8{24, 48}, Value: 1e9}, Limit{ID: 4, Scope: ScopeGroup, Value: 1e9}))
	f := newFeeder(t, e, 1)
	end := origin
	for range 40 {
		end += 100 * ms
		var ds []ring.Delta
		for n := range uint32(hosts) {
			d := hostDelta(n, n%2 == 1, 100, 10, 5000)
			if n == 5 {
				d = hostDelta(n, true, 100, 200000, 1e7)
			}
			ds = append(ds, d)
			if n%7 == 0 {
				u := hostDelta(n, n%2 == 1, 100, 4, 400)
				u.Kind = ring.KindCounter
				ds = append(ds, u)
			}
		}
		f.flush(end, ds...)
	}
	seen := map[string]int{}
	walk := e.NewWalk()
	for done := false; !done; {
		done = walk.Step(97, func(h *HostSample) {
			seen[h.Host.String()]++
			same, ok := e.Rates(h.Host, e.Clock())
			if !ok || same != h.HostRates {
				t.Fatalf("%s: %+v, Rates says %+v", h.Host, h.HostRates, same)
			}
			user := 0.0
			for _, u := range h.User {
				if u.Dir == 0 && u.Counter == 1 {
					user = u.Packets
				}
			}
			n := h.Host.Addr().As16()
			no := uint32(n[14])<<8 | uint32(n[15])
			want := 0.0
			if no%7 == 0 {
				want = h.Dir[0].Packets[0] * 0.4
			}
			if math.Abs(user-want) > 1e-3*want+1e-6 {
				t.Fatalf("%s: user counter %v, want %v", h.Host, user, want)
			}
			if attacked := no == 5; h.Open != [2]bool{attacked, false} {
				t.Fatalf("%s: attacked %v", h.Host, h.Open)
			}
		})
	}
	for host, n := range seen {
		if n != 1 {
			t.Errorf("%s was met %d times", host, n)
		}
	}
	if len(seen) != hosts {
		t.Errorf("%d of %d hosts were met", len(seen), hosts)
	}
}

// BenchmarkWalk is what a look at 1,024 hosts takes of the engine's time.
func BenchmarkWalk(b *testing.B) {
	e := newEngine(b, Options{Seed: 3}, testPlan(1, benchLimits()...))
	id := e.AddRing(1)
	for i, flush := range benchFlushes(100000, 1000) {
		*flush[0].AsFlush() = ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: uint64(i + 1), Revision: 1, WindowEnd: origin, Deltas: uint32(len(flush) - 1)}
		if err := e.Apply(id, flush); err != nil {
			b.Fatal(err)
		}
	}
	sum, walk := 0.0, e.NewWalk()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if walk.Step(1024, func(h *HostSample) { sum += h.Dir[0].Packets[0] }) {
			walk = e.NewWalk()
		}
	}
	if sum == 0 {
		b.Fatal("no host")
	}
}
