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
		e.applyRun(r, batch[:n])
		r.left -= uint32(n)
		batch = batch[n:]
		if r.left == 0 {
			e.foldWider() // the sums of a flush are whole: decide now
		}
	}
	return r.err
}

// group is a few deltas on their way through applyRun.
type group struct {
	deltas []ring.Delta
	tags   [groupSize]uint32
	rows   [groupSize]candidate
}

// candidate is the first row that the index gives for a tag. It may be
// another's: the keys decide.
type candidate struct {
	row *row // nil: none
	no  uint32
}

// applyRun takes deltas in groups, three at a time: while one is applied, the
// rows of the next and the index slots of the one after are on their way from
// memory.
func (e *Engine) applyRun(r *ringState, ds []ring.Delta) {
	var groups [3]group
	for at := 0; at < len(ds)+2*groupSize && r.err == nil; at += groupSize {
		i := at / groupSize
		e.hashGroup(&groups[i%3], ds[min(at, len(ds)):min(at+groupSize, len(ds))])
		e.findGroup(&groups[(i+2)%3])
		e.applyGroup(r, &groups[(i+1)%3])
	}
}

// hashGroup computes the tags of a group and asks for its index slots.
func (e *Engine) hashGroup(g *group, ds []ring.Delta) {
	g.deltas = ds
	var lines [groupSize]uintptr
	n := 0
	for i := range ds {
		d := &ds[i]
		g.tags[i] = 0
		if d.Kind != ring.KindHost && d.Kind != ring.KindPrefix && d.Kind != ring.KindCounter {
			continue
		}
		k0, k1 := words(&d.Addr)
		g.tags[i] = e.idx.hash(k0, k1, rowKind(d), d.PrefixLen)
		lines[n] = uintptr(unsafe.Pointer(&e.idx.slots[e.idx.home(g.tags[i])]))
		n++
	}
	cache.Prefetch(lines[:n])
}

// findGroup looks the rows of a group up and asks for them.
func (e *Engine) findGroup(g *group) {
	var lines [3 * groupSize]uintptr
	n := 0
	for i := range g.deltas {
		g.rows[i].row = nil
		no := e.idx.peek(g.tags[i])
		if no == 0 {
			continue
		}
		w := e.row(no - 1)
		g.rows[i] = candidate{w, no - 1}
		s := &w.dir[g.deltas[i].Direction&1]
		lines[n] = uintptr(unsafe.Pointer(w))
		lines[n+1] = uintptr(unsafe.Pointer(s))
		lines[n+2] = uintptr(unsafe.Pointer(&s.sums))
		n += 3
	}
	cache.Prefetch(lines[:n])
}

// applyGroup adds the deltas of a group.
func (e *Engine) applyGroup(r *ringState, g *group) {
	came := uint64(0)
	for i := range g.deltas {
		d := &g.deltas[i]
		switch d.Kind {
		case ring.KindHost, ring.KindPrefix:
			came += uint64(d.Samples)
			e.applyRow(r, d, g.tags[i], g.rows[i])
		case ring.KindCounter:
			e.applyCounter(r, d, g.tags[i], g.rows[i])
		case ring.KindTotal:
			came += uint64(d.Samples)
			e.applyTotal(r, d)
		case ring.KindLoss:
			r.ledger.DroppedBy[d.ID] += d.Packets
			r.ledger.Deltas++
		default:
			_ = r.lie("record of kind %d where a delta must stand", d.Kind)
			return
		}
	}
	r.came += came
	e.stats.Deltas += uint64(len(g.deltas))
	g.deltas = nil
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
	dir := int(d.Direction)
	e.addCell(ent.cell[family(d)], dir+2*int(d.Flags&ring.FlagInternalRow>>3), d)
	if r.tick < e.open {
		r.ledger.Late++
		e.stats.Late++
	}
	if w == nil {
		e.stats.NoRow++
		e.widenRowless(r, d, 0)
		return
	}
	now := &e.cur.entries[w.entry]
	if now.scopes != nil {
		e.widen(r, d, &now.scopes[family(d)], 0)
	}
	e.gain(r, w, no, now.plan, d)
}

// widenRowless counts for the wider rows what a host without a row gained.
func (e *Engine) widenRowless(r *ringState, d *ring.Delta, counter uint32) {
	if ent := &e.cur.entries[e.cur.lookup(d.Prefix())]; ent.scopes != nil {
		e.widen(r, d, &ent.scopes[family(d)], counter)
	}
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
	if w == nil {
		e.widenRowless(r, d, FirstUser+id)
		return
	}
	now := &e.cur.entries[w.entry]
	if now.scopes != nil {
		e.widen(r, d, &now.scopes[family(d)], FirstUser+id)
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
