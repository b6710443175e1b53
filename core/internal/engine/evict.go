package engine

import (
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const (
	sweepParts = 128  // the hand goes round in so many steps of 50 ms
	sweepMax   = 8192 // rows at a time: well under a millisecond
	coldScan   = 32   // rows looked at to find a place for a heavier host
)

// sweep moves the clock hand on and lets idle hosts leave.
func (e *Engine) sweep(moved uint32) {
	n := uint64(e.rows.top)
	n = min((n/sweepParts+1)*uint64(min(moved, sweepParts)), n, sweepMax)
	for range n {
		no, r := e.nextRow()
		if r.kind != 0 && r.alarm == [2]Alarm{} && e.clock-min(e.clock, max(r.last[0], r.last[1])) > e.idle {
			e.evict(no, r)
			e.stats.Evicted++
		}
	}
}

func (e *Engine) nextRow() (uint32, *row) {
	if e.hand >= e.rows.top {
		e.hand = 0
	}
	no := e.hand
	e.hand++
	return no, e.row(no)
}

func (e *Engine) evict(no uint32, r *row) {
	e.dropExtras(r, nil)
	e.idx.remove(e.tagOf(r), no)
	if isScoped(r.kind) {
		e.scopeRows--
	}
	r.kind = 0
	e.rows.give(no)
}

// displace frees the coldest of the next rows for a host that gains more than
// 1 % of its smallest limit: the table being full must not hide an attack.
func (e *Engine) displace(d *ring.Delta, pfx netip.Prefix) bool {
	if d.Kind == ring.KindPrefix {
		return false
	}
	return e.displaceFor(&e.cur.entries[e.cur.lookup(pfx)].plan.dirs[d.Direction], d.SpanMs/50, d.Packets, d.Bytes)
}

// displaceFor is displace for what gained so much in a span (steps).
func (e *Engine) displaceFor(p *dirPlan, span uint32, packets, bytes uint64) bool {
	seconds := float64(span) * stepSeconds
	weight := float64(packets) / seconds
	if weight < p.admit && float64(bytes)/seconds < p.admitByte {
		return false
	}
	var coldest *row
	var at uint32
	for range min(coldScan, e.rows.top) {
		no, r := e.nextRow()
		if r.kind == 0 || r.alarm != [2]Alarm{} {
			continue
		}
		if v := e.weight(r, e.clock); v < weight {
			coldest, at, weight = r, no, v
		}
	}
	if coldest == nil {
		return false
	}
	e.evict(at, coldest)
	e.stats.Displaced++
	return true
}

// weight is the packets per second of a row, both directions, at a step.
func (e *Engine) weight(r *row, now uint32) float64 {
	l := e.lutOf(r)
	return r.value(l, 0, 0, now) + r.value(l, 1, 0, now)
}

// lutOf returns the table by which a row's averages decay; a row not touched
// since the plan changed is read as it was.
func (e *Engine) lutOf(r *row) *lut {
	if r.gen != e.cur.gen {
		e.refresh(r)
	}
	if e.community(r) != nil {
		return &held
	}
	return e.entryOf(r).plan.lut
}

// value returns one average of a row at a step.
func (r *row) value(l *lut, dir int, idx uint8, now uint32) float64 {
	v := r.dir[dir].avg[idx].f()
	if now > r.last[dir] {
		v *= l.decayFor(now - r.last[dir])
	}
	return v
}
