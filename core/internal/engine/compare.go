package engine

import (
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

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
	over := above(w.flows[dir], p.flowThr)
	t := e.tickFor(r, d, span)
	if n := g.lay.n[dir]; n > 0 && t.ok {
		if w.tick[dir] < e.open {
			e.roll(w, dir, g.lay)
		}
		sums := &s.sums[t.n%openTicks]
		pairs := &g.lay.pair[dir]
		for i := range int(n) & (rowPairs*2 - 1) {
			q := &pairs[i&(rowPairs-1)]
			sum := &sums[i&(rowPairs-1)]
			*sum = toUfloat(sum.f() + q.at.volume(d))
			over |= above(*sum, q.rules.min)
		}
	}
	for i := range p.avgIdx[:p.avgN] {
		over |= above(s.avg[p.avgIdx[i]&15], p.avgThr[i])
	}
	hot := over != 0
	if p.extraTick || s.sampling != 0 && s.sampling.rate() > p.minS {
		e.feedExtras(r, w, dir, g, d, span, t)
		hot = true
	}
	if hot {
		e.judge(r, w, no, dir, g, p.limits)
	}
}

// above is 1 where v is above thr, else 0: a sum of them costs no branch.
func above(v, thr ufloat) uint64 { return uint64(int64(thr)-int64(v)) >> 63 }

// field is where a delta holds the volume of one counter in one unit.
type field struct {
	off  uint8
	wide bool // 8 bytes, else 4
}

// fieldOf returns the field of an index of dirState.avg.
func fieldOf(idx uint8) field {
	var d ring.Delta
	switch {
	case idx == 0:
		return field{uint8(unsafe.Offsetof(d.Packets)), true}
	case idx == 1:
		return field{uint8(unsafe.Offsetof(d.Bytes)), true}
	case idx&1 == 0:
		return field{uint8(unsafe.Offsetof(d.CounterPackets)) + (idx/2-1)*4, false}
	}
	return field{uint8(unsafe.Offsetof(d.CounterBytes)) + (idx/2-1)*4, false}
}

// volume reads a field.
func (f field) volume(d *ring.Delta) float64 {
	p := unsafe.Add(unsafe.Pointer(d), f.off)
	if f.wide {
		return float64(*(*uint64)(p))
	}
	return float64(*(*uint32)(p))
}

func volume(d *ring.Delta, idx uint8) float64 { return fieldOf(idx).volume(d) }

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
		if *sums == [rowPairs]ufloat{} {
			s.runs = [rowPairs][maxRules]uint8{}
			continue
		}
		for i := range lay.n[dir] {
			if rules := &lay.pair[dir][i].rules; sums[i] > rules.min {
				closeTick(&s.runs[i], sums[i], rules)
			} else {
				s.runs[i] = [maxRules]uint8{}
			}
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
	sampling := w.dir[dir].sampling.rate()
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

// rollExtra is roll for a limit whose burst state is an extra. Runs counted by
// other numbers than the limit has now are worth nothing.
func (e *Engine) rollExtra(x *extra, l *limitPlan, sampling uint32) {
	if x.mark != l.mark {
		x.mark, x.runs, x.samples = l.mark, [4]uint8{}, [maxRules]uint16{}
	}
	from := x.t
	if from >= e.open {
		return
	}
	x.t = e.open
	runs := (*[maxRules]uint8)(x.runs[:])
	for n := from; n < e.open && n-from < openTicks; n++ {
		i := n % openTicks
		eighths := min(x.v[3+i].f()*8/float64(sampling), 1<<14)
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
			e.feedTick(w, dir, l, t.n, v, float64(d.Packets), w.dir[dir].sampling.rate())
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
