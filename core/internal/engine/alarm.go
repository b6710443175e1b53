package engine

import (
	"slices"
)

// LimitBurst tells when a burst rule of one limit of an alarm last held, on the
// stream's clock; 0: never.
func (e *Engine) LimitBurst(a Alarm, limit uint32) int64 {
	for _, f := range e.alarms[a].fired {
		if f.id == limit && f.last != 0 {
			return e.nanos(f.last)
		}
	}
	return 0
}

// Rearm lets a limit of an open alarm fire again.
func (e *Engine) Rearm(a Alarm, limit uint32) {
	al := &e.alarms[a]
	al.fired = slices.DeleteFunc(al.fired, func(f firedLimit) bool { return f.id == limit })
}

// Recent is what an alarm's row gained of a built-in counter in the ticks that
// are still open, a third of a second at most: newer than any average. It is
// false where no limit of the row keeps ticks of it.
func (e *Engine) Recent(a Alarm, counter uint16, u Unit) (float64, bool) {
	al := &e.alarms[a]
	r := e.row(al.row)
	if counter >= FirstUser || u == FlowRate {
		return 0, false
	}
	_ = e.lutOf(r) // brings the row under the current plan
	dir, lay := int(al.dir), e.layouts[r.layout]
	if lay.n[dir] == 0 {
		return 0, false
	}
	e.roll(r, dir, lay)
	for i := range lay.pair[dir][:lay.n[dir]] {
		if lay.pair[dir][i].idx != uint8(counter*2)+uint8(u&1) {
			continue
		}
		sum := 0.0
		for t := range r.dir[dir].sums {
			sum += r.dir[dir].sums[t][i].f()
		}
		return sum, true
	}
	return 0, false
}
