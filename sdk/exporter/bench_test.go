package exporter

import "testing"

func BenchmarkFind(b *testing.B) {
	s, _, _ := set(b, Options{})
	v := s.View()
	ids := make([]ID, 1024)
	for i := range ids {
		ids[i] = forged(i)
		find(b, v, ids[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if e, _ := v.Find(ids[i*7&1023]); e == nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkDatagram(b *testing.B) {
	s, err := NewSet(Options{})
	if err != nil {
		b.Fatal(err)
	}
	e := find(b, s.View(), forged(1))
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		e.Datagram(1400)
		e.Sequence(i*30, 30)
		e.Records(30)
	}
}

func BenchmarkFlow(b *testing.B) {
	s, err := NewSet(Options{})
	if err != nil {
		b.Fatal(err)
	}
	e := find(b, s.View(), forged(1))
	sum, n := uint64(0), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		d, spread := e.Flow(noon+n, noon+n+n%60_000, noon+n+60_000)
		sum += uint64(d) + uint64(spread)
	}
	if sum == 0 {
		b.Fatal("nothing")
	}
}

func BenchmarkRate(b *testing.B) {
	s, _, _ := set(b, Options{})
	e := find(b, s.View(), forged(1))
	b.ReportAllocs()
	for b.Loop() {
		if e.Rate(1, 2, 4096) != 4096 {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkWanted(b *testing.B) {
	s, _, _ := set(b, Options{Blocks: []Block{{Name: "a", Count: CountIngress, Interfaces: []string{"1-20", "30", "40-45", "!50"}}}})
	e := find(b, s.View(), forged(1))
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		e.Wanted(i&63, 99, false)
	}
}

func BenchmarkPrimary(b *testing.B) {
	s, _, _ := set(b, Options{Blocks: []Block{{Name: "a", Deduplicate: "x"}}})
	v := s.View()
	one, two := find(b, v, forged(1)), find(b, v, forged(2))
	to := dst("203.0.113.9")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		to[14] = byte(i)
		if one.Primary(to, 1000); two.Primary(to, 1000) {
			b.Fatal("both count")
		}
	}
}
