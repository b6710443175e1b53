package prefix

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

const probes = 1 << 18

// benchEntries gives n prefixes of the lengths networks have: /16 … /32, or
// /32 … /64 under 2000::/3.
func benchEntries(rng *rand.Rand, v6 bool, n int) []Entry {
	seen := map[netip.Prefix]bool{}
	entries := make([]Entry, 0, n)
	for len(entries) < n {
		addr, bits := randomAddr(rng, v6), 16+rng.IntN(17)
		if v6 {
			b := addr.As16()
			b[0] = 0x20 | b[0]&0x1f
			addr, bits = netip.AddrFrom16(b), 32+rng.IntN(33)
		}
		if p := netip.PrefixFrom(addr, bits).Masked(); !seen[p] {
			seen[p] = true
			entries = append(entries, Entry{p, uint32(len(entries) + 1)})
		}
	}
	return entries
}

// benchProbes gives addresses, every other one inside a random prefix, and
// the sum of what looking them all up must give.
func benchProbes(rng *rand.Rand, table *Table, entries []Entry, v6 bool) (addrs [][16]byte, sum uint64) {
	addrs = make([][16]byte, probes)
	for i := range addrs {
		addr := randomAddr(rng, v6)
		if rng.IntN(2) == 0 {
			p := entries[rng.IntN(len(entries))].Prefix
			addr = splice(p.Addr(), addr, p.Bits())
		}
		addrs[i] = addr.As16()
		_, v := table.Match(addr)
		sum += uint64(v)
	}
	return addrs, sum
}

// benchmark calls lookup for random probes, half of them hits, and checks
// each full round's sum.
func benchmark(b *testing.B, v6 bool, lookup func(t *Table, addrs [][16]byte) uint64) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(5, uint64(n)))
			entries := benchEntries(rng, v6, n)
			table := mustBuild(b, entries)
			addrs, want := benchProbes(rng, table, entries, v6)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += probes {
				if got := lookup(table, addrs[:min(probes, b.N-done)]); got != want && b.N-done >= probes {
					b.Fatalf("sum %d, want %d", got, want)
				}
			}
		})
	}
}

func BenchmarkLookup4(b *testing.B) {
	benchmark(b, false, func(t *Table, addrs [][16]byte) (sum uint64) {
		for i := range addrs {
			sum += uint64(t.Lookup4(binary.BigEndian.Uint32(addrs[i][12:])))
		}
		return sum
	})
}

func BenchmarkLookup6(b *testing.B) {
	benchmark(b, true, func(t *Table, addrs [][16]byte) (sum uint64) {
		for i := range addrs {
			sum += uint64(t.Lookup6(binary.BigEndian.Uint64(addrs[i][:8]), binary.BigEndian.Uint64(addrs[i][8:])))
		}
		return sum
	})
}

// BenchmarkLookup is what counting calls: records' addresses of either family.
func BenchmarkLookup(b *testing.B) {
	each := func(t *Table, addrs [][16]byte) (sum uint64) {
		for i := range addrs {
			sum += uint64(t.Lookup(&addrs[i]))
		}
		return sum
	}
	b.Run("IPv4", func(b *testing.B) { benchmark(b, false, each) })
	b.Run("IPv6", func(b *testing.B) { benchmark(b, true, each) })
}

func BenchmarkBuild(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 0))
	entries := append(benchEntries(rng, false, 10_000), benchEntries(rng, true, 10_000)...)
	for b.Loop() {
		if t := mustBuild(b, entries); t.Len() != len(entries) {
			b.Fatal("entries are missing")
		}
	}
}
