package engine

import (
	"errors"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

var errNoRing = errors.New("no such ring; it was removed or never added")

// Alarm names a host and direction of which some limit has fired, until
// Release.
type Alarm uint32

type alarm struct {
	row   uint32
	dir   uint8
	open  bool
	fired []uint32 // ids of limits
}

// Crossing is a limit that fired.
type Crossing struct {
	Alarm     Alarm
	Target    netip.Prefix
	Direction ring.Direction
	Network   uint32
	Group     uint32
	Limit     Limit
	Order     int           // of the limit in its group
	Value     float64       // per second, in the limit's unit: the average, or the largest of the run's ticks still open (the newest may not be full yet)
	Rule      Rule          // Ticks 0: the average
	Window    time.Duration // over which it was decided
	At        int64         // end of the window that decided, stream's clock
}

// tickRef is what one delta adds to a tick.
type tickRef struct {
	n  uint32 // tick
	ok bool   // the delta lies within one open tick
}

// tickFor decides whether a delta is for a tick: within one, not smeared and
// not too late.
func (e *Engine) tickFor(r *ringState, d *ring.Delta, span uint32) tickRef {
	within := span == 1 || span == 2 && r.end&1 == 0
	return tickRef{r.tick, within && d.Flags&ring.FlagSmeared == 0 && r.tick >= e.open}
}

// compare feeds the ticks of a host and looks whether any limit may have
// fired.
func (e *Engine) compare(r *ringState, w *row, no uint32, g *groupPlan, d *ring.Delta, span uint32) {
	dir := int(d.Direction)
	p := &g.dirs[dir]
	if len(p.limits) == 0 {
		return
	}
	s := &w.dir[dir]
	hot := w.flows[dir] > p.flowThr
	t := e.tickFor(r, d, span)
	if n := g.lay.n[dir]; n > 0 && t.ok {
		e.roll(w, dir, g.lay)
		sums := &s.sums[t.n%openTicks]
		for i := range g.lay.pair[dir][:n] {
			q := &g.lay.pair[dir][i]
			if v := volume(d, q.idx); v != 0 {
				sums[i] = toUfloat(sums[i].f() + v)
			}
			hot = hot || sums[i] > q.rules.min
		}
	}
	for i := range p.avgN {
		hot = hot || s.avg[p.avgIdx[i]&15] > p.avgThr[i]
	}
	if p.extraTick || s.sampling > p.minS {
		e.feedExtras(r, w, dir, g, d, span, t)
		hot = true
	}
	if hot {
		e.judge(r, w, no, dir, g, p.limits)
	}
}

// volume returns packets or bytes of a counter in a delta.
func volume(d *ring.Delta, idx uint8) float64 {
	switch {
	case idx == 0:
		return float64(d.Packets)
	case idx == 1:
		return float64(d.Bytes)
	case idx&1 == 0:
		return float64(d.CounterPackets[idx>>1-1])
	}
	return float64(d.CounterBytes[idx>>1-1])
}

// roll closes the ticks of a row that the clock has left behind.
func (e *Engine) roll(w *row, dir int, lay *layout) {
	from := w.tick[dir]
	if from >= e.open {
		return
	}
	w.tick[dir] = e.open
	s := &w.dir[dir]
	for n := from; n < e.open && n-from < openTicks; n++ {
		sums := &s.sums[n%openTicks]
		for i := range lay.n[dir] {
			closeTick(&s.runs[i], sums[i], &lay.pair[dir][i].rules)
		}
		*sums = [rowPairs]ufloat{}
	}
	if e.open-from > openTicks { // ticks without traffic lie between
		s.runs = [rowPairs][maxRules]uint8{}
	}
}

// closeTick lengthens or ends the run of each rule.
func closeTick(runs *[maxRules]uint8, sum ufloat, rules *ruleSet) {
	for k := range rules.n {
		if sum <= rules.thr[k] {
			runs[k] = 0
		} else if runs[k] < 255 {
			runs[k]++
		}
	}
}

// feedExtras keeps what the row has no room for: ticks of further limits, and
// the samples and slow averages that decisions on sampled traffic need.
func (e *Engine) feedExtras(r *ringState, w *row, dir int, g *groupPlan, d *ring.Delta, span uint32, t tickRef) {
	p := &g.dirs[dir]
	sampling := w.dir[dir].sampling
	var fed uint32 // counters whose slow average has this delta
	for i := range p.limits {
		l := &p.limits[i]
		if t.ok && l.rules.n > 0 && (l.pair < 0 || sampling > l.burstS) {
			e.feedTick(w, dir, l, t.n, volume(d, l.idx), volume(d, l.idx&^1), sampling)
		}
		if l.Unit != FlowRate && sampling > l.avgS && fed&(1<<l.counter) == 0 {
			fed |= 1 << l.counter
			if x := e.takeExtra(w, extraKey(dir, l.counter)); x != nil {
				decay, term := moveTo(&x.t, r.end, span, e.slow)
				x.v[2] = x.v[2].decayAdd(decay, volume(d, l.idx&^1), term)
				x.v[3] = x.v[3].decayAdd(decay, volume(d, l.idx|1), term)
			}
		}
	}
}

func extraKey(dir int, id uint32) uint32 { return uint32(dir)*keyDir | id }

// feedTick adds to the tick of a limit whose burst state is an extra.
func (e *Engine) feedTick(w *row, dir int, l *limitPlan, n uint32, v, packets float64, sampling uint32) {
	if v == 0 && packets == 0 {
		return
	}
	x := e.takeExtra(w, keyTick|extraKey(dir, l.ID))
	if x == nil {
		return
	}
	e.rollExtra(x, l, sampling)
	i := n % openTicks
	x.v[i] = toUfloat(x.v[i].f() + v)
	x.v[3+i] = toUfloat(x.v[3+i].f() + packets)
}

func (e *Engine) rollExtra(x *extra, l *limitPlan, sampling uint32) {
	from := x.t
	if from >= e.open {
		return
	}
	x.t = e.open
	runs := (*[maxRules]uint8)(x.runs[:])
	for n := from; n < e.open && n-from < openTicks; n++ {
		i := n % openTicks
		eighths := min(x.v[3+i].f()*8/float64(max(sampling, 1)), 1<<14)
		closeTick(runs, x.v[i], &l.rules)
		for k := range runs {
			x.samples[k] += uint16(eighths)
			if runs[k] == 0 {
				x.samples[k] = 0
			}
			x.samples[k] = min(x.samples[k], 1<<14)
		}
		x.v[i], x.v[3+i] = 0, 0
	}
	if e.open-from > openTicks {
		*runs, x.samples = [maxRules]uint8{}, [maxRules]uint16{}
	}
}

// judge decides limit after limit, in their order, for a row that may have
// crossed one.
func (e *Engine) judge(r *ringState, w *row, no uint32, dir int, g *groupPlan, limits []limitPlan) {
	for i := range limits {
		l := &limits[i]
		if e.hasFired(w.alarm[dir], l.ID) {
			continue
		}
		c := Crossing{}
		if e.averageFires(w, dir, g, l, &c) || e.burstFires(w, dir, g, l, &c) {
			e.fire(r, w, no, dir, l, c)
		}
	}
}

func (e *Engine) hasFired(a Alarm, id uint32) bool {
	if a == 0 {
		return false
	}
	for _, f := range e.alarms[a].fired {
		if f == id {
			return true
		}
	}
	return false
}

// averageFires tells whether the average is above the limit, on samples enough.
func (e *Engine) averageFires(w *row, dir int, g *groupPlan, l *limitPlan, c *Crossing) bool {
	s := &w.dir[dir]
	var fast, packets ufloat
	var x *extra
	user := l.counter >= FirstUser
	if user || s.sampling > l.avgS {
		x = e.findExtra(w, extraKey(dir, l.counter))
	}
	switch {
	case l.Unit == FlowRate:
		fast, packets = w.flows[dir], s.avg[0]
	case user:
		if x == nil {
			return false
		}
		fast, packets = x.v[l.Unit&1], x.v[0]
	default:
		fast, packets = s.avg[l.idx], s.avg[l.idx&^1]
	}
	sampling := float64(max(s.sampling, 1))
	sampled := s.sampling > 1
	if fast > l.thr && (!sampled || packets.f()*g.lut.tau >= minSamples*sampling) {
		c.Value, c.Window = fast.f(), time.Duration(g.lut.tau*1e9)
		return true
	}
	if !sampled || x == nil || l.Unit == FlowRate {
		return false
	}
	slow := x.v[2+l.Unit&1]
	if slow > l.thr && x.v[2].f()*e.slow.tau >= minSamples*sampling {
		c.Value, c.Window = slow.f(), slowTau
		return true
	}
	return false
}

// burstFires tells whether a burst rule holds, on samples enough.
func (e *Engine) burstFires(w *row, dir int, g *groupPlan, l *limitPlan, c *Crossing) bool {
	if l.rules.n == 0 {
		return false
	}
	s := &w.dir[dir]
	var sums, packets [openTicks]ufloat
	var runs [maxRules]uint8
	var samples [maxRules]float64
	sampled := s.sampling > 1 && s.sampling > l.burstS
	if l.pair >= 0 && !sampled {
		e.roll(w, dir, g.lay)
		for k := range sums {
			sums[k] = s.sums[(e.open+uint32(k))%openTicks][l.pair]
		}
		runs = s.runs[l.pair]
	} else {
		x := e.findExtra(w, keyTick|extraKey(dir, l.ID))
		if x == nil {
			return false
		}
		e.rollExtra(x, l, s.sampling)
		for k := range sums {
			i := (e.open + uint32(k)) % openTicks
			sums[k], packets[k] = x.v[i], x.v[3+i]
		}
		runs = [maxRules]uint8(x.runs[:maxRules])
		for k := range samples {
			samples[k] = float64(x.samples[k]) / 8
		}
	}
	for k := range l.rules.n {
		run, n := int(runs[k]), samples[k]
		var most ufloat
		for i, sum := range sums {
			if sum <= l.rules.thr[k] {
				run, n, most = 0, 0, 0
				continue
			}
			run++
			most = max(most, sum)
			n += packets[i].f() / float64(max(s.sampling, 1))
			if run >= int(l.rules.ticks[k]) && (!sampled || n >= minSamples) {
				c.Value, c.Rule = most.f()/tickSeconds, l.Rules[k]
				c.Window = time.Duration(l.rules.ticks[k]) * 100 * time.Millisecond
				return true
			}
		}
	}
	return false
}

// fire notes a crossing, once while the alarm is open.
func (e *Engine) fire(r *ringState, w *row, no uint32, dir int, l *limitPlan, c Crossing) {
	a := w.alarm[dir]
	if a == 0 {
		if n := len(e.freeAlarm); n > 0 {
			a = e.freeAlarm[n-1]
			e.freeAlarm = e.freeAlarm[:n-1]
		} else if len(e.alarms) <= e.opt.MaxAlarms {
			a = Alarm(len(e.alarms))
			e.alarms = append(e.alarms, alarm{})
		} else {
			e.stats.AlarmsHeld++
			return
		}
		e.alarms[a] = alarm{row: no, dir: uint8(dir), open: true, fired: e.alarms[a].fired[:0]}
		w.alarm[dir] = a
	}
	e.alarms[a].fired = append(e.alarms[a].fired, l.ID)
	ent := &e.cur.entries[w.entry]
	c.Alarm, c.Target, c.Direction = a, w.prefix(), ring.Direction(dir)
	c.Network, c.Group = ent.network, ent.group
	c.Limit, c.Order, c.At = l.Limit, int(l.order), e.nanos(r.end)
	e.crossings[0] = append(e.crossings[0], c)
}

// compareUser adds a user counter's delta and decides its limits.
func (e *Engine) compareUser(r *ringState, w *row, no uint32, g *groupPlan, d *ring.Delta, counter uint32) {
	dir := int(d.Direction)
	limits := g.dirs[dir].user
	var x *extra
	span := d.SpanMs / 50
	t := e.tickFor(r, d, span)
	for i := range limits {
		l := &limits[i]
		if l.counter != counter {
			continue
		}
		if x == nil {
			if x = e.takeExtra(w, extraKey(dir, counter)); x == nil {
				return
			}
			e.feedUser(x, r.end, span, g, d)
		}
		v := float64(d.Packets)
		if l.Unit == ByteRate {
			v = float64(d.Bytes)
		}
		if t.ok && l.rules.n > 0 {
			e.feedTick(w, dir, l, t.n, v, float64(d.Packets), w.dir[dir].sampling)
		}
	}
	if x != nil {
		e.judge(r, w, no, dir, g, limits)
	}
}

// feedUser puts a delta into both averages of a user counter.
func (e *Engine) feedUser(x *extra, end, span uint32, g *groupPlan, d *ring.Delta) {
	last := x.t
	decay, term := moveTo(&last, end, span, g.lut)
	slowDecay, slowTerm := moveTo(&x.t, end, span, e.slow)
	p, b := float64(d.Packets), float64(d.Bytes)
	x.v[0], x.v[1] = x.v[0].decayAdd(decay, p, term), x.v[1].decayAdd(decay, b, term)
	x.v[2], x.v[3] = x.v[2].decayAdd(slowDecay, p, slowTerm), x.v[3].decayAdd(slowDecay, b, slowTerm)
}
