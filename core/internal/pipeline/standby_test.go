package pipeline

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// feeder is a source that tells of so many packets to a host of its own in
// each window; with alive unset it flushes and has nothing to tell.
type feeder struct {
	b       *loopBed
	host    byte
	alive   bool
	tells   bool // it has something to tell of nevertheless, as of flow records
	number  uint64
	counted uint64
	last    int64
}

func (f *feeder) Read(dst []ring.Delta) (int, error) {
	if f.last == f.b.now {
		return 0, nil
	}
	f.last = f.b.now
	f.number++
	flush := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: f.number, Revision: 1, WindowEnd: f.b.now, Received: f.counted, Counted: f.counted}
	if !f.alive && !f.tells {
		dst[0] = *flush.AsDelta()
		return 1, nil
	}
	if f.alive {
		f.counted += 5
	}
	flush.Received, flush.Counted, flush.Deltas, flush.Samples = f.counted, f.counted, 1, 5
	dst[0] = *flush.AsDelta()
	dst[1] = ring.Delta{
		Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: 1, Group: 1, SpanMs: 50, Packets: 5, Sampling: 1, Samples: 5,
		Addr: netip.AddrFrom4([4]byte{10, 0, 0, f.host}).As16(),
	}
	return 2, nil
}

// pps is the average rate of a host, incoming.
func (b *loopBed) pps(host byte) float64 {
	r, _ := b.loop.engine.Rates(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), 32), b.now)
	return r.Dir[0].Packets[0]
}

// A standby counts in the other capture's silence only, which has lasted three
// seconds, and stops with the first thing that the other one counts, which is
// not lost. Of the two one counts at any time.
func TestStandby(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	primary, second := &feeder{b: b, host: 1, alive: true}, &feeder{b: b, host: 2, alive: true}
	add := func(f *feeder, name, of string) *capture {
		c := &capture{prepared: &prepared{block: &config.Plugin{Kind: "capture", Name: "test", Instance: name}}, sys: b.sys, generation: 1}
		c.block.Process.StandbyFor = of
		b.loop.add(&input{source: f, capture: c, seen: make(chan struct{}, 1)})
		return c
	}
	s := newSet()
	s.captures["capture.test.a"] = add(primary, "a", "")
	s.captures["capture.test.b"] = add(second, "b", "capture.test.a")
	b.loop.setStandbys(s)
	pair := b.loop.standbys[0]
	// counts tells of both whether their rates grew beyond what was left of them.
	counts := func(windows int) (first, standby bool) {
		var grew [2]bool
		var before [2]float64
		for i := range before {
			before[i] = b.pps(byte(i + 1))
		}
		for range windows {
			b.now += windowNanos
			b.loop.turn()
		}
		for i := range grew {
			left := before[i] * math.Exp(-float64(windows)*0.05/5)
			grew[i] = b.pps(byte(i+1)) > left*1.001+1e-6
		}
		return grew[0], grew[1]
	}
	expect := func(when string, windows int, wantFirst, wantStandby bool) {
		t.Helper()
		if first, standby := counts(windows); first != wantFirst || standby != wantStandby {
			t.Fatalf("%s: the capture counts: %v, its standby: %v (%s)", when, first, standby, b.log.String())
		}
	}
	expect("at first", 20, true, false)
	primary.alive = false
	expect("silent for 2.9 s", 58, false, false)
	counts(3)
	expect("silent for more than 3 s", 20, false, true)
	silent := &examination{}
	silent.standbys([]standby{*pair}, pair.heard+int64(90*time.Second))
	if len(silent.checks) != 2 || !strings.Contains(silent.checks[0].Detail, "counted nothing for 1m30s, and") {
		t.Errorf("%+v", silent.checks)
	}
	silent = &examination{} // a reload, or a pause of this program, may hand over late
	late := *pair
	late.since = late.heard + int64(time.Minute)
	silent.standbys([]standby{late}, late.heard+int64(90*time.Second))
	if len(silent.checks) != 2 || !strings.Contains(silent.checks[0].Detail, "counted nothing for 1m30s, and") {
		t.Errorf("handed over late: %+v", silent.checks)
	}
	primary.tells = true
	expect("while it tells of what it counted before", 20, false, true)
	primary.tells = false
	b.loop.setStandbys(s) // a reload changes nothing
	expect("after a reload", 20, false, true)
	primary.alive = true
	expect("the first thing that it counts again", 1, true, false)
	expect("back", 20, true, false)
	if log := b.log.String(); strings.Count(log, "is silent: its standby counts") != 1 || strings.Count(log, "counts again: its standby stops") != 1 {
		t.Error(log)
	}
	for _, in := range b.loop.inputs {
		if l, _ := b.loop.engine.Ledger(in.id); l.Received == 0 || l.Received != l.Used {
			t.Errorf("an input's ledger: received %d, used %d", l.Received, l.Used)
		}
	}
	x := &examination{}
	x.standbys([]standby{*pair}, b.now)
	if len(x.checks) != 1 || !strings.Contains(x.checks[0].Detail, "stands by: test.a counts") {
		t.Errorf("%+v", x.checks)
	}
	s = newSet()
	s.captures["capture.test.b"] = pair.capture
	b.loop.setStandbys(s)
	if len(b.loop.standbys) != 0 {
		t.Error("a pair is kept though one of the two is gone")
	}
	expect("without the other in the configuration", 20, true, true)
}
