package exporter

import (
	"strings"
	"testing"
	"time"
)

func TestRateOrder(t *testing.T) {
	s, _, log := set(t, Options{Sampling: 7, Blocks: []Block{{Name: "b", Source: prefixes("192.0.2.1/32"), Sampling: 4096}}})
	v := s.View()
	listed, other := find(t, v, id("192.0.2.1:1", 1)), find(t, v, id("192.0.2.2:1", 1))
	check := func(e *Exporter, sampler uint64, iface, inRecord, want uint32) {
		t.Helper()
		if got := e.Rate(sampler, iface, inRecord); got != want {
			t.Errorf("%s: Rate(%d, %d, %d) = %d, want %d", e.Name(), sampler, iface, inRecord, got, want)
		}
	}
	check(other, 0, 0, 0, 7)
	check(listed, 0, 0, 0, 4096)
	check(listed, 3, 4, 0, 4096)
	check(listed, 0, 0, 10, 10)
	rev := listed.RateRevision()
	listed.LearnRate(0, 0, 100)
	if listed.RateRevision() == rev {
		t.Error("the revision stays although a rate was learned")
	}
	check(listed, 0, 0, 0, 100)
	check(listed, 5, 6, 0, 100)
	listed.LearnRate(5, 0, 200)
	listed.LearnRate(0, 6, 300)
	listed.LearnRate(5, 6, 400)
	check(listed, 5, 6, 0, 400)
	check(listed, 5, 7, 0, 200)
	check(listed, 4, 6, 0, 300)
	check(listed, 4, 7, 0, 100)
	check(listed, 5, 6, 9, 9)
	rev = listed.RateRevision()
	listed.LearnRate(5, 6, 400)
	listed.LearnRate(5, 6, 0)
	if listed.RateRevision() != rev {
		t.Error("the revision changes although nothing did")
	}
	if strings.Contains(log.String(), "unknown") {
		t.Errorf("%s", log)
	}
}

func TestRecordWithoutSampler(t *testing.T) {
	s, _, _ := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	e.LearnRate(1, 0, 1000) // the options name a sampler, the records do not
	if got := e.Rate(0, 0, 0); got != 1000 {
		t.Errorf("got %d", got)
	}
	if got := e.Rate(2, 0, 0); got != 1 {
		t.Errorf("another sampler's rate is taken: %d", got)
	}
	e.LearnRate(2, 0, 500)
	if got := e.Rate(0, 0, 0); got != 500 {
		t.Errorf("got %d, want the lowest", got)
	}
	e.LearnRate(2, 0, 2000)
	if got := e.Rate(0, 0, 0); got != 1000 {
		t.Errorf("got %d, want the lowest", got)
	}
}

func TestUnknownRateIsReported(t *testing.T) {
	s, c, log := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	for range 1000 {
		if e.Rate(0, 0, 0) != 1 {
			t.Fatal("not 1:1")
		}
	}
	if n := strings.Count(log.String(), "exporter_sampling_unknown"); n != 1 {
		t.Errorf("%d lines", n)
	}
	r := row(t, s, e)
	if r["sampling"] != "1" || r["sampling from"] != "unknown" || !strings.Contains(r["notes"], "exporter_sampling_unknown") {
		t.Errorf("%v", r)
	}
	e.LearnRate(0, 0, 1000)
	e.Rate(0, 0, 0)
	c.pass(20 * time.Second)
	e.Datagram(1)
	r = row(t, s, e)
	if r["sampling"] != "1000" || r["sampling from"] != "options" || r["visible pps"] != "6000" || r["sampling age"] != "20s" || r["notes"] != "" {
		t.Errorf("%v", r)
	}
	e.Rate(0, 0, 4000)
	e.Rate(0, 0, 0)
	if r = row(t, s, e); r["sampling"] != "1000-4000" || r["sampling from"] != "record, options" {
		t.Errorf("%v", r)
	}
}

func TestLearnedRatesAreBounded(t *testing.T) {
	s, _, _ := set(t, Options{})
	v := s.View()
	for n := range 70 { // more than all together may have
		e := find(t, v, forged(n))
		for k := range uint32(maxLearned + 10) {
			e.LearnRate(uint64(k), k, 1+k)
		}
		if len(e.rates.learned) > maxLearned {
			t.Fatalf("%d rates", len(e.rates.learned))
		}
	}
	if n := s.learned.Load(); n > maxLearnedAll {
		t.Errorf("%d rates in all", n)
	}
}

// A rate that no device samples at is as good as none, wherever it stands.
func TestImplausibleRates(t *testing.T) {
	s, c, log := set(t, Options{Blocks: []Block{{Name: "b", Source: prefixes("192.0.2.1/32"), Sampling: 4096}}})
	v := s.View()
	listed, e := find(t, v, id("192.0.2.1:1", 1)), find(t, v, id("192.0.2.2:1", 1))
	for _, rate := range []uint32{MaxRate + 1, 1<<31 + 1000, 1<<32 - 1} {
		if got := e.Rate(0, 0, rate); got != 1 {
			t.Errorf("a record's %d: %d", rate, got)
		}
		if got := listed.Rate(0, 0, rate); got != 4096 {
			t.Errorf("a record's %d with a block: %d", rate, got)
		}
	}
	if got := e.Rate(0, 0, MaxRate); got != MaxRate {
		t.Errorf("the highest rate: %d", got)
	}
	if r := row(t, s, e); r["sampling from"] != "record, unknown" || r["notes"] != "exporter_sampling_unknown; exporter_sampling_implausible" {
		t.Errorf("%v", r)
	}
	if r := row(t, s, listed); r["sampling from"] != "block" || r["notes"] != "exporter_sampling_implausible" {
		t.Errorf("%v", r)
	}
	if n := strings.Count(log.String(), "exporter_sampling_implausible"); n != 2 {
		t.Errorf("%d lines", n)
	}
	for range 3 { // it is over
		c.pass(11 * time.Second)
		e.Datagram(1)
		e.Rate(0, 0, 1000)
	}
	if r := row(t, s, e); r["notes"] != "" || r["sampling"] != "1000" {
		t.Errorf("later: %v", r)
	}
	rev := e.RateRevision()
	e.LearnRate(0, 0, 100)
	e.LearnRate(0, 0, MaxRate+1)
	if got := e.Rate(0, 0, 0); got != 100 || e.RateRevision() != rev+1 {
		t.Errorf("after options: %d", got)
	}
	if n := strings.Count(log.String(), "exporter_sampling_implausible"); n != 2 { // less than a minute later
		t.Errorf("%d lines", n)
	}
}

// What a decoder keeps is asked for again, so that what it does not take any
// more is not shown for ever.
func TestAppliedRatesFade(t *testing.T) {
	s, c, log := set(t, Options{})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	e.LearnRate(0, 5, 100)
	e.Datagram(1)
	e.Rate(0, 0, 0)
	e.Rate(0, 5, 0)
	if r := row(t, s, e); r["sampling"] != "1-100" || r["sampling from"] != "options, unknown" {
		t.Errorf("%v", r)
	}
	for range 3 {
		rev := e.RateRevision()
		c.pass(11 * time.Second)
		e.Datagram(1)
		if e.RateRevision() == rev {
			t.Error("the revision stays in a new window")
		}
		e.Rate(0, 5, 0)
	}
	if r := row(t, s, e); r["sampling"] != "100" || r["sampling from"] != "options" || r["notes"] != "" {
		t.Errorf("later: %v", r)
	}
	c.pass(time.Minute)
	for range 20 { // one line for as long as it lasts
		c.pass(11 * time.Second)
		e.Datagram(1)
		e.Rate(0, 6, 0)
	}
	if n := strings.Count(log.String(), "exporter_sampling_unknown"); n != 2 {
		t.Errorf("%d lines", n)
	}
}
