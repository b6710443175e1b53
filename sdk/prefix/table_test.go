package prefix

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func mustBuild(t testing.TB, entries []Entry) *Table {
	t.Helper()
	table, err := Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// randomEntries gives n distinct prefixes, most of them nested in or beside
// earlier ones, always with the default route and some host routes.
func randomEntries(rng *rand.Rand, v6 bool, n int) []Entry {
	width := 32
	if v6 {
		width = 128
	}
	seen := map[netip.Prefix]bool{}
	var entries []Entry
	add := func(p netip.Prefix) {
		if p = p.Masked(); !seen[p] {
			seen[p] = true
			entries = append(entries, Entry{p, 1 + rng.Uint32N(MaxValue)})
		}
	}
	add(netip.PrefixFrom(randomAddr(rng, v6), 0))
	for len(entries) < n {
		addr, bits := randomAddr(rng, v6), rng.IntN(width+1)
		if rng.IntN(4) != 0 { // near an earlier one: share some of its bits
			addr = splice(entries[rng.IntN(len(entries))].Prefix.Addr(), addr, rng.IntN(width+1))
		}
		if rng.IntN(8) == 0 {
			bits = width
		}
		add(netip.PrefixFrom(addr, bits))
	}
	rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return entries
}

func randomAddr(rng *rand.Rand, v6 bool) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], rng.Uint64())
	binary.BigEndian.PutUint64(b[8:], rng.Uint64())
	if !v6 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	b[0] |= 0x20 // never an IPv4-mapped one
	return netip.AddrFrom16(b)
}

// splice has the first n bits of a and the rest of b.
func splice(a, b netip.Addr, n int) netip.Addr {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		keep := byte(0xff)
		if n < 8*(i+1) {
			keep = ^(0xff >> max(n-8*i, 0))
		}
		y[i] = x[i]&keep | y[i]&^keep
	}
	addr, _ := netip.AddrFromSlice(y)
	return addr
}

func naive(entries []Entry, addr netip.Addr) (netip.Prefix, uint32) {
	var best Entry
	for _, e := range entries {
		if e.Prefix.Contains(addr) && (best.Value == 0 || e.Prefix.Bits() > best.Prefix.Bits()) {
			best = e
		}
	}
	return best.Prefix, best.Value
}

func agree(t *testing.T, table *Table, entries []Entry, addr netip.Addr) {
	t.Helper()
	prefix, value := naive(entries, addr)
	octets := addr.As16()
	if got := table.Lookup(&octets); got != value {
		t.Fatalf("Lookup(%v) = %d, want %d of %v", addr, got, value, prefix)
	}
	if addr.Is4() {
		if got := table.Lookup4(binary.BigEndian.Uint32(octets[12:])); got != value {
			t.Fatalf("Lookup4(%v) = %d, want %d of %v", addr, got, value, prefix)
		}
	} else if got := table.Lookup6(binary.BigEndian.Uint64(octets[:8]), binary.BigEndian.Uint64(octets[8:])); got != value {
		t.Fatalf("Lookup6(%v) = %d, want %d of %v", addr, got, value, prefix)
	}
	if p, v := table.Match(addr); p != prefix || v != value {
		t.Fatalf("Match(%v) = %v, %d, want %v, %d", addr, p, v, prefix, value)
	}
}

// TestAgreesWithNaive builds tables of many sizes, both families in one, and
// asks for random addresses and for those at the edges of every prefix.
func TestAgreesWithNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, size := range []int{1, 2, 3, 10, 100, 2000} {
		for range max(1, 100/size) {
			entries := append(randomEntries(rng, false, size), randomEntries(rng, true, size)...)
			if rng.IntN(2) == 0 { // without the default routes there are misses
				entries = withoutDefault(entries)
			}
			table := mustBuild(t, entries)
			if table.Len() != len(entries) {
				t.Fatalf("Len() = %d, want %d", table.Len(), len(entries))
			}
			for range 500 {
				v6 := rng.IntN(2) == 0
				agree(t, table, entries, randomAddr(rng, v6))
				if len(entries) > 0 {
					e := entries[rng.IntN(len(entries))].Prefix
					inside := splice(e.Addr(), randomAddr(rng, !e.Addr().Is4()), e.Bits())
					agree(t, table, entries, inside)
				}
			}
			for _, e := range entries[:min(len(entries), 300)] {
				agreeAround(t, table, entries, e.Prefix)
			}
		}
	}
}

// agreeAround asks for the first and last address of p and their neighbours.
func agreeAround(t *testing.T, table *Table, entries []Entry, p netip.Prefix) {
	t.Helper()
	first := p.Addr()
	ones := netip.AddrFrom16([16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if first.Is4() {
		ones = netip.AddrFrom4([4]byte{0xff, 0xff, 0xff, 0xff})
	}
	last := splice(first, ones, p.Bits())
	for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
		if a.IsValid() && !a.Is4In6() {
			agree(t, table, entries, a)
		}
	}
}

func withoutDefault(entries []Entry) []Entry {
	var rest []Entry
	for _, e := range entries {
		if e.Prefix.Bits() > 0 {
			rest = append(rest, e)
		}
	}
	return rest
}

func TestExamples(t *testing.T) {
	entries := []Entry{
		{netip.MustParsePrefix("0.0.0.0/0"), 1},
		{netip.MustParsePrefix("10.0.0.0/8"), 2},
		{netip.MustParsePrefix("10.10.0.0/16"), 3},
		{netip.MustParsePrefix("10.10.10.0/24"), 4},
		{netip.MustParsePrefix("10.10.10.10/32"), MaxValue},
		{netip.MustParsePrefix("255.255.255.255/32"), 6},
		{netip.MustParsePrefix("2001:db8::/32"), 7},
		{netip.MustParsePrefix("2001:db8::1/128"), 8},
		{netip.MustParsePrefix("2001:db8:0:1::/64"), 9},
		{netip.MustParsePrefix("::ffff:192.0.2.0/120"), 10},
	}
	table := mustBuild(t, entries)
	for addr, want := range map[string]uint32{
		"1.2.3.4": 1, "10.1.2.3": 2, "10.10.2.3": 3, "10.10.10.9": 4, "10.10.10.10": MaxValue, "255.255.255.255": 6,
		"2001:db8::": 7, "2001:db8::1": 8, "2001:db8:0:1:2::": 9, "2001:db9::": 0, "::": 0, "192.0.2.7": 10, "::ffff:10.10.10.10": MaxValue,
	} {
		a := netip.MustParseAddr(addr)
		octets := a.As16()
		if got := table.Lookup(&octets); got != want {
			t.Errorf("Lookup(%s) = %d, want %d", addr, got, want)
		}
		if _, got := table.Match(a); got != want {
			t.Errorf("Match(%s) = %d, want %d", addr, got, want)
		}
	}
	if p, v := table.Match(netip.Addr{}); v != 0 || p.IsValid() {
		t.Errorf("Match(no address) = %v, %d", p, v)
	}
	if p, v := table.Match(netip.MustParseAddr("2001:db8::1%eth0")); v != 8 || p.Bits() != 128 {
		t.Errorf("Match(with a zone) = %v, %d", p, v)
	}
}

func TestEmpty(t *testing.T) {
	table := mustBuild(t, nil)
	for _, a := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff::", "::ffff:0:0"} {
		octets := netip.MustParseAddr(a).As16()
		if v := table.Lookup(&octets); v != 0 {
			t.Errorf("Lookup(%s) = %d in an empty table", a, v)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		entries []Entry
		want    string
	}{
		{[]Entry{{p("10.0.0.0/8"), 1}, {p("10.0.0.0/8"), 2}}, "entry 1: 10.0.0.0/8 is there twice"},
		{[]Entry{{p("10.0.0.0/8"), 1}, {p("::ffff:10.0.0.0/104"), 1}}, "entry 1: 10.0.0.0/8 is there twice"},
		{[]Entry{{p("2001:db8::/32"), 1}, {p("::/0"), 1}, {p("2001:db8::/32"), 1}}, "entry 2: 2001:db8::/32 is there twice"},
		{[]Entry{{p("10.0.0.1/8"), 1}}, "entry 0: 10.0.0.1/8 has host bits set; write 10.0.0.0/8"},
		{[]Entry{{p("10.0.0.0/8"), 0}}, "entry 0: 10.0.0.0/8 has the value 0"},
		{[]Entry{{p("10.0.0.0/8"), MaxValue + 1}}, "it must be 1 to 2147483647"},
		{[]Entry{{netip.Prefix{}, 1}}, "is not a prefix"},
	} {
		_, err := Build(c.entries)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.entries, err, c.want)
		}
	}
}
