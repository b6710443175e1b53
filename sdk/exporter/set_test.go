package exporter

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIdentity(t *testing.T) {
	s, _, _ := set(t, Options{})
	v := s.View()
	base := id("192.0.2.1:5000", 1)
	e := find(t, v, base)
	if find(t, v, base) != e || find(t, s.View(), base) != e {
		t.Error("the same exporter is two")
	}
	port, domain, agent, version := base, base, base, base
	port.Source = netip.MustParseAddrPort("192.0.2.1:5001") // behind the same NAT
	domain.Domain = 2
	agent.Agent = netip.MustParseAddr("10.0.0.1")
	version.Version = 10
	seen := map[uint32]bool{e.Index(): true, 0: true}
	for _, other := range []ID{port, domain, agent, version} {
		o := find(t, v, other)
		if o == e || seen[o.Index()] {
			t.Errorf("%v and %v are one", base, other)
		}
		seen[o.Index()] = true
	}
	if got := s.Siblings(e); len(got) != 1 || got[0].ID() != port {
		t.Errorf("siblings: %v", got)
	}
	if n := len(s.All()); n != 5 {
		t.Errorf("%d exporters", n)
	}
}

func TestLatestSiblingFirst(t *testing.T) {
	s, c, _ := set(t, Options{})
	v := s.View()
	e := find(t, v, id("192.0.2.1:1", 1))
	for port := uint16(2); port < 40; port++ {
		c.pass(time.Second)
		find(t, v, ID{Source: netip.AddrPortFrom(e.ID().Source.Addr(), port), Domain: 1, Version: 9}).Datagram(1)
	}
	got := s.Siblings(e)
	if len(got) != maxSiblings || got[0].ID().Source.Port() != 39 || got[1].ID().Source.Port() != 38 {
		t.Errorf("%d siblings, first %v", len(got), got[0].ID())
	}
}

func TestBlocksAreMatchedInOrder(t *testing.T) {
	agent := netip.MustParseAddr("10.0.0.1")
	s, _, _ := set(t, Options{OnlyListed: true, Blocks: []Block{
		{Name: "two", Source: prefixes("192.0.2.1/32"), Domain: []uint32{2}},
		{Name: "wide", Source: prefixes("192.0.2.0/24")},
		{Name: "late", Source: prefixes("192.0.2.1/32")},
		{Name: "agent", Agent: prefixes("10.0.0.0/8"), Site: "fra"},
		{Name: "six", Source: prefixes("2001:db8::/32", "198.51.100.7/32")},
	}})
	v := s.View()
	for _, c := range []struct {
		id   ID
		want string
	}{
		{id("192.0.2.1:1", 2), "two"},
		{id("192.0.2.1:1", 3), "wide"},
		{id("192.0.2.9:1", 2), "wide"},
		{ID{Source: netip.MustParseAddrPort("203.0.113.1:1"), Agent: agent, Version: SFlow5}, "agent"},
		{id("[2001:db8::1]:1", 0), "six"},
		{id("198.51.100.7:1", 0), "six"},
	} {
		if e := find(t, v, c.id); e.Name() != c.want || !e.Listed() {
			t.Errorf("%v: %q, want %q", c.id, e.Name(), c.want)
		}
	}
	for _, other := range []ID{id("198.51.100.8:1", 0), {Source: netip.MustParseAddrPort("203.0.113.1:1"), Agent: netip.MustParseAddr("11.0.0.1")}} {
		if e, r := v.Find(other); e != nil || r != NotListed {
			t.Errorf("%v: %v", other, r)
		}
	}
}

func TestBadBlocks(t *testing.T) {
	for _, c := range []struct {
		block Block
		want  string
	}{
		{Block{Name: "a", Count: "both"}, "exporters[0].count"},
		{Block{Name: "a", Interfaces: []string{"1", "20-10"}}, `write "10-20"`},
		{Block{Name: "a", Interfaces: []string{"!"}}, "exporters[0].interfaces[0]"},
	} {
		if _, err := NewSet(Options{Blocks: []Block{c.block}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.block, err, c.want)
		}
	}
}

// forged makes IDs of which no two are alike.
func forged(n int) ID {
	a := netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
	return ID{Source: netip.AddrPortFrom(a, 2055), Version: 5}
}

func TestForgedExportersAreBounded(t *testing.T) {
	const most = 1000
	s, c, log := set(t, Options{Max: most, Blocks: []Block{{Name: "mine", Source: prefixes("192.0.2.0/24")}}})
	v := s.View()
	var mine []*Exporter
	for i := range 50 {
		mine = append(mine, find(t, v, ID{Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1), Version: 9}))
	}
	refused := 0
	for n := range 100_000 {
		if n%100 == 0 {
			c.pass(10 * time.Millisecond)
			for _, e := range mine {
				e.Datagram(100)
			}
		}
		e, r := v.Find(forged(n))
		if r == TooMany {
			refused++
			continue
		}
		e.Datagram(100)
	}
	if n := len(s.All()); n > most || len(v.known) > most || len(s.devices) > most {
		t.Errorf("%d exporters, %d in the view, %d devices, at most %d", n, len(v.known), len(s.devices), most)
	}
	if refused == 0 {
		t.Error("none was refused")
	}
	for _, e := range mine {
		if e.Gone() {
			t.Fatalf("%s, which is active and listed, was evicted", e.ID().Source)
		}
	}
	// A listed one finds room although all is full, and is not refused for it.
	late := find(t, v, id("192.0.2.200:1", 1))
	if !late.Listed() || len(s.All()) > most {
		t.Error("no room for a listed exporter")
	}
	// When the forged ones are silent, an unlisted one finds room too.
	c.pass(2 * time.Minute)
	find(t, v, id("198.51.100.1:1", 1))
	if lines := strings.Count(log.String(), "\n"); lines > 2*linesPerMinute {
		t.Errorf("%d lines", lines)
	}
}

func TestUnlistedAreRefusedCheaply(t *testing.T) {
	s, c, log := set(t, Options{OnlyListed: true, Blocks: []Block{{Name: "mine", Source: prefixes("192.0.2.0/24")}}})
	v := s.View()
	for n := range 10_000 {
		c.pass(10 * time.Millisecond)
		if _, r := v.Find(forged(n)); r != NotListed {
			t.Fatal(r)
		}
	}
	if len(s.byID) != 0 || len(v.known) != 0 {
		t.Error("refused exporters are remembered")
	}
	n, _, latest := s.strangers.seen()
	if n != 10_000 || len(latest) != 8 || latest[0].addr != forged(9999).Source.Addr() {
		t.Errorf("%d, %v", n, latest)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 { // 100 seconds
		t.Errorf("%d lines: %s", lines, log)
	}
}

func TestEvictedComesBackAsNew(t *testing.T) {
	s, c, _ := set(t, Options{Max: 1})
	v := s.View()
	e := find(t, v, forged(1))
	e.LearnRate(0, 0, 100)
	c.pass(2 * time.Minute)
	o := find(t, v, forged(2))
	if !e.Gone() || o.Gone() || s.learned.Load() != 0 {
		t.Errorf("gone %v, %v; %d rates held", e.Gone(), o.Gone(), s.learned.Load())
	}
	c.pass(2 * time.Minute)
	if back := find(t, v, forged(1)); back == e || back.Rate(0, 0, 0) != 1 {
		t.Error("an evicted exporter is used again")
	}
	e.LearnRate(0, 0, 100) // a decoder that has not noticed
	if s.learned.Load() != 0 {
		t.Error("an evicted exporter learns")
	}
}

func TestOneLineAMinute(t *testing.T) {
	s, c, log := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 7))
	for range 1200 {
		e.TemplateMissing(1)
		e.Malformed(1, "cut")
		c.pass(100 * time.Millisecond)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 {
		t.Errorf("%d lines in two minutes for two causes:\n%s", n, log)
	}
	if !strings.Contains(log.String(), "times=600") || !strings.Contains(log.String(), "192.0.2.1:1") {
		t.Errorf("%s", log)
	}
}

func TestManyWorkers(t *testing.T) {
	s, _, _ := set(t, Options{Max: 64, Blocks: []Block{{Name: "g", Source: prefixes("11.0.0.0/24"), Deduplicate: "x", Interfaces: []string{"ae0", "!7"}}}})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			v := s.View()
			for n := range 3000 {
				e, r := v.Find(forged((n*7 + w) % 300))
				if r != None {
					continue
				}
				e.Datagram(100)
				e.Sequence(uint32(n), 1)
				e.LearnRate(uint64(n%5), 0, uint32(1+n%9))
				e.Interface(uint32(n%9), "ae0")
				e.Rate(uint64(n%6), 0, 0)
				e.Wanted(1, 7, false)
				e.Primary(dst("203.0.113.1"), 100)
				e.Flow(int64(n)*1000, int64(n)*1001, int64(n)*1002)
				e.TemplateMissing(1)
				v.Observe(dst("203.0.113.1"), dst("2001:db8::1"))
			}
		})
	}
	for range 20 {
		s.Rows()
		s.Doctor(nil)
		s.Addresses()
	}
	wg.Wait()
}
