package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

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

// benchFlushes makes seeded flushes in which each of n hosts appears in both
// directions, in random order, a quarter of them IPv6.
func benchFlushes(n int) [][]ring.Delta {
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
	const size = 4096
	var out [][]ring.Delta
	for len(ds) > 0 {
		k := min(size, len(ds))
		out = append(out, append(make([]ring.Delta, 1, k+1), ds[:k]...))
		ds = ds[k:]
	}
	return out
}

func benchApply(b *testing.B, n int) {
	e := newEngine(b, Options{Seed: 1}, testPlan(1, benchLimits()...))
	id := e.AddRing(1)
	flushes := benchFlushes(n)
	number, end := uint64(0), origin
	var packets uint64
	run := func(batch []ring.Delta) int {
		number++
		*batch[0].AsFlush() = ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: number, Revision: 1, WindowEnd: end, Deltas: uint32(len(batch) - 1)}
		if err := e.Apply(id, batch); err != nil {
			b.Fatal(err)
		}
		return len(batch) - 1
	}
	for _, f := range flushes { // rows are made outside the measurement
		run(f)
	}
	end += 50 * ms
	b.ReportAllocs()
	b.ResetTimer()
	done := 0
	for done < b.N {
		for _, f := range flushes {
			if done += run(f); done >= b.N {
				break
			}
		}
		end += 50 * ms
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/delta")
	s := e.Stats()
	b.ReportMetric(float64(s.UsedBytes)/float64(s.Hosts), "bytes/host")
	if int(s.Hosts) != n || s.Refused != 0 || s.Late != 0 || len(e.Crossings()) != 0 {
		b.Fatalf("%+v", s)
	}
	for _, f := range flushes {
		for i := range f[1:] {
			packets += f[1+i].Packets
		}
	}
	var got uint64
	for _, t := range e.Totals() {
		got += t.Packets[0]
	}
	if got < packets {
		b.Fatalf("counted %d packets, at least %d were given", got, packets)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{60_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) { benchApply(b, n) })
	}
}
