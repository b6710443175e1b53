package count

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// idleTicks is for how long a table without long flow records keeps the memory
// they took.
const idleTicks = 10 * 1000 / FlushTick

// Smearing reports whether flow records still count forward: then every window
// is to be flushed, even where no record comes.
func (t *Table) Smearing() bool { return t.smear != nil && t.smear.streams > 0 }

// EndSmear ends the flow records that still count forward: what they had to
// count is ledgered and in no delta.
func (t *Table) EndSmear() {
	if t.smear != nil {
		t.ledger.Cut += t.smear.pending
		t.smear = nil
	}
}

// addLong counts a flow record forward. Where there is no room it counts the
// record's first second.
func (t *Table) addLong(r *traffic.Record, src, dst addr, from, to, flows, flags uint32) {
	if t.smear == nil {
		t.smear = newSmearer(t.tick-1, t.plan.seed)
	}
	var w smearWindow
	if !t.smear.wheel.full() {
		w = t.smear.window(r, src, dst, max(t.time, t.tick*tickNanos)/1e6)
	}
	places := t.plan.places
	var ok bool
	switch {
	case from == 0 && to != 0:
		ok = t.forwardHost(r, w, dst, to, ring.Incoming, flows, flags)
	case from != 0 && to == 0:
		ok = t.forwardHost(r, w, src, from, ring.Outgoing, flows, flags)
	case from != 0 && places[from].countInternal && places[to].countInternal:
		in := t.forwardHost(r, w, dst, to, ring.Incoming, flows, flags|rowInner)
		ok = t.forwardHost(r, w, src, from, ring.Outgoing, flows, flags|rowInner) && in
	default:
		ok = t.forwardTotal(r, w, from != 0, flows, flags)
	}
	if ok {
		t.ledger.Beyond += r.Packets - share(r.Packets, w.part, w.whole)
		return
	}
	t.ledger.Counted--
	t.ledger.Dropped++
	t.ledger.ByCause[CauseSmearFull]++
	t.lost[CauseSmearFull]++
}

// firstSecond is the part of a record that one second of it told of.
func firstSecond(r *traffic.Record) traffic.Record {
	first := *r
	first.Packets = share(r.Packets, atOnce, uint64(r.DurationMs))
	first.Bytes = share(r.Bytes, atOnce, uint64(r.DurationMs))
	return first
}

// forwardHost is addHost for a long flow record. Its flow is new now.
func (t *Table) forwardHost(r *traffic.Record, w smearWindow, host addr, at uint32, d ring.Direction, flows, flags uint32) bool {
	want := stream{place: at, sampling: r.Sampling, class: classOf(r)}
	want.addr, want.key = t.hostKey(r, host, at, d)
	exempt := false
	if t.plan.exempt != nil {
		want.user, exempt = t.plan.exempted(r, d, t.wall)
	}
	switch {
	case exempt:
		want.class, flows, flags = classUsed|classExempt, 0, 0
	case t.plan.classes.all != 0:
		want.user = t.plan.classes.of(r)
	}
	if flags&rowInner != 0 {
		want.class |= classInner
	}
	if !t.smear.forward(&want, r, w, t.seed) {
		first := firstSecond(r)
		t.addHost(&first, host, at, d, flows, flags|rowSmeared)
		return false
	}
	if flows != 0 || flags&rowAtLeast != 0 {
		n := t.find(want.addr, want.key, at)
		t.wake(n)
		t.rows[n].addFlows(flows, flags, r.Sampling)
		if want.user != 0 {
			t.mergeUser(n, want.user, &userEntry{flows: flows, sampling: r.Sampling})
		}
	}
	return true
}

// forwardTotal is addTotal for a long flow record.
func (t *Table) forwardTotal(r *traffic.Record, w smearWindow, internal bool, flows, flags uint32) bool {
	i := totalIndex(internal, r.IsIPv6())
	want := stream{key: uint32(i), sampling: r.Sampling, class: classOf(r) | classTotal}
	if !t.smear.forward(&want, r, w, t.seed) {
		first := firstSecond(r)
		t.addTotal(&first, internal, flows, flags)
		return false
	}
	if flows != 0 || flags&rowAtLeast != 0 {
		t.total(i).addFlows(flows, flags, r.Sampling)
	}
	return true
}

// total returns one of the totals, awake.
func (t *Table) total(i int) *row {
	row := &t.totals[i]
	if row.first == 0 {
		row.first = t.now
	}
	return row
}

func (r *row) addFlows(flows, flags, sampling uint32) {
	r.flows += flows
	r.key |= flags
	r.sampling = max(r.sampling, sampling)
	if sampling > 1 {
		r.key |= rowAtLeast
	}
}

// smearUpTo gives rows their slices of all ticks before one.
func (t *Table) smearUpTo(tick int64) {
	s := t.smear
	for s.done+1 < tick && s.streams > 0 {
		next := s.done + 1
		s.turn(next)
		s.done, s.idle = next, next
		t.tick = max(t.tick, next)
		t.now = uint32(max(next-t.base, 1))
		t.slices(uint32(next % sliceTicks))
	}
	t.now = uint32(t.tick - t.base)
	if s.streams > 0 {
		return
	}
	s.done = max(s.done, tick-1)
	if s.done-s.idle >= idleTicks && len(s.wheel.slabs) > 0 {
		s.free()
	}
}

// turn begins and ends the records whose turn is at a tick.
func (s *smearer) turn(tick int64) {
	for ref := s.wheel.take(tick); ref != 0; ref = s.wheel.drop(ref) {
		c := s.wheel.at(ref)
		for i := range c.entries[:c.n] {
			if e := c.entries[i]; e.ticks > 0 {
				s.begin(e, tick)
			} else {
				s.over(e, tick)
			}
		}
	}
}

// slices gives a phase's rows their slices and frees the streams that are over.
func (t *Table) slices(phase uint32) {
	l := &t.smear.lists[phase]
	for n := range l.used {
		st := &l.slabs[n/streamSlab][n%streamSlab]
		if st.class == 0 {
			continue
		}
		t.slice(st)
		if st.live == 0 {
			t.smear.release(n<<3|phase+1, t.seed)
		}
	}
}

// slice adds to a row what a stream gained since its last slice. A slice
// without a packet waits for one, so that small flows do not keep rows dirty
// for an octet.
func (t *Table) slice(st *stream) {
	st.packets.due += int64(st.packets.rate) * sliceTicks
	st.bytes.due += int64(st.bytes.rate) * sliceTicks
	if st.live > 0 && st.packets.due < 1<<fraction && (st.packets.booked > 0 || st.bytes.due < 1<<fraction) {
		return
	}
	packets, bytes := st.packets.take(), st.bytes.take()
	if packets|bytes == 0 {
		return
	}
	t.smear.pending -= min(packets, t.smear.pending)
	raw := packets
	if st.sampling > 1 {
		told := uint64(st.rest) + packets
		raw, st.rest = told/uint64(st.sampling), uint32(told%uint64(st.sampling))
	}
	if st.class&classTotal != 0 {
		t.addSlice(totalRow+st.key, t.total(int(st.key)), st.class, st.sampling, packets, bytes, raw)
		return
	}
	n := st.row
	if n >= uint32(t.used) || t.rows[n].addr != st.addr || t.rows[n].key&keyMask != st.key {
		n = t.find(st.addr, st.key, st.place)
		st.row = n
	}
	t.wake(n)
	t.addSlice(n, &t.rows[n], st.class, st.sampling, packets, bytes, raw)
	if st.user != 0 {
		t.mergeUser(n, st.user, &userEntry{
			packets: packets, bytes: bytes, sampling: st.sampling, samples: uint32(min(raw, 1<<32-1)),
		})
	}
}

// adoptStreams brings streams under the plan now in use; same are the user
// counters that it shares with the one before.
func (t *Table) adoptStreams(same uint64) {
	s := t.smear
	for i := range s.lists {
		l := &s.lists[i]
		for n := range l.used {
			st := &l.slabs[n/streamSlab][n%streamSlab]
			if st.class == 0 || st.class&classTotal != 0 {
				continue
			}
			r := row{addr: st.addr, key: st.key}
			ours := t.rename(&r)
			st.addr, st.key, st.place, st.user = r.addr, r.key, r.place, st.user&same
			if !ours {
				st.addr, st.key, st.user = addr{}, uint32(totalIndex(false, r.family() == 6)), 0
				st.class |= classTotal
			}
		}
	}
	s.reindex(len(s.index), t.seed)
}
