package exporter

import (
	"strings"
	"testing"
	"time"
)

const noon = int64(1_780_000_000_000) // Unix milliseconds

func TestFlowTimes(t *testing.T) {
	const most = 1<<31 - 1
	for _, c := range []struct {
		name       string
		start, end int64
		duration   uint32
		spread     uint8
		impossible bool
	}{
		{"not told", 0, 0, 0, 0, false},
		{"one packet", noon, noon, 0, 0, false},
		{"half a second", noon - 500, noon, 500, 0, false},
		{"a second", noon - 1000, noon, 1000, 0, false},
		{"above", noon - 1001, noon, 1001, 2, false},
		{"a minute", noon - 60_000, noon, 60_000, 60, false},
		{"a little more", noon - 60_300, noon, 60_300, 61, false},
		{"half an hour", noon - 1_800_000, noon, 1_800_000, maxSpread, false},
		{"22 hours", noon - 22*3_600_000, noon, 22 * 3_600_000, maxSpread, false},
		{"24 days", noon - most, noon, most, maxSpread, false},
		{"2^31 ms", noon - most - 1, noon, most, maxSpread, true},
		{"2^32 ms", noon - 1<<32, noon, most, maxSpread, true},
		{"a year", noon - 365*86_400_000, noon, most, maxSpread, true},
		{"since 1970", 0, noon, most, maxSpread, true},
		{"reversed by jitter", noon + 3, noon, unknownMs, 60, true},
		{"reversed", noon + 1000, noon, most, maxSpread, true},
		{"reversed by far", noon + 1<<33, noon, most, maxSpread, true},
		{"overflow", -1 << 63, 1 << 62, most, maxSpread, true},
	} {
		s, _, _ := set(t, Options{})
		e := find(t, s.View(), id("192.0.2.1:1", 1))
		d, spread := e.Flow(c.start, c.end, noon+100)
		if n := e.times.clamped.Load(); d != c.duration || spread != c.spread || (n > 0) != c.impossible {
			t.Errorf("%s: %d ms over %d s, %d impossible; want %d ms over %d s", c.name, d, spread, n, c.duration, c.spread)
		}
	}
}

func TestActiveTimeoutIsObserved(t *testing.T) {
	s, c, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	wall := func() int64 { return c.wall.Load() / 1e6 }
	for n := range int64(3000) {
		c.pass(20 * time.Millisecond)
		d := n * 37 % 60_000
		if n%10 == 0 {
			d = 60_000 + n%7 // cut by the timeout
		}
		end := wall() - 2000
		e.Flow(end-d, end, wall())
		e.Datagram(100)
	}
	e.Flow(wall()-79_200_000, wall()-2000, wall()) // one that is out of line changes nothing
	c.pass(11 * time.Second)
	e.Datagram(100)
	if d, spread := e.Flow(wall()-1_800_000, wall(), wall()); d != 1_800_000 || spread != 61 {
		t.Errorf("%d ms over %d s", d, spread)
	}
	if r := row(t, s, e); r["active timeout"] != "1m0s" || r["export delay"] != "2s" || r["clock skew"] != "0s" {
		t.Errorf("%v", r)
	}
	e.LearnTimeout(30)
	if _, spread := e.Flow(wall()-1_800_000, wall(), wall()); spread != 30 {
		t.Errorf("over %d s", spread)
	}
	if r := row(t, s, e); r["active timeout"] != "30s" {
		t.Errorf("%v", r)
	}
}

// A few long flows among many shorter ones count for all of their time.
func TestFewLongFlowsKeepTheirTime(t *testing.T) {
	s, c, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	for n := range int64(20_000) { // 200 a second, up to 12 s long
		c.pass(5 * time.Millisecond)
		e.Flow(noon-1500-n*7919%10_500, noon, noon)
		e.Datagram(100)
	}
	if r := row(t, s, e); r["active timeout"] != "12s" {
		t.Errorf("the test's own flows are off: %v", r)
	}
	for _, seconds := range []int64{59, 60, 120} {
		if _, spread := e.Flow(noon-seconds*1000, noon, noon); int64(spread) != seconds {
			t.Errorf("a flow of %d s counts for %d s", seconds, spread)
		}
	}
}

func TestShortFlowsAreNoTimeout(t *testing.T) {
	s, c, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	for range 15 { // too few to tell
		c.pass(2 * time.Second)
		e.Flow(noon-8000, noon, noon)
		e.Datagram(100)
	}
	if _, spread := e.Flow(noon-60_000, noon, noon); spread != 60 {
		t.Errorf("over %d s", spread)
	}
}

func TestSkew(t *testing.T) {
	for _, c := range []struct {
		skew time.Duration
		want string
	}{{0, "0s"}, {-time.Hour, "-1h0m0s"}, {90 * time.Second, "1m30s"}} {
		s, clock, _ := set(t, Options{})
		e := find(t, s.View(), id("192.0.2.1:1", 1))
		export := clock.wall.Load()/1e6 - c.skew.Milliseconds()
		for delay := range int64(50) { // of the network: the least counts
			e.Flow(export-10, export-10, export-delay)
		}
		if got := row(t, s, e)["clock skew"]; got != c.want {
			t.Errorf("%v: %q", c.skew, got)
		}
	}
}

func TestBusyExportersAreSampled(t *testing.T) {
	s, _, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	for n := range int64(500_000) {
		e.Flow(noon+n-10, noon+n, noon+n)
	}
	if n := e.times.looked.Load(); n > 60_000 || n == 0 {
		t.Errorf("%d of 500,000 records were looked at", n)
	}
}

func TestImpossibleTimesAreTold(t *testing.T) {
	s, _, log := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	for range 100 {
		e.Flow(noon, noon-5000, noon)
	}
	if n := strings.Count(log.String(), "impossible"); n != 1 || row(t, s, e)["impossible times"] != "100" {
		t.Errorf("%d lines, %v", n, row(t, s, e))
	}
}
