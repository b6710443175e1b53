package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const second = int64(time.Second)

// live drives an engine as the daemon does.
type liveClock struct {
	e   *Engine
	now int64
}

func (c *liveClock) to(now int64) {
	c.now = now
	c.e.SetNow(now)
	c.e.Advance(now)
}

// run flushes a host's packets every 50 ms and returns the crossings.
func (c *liveClock) run(f *feeder, n uint32, wait time.Duration, packets uint64) []Crossing {
	var out []Crossing
	for end := c.now + int64(wait); c.now < end; {
		c.to(c.now + step)
		f.flush(c.now, hostDelta(n, false, 50, packets, 100*packets))
		out = append(out, c.e.Crossings()...)
	}
	return out
}

func newLive(t *testing.T) (*liveClock, *feeder) {
	e := newEngine(t, Options{MaxAhead: 100 * time.Millisecond}, testPlan(1, ppsLimit(7, 1000)))
	c := &liveClock{e: e}
	c.to(origin)
	return c, newFeeder(t, e, 1)
}

func TestNewInputIsInDoubt(t *testing.T) {
	c, f := newLive(t)
	f.flush(c.now)
	early := c.run(f, 1, 500*time.Millisecond, 1000)
	if len(early) == 0 || early[0].Doubt == 0 {
		t.Errorf("crossings of a new input: %+v", early)
	}
	c.run(f, 9, warmUp, 0)
	late := c.run(f, 2, 500*time.Millisecond, 1000)
	if len(late) == 0 || late[0].Doubt != 0 {
		t.Errorf("crossings %v after it came: %+v", warmUp, late)
	}
	all := c.e.Disturbances()
	if len(all) != 1 || !all[0].New || all[0].Ring != f.id || all[0].For != warmUp || len(c.e.Disturbances()) != 0 {
		t.Errorf("disturbances %+v", all)
	}
}

// Ten seconds' traffic at half the limit, handed over in a moment, crosses it;
// nobody is to act on that. What comes by other inputs is not in doubt.
func TestBacklogIsInDoubt(t *testing.T) {
	c, f := newLive(t)
	other := newFeeder(t, c.e, 1)
	c.run(f, 1, 10*time.Second, 25)
	c.run(other, 3, 3*time.Second, 0)
	c.e.Disturbances()
	c.to(c.now + 10*second) // f has not flushed for 13 s, other for 10
	cs := c.run(f, 1, 150*time.Millisecond, 2000)
	if len(cs) == 0 || cs[0].Doubt == 0 {
		t.Fatalf("crossings of a backlog: %+v", cs)
	}
	c.run(other, 4, warmUp+50*time.Millisecond, 0)
	all := c.e.Disturbances()
	if len(all) != 2 || all[0].Gap != 13*time.Second+50*time.Millisecond || all[0].For < 15*time.Second || all[0].For > 18*time.Second {
		t.Errorf("disturbances %+v", all)
	}
	alarm := cs[0].Alarm
	if at := time.Duration(c.e.Settled(alarm) - c.now); at < 10*time.Second || at > 11*time.Second {
		t.Errorf("the backlog counts as through after %v", at)
	}
	before, _ := c.e.Average(alarm, 7, c.now)
	c.run(f, 1, time.Second, 25)
	now, _ := c.e.Average(alarm, 7, c.now)
	if fresh := Fresh(before, now); now.Value < 700 || fresh < 475 || fresh > 525 {
		t.Errorf("the average is %.0f, of which the last second gave %.0f, not 500", now.Value, fresh)
	}
	c.run(f, 1, all[0].For, 25)
	if lv, _ := c.e.Level(alarm, 7, 1, c.now); lv.Value > 1000*(0.5+leftOver) || c.e.inDoubt(c.e.row(c.e.alarms[alarm].row)) != 0 {
		t.Errorf("after the doubt the rate is %.0f", lv.Value)
	}
}

// A host of which only undisturbed inputs tell is enforced while another input
// is in doubt.
func TestDoubtIsPerInput(t *testing.T) {
	c, good := newLive(t)
	c.run(good, 1, 3*time.Second, 1)
	late := newFeeder(t, c.e, 1)
	late.flush(c.now)
	if cs := c.run(good, 1, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Doubt != 0 {
		t.Errorf("an input that runs on: %+v", cs)
	}
	if cs := c.run(late, 2, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Doubt == 0 {
		t.Errorf("an input that has just come: %+v", cs)
	}
}

// What is wider than a host is in doubt with its hosts, for as long as they are,
// even where two inputs' flushes come in turns.
func TestDoubtOfWiderScopes(t *testing.T) {
	limit := ppsLimit(7, 1000)
	limit.Scope, limit.Length = ScopePrefix, [2]uint8{24, 64}
	e := newEngine(t, Options{MaxAhead: 100 * time.Millisecond}, testPlan(1, limit))
	c := &liveClock{e: e}
	c.to(origin)
	good := newFeeder(t, e, 1)
	c.run(good, 1, 3*time.Second, 1)
	late := newFeeder(t, e, 1)
	late.flush(c.now)
	other := host(1<<8, false) // in another /24
	var cs []Crossing
	for range 10 {
		c.to(c.now + step)
		ours, its := hostDelta(1, false, 50, 1000, 100000), hostDelta(1, false, 50, 1000, 100000)
		its.Addr = other
		a, b := good.batch(c.now, ours, ours), late.batch(c.now, its, its)
		for _, part := range []struct {
			f  *feeder
			ds []ring.Delta
		}{{good, a[:2]}, {late, b[:2]}, {good, a[2:]}, {late, b[2:]}} {
			if err := e.Apply(part.f.id, part.ds); err != nil {
				t.Fatal(err)
			}
		}
		cs = append(cs, e.Crossings()...)
	}
	if len(cs) != 2 {
		t.Fatalf("crossings %+v", cs)
	}
	for _, x := range cs {
		doubtful := x.Target.Contains(netip.AddrFrom16(other).Unmap())
		if x.Scope != ScopePrefix || (x.Doubt != 0) != doubtful || (e.Settled(x.Alarm) > c.now) != doubtful {
			t.Errorf("%+v", x)
		}
	}
}

// However often another input is in doubt: a host that only this one tells of
// is not, and a suspended attack of it has not to wait for the other.
func TestDoubtOfAnotherInputIsNotOurs(t *testing.T) {
	c, good := newLive(t)
	cs := c.run(good, 1, 500*time.Millisecond, 1000)
	if len(cs) == 0 || cs[0].Doubt == 0 {
		t.Fatalf("crossings of a new input: %+v", cs)
	}
	alarm, settled := cs[0].Alarm, c.e.Settled(cs[0].Alarm)
	for range 5 {
		newFeeder(t, c.e, 1).flush(c.now)
		c.run(good, 1, time.Second, 1000)
	}
	if at := c.e.Settled(alarm); at != settled || c.now < at {
		t.Errorf("settled at %v, at first at %v", at, settled)
	}
	if r := c.e.row(c.e.alarms[alarm].row); c.e.inDoubt(r) != 0 {
		t.Error("it is still in doubt")
	}
	if cs := c.run(good, 2, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Doubt != 0 {
		t.Errorf("crossings of a host that came later: %+v", cs)
	}
}

// Of two inputs that tell of a host the doubt that lasts longer holds, and a
// shorter one does not end a longer one of the same input.
func TestLongerDoubtHolds(t *testing.T) {
	c, f := newLive(t)
	other := newFeeder(t, c.e, 1)
	c.run(f, 1, 3*time.Second, 1)
	c.to(c.now + 10*second)
	c.run(f, 1, 50*time.Millisecond, 1) // in doubt for more than 15 s
	first := c.e.Disturbances()
	other.flush(c.now, hostDelta(1, false, 50, 1, 100)) // for 2 s
	c.to(c.now + 1100*int64(time.Millisecond))
	cs := c.run(f, 1, 3*time.Second, 1000) // for about 4 s
	if len(cs) == 0 || cs[0].Doubt == 0 || time.Duration(c.e.Settled(cs[0].Alarm)-c.now) < 5*time.Second {
		t.Errorf("crossings %+v", cs)
	}
	c.run(f, 1, first[len(first)-1].For-3*time.Second, 1)
	if cs := c.run(f, 2, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Doubt != 0 {
		t.Errorf("after the longer one: %+v", cs)
	}
}

// An input whose filters were stopped goes on flushing, and says so when what
// has waited for them comes.
func TestHeldBackIsInDoubt(t *testing.T) {
	c, f := newLive(t)
	c.run(f, 1, 3*time.Second, 25)
	c.e.Disturbances()
	for _, lag := range []time.Duration{maxGap, 3 * time.Second, 1<<63 - 1} {
		c.to(c.now + step)
		batch := f.batch(c.now, hostDelta(1, false, 50, 25, 2500))
		batch[0].AsFlush().LagNanos = uint64(lag)
		if err := c.e.Apply(f.id, batch); err != nil {
			t.Fatal(err)
		}
		all := c.e.Disturbances()
		if lag <= maxGap && len(all) != 0 || lag > maxGap && (len(all) != 1 || !all[0].Held || all[0].Gap != min(lag, maxLag) || all[0].For > time.Minute) {
			t.Errorf("a lag of %v: %+v", lag, all)
		}
	}
	if cs := c.run(f, 1, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Doubt == 0 {
		t.Errorf("crossings %+v", cs)
	}
}

// The number of a doubt goes round, and leaves out 0.
func TestDoubtsWrap(t *testing.T) {
	c, f := newLive(t)
	c.e.newest = ^DoubtID(0)
	c.run(f, 1, 50*time.Millisecond, 1)
	if all := c.e.Disturbances(); len(all) != 1 || all[0].Doubt != 1 {
		t.Errorf("disturbances %+v", all)
	}
}

func TestDisturbPutsAllInDoubt(t *testing.T) {
	c, f := newLive(t)
	c.run(f, 1, 3*time.Second, 1)
	c.e.Disturb(0)
	cs := c.run(f, 1, 500*time.Millisecond, 1000)
	if len(cs) == 0 || cs[0].Doubt == 0 {
		t.Errorf("crossings %+v", cs)
	}
	if until := c.e.Settled(cs[0].Alarm); until != origin+3*second+int64(warmUp) {
		t.Errorf("settled at %v", time.Duration(until-origin))
	}
}

// A replay's gaps are the recording's own.
func TestReplayIsNeverInDoubt(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(7, 1000)))
	f := newFeeder(t, e, 1)
	f.flush(origin, hostDelta(1, false, 50, 1000, 100000))
	f.flush(origin+60*second, hostDelta(1, false, 50, 10000, 100000))
	cs := e.Crossings()
	if len(cs) == 0 || cs[0].Doubt != 0 || e.Settled(cs[0].Alarm) != 0 {
		t.Errorf("crossings %+v", cs)
	}
}

// More plans than there are generations: no row takes an old one for the
// newest.
func TestGenerationsWrap(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(7, 1000)))
	f := newFeeder(t, e, 1)
	f.flush(origin, hostDelta(1, false, 50, 1, 100))
	e.gen = ^uint16(0)
	if err := e.SetPlan(testPlan(2, ppsLimit(8, 10))); err != nil {
		t.Fatal(err)
	}
	f.revision = 2
	f.flush(origin+step, hostDelta(1, false, 50, 100, 10000))
	cs := e.Crossings()
	if len(cs) == 0 || cs[0].Limit.ID != 8 || e.cur.gen != 1 {
		t.Errorf("generation %d, crossings %+v", e.cur.gen, cs)
	}
}
