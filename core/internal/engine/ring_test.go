package engine

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Each lie ends the ring with ErrLie, and nothing more is taken from it.
func TestLies(t *testing.T) {
	good := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: 5, Revision: 1, WindowEnd: origin, Received: 10, Counted: 10}
	for name, batch := range map[string]func() []ring.Delta{
		"delta first":    func() []ring.Delta { return []ring.Delta{hostDelta(1, false, 50, 1, 1)} },
		"zero record":    func() []ring.Delta { return make([]ring.Delta, 1) },
		"generation":     func() []ring.Delta { f := good; f.Generation = 2; return []ring.Delta{*f.AsDelta()} },
		"number":         func() []ring.Delta { f := good; return []ring.Delta{*f.AsDelta(), *f.AsDelta()} },
		"revision":       func() []ring.Delta { f := good; f.Revision = 9; return []ring.Delta{*f.AsDelta()} },
		"unaligned":      func() []ring.Delta { f := good; f.WindowEnd++; return []ring.Delta{*f.AsDelta()} },
		"negative":       func() []ring.Delta { f := good; f.WindowEnd = -50 * ms; return []ring.Delta{*f.AsDelta()} },
		"zero end":       func() []ring.Delta { f := good; f.WindowEnd = 0; return []ring.Delta{*f.AsDelta()} },
		"far ahead":      func() []ring.Delta { f := good; f.WindowEnd += 10e9; return []ring.Delta{*f.AsDelta()} },
		"flush too soon": func() []ring.Delta { f := good; f.Deltas = 2; return []ring.Delta{*f.AsDelta(), *f.AsDelta()} },
		"unknown kind": func() []ring.Delta {
			f := good
			f.Deltas = 1
			return []ring.Delta{*f.AsDelta(), {Kind: 7}}
		},
		"back in time": func() []ring.Delta {
			f, g := good, good
			g.Number, g.WindowEnd = 6, origin-50*ms
			return []ring.Delta{*f.AsDelta(), *g.AsDelta()}
		},
		"totals go back": func() []ring.Delta {
			f, g := good, good
			g.Number, g.Received = 6, 9
			return []ring.Delta{*f.AsDelta(), *g.AsDelta()}
		},
		"after the end": func() []ring.Delta {
			f, g := good, good
			f.Flags, g.Number = ring.FlushFinished, 6
			return []ring.Delta{*f.AsDelta(), *g.AsDelta()}
		},
	} {
		e := newEngine(t, Options{MaxAhead: time.Second}, testPlan(1))
		e.SetNow(origin)
		e.Advance(origin)
		id := e.AddRing(1)
		if err := e.Apply(id, batch()); !errors.Is(err, ErrLie) {
			t.Errorf("%s: error %v", name, err)
		}
		if err := e.Apply(id, []ring.Delta{*good.AsDelta()}); !errors.Is(err, ErrLie) {
			t.Errorf("%s: the ring is believed again: %v", name, err)
		}
	}
	e := newEngine(t, Options{}, nil)
	if err := e.Apply(e.AddRing(1), []ring.Delta{*good.AsDelta()}); !errors.Is(err, ErrLie) {
		t.Errorf("without a plan: %v", err)
	}
	if err := e.Apply(77, nil); err == nil {
		t.Error("a ring that is none has no error")
	}
}

// Deltas that cannot be are refused one by one, with their cause.
func TestRefused(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	f := newFeeder(t, e, 1)
	f.flush(origin, hostDelta(1, false, 50, 1, 1))
	for name, c := range map[string]struct {
		why   Refusal
		spoil func(*ring.Delta)
	}{
		"direction":        {RefusedShape, func(d *ring.Delta) { d.Direction = ring.Other }},
		"direction 200":    {RefusedShape, func(d *ring.Delta) { d.Direction = 200 }},
		"family":           {RefusedShape, func(d *ring.Delta) { d.Family = 6 }},
		"family 9":         {RefusedShape, func(d *ring.Delta) { d.Family = 9 }},
		"no span":          {RefusedShape, func(d *ring.Delta) { d.SpanMs = 0 }},
		"odd span":         {RefusedShape, func(d *ring.Delta) { d.SpanMs = 51 }},
		"long span":        {RefusedShape, func(d *ring.Delta) { d.SpanMs = ring.MaxSpanMs + 50 }},
		"host of 24 bits":  {RefusedShape, func(d *ring.Delta) { d.PrefixLen = 24 }},
		"prefix length":    {RefusedShape, func(d *ring.Delta) { d.Kind, d.PrefixLen = ring.KindPrefix, 40 }},
		"host bits":        {RefusedShape, func(d *ring.Delta) { d.Kind, d.PrefixLen = ring.KindPrefix, 24 }},
		"outside":          {RefusedOutside, func(d *ring.Delta) { d.Addr = v4(11 << 24) }},
		"prefix too wide":  {RefusedOutside, func(d *ring.Delta) { d.Kind, d.PrefixLen, d.Addr = ring.KindPrefix, 7, v4(10<<24) }},
		"network":          {RefusedID, func(d *ring.Delta) { d.Network = 2 }},
		"group":            {RefusedID, func(d *ring.Delta) { d.Group = 1 << 31 }},
		"group of new":     {RefusedID, func(d *ring.Delta) { d.Group, d.Addr = 0, v4(10<<24|99) }},
		"counter":          {RefusedID, func(d *ring.Delta) { d.Kind, d.ID = ring.KindCounter, 64 }},
		"total, direction": {RefusedShape, func(d *ring.Delta) { d.Kind = ring.KindTotal }},
	} {
		d := hostDelta(1, false, 50, 1000, 1000)
		c.spoil(&d)
		before, _ := e.Ledger(f.id)
		f.flush(origin, d)
		after, _ := e.Ledger(f.id)
		if after.Refused[c.why] != before.Refused[c.why]+1 || after.Deltas != before.Deltas {
			t.Errorf("%s: refused %v, was %v", name, after.Refused, before.Refused)
		}
	}
	longest := hostDelta(1, false, ring.MaxSpanMs, 0, 0)
	if f.flush(origin, longest); e.Stats().Deltas != e.Stats().Refused+2 {
		t.Error("a span that the SDK may write is refused")
	}
	if s := e.Stats(); s.Hosts != 1 {
		t.Errorf("%d hosts after refusals, want 1", s.Hosts)
	}
	if n := e.Totals()[0].Packets[0]; n != 1 {
		t.Errorf("%d packets counted, want 1", n)
	}
}

// However a batch is cut, the outcome is the same.
func TestBatchesCutAnywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	flushes := randomFlushes(rng, 1, 40, 0, 2000)
	build := func(cut bool) HostRates {
		e := newEngine(t, Options{}, testPlan(1, oracleLimits()...))
		f := newFeeder(t, e, 1)
		var all []ring.Delta
		for _, fl := range flushes {
			all = append(all, f.batch(fl.end, fl.ds...)...)
		}
		for len(all) > 0 {
			n := len(all)
			if cut {
				n = min(n, 1+rng.IntN(7))
			}
			if err := e.Apply(f.id, all[:n]); err != nil {
				t.Fatal(err)
			}
			all = all[n:]
		}
		r, _ := e.Rates(hostPrefix(1, true), e.Clock())
		return r
	}
	if a, b := build(false), build(true); a != b {
		t.Fatalf("%+v\n%+v", a, b)
	}
}

func TestLedger(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	id := e.AddRing(4)
	fl := ring.Flush{
		Kind: ring.KindFlush, Generation: 4, Number: 1, Revision: 1, WindowEnd: origin, LagNanos: 7, Received: 100,
		Counted: 80, DroppedTotal: 15, Samples: 5, Deltas: 2, DirtyRows: 3, Folded: 4, Packets: 900, Flags: ring.FlushFinished,
	}
	loss := ring.Delta{Kind: ring.KindLoss, ID: 2, Packets: 15}
	other := ring.Delta{Kind: ring.KindTotal, Direction: ring.Other, Family: 6, Packets: 5, Bytes: 50, Samples: 5}
	if err := e.Apply(id, []ring.Delta{*fl.AsDelta(), loss, other}); err != nil {
		t.Fatal(err)
	}
	l, ok := e.Ledger(id)
	if !ok || l.Received != 100 || l.Counted != 80 || l.Dropped != 15 || l.DroppedBy[2] != 15 || l.InFlight != 5 || l.Packets != 900 ||
		l.Folded != 4 || l.DirtyRows != 3 || l.LagNanos != 7 || l.WindowEnd != origin || !l.Finished || l.Deltas != 2 {
		t.Fatalf("%+v", l)
	}
	if x := e.Totals()[7]; x.Direction != ring.Other || x.Family != 6 || x.Packets[0] != 5 || x.Bytes[0] != 50 {
		t.Fatalf("%+v", x)
	}
	// Records count as used when their deltas have come.
	f := newFeeder(t, e, 1)
	apply := func(records ...ring.Delta) Ledger {
		if err := e.Apply(f.id, records); err != nil {
			t.Fatal(err)
		}
		l, _ := e.Ledger(f.id)
		if l.Received != l.Used+l.Dropped+l.InFlight {
			t.Fatalf("%+v does not add up", l)
		}
		return l
	}
	next := func(counted, samples, held uint64, deltas uint32) ring.Delta {
		b := f.batch(origin)
		x := b[0].AsFlush()
		x.Received, x.Counted, x.DroppedTotal, x.Samples, x.Held, x.Deltas = counted+1, counted, 1, samples, held, deltas
		return b[0]
	}
	host := hostDelta(1, false, 50, 10, 100) // ten samples
	for i, c := range []struct {
		records  []ring.Delta
		inFlight uint64
	}{
		{[]ring.Delta{next(30, 20, 10, 2)}, 30},
		{[]ring.Delta{host}, 20},
		{[]ring.Delta{host}, 10},
		{[]ring.Delta{next(45, 10, 15, 1), host}, 15},
		{[]ring.Delta{next(45, 10, 5, 1), host}, 5},
		{[]ring.Delta{next(45, 5, 0, 1), host}, 0},
		{[]ring.Delta{next(50, 1<<63, 1<<63, 1)}, 5}, // no more than what was counted since
		{[]ring.Delta{host, next(60, 1<<64-1, 1, 1)}, 15},
	} {
		if l := apply(c.records...); l.InFlight != c.inFlight {
			t.Errorf("step %d: %d records on their way, want %d: %+v", i, l.InFlight, c.inFlight, l)
		}
	}
	e.RemoveRing(id)
	if _, ok := e.Ledger(id); ok {
		t.Fatal("a removed ring has a ledger")
	}
}

// A ring whose window ends run ahead of the real time is a lie, however small
// its steps: the clock it would raise is everybody's.
func TestClockCannotRunAway(t *testing.T) {
	e := newEngine(t, Options{MaxAhead: 100 * time.Millisecond}, testPlan(1, ppsLimit(7, 1000)))
	e.SetNow(origin)
	e.Advance(origin)
	bad, good := newFeeder(t, e, 1), newFeeder(t, e, 1)
	var err error
	for i := int64(1); i <= 3600 && err == nil; i++ {
		err = e.Apply(bad.id, bad.batch(origin+i*50*ms))
	}
	if !errors.Is(err, ErrLie) || e.Clock() > origin+100*ms {
		t.Fatalf("error %v, the clock ran ahead by %v", err, time.Duration(e.Clock()-origin))
	}
	var at int64
	for s := int64(1); s <= 20 && at == 0; s++ {
		e.SetNow(origin + s*step)
		e.Advance(origin + s*step)
		good.flush(origin+s*step, hostDelta(5, false, 50, 5000, 500000))
		for _, c := range e.Crossings() {
			at = c.At
		}
	}
	if at == 0 || at > origin+350*ms {
		t.Errorf("100 × the limit fired after %v", time.Duration(at-origin))
	}
}

// After a pause of the core alone a ring tells of what is now, not of what the
// engine's clock last saw.
func TestWindowAfterPause(t *testing.T) {
	e := newEngine(t, Options{MaxAhead: 100 * time.Millisecond}, testPlan(1, ppsLimit(7, 1000)))
	e.SetNow(origin)
	e.Advance(origin)
	f := newFeeder(t, e, 1)
	f.flush(origin)
	e.SetNow(origin + 90*int64(time.Second))
	for at := 50 * ms; at <= 90*int64(time.Second); at += 50 * ms {
		f.flush(origin+at, hostDelta(1, false, 50, 1, 100))
	}
	if s := e.Stats(); s.Late != 0 || e.Clock() != origin+90*int64(time.Second) {
		t.Errorf("%d deltas of the backlog were late, clock %v", s.Late, time.Duration(e.Clock()-origin))
	}
}

// A jump of years decays everything and leaves nothing stuck: a recording may
// begin at time 0.
func TestYearsBetween(t *testing.T) {
	for _, from := range []int64{50 * ms, origin - 4*365*24*int64(time.Hour)} {
		e := newEngine(t, Options{}, testPlan(1, ppsLimit(7, 1000)))
		f := newFeeder(t, e, 1)
		other := newFeeder(t, e, 1)
		var d ring.Delta
		for i := range int64(20) {
			d = hostDelta(1, false, 50, 5000, 500000)
			d.Sampling = 2
			f.flush(from+i*50*ms, d, hostDelta(2, false, 50, 1, 1))
			other.flush(from + i*50*ms)
		}
		c := e.Crossings()
		if len(c) != 1 {
			t.Fatalf("%d crossings", len(c))
		}
		f.flush(origin, hostDelta(3, false, 50, 10, 1000))
		if e.Clock() != origin || e.Stats().Hosts != 2 { // the alarm's stays
			t.Fatalf("clock %d, %+v", e.Clock(), e.Stats())
		}
		if r := e.AlarmRates(c[0].Alarm, origin); r.Dir[0].Packets[0] != 0 || r.Host != hostPrefix(1, false) {
			t.Errorf("after years %+v", r)
		}
		if last, _ := e.Burst(c[0].Alarm); last != 0 {
			t.Errorf("a burst at %d", last)
		}
		if _, ok := e.Rates(hostPrefix(2, false), origin); ok {
			t.Error("an idle host stays for years")
		}
		e.Release(c[0].Alarm)
		other.flush(from+50*20*ms, hostDelta(4, false, 50, 1e6, 1e9)) // years late
		if r, _ := e.Rates(hostPrefix(4, false), origin); r.Dir[0].Packets[0] != 0 {
			t.Errorf("a delta that is years late gives %+v", r.Dir[0])
		}
		for i := range int64(10) {
			f.flush(origin+(1+i)*50*ms, hostDelta(3, false, 50, 5000, 500000))
		}
		if c := e.Crossings(); len(c) != 1 || c[0].Target != hostPrefix(3, false) || c[0].At > origin+400*ms {
			t.Errorf("crossings after the jump: %+v", c)
		}
		var sum uint64
		for _, x := range e.Totals() {
			sum += x.Packets[0]
		}
		if sum != 20*5001+10+1e6+10*5000 {
			t.Errorf("%d packets in all", sum)
		}
	}
}

// A flush that announces more deltas than an int of 32 bits holds is waited for,
// on every architecture.
func TestHugeFlush(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	f := newFeeder(t, e, 1)
	batch := f.batch(origin, hostDelta(1, false, 50, 1, 100))
	batch[0].AsFlush().Deltas = 1<<32 - 1
	if err := e.Apply(f.id, batch); err != nil {
		t.Fatal(err)
	}
	if l, _ := e.Ledger(f.id); l.Deltas != 1 {
		t.Errorf("%d deltas applied, want 1", l.Deltas)
	}
}
