package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const ms = int64(time.Millisecond)

// origin is an aligned time somewhere in 2026, as a replay would have it.
const origin = int64(1_780_000_000_000_000_000)

func newEngine(t testing.TB, opt Options, p *Plan) *Engine {
	t.Helper()
	e, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if p != nil {
		if err := e.SetPlan(p); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// testPlan has v4 10.0.0.0/8 and v6 2001:db8::/32 in network 1, group 1.
func testPlan(revision uint64, limits ...Limit) *Plan {
	return &Plan{
		Revision: revision,
		Groups:   []Group{{ID: 1, Limits: limits}},
		Prefixes: []Prefix{
			{netip.MustParsePrefix("10.0.0.0/8"), 1, 1},
			{netip.MustParsePrefix("2001:db8::/32"), 1, 1},
		},
	}
}

func ppsLimit(id uint32, v float64) Limit {
	return Limit{ID: id, Value: v, Rules: DefaultRules()}
}

func v4(n uint32) [16]byte {
	a := [16]byte{10: 0xff, 11: 0xff}
	binary.BigEndian.PutUint32(a[12:], n)
	return a
}

// host returns the address of host n: 10.x.y.z or 2001:db8::n.
func host(n uint32, six bool) [16]byte {
	if !six {
		return v4(10<<24 | n)
	}
	a := netip.MustParseAddr("2001:db8::").As16()
	binary.BigEndian.PutUint32(a[12:], n)
	return a
}

func hostPrefix(n uint32, six bool) netip.Prefix {
	a := netip.AddrFrom16(host(n, six)).Unmap()
	return netip.PrefixFrom(a, a.BitLen())
}

func hostDelta(n uint32, six bool, span uint32, packets, bytes uint64) ring.Delta {
	d := ring.Delta{
		Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: 1, Group: 1, Addr: host(n, six),
		SpanMs: span, Packets: packets, Bytes: bytes, Sampling: 1, Samples: uint32(packets),
	}
	if six {
		d.Family, d.PrefixLen = 6, 128
	}
	return d
}

// feeder writes one ring's flushes.
type feeder struct {
	t        testing.TB
	e        *Engine
	id       RingID
	number   uint64
	revision uint64
}

func newFeeder(t testing.TB, e *Engine, revision uint64) *feeder {
	return &feeder{t: t, e: e, id: e.AddRing(1), revision: revision}
}

func (f *feeder) batch(end int64, ds ...ring.Delta) []ring.Delta {
	f.number++
	fl := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: f.number, Revision: f.revision, WindowEnd: end, Deltas: uint32(len(ds))}
	return append([]ring.Delta{*fl.AsDelta()}, ds...)
}

func (f *feeder) flush(end int64, ds ...ring.Delta) {
	f.t.Helper()
	if err := f.e.Apply(f.id, f.batch(end, ds...)); err != nil {
		f.t.Fatal(err)
	}
}

// benchLimits are what a careful configuration sets on a group.
func benchLimits() []Limit {
	var out []Limit
	for d := range ring.Direction(2) {
		for i, l := range []Limit{
			{Counter: 0, Unit: PacketRate, Value: 1e6},
			{Counter: 0, Unit: ByteRate, Value: 1e9},
			{Counter: 2, Unit: PacketRate, Value: 1e6},
			{Counter: 4, Unit: PacketRate, Value: 1e6},
			{Counter: 0, Unit: FlowRate, Value: 1e5},
		} {
			l.ID, l.Direction = uint32(i)+uint32(d)*16+1, d
			if l.Unit != FlowRate {
				l.Rules = DefaultRules()
			}
			out = append(out, l)
		}
	}
	return out
}

// benchScopes are twenty thresholds in each direction: five of each scope.
func benchScopes() []Limit {
	var out []Limit
	for k, s := range []Limit{
		{}, {Scope: ScopePrefix, Length: [2]uint8{24, 64}}, {Scope: ScopeGroup}, {Scope: ScopeNetwork, Networks: []uint32{1}},
	} {
		for _, l := range benchLimits() {
			l.Scope, l.Length, l.Networks = s.Scope, s.Length, s.Networks
			l.ID += uint32(k) * 100
			if k > 0 {
				l.Value = 1e12
			}
			out = append(out, l)
		}
	}
	return out
}

// benchFlushes makes seeded flushes in which each of n hosts appears in both
// directions, in random order, a quarter of them IPv6.
func benchFlushes(n, size int) [][]ring.Delta {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	ds := make([]ring.Delta, 0, 2*n)
	for i := range n {
		for d := range ring.Direction(2) {
			x := hostDelta(uint32(i), i%4 == 3, 50, uint64(10+rng.IntN(500)), uint64(1000+rng.IntN(500000)))
			x.Direction = d
			x.CounterPackets[ring.CounterTCP] = uint32(x.Packets) * 3 / 4
			x.CounterBytes[ring.CounterTCP] = uint32(x.Bytes) * 3 / 4
			if rng.IntN(3) > 0 {
				x.CounterPackets[ring.CounterUDP] = uint32(x.Packets) / 4
				x.CounterBytes[ring.CounterUDP] = uint32(x.Bytes) / 4
			}
			if rng.IntN(4) == 0 {
				x.CounterPackets[ring.CounterTCPSYN] = uint32(x.Packets) / 8
				x.CounterBytes[ring.CounterTCPSYN] = uint32(x.Bytes) / 8
			}
			x.Flows = uint32(rng.IntN(20))
			ds = append(ds, x)
		}
	}
	rng.Shuffle(len(ds), func(i, j int) { ds[i], ds[j] = ds[j], ds[i] })
	var out [][]ring.Delta
	for len(ds) > 0 {
		k := min(size, len(ds))
		out = append(out, append(make([]ring.Delta, 1, k+1), ds[:k]...))
		ds = ds[k:]
	}
	return out
}
