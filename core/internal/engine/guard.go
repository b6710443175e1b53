package engine

import (
	"math"
	"time"
)

// What inflates rates is never the traffic's doing alone: an input that was
// stopped hands over in a moment what came in meanwhile, one that has just
// started may find a backlog. Rates go on and limits fire, but a crossing says
// that its host's records came from such an input, until what it may have
// added has decayed. Whether a limit is crossed all the same is told by what
// has come since the backlog was through: see Fresh.

const (
	// warmUp is how long a new input is in doubt, from its first flush on, and
	// the least time that a backlog is given to get through.
	warmUp = 2 * time.Second
	// maxGap is the longest silence of a live input that is none: it flushes
	// every 50 ms. What comes in during a second and counts in a moment is too
	// little for any of the default burst rules while the traffic is below its
	// limit.
	maxGap = time.Second
	// leftOver is the share of a host's usual rate to which a backlog must have
	// decayed.
	leftOver = 0.1
)

// Disturbance is something that may have inflated rates.
type Disturbance struct {
	Ring RingID        // 0: all of them
	Gap  time.Duration // for which nothing was heard; 0: the ring is new, or somebody called Disturb
	For  time.Duration // for which hosts are in doubt
	New  bool          // the ring is new
}

// Disturb puts everything in doubt that comes in from now on: gap is how much
// time's traffic may come at once, 0 meaning that it is not known.
func (e *Engine) Disturb(gap time.Duration) {
	d := Disturbance{Gap: gap, For: e.doubt(gap)}
	for _, r := range e.rings {
		e.suspect(r, gap, d.For)
	}
	e.disturbances = append(e.disturbances, d)
}

// disturbRing puts a ring's deltas in doubt.
func (e *Engine) disturbRing(id RingID, r *ringState, gap time.Duration) {
	d := Disturbance{Ring: id, Gap: gap, For: e.doubt(gap), New: gap == 0}
	e.suspect(r, gap, d.For)
	e.disturbances = append(e.disturbances, d)
}

// doubt is how long a backlog of gap can lift an average by more than
// leftOver of its usual rate: it adds gap/τ of it, and that decays.
func (e *Engine) doubt(gap time.Duration) time.Duration {
	tau := DefaultTau
	if e.cur != nil {
		tau = e.cur.tau
	}
	decayed := time.Duration(math.Log(max(gap.Seconds()/tau.Seconds()/leftOver, 1)) * float64(tau))
	return max(decayed, warmUp).Round(time.Millisecond)
}

// suspect also notes when the backlog must be through: an input that takes as
// long for it as it was silent hands it over at twice the usual rate at most.
func (e *Engine) suspect(r *ringState, gap, wait time.Duration) {
	if e.clock >= e.disturbedUntil {
		e.disturbance++ // rows marked by an earlier one are marked no more
	}
	until := e.clock + uint32(wait.Nanoseconds()/step)
	r.disturbed = max(r.disturbed, until)
	e.disturbedUntil = max(e.disturbedUntil, until)
	through := max(min(gap, wait), warmUp)
	e.settled = max(e.settled, e.clock+uint32(through.Nanoseconds()/step))
}

func (e *Engine) isDisturbed(r *row) bool {
	return e.clock < e.disturbedUntil && r.disturbed == e.disturbance
}

// Settled is when the newest backlog is or was through, on the stream's clock;
// 0: there was none.
func (e *Engine) Settled() int64 {
	if e.settled == 0 {
		return 0
	}
	return e.nanos(e.settled)
}

// Average is one limit of an alarm at a time: the average that it is compared
// with, on all samples there are.
type Average struct {
	At    int64   // stream's clock
	Value float64 // per second, in the limit's unit
	Limit float64 // its value
	tau   *lut
}

// Average reads the average of a limit of an alarm. It is false when the
// host's group has no such limit any more.
func (e *Engine) Average(a Alarm, limit uint32, now int64) (Average, bool) {
	al := &e.alarms[a]
	r := e.row(al.row)
	dir := int(al.dir)
	out := Average{At: now, tau: e.lutOf(r)}
	l := e.cur.entries[r.entry].plan.limit(dir, limit)
	if l == nil {
		return out, false
	}
	out.Limit = l.Value
	v, last := ufloat(0), r.last[dir]
	switch {
	case l.Unit == FlowRate:
		v = r.flows[dir]
	case l.counter < FirstUser:
		v = r.dir[dir].avg[l.idx]
	default:
		if x := e.findExtra(r, extraKey(dir, l.counter)); x != nil {
			v, last = x.v[l.Unit&1], x.t
		}
	}
	out.Value = v.f()
	if at := e.stepsAt(now); at > last {
		out.Value *= out.tau.decayFor(at - last)
	}
	return out, true
}

// Fresh is the mean rate between two readings of the same average, whatever it
// was before; 0 where they are of the same moment.
func Fresh(before, now Average) float64 {
	steps := (now.At - before.At) / step
	if steps <= 0 || steps > maxSteps {
		return 0
	}
	k := now.tau.decayFor(uint32(steps))
	return max(now.Value-before.Value*k, 0) / (1 - k)
}

// Disturbances returns what has happened since the last call.
func (e *Engine) Disturbances() []Disturbance {
	out := e.disturbances
	e.disturbances = nil
	return out
}
