package exporter

import (
	"math/rand"
	"net/netip"
	"testing"
	"time"
)

// router sends records of the same traffic as its neighbour.
type router struct {
	*Exporter
	counted uint64
}

func (r *router) report(to *[16]byte, octets uint64, egress bool) {
	if ok, _ := r.Wanted(1, 2, egress); ok && r.Primary(to, octets) {
		r.counted += octets
	}
}

func routers(t *testing.T) (a, b *router, c *clocks) {
	t.Helper()
	s, c, _ := set(t, Options{Blocks: []Block{
		{Name: "a", Source: prefixes("192.0.2.1/32"), Count: CountIngress, Deduplicate: "edge"},
		{Name: "b", Source: prefixes("192.0.2.2/32"), Count: CountIngress, Deduplicate: "edge"},
	}})
	v := s.View()
	return &router{Exporter: find(t, v, id("192.0.2.1:1", 1))}, &router{Exporter: find(t, v, id("192.0.2.2:1", 1))}, c
}

// TestTwoRoutersReadOnce is N38: the same traffic through two routers, each
// metering where it enters and where it leaves, each sampling on its own and
// reporting in lumps.
func TestTwoRoutersReadOnce(t *testing.T) {
	a, b, c := routers(t)
	rnd := rand.New(rand.NewSource(3))
	var sent uint64
	for range 60_000 {
		c.pass(5 * time.Millisecond)
		var to *[16]byte
		if n := rnd.Intn(2000); n%2 == 0 {
			to = dst(netip.AddrFrom4([4]byte{10, byte(n >> 4), byte(n), 1}).String())
		} else {
			to = dst(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 8), byte(n), 15: 1}).String())
		}
		octets := uint64(64 + rnd.Intn(1400))
		sent += octets
		for _, r := range []*router{a, b} {
			seen := octets * uint64(950+rnd.Intn(100)) / 1000
			r.report(to, seen, false)
			r.report(to, seen, true)
			r.Datagram(1400)
		}
	}
	got := float64(a.counted+b.counted) / float64(sent)
	if got < 0.98 || got > 1.02 {
		t.Errorf("it reads %.3f times the traffic", got)
	}
}

func TestBiggerReporterBecomesPrimary(t *testing.T) {
	a, b, c := routers(t)
	to := dst("203.0.113.1")
	a.report(to, 100, false)
	for range 3000 { // a sees a tenth of what b does
		c.pass(20 * time.Millisecond)
		a.Datagram(1)
		b.Datagram(1)
		a.report(to, 100, false)
		b.report(to, 1000, false)
	}
	if b.counted < 2_000_000 {
		t.Errorf("b counted %d of 3,000,000, a %d", b.counted, a.counted)
	}
}

func TestSilentPrimaryIsReplaced(t *testing.T) {
	a, b, c := routers(t)
	to := dst("203.0.113.1")
	for range 100 {
		c.pass(100 * time.Millisecond)
		a.Datagram(1)
		b.Datagram(1)
		a.report(to, 1000, false)
		b.report(to, 1000, false)
	}
	if a.counted == 0 || b.counted != 0 {
		t.Fatalf("a %d, b %d", a.counted, b.counted)
	}
	for range 100 { // a is down
		c.pass(100 * time.Millisecond)
		b.Datagram(1)
		b.report(to, 1000, false)
	}
	if b.counted < 45_000 {
		t.Errorf("b counted %d of 100,000", b.counted)
	}
}

// TestRareReportsAreNotLost: each router reports a prefix once a minute, at
// another second. One of them must count, always.
func TestRareReportsAreNotLost(t *testing.T) {
	a, b, c := routers(t)
	to := dst("203.0.113.1")
	for s := range 3600 {
		c.pass(time.Second)
		a.Datagram(1)
		b.Datagram(1)
		switch s % 60 {
		case 5:
			a.report(to, 1000, false)
		case 25:
			b.report(to, 1000, false)
		}
	}
	if got := a.counted + b.counted; got < 59_000 || got > 62_000 {
		t.Errorf("%d of 60,000 counted (a %d, b %d)", got, a.counted, b.counted)
	}
}

func TestAlone(t *testing.T) {
	s, _, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	if e.Deduplicated() || !e.Primary(dst("203.0.113.1"), 1) {
		t.Error("an exporter without the attribute is de-duplicated")
	}
}

func TestMembersAreDevices(t *testing.T) {
	s, _, _ := set(t, Options{Blocks: []Block{{Name: "a", Source: prefixes("192.0.2.0/24"), Deduplicate: "edge"}}})
	v := s.View()
	one := find(t, v, id("192.0.2.1:1", 1))
	if card := find(t, v, id("192.0.2.1:2", 9)); card.member != one.member {
		t.Error("a device's second line card is another member")
	}
	if other := find(t, v, id("192.0.2.2:1", 1)); other.member == one.member {
		t.Error("two devices are one member")
	}
	var last *Exporter
	for n := range 100 {
		last = find(t, v, ID{Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n)}), 1)})
	}
	if last.Deduplicated() || row(t, s, last)["notes"] == "" {
		t.Error("the group is full, but nothing tells")
	}
}
