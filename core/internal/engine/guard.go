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
	// maxLag is the longest for which an input may say that it held counts back.
	maxLag = time.Hour
	// leftOver is the share of a host's usual rate to which a backlog must have
	// decayed.
	leftOver = 0.1
)

// DoubtID is the number of a time of doubt, 0 for none.
type DoubtID uint16

// maxDoubts is how many are kept, more than overlap. One whose place another
// has taken counts as over.
const maxDoubts = 1024

// doubt is a time in which rates may be too high.
type doubt struct {
	id      DoubtID
	until   uint32 // steps
	settled uint32 // when the backlog behind it is through
}

// Disturbance is something that may have inflated rates.
type Disturbance struct {
	Doubt DoubtID       // of what its inputs tell from now on
	Ring  RingID        // 0: all of them
	Gap   time.Duration // for which nothing was heard, or counts were held back; 0: the ring is new, or somebody called Disturb
	For   time.Duration // for which hosts are in doubt
	New   bool          // the ring is new
	Held  bool          // the input was there, but held its counts back
}

// Disturb puts everything in doubt that comes in from now on: gap is how much
// time's traffic may come at once, 0 meaning that it is not known.
func (e *Engine) Disturb(gap time.Duration) {
	rings := make([]*ringState, 0, len(e.rings))
	for _, r := range e.rings {
		rings = append(rings, r)
	}
	e.suspect(Disturbance{Gap: gap}, rings...)
}

// suspect puts what rings tell from now on in doubt, which lasts until no
// earlier one of theirs is left either. When the backlog must be through: an
// input that takes as long for it as it was silent hands it over at twice the
// usual rate at most.
func (e *Engine) suspect(d Disturbance, rings ...*ringState) {
	if e.newest++; e.newest == 0 {
		e.newest = 1
	}
	d.Doubt, d.For = e.newest, e.inflated(d.Gap)
	through := max(min(d.Gap, d.For), warmUp)
	x := doubt{d.Doubt, e.clock + uint32(d.For.Nanoseconds()/step), e.clock + uint32(through.Nanoseconds()/step)}
	for _, r := range rings {
		old := e.doubtOf(r.doubt)
		x.until, x.settled = max(x.until, old.until), max(x.settled, old.settled)
	}
	for _, r := range rings {
		r.doubt, r.doubtful = x.id, x.until
	}
	e.doubts[x.id%maxDoubts] = x
	e.disturbances = append(e.disturbances, d)
}

// inflated is how long a backlog of gap can lift an average by more than
// leftOver of its usual rate: it adds gap/τ of it, and that decays.
func (e *Engine) inflated(gap time.Duration) time.Duration {
	tau := DefaultTau
	if e.cur != nil {
		tau = e.cur.tau
	}
	decayed := time.Duration(math.Log(max(gap.Seconds()/tau.Seconds()/leftOver, 1)) * float64(tau))
	return max(decayed, warmUp).Round(time.Millisecond)
}

// doubtOf returns a time of doubt, zero for one that is forgotten.
func (e *Engine) doubtOf(id DoubtID) doubt {
	if d := e.doubts[id%maxDoubts]; d.id == id {
		return d
	}
	return doubt{}
}

// mark puts a row in doubt with the ring that tells of it, unless it is for
// longer already.
func (e *Engine) mark(r *row, by *ringState) {
	if e.doubtOf(r.doubt).until <= by.doubtful {
		r.doubt = by.doubt
	}
}

// inDoubt is the doubt in which a row is now.
func (e *Engine) inDoubt(r *row) DoubtID {
	if e.clock < e.doubtOf(r.doubt).until {
		return r.doubt
	}
	return 0
}

// Settled is when the backlog that an alarm's host was last put in doubt for is
// or was through, on the stream's clock; 0: it never was in doubt.
func (e *Engine) Settled(a Alarm) int64 {
	if at := e.doubtOf(e.row(e.alarms[a].row).doubt).settled; at > 0 {
		return e.nanos(at)
	}
	return 0
}

// Average is one limit of an alarm at a time: the average that it is compared
// with, on all samples there are.
type Average struct {
	At    int64         // stream's clock
	Value float64       // per second, in the limit's unit
	Limit float64       // its value
	Tau   time.Duration // its time constant
	lut   *lut
}

// Average reads the average of a limit of an alarm. It is false when the
// host's group has no such limit any more.
func (e *Engine) Average(a Alarm, limit uint32, now int64) (Average, bool) {
	al := &e.alarms[a]
	r := e.row(al.row)
	_ = e.lutOf(r) // brings the row under the plan in force
	g := e.entryOf(r).plan
	out := Average{At: now, Tau: time.Duration(g.lut.tau * float64(time.Second)), lut: g.lut}
	l := g.limit(limit)
	if l == nil {
		return out, false
	}
	out.Limit = l.Value
	v, last := e.average(r, l)
	out.Value = v
	switch at := e.stepsAt(now); {
	case e.periodic(r, l):
		out.At = e.periodEnd(al.row)
		if l.Unit == FlowRate {
			out.lut = g.community.flows
		}
	case at > last:
		out.Value *= out.lut.decayFor(at - last)
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
	k := now.lut.decayFor(uint32(steps))
	return max(now.Value-before.Value*k, 0) / (1 - k)
}

// Disturbances returns what has happened since the last call.
func (e *Engine) Disturbances() []Disturbance {
	out := e.disturbances
	e.disturbances = nil
	return out
}
