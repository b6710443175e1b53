package count

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Cadence of flushing.
const (
	fewRows     = 2 << 10  // so many are all flushed at every boundary
	hottest     = 16 << 10 // of more, so many warm ones
	manyRows    = 256 << 10
	restTicks   = 4  // the others: every 200 ms
	manyTicks   = 20 // every second while more than manyRows are dirty
	maxSplits   = 63 // deltas of one row beyond the first, in one flush
	chunkDeltas = 256
)

// Sink takes flushes: a ring or a stream. Write must take what Free announced.
type Sink interface {
	Free() int
	Write(batch []ring.Delta) int
}

// Window is the end of a flush window.
type Window struct {
	End        int64  // nanoseconds on the stream's clock, a multiple of FlushTick
	Lag        uint64 // nanoseconds between End and the write: see ring.Flush
	Generation uint32 // of the ring behind the sink
	All        bool   // flush every row
	Finished   bool   // the input has ended; implies All
}

// flushScratch is what a flush works with, kept between flushes.
type flushScratch struct {
	deltas   []ring.Delta
	chosen   []uint32
	rest     []uint32
	looks    []look  // at the dirty rows
	known    int     // looks that are of an earlier flush: right where the row was not touched since
	byHeat   [66]int // rows
	costHeat [66]int // deltas
	samples  uint64  // raw ones in what the flush takes
	held     uint64  // and in what it leaves
}

// Heats beyond that of a row's packets.
const (
	heatLimit = 65 // the row gained more than its group's smallest limit allows
	warmShare = 8  // a row that gained less than this part of it can wait: no burst rule depends on it
)

// look is what a flush has to know of a dirty row.
type look struct {
	samples uint32
	first   uint32
	cost    uint16 // deltas
	heat    uint8
	warm    bool
}

// Flush writes one flush record and the deltas that are due at the end of a
// window: every row that gained more than its group's smallest limit allows
// in 50 ms, then the hottest 16k of those that gained an eighth of it, or all
// of them where only 2k are dirty; the rest every 200 ms, or every second while
// more than 256k rows are dirty. What does not fit into the sink stays
// and merges with what comes. A flow record that counts forward is counted and
// no longer held from its arrival on; the last flush ends it. Flush reports
// whether the flush record was written: with no room at all no delta is.
func (t *Table) Flush(sink Sink, w Window) bool {
	if t.smear != nil {
		t.smearUpTo(w.End / tickNanos)
	}
	if w.Finished {
		t.EndSmear()
	}
	room := sink.Free() - 1
	if room < 0 {
		return false
	}
	end := uint32(0)
	if t.started {
		end = uint32(min(max(w.End/tickNanos-t.base, 0), math.MaxUint32))
	}
	w.All = w.All || w.Finished
	s := &t.scratch
	if s.deltas == nil {
		s.deltas = make([]ring.Delta, 0, chunkDeltas)
	}
	fixed := t.fixedCost()
	chosen, cost := t.choose(end, w.All, room-fixed)
	for i := range t.totals {
		if n := uint64(t.totals[i].samples); fixed > room {
			s.held += n
		} else {
			s.samples += n
		}
	}
	if fixed > room {
		fixed, chosen, cost = 0, nil, 0
	}
	t.writeHeader(sink, w, fixed+cost)
	if fixed > 0 {
		t.writeLosses(sink)
		t.writeTotals(sink, end)
	}
	for i, n := range chosen {
		if i%groupSize == 0 {
			t.fetch(chosen[i:min(i+groupSize, len(chosen))])
		}
		t.writeRow(sink, n, end)
	}
	t.drain(sink)
	return true
}

// fetch asks for all of some rows.
func (t *Table) fetch(rows []uint32) {
	const lines = unsafe.Sizeof(row{}) / cache.Line
	var at [groupSize * lines]uintptr
	n := 0
	for _, no := range rows {
		for line := range lines {
			at[n] = uintptr(unsafe.Pointer(&t.rows[no])) + line*cache.Line
			n++
		}
	}
	cache.Prefetch(at[:n])
}

// Dirty returns how many rows have something to tell.
func (t *Table) Dirty() int { return len(t.dirty) }

// fixedCost is the number of deltas that losses and totals need.
func (t *Table) fixedCost() (n int) {
	for _, lost := range &t.lost {
		if lost != 0 {
			n++
		}
	}
	for i := range t.totals {
		if r := &t.totals[i]; r.first != 0 {
			n += 1 + t.splits(totalRow+uint32(i), r)
		}
	}
	return n
}

// choose takes the rows to be flushed off the dirty list and returns them
// with the number of deltas they need, at most room.
func (t *Table) choose(end uint32, all bool, room int) (chosen []uint32, cost int) {
	s := &t.scratch
	age := int64(restTicks)
	if len(t.dirty) > manyRows {
		age = manyTicks
	}
	all = all || len(t.dirty) <= fewRows
	s.byHeat, s.costHeat = [66]int{}, [66]int{}
	t.lookAtDirty()
	// Above hot all rows are due whatever their age; at hot, the first few.
	hot, few := cut(&s.byHeat, hottest)
	// Above fit all due rows fit; at fit, as many as there is room for.
	fit, spare := cut(&s.costHeat, room)
	s.chosen, s.rest = s.chosen[:0], s.rest[:0]
	s.samples, s.held = 0, 0
	for i, n := range t.dirty {
		l := &s.looks[i]
		heat, c := int(l.heat), int(l.cost)
		due := all || heat == heatLimit || l.warm && heat > hot || int64(end)-int64(l.first) >= age
		if !due && l.warm && heat == hot && few > 0 {
			few--
			due = true
		}
		if due && heat == fit {
			due = c <= spare
			if due {
				spare -= c
			}
		}
		if !due || heat < fit {
			s.held += uint64(l.samples)
			s.looks[len(s.rest)] = *l // which is no earlier one
			s.rest = append(s.rest, n)
			continue
		}
		s.chosen = append(s.chosen, n)
		s.samples += uint64(l.samples)
		cost += c
	}
	t.dirty, s.rest, s.known = s.rest, t.dirty, len(s.rest)
	return s.chosen, cost
}

// cut returns the heat above which everything is within the budget, and what
// the budget leaves for that heat itself.
func cut(byHeat *[66]int, budget int) (heat, left int) {
	left = max(budget, 0)
	for heat = len(byHeat) - 1; heat >= 0; heat-- {
		if byHeat[heat] > left {
			return heat, left
		}
		left -= byHeat[heat]
	}
	return -1, left
}

// lookAtDirty reads every dirty row that has gained something since the last look:
// what is far from the processor is asked for in time.
func (t *Table) lookAtDirty() {
	s := &t.scratch
	s.looks = slices.Grow(s.looks[:s.known], len(t.dirty)-s.known)[:len(t.dirty)]
	var group, next [groupSize]uint32 // places in dirty: of rows that have been asked for, and that will be
	var lines [groupSize]uintptr
	asked, n := 0, 0
	for i, no := range t.dirty {
		touched, bit := &t.touched[no/64], uint64(1)<<(no%64)
		if i < s.known && *touched&bit == 0 {
			continue
		}
		*touched &^= bit
		next[n], lines[n] = uint32(i), uintptr(unsafe.Pointer(&t.rows[no]))
		if n++; n == groupSize {
			cache.Prefetch(lines[:n])
			t.look(group[:asked])
			group, asked, n = next, n, 0
		}
	}
	cache.Prefetch(lines[:n])
	t.look(group[:asked])
	t.look(next[:n])
	for i := range s.looks {
		l := &s.looks[i]
		s.byHeat[l.heat]++
		s.costHeat[l.heat] += int(l.cost)
	}
}

// look reads dirty rows, given by their places in the list.
func (t *Table) look(places []uint32) {
	for _, i := range places {
		n := t.dirty[i]
		r := &t.rows[n]
		p := &t.plan.places[r.place]
		l := look{samples: r.samples, first: r.first, cost: uint16(t.cost(n, r)), heat: uint8(r.heat())}
		switch {
		case r.packets > p.hotPackets || r.bytes > p.hotBytes || r.flows > p.hotFlows:
			l.heat = heatLimit
		default:
			l.warm = r.packets > p.hotPackets/warmShare || r.bytes > p.hotBytes/warmShare || r.flows > p.hotFlows/warmShare
		}
		t.scratch.looks[i] = l
	}
}

// cost is the number of deltas that row number n needs.
func (t *Table) cost(n uint32, r *row) int {
	return 1 + t.splits(n, r) + bits.OnesCount64(r.user)
}

func (t *Table) writeHeader(sink Sink, w Window, deltas int) {
	t.ledger.Flushes++
	t.ledger.Deltas += uint64(deltas)
	f := ring.Flush{
		Kind: ring.KindFlush, Generation: w.Generation, Number: t.ledger.Flushes, Revision: t.plan.Revision,
		WindowEnd: w.End, LagNanos: w.Lag, Received: t.ledger.Received, Counted: t.ledger.Counted,
		DroppedTotal: t.ledger.Dropped, Deltas: uint32(deltas), DirtyRows: uint32(len(t.dirty)),
		Folded: t.ledger.Folded, Packets: t.ledger.Packets, Samples: t.scratch.samples, Held: t.scratch.held,
	}
	if w.Finished {
		f.Flags = ring.FlushFinished
	}
	*t.next(sink) = *f.AsDelta()
}

func (t *Table) writeLosses(sink Sink) {
	for cause, n := range &t.lost {
		if n != 0 {
			*t.next(sink) = ring.Delta{Kind: ring.KindLoss, Direction: ring.Other, Packets: n, ID: uint8(cause), SpanMs: FlushTick}
			t.lost[cause] = 0
		}
	}
}

func (t *Table) writeTotals(sink Sink, end uint32) {
	for i := range t.totals {
		r := &t.totals[i]
		if r.first == 0 {
			continue
		}
		d := ring.Delta{Kind: ring.KindTotal, Direction: ring.Internal, Family: 4 + uint8(i&1)*2}
		if i >= 2 {
			d.Direction = ring.Other
		}
		t.writeCounts(sink, totalRow+uint32(i), r, d, end)
	}
}

// writeRow writes the deltas of one row: the row itself, then one for each
// user counter that moved.
func (t *Table) writeRow(sink Sink, n, end uint32) {
	r := &t.rows[n]
	p := &t.plan.places[r.place]
	d := ring.Delta{
		Kind: ring.KindHost, Direction: r.direction(), Family: r.family(), Network: p.network,
		Group: p.group, PrefixLen: r.length(),
	}
	binary.BigEndian.PutUint64(d.Addr[:8], r.hi)
	binary.BigEndian.PutUint64(d.Addr[8:], r.lo)
	if r.length() < p.hostLen {
		d.Kind = ring.KindPrefix
	}
	user, first, flags := r.user, r.first, r.flags()
	r.user = 0
	if t.writeCounts(sink, n, r, d, end) {
		t.dirty = append(t.dirty, n)
	}
	d.Kind, d.Flags, d.SpanMs = ring.KindCounter, flags, span(first, end)
	for ; user != 0; user &= user - 1 {
		id := uint8(bits.TrailingZeros64(user))
		e := t.users.find(n<<6 | uint32(id))
		d.ID, d.Packets, d.Bytes = id, e.packets, e.bytes
		d.Flows, d.Samples, d.Sampling = e.flows, e.samples, max(e.sampling, 1)
		*t.next(sink) = d
		e.clear()
	}
}

// writeCounts writes what row number n gained, over several deltas where a
// counter does not fit its field. It reports true when even the most deltas a
// row may have in one flush left something for the next.
func (t *Table) writeCounts(sink Sink, n uint32, r *row, d ring.Delta, end uint32) (more bool) {
	d.Flags, d.SpanMs = r.flags(), span(r.first, end)
	d.Flows, d.Samples, d.Sampling = r.flows, r.samples, max(r.sampling, 1)
	if r.key&rowWide != 0 {
		return t.writeWide(sink, n, r, d, end)
	}
	d.Packets, d.Bytes = r.packets, r.bytes
	for i := range d.CounterPackets {
		c := &r.counters[i]
		d.CounterPackets[i], d.CounterBytes[i] = c.packets, c.bytes
	}
	*t.next(sink) = d
	r.clear()
	return false
}

// writeWide is writeCounts for a row with more than its own counters hold.
func (t *Table) writeWide(sink Sink, n uint32, r *row, d ring.Delta, end uint32) (more bool) {
	c := t.counts(n, r)
	for range c.splits() {
		r.takePart(&c, &d)
		*t.next(sink) = d
		d.Flows, d.Samples = 0, 0
	}
	if c.splits() > 0 {
		r.takePart(&c, &d)
		*t.next(sink) = d
		*t.wide[n], r.counters = c, [8]narrow{}
		r.flows, r.samples, r.first = 0, 0, max(end, 1)
		return true
	}
	d.Packets, d.Bytes = r.packets, r.bytes
	for i := range c {
		d.CounterPackets[i], d.CounterBytes[i] = uint32(c[i].packets), uint32(c[i].bytes)
	}
	*t.next(sink) = d
	delete(t.wide, n)
	r.clear()
	return false
}

// takePart moves as much of the row's counters into d as its fields hold, and
// as much of the total as keeps the total of both the largest.
func (r *row) takePart(counts *wide, d *ring.Delta) {
	d.Packets, d.Bytes = 0, 0
	for i := range counts {
		c := &counts[i]
		packets, bytes := min(c.packets, math.MaxUint32), min(c.bytes, math.MaxUint32)
		d.CounterPackets[i], d.CounterBytes[i] = uint32(packets), uint32(bytes)
		c.packets -= packets
		c.bytes -= bytes
		if i != ring.CounterExempt {
			d.Packets, d.Bytes = max(d.Packets, packets), max(d.Bytes, bytes)
		}
	}
	r.packets -= d.Packets
	r.bytes -= d.Bytes
}

// span is the time from the boundary before a row's first record to the end
// of the window, in milliseconds.
func span(first, end uint32) uint32 {
	if end <= first {
		return FlushTick
	}
	return uint32(min(uint64(end-first)*FlushTick, ring.MaxSpanMs/FlushTick*FlushTick))
}

// next returns the place for another delta of the batch.
func (t *Table) next(sink Sink) *ring.Delta {
	s := &t.scratch
	if len(s.deltas) == cap(s.deltas) {
		t.drain(sink)
	}
	s.deltas = s.deltas[:len(s.deltas)+1]
	return &s.deltas[len(s.deltas)-1]
}

func (t *Table) drain(sink Sink) {
	s := &t.scratch
	if n := sink.Write(s.deltas); n < len(s.deltas) {
		t.ledger.Short += uint64(len(s.deltas) - n)
	}
	s.deltas = s.deltas[:0]
}
