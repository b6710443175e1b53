package engine

import (
	"math"
	"time"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// FastNetMon Community looks at its hosts once a second: what each gained
// becomes an average of whole numbers,
//
//	average = trunc(gained + e^(−1s/τ) × (average − gained)),
//
// of flows twice in a row, and the limits are compared with it one after the
// other, either direction against the same number, bandwidth in whole Mbit/s.
// The first that is exceeded names the attack; its direction is that of the
// larger packet rate or, where these are within 1000 of each other, of more
// bytes.
//
// Here blocks of rows have seconds of their own, so that work is even over time:
// decisions are as late as the original's, which looks at all hosts at once, at
// a moment that nothing fixes either.

const (
	// period is how long the original's rule counts before it decides.
	period = time.Second

	periodSteps = uint32(int64(period) / step)
	periodBlock = 64      // rows whose periods end together: they lie side by side
	tallied     = 14      // averages that the original has: all but those of exempt
	sameRate    = 1000    // packets per second by which directions differ little
	mbit        = 1e6 / 8 // bytes
)

// tallies are what a row gained since its period began. They lie where other
// rows have the sums and runs of ticks, which this rule has no use for; of
// flows that is row.tick.
type tallies [tallied]ufloat

const (
	_ = uint(unsafe.Sizeof(dirState{}.sums) + unsafe.Sizeof(dirState{}.runs) - unsafe.Sizeof(tallies{}))
	_ = uint(unsafe.Offsetof(dirState{}.runs) - unsafe.Offsetof(dirState{}.sums) - unsafe.Sizeof(dirState{}.sums))
	_ = uint(unsafe.Offsetof(dirState{}.sums) + unsafe.Sizeof(dirState{}.sums) - unsafe.Offsetof(dirState{}.runs))
)

func (s *dirState) tallies() *tallies { return (*tallies)(unsafe.Pointer(&s.sums)) }

// communityPlan is what a hostgroup decides by the original's rule.
type communityPlan struct {
	limits []communityLimit
	keep   float64 // e^(−period/τ)
	tau    time.Duration
	flows  *lut // of an average that is taken twice a period
}

// communityLimit is a limit on a host, of either direction.
type communityLimit struct {
	*limitPlan
	twin bool // the other direction has the same limit: which one it is the rates decide
}

// communityOf makes the plan of a group whose limits have been compiled.
func (e *Engine) communityOf(c *groupPlan, tau time.Duration, count int) *communityPlan {
	p := &communityPlan{
		limits: make([]communityLimit, count), keep: math.Exp(-period.Seconds() / tau.Seconds()),
		tau: tau, flows: e.lut(tau / 2),
	}
	for dir := range c.dirs {
		for i := range c.dirs[dir].limits {
			l := &c.dirs[dir].limits[i]
			p.limits[l.order].limitPlan = l
			for k := range c.dirs[1-dir].limits {
				o := &c.dirs[1-dir].limits[k]
				if o.idx == l.idx && o.Unit == l.Unit && o.Value == l.Value {
					p.limits[l.order].twin = true
				}
			}
		}
	}
	at := 0
	for _, l := range p.limits { // orders of wider scopes and user counters are not its own
		if l.limitPlan != nil {
			p.limits[at] = l
			at++
		}
	}
	p.limits = p.limits[:at]
	return p
}

// community is the plan of a row that the original's rule decides, or nil.
func (e *Engine) community(r *row) *communityPlan {
	if r.kind != uint8(ring.KindHost) {
		return nil
	}
	return e.cur.entries[r.entry].plan.community
}

// tally adds a delta to what a row gained in its period.
func (e *Engine) tally(r *ringState, w *row, p *communityPlan, d *ring.Delta) {
	dir := int(d.Direction)
	s := &w.dir[dir]
	if s.sampling != 0 && r.end > w.last[dir]+samplingWindow {
		s.sampling = 0 // learned anew
	}
	w.last[dir] = max(w.last[dir], r.end)
	t := s.tallies()
	t[0], t[1] = t[0].plus(float64(d.Packets)), t[1].plus(float64(d.Bytes))
	for i := 2; i < tallied; i += 2 {
		if vp, vb := d.CounterPackets[i/2-1], d.CounterBytes[i/2-1]; vp|vb != 0 {
			t[i], t[i+1] = t[i].plus(float64(vp)), t[i+1].plus(float64(vb))
		}
	}
	if d.Flows != 0 {
		w.tick[dir] = uint32(ufloat(w.tick[dir]).plus(float64(d.Flows)))
	}
	// The original has no exemptions. Nothing is compared with this average, so
	// it need not wait for the period's end.
	for i := tallied; i < len(s.avg); i += 2 {
		if vp, vb := d.CounterPackets[i/2-1], d.CounterBytes[i/2-1]; vp|vb != 0 {
			s.avg[i], s.avg[i+1] = s.avg[i].plus(float64(float64(vp)*(1-p.keep))), s.avg[i+1].plus(float64(float64(vb)*(1-p.keep)))
		}
	}
	if s.sampling != 0 || d.Sampling > 1 {
		s.sampling = s.sampling.see(w.last[dir], d.Sampling)
	}
}

// plus adds to a number that is not negative.
func (u ufloat) plus(v float64) ufloat { return toUfloat(u.f() + v) }

// closePeriods ends the periods whose ends lie within the last steps up to the
// clock.
func (e *Engine) closePeriods(moved uint32) {
	// Where more than a period has passed, the rows whose first end it was have
	// had all others.
	for first := e.clock - moved + 1; first <= e.clock && first-(e.clock-moved) <= periodSteps; first++ {
		periods := (e.clock-first)/periodSteps + 1
		for block := first % periodSteps; block*periodBlock < e.rows.top; block += periodSteps {
			for no := block * periodBlock; no < min((block+1)*periodBlock, e.rows.top); no++ {
				e.closeRow(no, first, periods)
			}
		}
	}
}

// periodEnds tells whether the period of a row ends with a step.
func periodEnds(no, at uint32) bool { return no/periodBlock%periodSteps == at%periodSteps }

// closeRow ends so many periods of a row, if it has any, the first of them at a
// step.
func (e *Engine) closeRow(no, first, periods uint32) {
	w := e.row(no)
	if w.kind != uint8(ring.KindHost) {
		return
	}
	if w.gen != e.cur.gen {
		e.refresh(w)
	}
	if p := e.community(w); p != nil {
		e.closePeriod(w, no, p, first, periods)
	}
}

// closePeriod ends the period of a row, and those after it in which it gained
// nothing.
func (e *Engine) closePeriod(w *row, no uint32, p *communityPlan, at, periods uint32) {
	for {
		if !w.average(p) { // it rests at 0
			return
		}
		e.decide(w, no, p, at)
		if periods--; periods == 0 {
			return
		}
		at += periodSteps
	}
}

// average makes the averages of what a row gained; false: all of them are 0.
func (w *row) average(p *communityPlan) bool {
	some := ufloat(0) // has a bit where some average has
	for dir := range w.dir {
		s := &w.dir[dir]
		t := s.tallies()
		for i, gained := range t {
			if s.avg[i]|gained != 0 {
				s.avg[i] = p.next(s.avg[i], gained)
				some |= s.avg[i]
			}
		}
		*t = tallies{}
		for i := tallied; i < len(s.avg); i++ {
			s.avg[i] = toUfloat(s.avg[i].f() * p.keep)
			some |= s.avg[i]
		}
		if gained := ufloat(w.tick[dir]); w.flows[dir]|gained != 0 {
			w.flows[dir] = p.next(p.next(w.flows[dir], gained), gained)
			w.tick[dir] = 0
			some |= w.flows[dir]
		}
	}
	return some != 0
}

func (p *communityPlan) next(average, gained ufloat) ufloat {
	a, g := average.f(), gained.f()
	return toUfloat(math.Trunc(g + float64(p.keep*(a-g))))
}

// decide compares a row's averages with its limits.
func (e *Engine) decide(w *row, no uint32, p *communityPlan, at uint32) {
	for i := range p.limits {
		l := &p.limits[i]
		v := l.average(w)
		if !l.exceeded(v) || e.hasFired(w.alarm[0], l.ID) || e.hasFired(w.alarm[1], l.ID) {
			continue
		}
		dir := int(l.Direction)
		switch {
		case w.alarm[0] != 0: // the original bans a host once
			dir = 0
		case w.alarm[1] != 0:
			dir = 1
		case l.twin:
			dir = w.direction()
		}
		e.fire(at, w, no, dir, l.limitPlan, Crossing{Value: v, Window: p.tau})
	}
}

// average is what a limit on a row is compared with.
func (l *limitPlan) average(w *row) float64 {
	if l.Unit == FlowRate {
		return w.flows[l.Direction].f()
	}
	return w.dir[l.Direction].avg[l.idx].f()
}

// exceeded tells whether the original takes an average for above a limit.
func (l *limitPlan) exceeded(v float64) bool {
	return v > l.Value && (l.Unit != ByteRate || math.Trunc(v/1000/1000*8) > l.Value/mbit)
}

// Period is how long some hostgroup of the plan counts before it decides; 0
// where all decide as traffic comes.
func (e *Engine) Period() time.Duration {
	if e.cur == nil || !e.cur.periodic {
		return 0
	}
	return period
}

// direction is in which direction the original takes a host for attacked.
func (w *row) direction() int {
	in, out := &w.dir[0].avg, &w.dir[1].avg
	packets := in[0].f() - out[0].f()
	if math.Abs(packets) < sameRate {
		packets = in[1].f() - out[1].f()
	}
	if packets > 0 {
		return int(ring.Incoming)
	}
	return int(ring.Outgoing)
}

// periodEnd is when the last period of a row ended, on the stream's clock.
func (e *Engine) periodEnd(no uint32) int64 {
	at := e.clock
	for !periodEnds(no, at) {
		at--
	}
	return e.nanos(at)
}

// convert makes the averages of a row those of the other rule, when its group
// has changed over.
func (e *Engine) convert(r *row, g *groupPlan) {
	for dir := range r.dir {
		s := &r.dir[dir]
		r.tick[dir] = 0
		if g.community == nil { // they are of the last period
			if r.last[dir] != 0 {
				r.last[dir] = e.clock
			}
			continue
		}
		decay := g.lut.decayFor(e.clock - min(r.last[dir], e.clock))
		for i, v := range s.avg {
			if v != 0 {
				s.avg[i] = toUfloat(math.Trunc(v.f() * decay))
			}
		}
		r.flows[dir] = toUfloat(math.Trunc(r.flows[dir].f() * decay))
	}
}
