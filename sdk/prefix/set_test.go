package prefix

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// slowSet is what a Set must say: the longest prefix decides, and except wins
// where both have it.
type slowSet map[netip.Prefix]bool

func newSlowSet(list, except []netip.Prefix) slowSet {
	s := slowSet{}
	for _, p := range list {
		s[p] = true
	}
	for _, p := range except {
		s[p] = false
	}
	return s
}

func (s slowSet) contains(a netip.Addr) bool {
	for bits := a.BitLen(); bits >= 0; bits-- {
		p, _ := a.Prefix(bits)
		if in, ok := s[p]; ok {
			return in
		}
	}
	return false
}

// some gives prefixes of all lengths in a part of the address space, so that
// they nest.
func some(rng *rand.Rand, n int, v6 bool, shortest int) (out []netip.Prefix) {
	for range n {
		a := randomAddr(rng, v6)
		if v6 {
			b := a.As16()
			copy(b[:5], []byte{0x20, 1, 0xd, 0xb8, b[4] & 3})
			a = netip.AddrFrom16(b)
		} else {
			b := a.As4()
			b[0], b[1] = 198, b[1]&7
			a = netip.AddrFrom4(b)
		}
		out = append(out, netip.PrefixFrom(a, shortest+rng.IntN(a.BitLen()-shortest+1)).Masked())
	}
	return out
}

func TestSet(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := []int{1, 5, 100, 1000}[seed%4]
		var list, except []netip.Prefix
		for _, v6 := range []bool{false, true} {
			list = append(list, some(rng, n, v6, 8)...)
			except = append(except, some(rng, n/3, v6, 8)...)
		}
		if seed%5 == 0 {
			list = append(list, list...)
		}
		check(t, rng, list, except)
	}
}

// TestSetOfAddresses has many /24 of which only a part is in the set.
func TestSetOfAddresses(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	list := make([]netip.Prefix, 0, 80_000)
	for range cap(list) {
		a := randomAddr(rng, false)
		list = append(list, netip.PrefixFrom(a, 32))
	}
	list = append(list, some(rng, 1000, false, 8)...)
	check(t, rng, list, some(rng, 500, false, 8))
}

func check(t *testing.T, rng *rand.Rand, list, except []netip.Prefix) {
	t.Helper()
	set, slow := BuildSet(list, except), newSlowSet(list, except)
	hits := 0
	for i := range 5_000 {
		p := list[rng.IntN(len(list))]
		a := splice(p.Addr(), randomAddr(rng, p.Addr().Is6()), max(0, p.Bits()-rng.IntN(3)))
		if i%10 == 0 {
			a = randomAddr(rng, i%20 == 0)
		}
		want := slow.contains(a)
		if got := set.ContainsAddr(a); got != want {
			t.Fatalf("%v: %v, want %v", a, got, want)
		}
		if want {
			hits++
		}
	}
	if hits == 0 {
		t.Error("nothing was inside")
	}
}

func TestSetTakesAnything(t *testing.T) {
	set := BuildSet([]netip.Prefix{{}, netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"), netip.MustParsePrefix("0.0.0.0/0")},
		[]netip.Prefix{netip.MustParsePrefix("192.0.2.128/25"), {}})
	for addr, want := range map[string]bool{"10.9.9.9": true, "192.0.2.1": true, "192.0.2.129": false, "::1": false, "::ffff:10.0.0.1": true} {
		if got := set.ContainsAddr(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if v4, v6 := set.Len(); v4 != 2 || v6 != 0 {
		t.Errorf("%d and %d prefixes; want what changes something: 2 and 0", v4, v6)
	}
	if empty := BuildSet(nil, nil); empty.ContainsAddr(netip.MustParseAddr("10.0.0.1")) || empty.ContainsAddr(netip.MustParseAddr("::")) {
		t.Error("the empty set holds something")
	}
}

func TestParseList(t *testing.T) {
	got, err := ParseList([]byte("\uFEFF# bogons\r\n10.0.0.0/8 ; SBL1\r\n\r\n  192.0.2.1\n2001:db8::1/32 # own\n::ffff:198.51.100.0/120"))
	if err != nil || fmt.Sprint(got) != "[10.0.0.0/8 192.0.2.1/32 2001:db8::/32 198.51.100.0/24]" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"10.0.0.0/33", "10.0.0", "fe80::1%eth0", "example.org", "10.0.0.0/8,x"} {
		var e *ListError
		if _, err := ParseList([]byte("10.0.0.0/8\n" + bad)); !errors.As(err, &e) || e.Line != 2 || e.Text != bad {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("10.0.0.0/8\n2001:db8::/32 ; x\n\n#"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseList(data)
		for _, p := range list {
			if !p.IsValid() || p != p.Masked() || err != nil {
				t.Fatalf("%v, %v", p, err)
			}
		}
		if len(list) < 1000 {
			BuildSet(list, nil)
		}
	})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	step := time.Unix(1_700_000_000, 0)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		step = step.Add(time.Second)
		if err := os.Chtimes(path, step, step); err != nil {
			t.Fatal(err)
		}
	}
	f := &File{Path: path}
	if err := f.Load(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: %v", err)
	}
	write("10.0.0.0/8\n192.0.2.0/24\n198.51.100.0/24\n")
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	state := func(what string, changed bool, n int, held string) {
		t.Helper()
		first := f.Poll()
		if got := first || f.Poll(); got != changed || len(f.Prefixes) != n || held == "" != (f.Held == "") || !strings.Contains(f.Held, held) {
			t.Errorf("%s: changed %v, %v, held %q; want %v, %d, %q", what, got, f.Prefixes, f.Held, changed, n, held)
		}
		if f.Poll() {
			t.Errorf("%s: changed again", what)
		}
	}
	state("unchanged", false, 3, "")
	write("10.0.0.0/8\n192.0.2.0/24\n")
	if f.Poll() {
		t.Error("a file that was just written is taken")
	}
	state("shorter", true, 2, "")
	write("10.0.0.0/8\n192.0.2.0/24\n198.51.100.0/24\n203.0.")
	state("half a line", true, 2, "line 4")
	write("10.0.0.0/8\n")
	state("halved", true, 2, "it has 1 prefixes and had 2")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	state("gone", true, 2, "cannot be read")
	write("")
	state("empty", true, 2, "it has 0 prefixes")
	write("10.0.0.0/8\n192.0.2.0/24\n203.0.113.0/24")
	state("whole again", true, 3, "")
}

func BenchmarkSet(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{100_000, 1_000_000} {
			rng := rand.New(rand.NewPCG(5, uint64(n)))
			list := make([]netip.Prefix, n)
			for i := range list {
				bits := 32
				if v6 {
					bits = 64
				}
				list[i] = netip.PrefixFrom(randomAddr(rng, v6), bits).Masked()
			}
			set := BuildSet(list, nil)
			addrs := make([][16]byte, probes)
			want := 0
			for i := range addrs {
				a := randomAddr(rng, v6)
				if i%2 == 0 {
					a = splice(list[rng.IntN(n)].Addr(), a, 32)
				}
				if addrs[i] = a.As16(); set.ContainsAddr(a) {
					want++
				}
			}
			b.Run(fmt.Sprintf("addresses/v6=%v/%d", v6, n), func(b *testing.B) {
				b.ReportAllocs()
				for done := 0; done < b.N; done += probes {
					got := 0
					for i := range addrs[:min(probes, b.N-done)] {
						if set.Contains(&addrs[i]) {
							got++
						}
					}
					if b.N-done >= probes && got != want {
						b.Fatalf("%d inside, want %d", got, want)
					}
				}
			})
			b.Run(fmt.Sprintf("build/v6=%v/%d", v6, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					BuildSet(list, nil)
				}
			})
		}
	}
}
