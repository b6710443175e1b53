package engine

import (
	"testing"
	"time"
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
	if len(early) == 0 || !early[0].Disturbed {
		t.Errorf("crossings of a new input: %+v", early)
	}
	c.run(f, 9, warmUp, 0)
	late := c.run(f, 2, 500*time.Millisecond, 1000)
	if len(late) == 0 || late[0].Disturbed {
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
	if len(cs) == 0 || !cs[0].Disturbed {
		t.Fatalf("crossings of a backlog: %+v", cs)
	}
	c.run(other, 4, warmUp+50*time.Millisecond, 0)
	all := c.e.Disturbances()
	if len(all) != 2 || all[0].Gap != 13*time.Second+50*time.Millisecond || all[0].For < 15*time.Second || all[0].For > 18*time.Second {
		t.Errorf("disturbances %+v", all)
	}
	alarm := cs[0].Alarm
	if at := time.Duration(c.e.Settled() - c.now); at < 10*time.Second || at > 11*time.Second {
		t.Errorf("the backlog counts as through after %v", at)
	}
	before, _ := c.e.Average(alarm, 7, c.now)
	c.run(f, 1, time.Second, 25)
	now, _ := c.e.Average(alarm, 7, c.now)
	if fresh := Fresh(before, now); now.Value < 700 || fresh < 475 || fresh > 525 {
		t.Errorf("the average is %.0f, of which the last second gave %.0f, not 500", now.Value, fresh)
	}
	c.run(f, 1, all[0].For, 25)
	if lv, _ := c.e.Level(alarm, 7, 1, c.now); lv.Value > 1000*(0.5+leftOver) || c.e.disturbedUntil > c.e.clock {
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
	if cs := c.run(good, 1, 500*time.Millisecond, 1000); len(cs) == 0 || cs[0].Disturbed {
		t.Errorf("an input that runs on: %+v", cs)
	}
	if cs := c.run(late, 2, 500*time.Millisecond, 1000); len(cs) == 0 || !cs[0].Disturbed {
		t.Errorf("an input that has just come: %+v", cs)
	}
}

func TestDisturbPutsAllInDoubt(t *testing.T) {
	c, f := newLive(t)
	c.run(f, 1, 3*time.Second, 1)
	c.e.Disturb(0)
	cs := c.run(f, 1, 500*time.Millisecond, 1000)
	if len(cs) == 0 || !cs[0].Disturbed {
		t.Errorf("crossings %+v", cs)
	}
	if until := c.e.Settled(); until != origin+3*second+int64(warmUp) {
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
	if len(cs) == 0 || cs[0].Disturbed || e.Settled() != 0 {
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
