package engine

import (
	"net/netip"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Apply takes the next records of a ring: flushes, each followed by its
// deltas, cut anywhere. The caller must have copied them out of memory that
// the plugin can write. A delta that cannot be is refused and counted in the
// ledger; an error (which wraps ErrLie) means that the ring itself lies: it
// gives no more, and the caller replaces it.
func (e *Engine) Apply(id RingID, batch []ring.Delta) error {
	r := e.rings[id]
	if r == nil {
		return errNoRing
	}
	if e.wider.ring != r {
		e.foldWider() // of another ring's flush that is not through
	}
	for len(batch) > 0 && r.err == nil {
		if r.left == 0 {
			_ = e.flush(id, r, batch[0].AsFlush()) // r.err ends the loop
			batch = batch[1:]
			continue
		}
		n := int(min(uint64(r.left), uint64(len(batch)))) // what the ring announces may not fit an int
		if r.muted {
			e.skipRun(r, batch[:n])
		} else {
			e.applyRun(r, batch[:n])
		}
		r.left -= uint32(n)
		batch = batch[n:]
		if r.left == 0 {
			e.foldWider() // the sums of a flush are whole: decide now
		}
	}
	return r.err
}

// skipRun accounts for deltas of a muted ring.
func (e *Engine) skipRun(r *ringState, ds []ring.Delta) {
	for i := range ds {
		switch d := &ds[i]; d.Kind {
		case ring.KindHost, ring.KindPrefix, ring.KindTotal:
			r.came += uint64(d.Samples)
			r.ledger.Deltas++
		case ring.KindCounter:
			r.ledger.Deltas++
		default: // a loss, or a lie
			e.applyOne(r, d, 0, candidate{})
		}
	}
	e.stats.Deltas += uint64(len(ds))
}

// ahead is how many deltas come between asking for an index slot and reading it,
// and as many again before the row that it leads to is used: long enough for
// memory, few enough for the processor to have asked for all of them.
const (
	ahead  = 32
	window = 4 * ahead // more than are on their way, and a power of 2
)

// coming are the deltas on their way through applyRun.
type coming struct {
	tags [window]uint32
	rows [window]candidate
}

// candidate is the first row that the index gives for a tag. It may be
// another's: the keys decide.
type candidate struct {
	row   *row // nil: none
	no    uint32
	wide  uint16 // what may be the number + 1 of the sum of its prefix: see wider
	keyed uint8  // where the key of that sum stands + 1, if row is the right one; 0: nowhere
}

// applyRun takes deltas one after the other: while one is applied, the rows of
// those after it and the index slots of those further behind are on their way
// from memory.
func (e *Engine) applyRun(r *ringState, ds []ring.Delta) {
	var c coming
	came := uint64(0)
	for i := 0; i < len(ds)+2*ahead && r.err == nil; i++ {
		var lines [7]uintptr
		n := 0
		if i < len(ds) {
			n = e.hash(&c, i, &ds[i], &lines)
		}
		if k := uint(i - ahead); k < uint(len(ds)) {
			n = e.look(&c, int(k), &ds[k], &lines, n)
		}
		if k := uint(i - ahead - ahead/2); k < uint(len(ds)) && e.cur.wide {
			n = e.reach(&c, int(k), &ds[k], &lines, n)
		}
		cache.Prefetch(lines[:n])
		if k := uint(i - 2*ahead); k < uint(len(ds)) {
			came += e.applyOne(r, &ds[k], c.tags[k%window], c.rows[k%window])
		}
	}
	r.came += came
	e.stats.Deltas += uint64(len(ds))
}

// hash computes the tag of delta i and asks for its index slot.
func (e *Engine) hash(c *coming, i int, d *ring.Delta, lines *[7]uintptr) int {
	c.tags[i%window], c.rows[i%window].row = 0, nil
	if d.Kind != ring.KindHost && d.Kind != ring.KindPrefix && d.Kind != ring.KindCounter {
		return 0
	}
	k0, k1 := words(&d.Addr)
	tag := e.idx.hash(k0, k1, rowKind(d), d.PrefixLen)
	c.tags[i%window] = tag
	lines[0] = uintptr(unsafe.Pointer(&e.idx.slots[e.idx.home(tag)]))
	return 1
}

// look looks the row of delta i up and asks for it; n lines have been asked for.
func (e *Engine) look(c *coming, i int, d *ring.Delta, lines *[7]uintptr, n int) int {
	no := e.idx.peek(c.tags[i%window])
	if no == 0 {
		return n
	}
	w := e.row(no - 1)
	c.rows[i%window] = candidate{w, no - 1, 0, 0}
	s := &w.dir[d.Direction&1]
	lines[n] = uintptr(unsafe.Pointer(w))
	lines[n+1] = uintptr(unsafe.Pointer(s))
	lines[n+2] = uintptr(unsafe.Pointer(&s.sums))
	return n + 3
}

// applyOne adds a delta; it returns the raw samples that came with it.
func (e *Engine) applyOne(r *ringState, d *ring.Delta, tag uint32, c candidate) uint64 {
	switch d.Kind {
	case ring.KindHost, ring.KindPrefix:
		e.applyRow(r, d, tag, c)
		return uint64(d.Samples)
	case ring.KindCounter:
		e.applyCounter(r, d, tag, c)
	case ring.KindTotal:
		e.applyTotal(r, d)
		return uint64(d.Samples)
	case ring.KindLoss:
		r.ledger.DroppedBy[d.ID] += d.Packets
		r.ledger.Deltas++
	default:
		_ = r.lie("record of kind %d where a delta must stand", d.Kind)
	}
	return 0
}

// rowKind is the kind of the row that a delta speaks of.
func rowKind(d *ring.Delta) uint8 {
	if d.Kind == ring.KindPrefix {
		return uint8(ring.KindPrefix)
	}
	return uint8(ring.KindHost)
}

// wellFormed checks what can be told without a table.
func wellFormed(d *ring.Delta) bool {
	if d.Direction > ring.Outgoing || d.SpanMs == 0 || d.SpanMs%50 != 0 || d.SpanMs > ring.MaxSpanMs {
		return false
	}
	if mapped(&d.Addr) {
		return d.Family == 4 && (d.PrefixLen == 32 || d.Kind == ring.KindPrefix && d.PrefixLen < 32)
	}
	return d.Family == 6 && d.PrefixLen <= 128 && (d.PrefixLen > 0 || d.Kind == ring.KindPrefix)
}

// resolve finds the row of a delta and the entry to count it under, bringing
// the row under the current plan and making it when it is missing. A nil entry
// means refused; a nil row alone means that there is no room for one.
func (e *Engine) resolve(r *ringState, d *ring.Delta, tag uint32, c candidate) (*row, uint32, *entry) {
	if !wellFormed(d) {
		e.refuse(r, RefusedShape)
		return nil, 0, nil
	}
	k0, k1 := words(&d.Addr)
	kind := rowKind(d)
	w, no := c.row, c.no
	if w != nil && (w.k1 != k1 || w.k0 != k0 || w.kind != kind || w.plen != d.PrefixLen) {
		w = nil
	}
	if w == nil {
		// Another row has the tag, or rows came and went within the group.
		if n, ok := e.find(tag, k0, k1, kind, d.PrefixLen); ok {
			w, no = e.row(n), n
		}
	}
	if w != nil && r.plan == e.cur {
		if w.gen != e.cur.gen {
			e.refresh(w)
		}
		if ent := &e.cur.entries[w.entry]; ent.network == d.Network && ent.group == d.Group && w.entry != 0 {
			return w, no, ent
		}
	}
	return e.resolveSlow(r, d, tag, w, no)
}

// resolveSlow judges a delta by the plan under which it was counted.
func (e *Engine) resolveSlow(r *ringState, d *ring.Delta, tag uint32, w *row, no uint32) (*row, uint32, *entry) {
	pfx := d.Prefix()
	if !pfx.IsValid() || pfx.Masked() != pfx {
		e.refuse(r, RefusedShape)
		return nil, 0, nil
	}
	i := r.plan.lookup(pfx)
	ent := &r.plan.entries[i]
	switch {
	case i == 0:
		e.refuse(r, RefusedOutside)
		return nil, 0, nil
	case ent.network != d.Network || ent.group != d.Group:
		e.refuse(r, RefusedID)
		return nil, 0, nil
	}
	if w == nil {
		if w, no = e.newRow(d, pfx, tag); w == nil {
			return nil, 0, ent
		}
	}
	if w.gen != e.cur.gen {
		e.refresh(w)
	}
	return w, no, ent
}

// newRow makes the row of a delta, nil when there is no room.
func (e *Engine) newRow(d *ring.Delta, pfx netip.Prefix, tag uint32) (*row, uint32) {
	no, ok := e.takeRow()
	if !ok && e.displace(d, pfx) {
		no, ok = e.takeRow()
	}
	if !ok {
		return nil, 0
	}
	w := e.row(no)
	w.k0, w.k1 = words(&d.Addr)
	w.kind, w.plen = rowKind(d), d.PrefixLen
	w.last[d.Direction] = e.clock // a row that has had user counters only is not idle yet
	e.refresh(w)
	e.idx.insert(tag, no)
	return w, no
}

// takeRow returns a free row that the index has room for.
func (e *Engine) takeRow() (uint32, bool) {
	if !e.idx.reserve() {
		return 0, false
	}
	return e.rows.take()
}

// applyRow adds a host or prefix delta.
func (e *Engine) applyRow(r *ringState, d *ring.Delta, tag uint32, c candidate) {
	w, no, ent := e.resolve(r, d, tag, c)
	if ent == nil {
		return
	}
	r.ledger.Deltas++
	if r.tick < e.open {
		r.ledger.Late++
		e.stats.Late++
	}
	now := e.entryOfDelta(d, w)
	counted := ent.cell[family(d)]
	if now.scopes == nil || !e.widen(r, d, &now.scopes[family(d)], 0, c, w, counted) {
		e.addCell(counted, laneOf(d.Direction, d.Flags), d)
	}
	if w == nil {
		e.stats.NoRow++
		return
	}
	e.gain(r, w, no, now.plan, d)
}

// entryOfDelta is the entry in force of a delta's row, or of its prefix where it
// has none.
func (e *Engine) entryOfDelta(d *ring.Delta, w *row) *entry {
	if w == nil {
		return &e.cur.entries[e.cur.lookup(d.Prefix())]
	}
	return &e.cur.entries[w.entry]
}

// gain adds a delta to a row and compares it with its limits.
func (e *Engine) gain(r *ringState, w *row, no uint32, g *groupPlan, d *ring.Delta) {
	if e.clock < r.doubtful {
		e.mark(w, r)
	}
	if g.community != nil && w.kind == uint8(ring.KindHost) {
		e.tally(r, w, g.community, d)
		return
	}
	dir := int(d.Direction)
	s := &w.dir[dir]
	span := d.SpanMs / 50
	if s.sampling != 0 && r.end > w.last[dir]+samplingWindow {
		s.sampling = 0 // learned anew
	}
	decay, term := moveTo(&w.last[dir], r.end, span, g.lut)
	s.add(d, decay, term)
	if d.Flows != 0 || w.flows[dir] != 0 {
		w.flows[dir] = w.flows[dir].decayAdd(decay, float64(d.Flows), term)
	}
	if s.sampling != 0 || d.Sampling > 1 {
		s.sampling = s.sampling.see(w.last[dir], d.Sampling)
	}
	if w.kind != uint8(ring.KindPrefix) {
		e.compare(r, w, no, g, d, span)
	}
}

// moveTo brings the time of an average to a delta's end, unless it is past it,
// and returns the factors for the state and for the delta's volume.
func moveTo(last *uint32, end, span uint32, l *lut) (decay, term float64) {
	term = l.gainFor(span)
	if end > *last {
		if *last != 0 {
			decay = l.decayFor(end - *last)
		}
		*last = end
		return decay, term
	}
	if late := *last - end; late > 0 {
		term *= l.decayFor(late)
	}
	return 1, term
}

// add puts a delta into the averages. Counters that neither have nor gain
// anything cost a comparison.
func (s *dirState) add(d *ring.Delta, decay, term float64) {
	s.avg[0] = s.avg[0].decayAdd(decay, float64(d.Packets), term)
	s.avg[1] = s.avg[1].decayAdd(decay, float64(d.Bytes), term)
	for i := range d.CounterPackets {
		p, b := &s.avg[2+2*i], &s.avg[3+2*i]
		if vp, vb := d.CounterPackets[i], d.CounterBytes[i]; uint32(*p)|uint32(*b)|vp|vb != 0 {
			*p = p.decayAdd(decay, float64(vp), term)
			*b = b.decayAdd(decay, float64(vb), term)
		}
	}
}

// applyTotal adds traffic that belongs to no host.
func (e *Engine) applyTotal(r *ringState, d *ring.Delta) {
	if d.Direction != ring.Internal && d.Direction != ring.Other || d.Family != 4 && d.Family != 6 {
		e.refuse(r, RefusedShape)
		return
	}
	r.ledger.Deltas++
	e.addCell(e.total[family(d)], int(d.Direction), d)
}

// applyCounter adds what a user counter gained for a host.
func (e *Engine) applyCounter(r *ringState, d *ring.Delta, tag uint32, c candidate) {
	if d.ID >= MaxUser || r.plan.counters[d.ID] == 0 {
		e.refuse(r, RefusedID)
		return
	}
	w, no, ent := e.resolve(r, d, tag, c)
	if ent == nil {
		return
	}
	r.ledger.Deltas++
	id := r.plan.counters[d.ID]
	u := e.user[id]
	if u == nil {
		u = new([2][2]Volume)
		e.user[id] = u
	}
	v := &u[d.Direction][family(d)]
	v.Packets += d.Packets
	v.Bytes += d.Bytes
	now := e.entryOfDelta(d, w)
	if now.scopes != nil {
		e.widen(r, d, &now.scopes[family(d)], FirstUser+id, candidate{}, w, nil)
	}
	if w == nil {
		return
	}
	e.gainUser(r, w, no, now.plan, d, FirstUser+id)
}

// gainUser adds what a user counter gained to a row and compares it with the
// limits on it.
func (e *Engine) gainUser(r *ringState, w *row, no uint32, g *groupPlan, d *ring.Delta, counter uint32) {
	dir := int(d.Direction)
	if len(g.dirs[dir].user) > 0 {
		s := &w.dir[dir].sampling
		*s = s.see(w.last[dir], d.Sampling)
		e.compareUser(r, w, no, g, d, counter)
	}
}
