package engine

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// HostRates are the rates of one host at a time.
type HostRates struct {
	Host           netip.Prefix
	Network, Group uint32
	Dir            [2]DirRates // incoming, outgoing
	Sampling       [2]uint32   // largest sampling rate seen lately; 1 unsampled
}

func sortBy[T any](list []T, key func(T) uint32) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// stepsAt turns a reader's time into steps, never before the clock's start.
func (e *Engine) stepsAt(now int64) uint32 {
	return uint32(min(max(now/step-e.base, 0), math.MaxUint32))
}

// Rates returns the rates of a host at a time of the stream's clock, false
// when the engine has no row for it. The prefix is /32 for IPv4 and as long as
// the host's key for IPv6.
func (e *Engine) Rates(host netip.Prefix, now int64) (HostRates, bool) {
	if e.cur == nil || !host.IsValid() {
		return HostRates{}, false
	}
	r := e.rowOf(host)
	if r == nil {
		return HostRates{}, false
	}
	return e.rates(r, e.stepsAt(now)), true
}

func (e *Engine) rates(r *row, now uint32) HostRates {
	l := e.lutOf(r)
	_, target, network, group := e.place(r)
	h := HostRates{Host: target, Network: network, Group: group}
	for d := range h.Dir {
		decay := 1.0
		if now > r.last[d] {
			decay = l.decayFor(now - r.last[d])
		}
		for k := range Counters {
			h.Dir[d].Packets[k] = r.dir[d].avg[2*k].f() * decay
			h.Dir[d].Bytes[k] = r.dir[d].avg[2*k+1].f() * decay
		}
		h.Dir[d].Flows = r.flows[d].f() * decay
		h.Sampling[d] = r.dir[d].sampling.rate()
	}
	return h
}

// AlarmRates returns the rates of an alarm's host at a time.
func (e *Engine) AlarmRates(a Alarm, now int64) HostRates {
	return e.rates(e.row(e.alarms[a].row), e.stepsAt(now))
}

// Burst tells when a burst rule of one of an alarm's limits last held, on the
// stream's clock (0: never), and the largest packet rate that such a rule saw
// (limits on packets only).
func (e *Engine) Burst(a Alarm) (last int64, peak float64) {
	al := &e.alarms[a]
	if al.last != 0 {
		last = e.nanos(al.last)
	}
	return last, al.peak
}

// Release ends an alarm: its limits may fire again, its host may leave.
func (e *Engine) Release(a Alarm) {
	if int(a) >= len(e.alarms) || !e.alarms[a].open {
		return
	}
	al := &e.alarms[a]
	e.row(al.row).alarm[al.dir] = 0
	al.open, al.fired = false, al.fired[:0]
	e.freeAlarm = append(e.freeAlarm, a)
}

// Level is where a limit of an alarm stands.
type Level struct {
	Limit float64 // its value now, which a plan may have changed
	Value float64 // the average; of sampled traffic the larger of both averages
	Quiet int64   // when Value will be below factor × Limit if nothing more comes; not before now
}

// Level tells how far a limit of an alarm is from quiet at a time. It is false
// when the host's group has no such limit any more.
func (e *Engine) Level(a Alarm, limit uint32, factor float64, now int64) (Level, bool) {
	al := &e.alarms[a]
	r := e.row(al.row)
	e.lutOf(r) // brings the row under the plan in force
	l := e.entryOf(r).plan.limit(limit)
	if l == nil {
		return Level{}, false
	}
	return e.level(r, l, factor, now), true
}

// level reads a limit of a row that is under the plan in force.
func (e *Engine) level(r *row, l *limitPlan, factor float64, now int64) Level {
	at := e.stepsAt(now)
	lv := Level{Limit: l.Value, Quiet: now}
	if e.periodic(r, l) {
		if lv.Value = l.average(r); lv.Value >= factor*l.Value {
			lv.Quiet = now + 1 // at the end of some period; look again
		}
		return lv
	}
	fast, dir := e.entryOf(r).plan.lut, int(l.Direction)
	look := func(v float64, last uint32, t *lut) {
		value := v
		if at > last {
			value = v * t.decayFor(at-last)
		}
		lv.Value = max(lv.Value, value)
		if q := factor * l.Value; value >= q {
			// The logarithm says where to look; the first step at which
			// the same arithmetic agrees is the answer.
			k := uint32(max(math.Log(v/q)*t.tau/stepSeconds-2, 0))
			for v*t.decayFor(k) >= q {
				k++
			}
			lv.Quiet = max(lv.Quiet, e.nanos(last)+int64(k)*step)
		}
	}
	v, last := e.average(r, l)
	look(v, last, fast)
	if r.dir[dir].sampling != 0 && l.Unit != FlowRate {
		if x := e.findExtra(r, extraKey(dir, l.counter)); x != nil {
			look(x.v[2+l.Unit&1].f(), x.t, e.slow)
		}
	}
	return lv
}

// periodic tells whether a limit is compared with averages that are held from
// the end of one period to that of the next.
func (e *Engine) periodic(r *row, l *limitPlan) bool {
	return l.counter < FirstUser && e.community(r) != nil
}

// average is the average that a limit is compared with, and the step of which it
// tells.
func (e *Engine) average(r *row, l *limitPlan) (v float64, last uint32) {
	dir := int(l.Direction)
	if l.counter < FirstUser {
		return l.average(r), r.last[dir]
	}
	if x := e.findExtra(r, extraKey(dir, l.counter)); x != nil {
		return x.v[l.Unit&1].f(), x.t
	}
	return 0, r.last[dir]
}

// rowOf is the row of a host, nil where it has none.
func (e *Engine) rowOf(host netip.Prefix) *row {
	if !e.started {
		return nil
	}
	addr := host.Addr().As16()
	k0, k1 := words(&addr)
	plen := uint8(host.Bits())
	kind := uint8(ring.KindHost)
	no, ok := e.find(e.idx.hash(k0, k1, kind, plen), k0, k1, kind, plen)
	if !ok {
		return nil
	}
	return e.row(no)
}

func (g *groupPlan) limit(id uint32) *limitPlan {
	for dir := range g.dirs {
		for _, list := range [2][]limitPlan{g.dirs[dir].limits, g.dirs[dir].user} {
			for i := range list {
				if list[i].ID == id {
					return &list[i]
				}
			}
		}
	}
	return nil
}

// Crossings returns the limits that fired since the last call, in the order in
// which they did. The slice is good until the call after next.
func (e *Engine) Crossings() []Crossing {
	out := e.crossings[0]
	e.crossings[0], e.crossings[1] = e.crossings[1][:0], out
	return out
}

// Snapshot gathers the hosts with the most of a counter, a slice at a time, so
// that whoever drives the engine can go on with deltas in between.
type Snapshot struct {
	e    *Engine
	q    HostQuery
	n    int
	idx  uint8
	at   uint32 // step by which all rows are compared, whenever they are looked at
	next uint32
	heap []heapRow // smallest first, once it is full
	full bool

	touched uint64 // what keeps the compiler from leaving the touching out
}

type heapRow struct {
	value  float64
	no     uint32
	hi, lo uint64 // address, as it is ordered by
}

// HostQuery asks for the hosts with the highest rates.
type HostQuery struct {
	N       int   // how many
	Counter uint8 // built-in, to order by
	Unit    Unit  // to order by; FlowRate knows no counter
	Only    Only  // directions whose rates are added up to order by
	// What takes hosts away before the top ones are chosen: 0 and the zero
	// prefix take none.
	Network, Group uint32
	Prefix         netip.Prefix
}

// Only names directions of a query.
type Only uint8

// The directions of a query.
const (
	Both Only = iota
	OnlyIncoming
	OnlyOutgoing
)

// NewSnapshot starts a snapshot of the hosts that a query asks for.
func (e *Engine) NewSnapshot(q HostQuery) *Snapshot {
	q.N = max(q.N, 0)
	idx := min(q.Counter, Counters-1)*2 + uint8(q.Unit&1)
	return &Snapshot{e: e, q: q, n: q.N, at: e.clock, idx: idx, heap: make([]heapRow, 0, min(q.N, int(e.rows.top)))}
}

// wanted tells whether a host passes the query's filters.
func (s *Snapshot) wanted(r *row) bool {
	ent := &s.e.cur.entries[r.entry]
	return (s.q.Network == 0 || ent.network == s.q.Network) && (s.q.Group == 0 || ent.group == s.q.Group) &&
		(!s.q.Prefix.IsValid() || s.q.Prefix.Bits() <= int(r.plen) && s.q.Prefix.Contains(r.prefix().Addr()))
}

// rate is what the query orders by.
func (s *Snapshot) rate(r *row, l *lut) (sum float64) {
	for dir := range r.dir {
		switch {
		case s.q.Only == OnlyIncoming && dir != int(ring.Incoming), s.q.Only == OnlyOutgoing && dir != int(ring.Outgoing):
		case s.q.Unit == FlowRate:
			flows := r.flows[dir].f()
			if s.at > r.last[dir] {
				flows *= l.decayFor(s.at - r.last[dir])
			}
			sum += flows
		default:
			sum += r.value(l, dir, s.idx, s.at)
		}
	}
	return sum
}

// Step looks at up to rows rows (4096 take well under a millisecond) and
// reports whether all have been seen.
func (s *Snapshot) Step(rows int) bool {
	e := s.e
	if e.cur == nil || s.n == 0 {
		return true
	}
	for ; rows > 0 && s.next < e.rows.top; rows-- {
		r := e.row(s.next)
		if r.kind == uint8(ring.KindHost) {
			if l := e.lutOf(r); s.wanted(r) {
				s.push(heapRow{s.rate(r, l), s.next, bigEndian(&r.k0), bigEndian(&r.k1)})
			}
		}
		s.next++
	}
	return s.next >= e.rows.top
}

func (s *Snapshot) push(h heapRow) {
	switch {
	case h.value <= 0:
		return
	case len(s.heap) < s.n:
		s.heap = append(s.heap, h)
		return
	case !s.full: // it is no heap so far: where all hosts are asked for it need not be one
		s.full = true
		for i := len(s.heap)/2 - 1; i >= 0; i-- {
			s.sink(i)
		}
	}
	if h.value > s.heap[0].value {
		s.heap[0] = h
		s.sink(0)
	}
}

// sink moves a row down to where it belongs in the heap.
func (s *Snapshot) sink(i int) {
	for {
		c := 2*i + 1
		if c+1 < len(s.heap) && s.heap[c+1].value < s.heap[c].value {
			c++
		}
		if c >= len(s.heap) || s.heap[i].value <= s.heap[c].value {
			return
		}
		s.heap[i], s.heap[c] = s.heap[c], s.heap[i]
		i = c
	}
}

// Hosts returns what was gathered at a time, the largest first; hosts that
// left meanwhile are missing.
func (s *Snapshot) Hosts(now int64) []HostRates {
	s.Sort()
	out, _ := s.Read(make([]HostRates, 0, len(s.heap)), len(s.heap), now)
	return out
}

// Sort orders what was gathered, before Read: it takes long for many hosts and
// touches nothing of the engine, so that anybody may call it.
func (s *Snapshot) Sort() {
	if len(s.heap) < radixFrom {
		slices.SortFunc(s.heap, compareRows)
		return
	}
	// By the first bits of the value, which order positive numbers; then the few
	// that are alike in these.
	s.heap = radixSort(s.heap)
	for from := 0; from < len(s.heap); {
		to := from + 1
		for to < len(s.heap) && radixKey(&s.heap[to]) == radixKey(&s.heap[from]) {
			to++
		}
		slices.SortFunc(s.heap[from:to], compareRows)
		from = to
	}
}

const (
	radixFrom   = 4096 // rows from which on it is faster
	radixBits   = 11
	radixPasses = 3
)

// radixKey is smaller the larger the value, as far as its first 33 bits tell.
func radixKey(h *heapRow) uint64 {
	return ^math.Float64bits(h.value) >> (64 - radixBits*radixPasses)
}

// radixSort sorts by radixKey, least significant digits first. What it returns is
// not where rows was.
func radixSort(rows []heapRow) []heapRow {
	var counts [radixPasses][1 << radixBits]uint32
	for i := range rows {
		k := radixKey(&rows[i])
		for pass := range counts {
			counts[pass][k>>(pass*radixBits)&(1<<radixBits-1)]++
		}
	}
	other := make([]heapRow, len(rows))
	for pass := range counts {
		count, sum := &counts[pass], uint32(0)
		for d, n := range count {
			count[d], sum = sum, sum+n
		}
		for i := range rows {
			d := radixKey(&rows[i]) >> (pass * radixBits) & (1<<radixBits - 1)
			other[count[d]] = rows[i]
			count[d]++
		}
		rows, other = other, rows
	}
	return rows
}

// readAhead is how many rows Read touches before it reads the first of them:
// they lie anywhere, and waiting for all at once is not longer than for one.
const readAhead = 16

// Read appends the rates of the next hosts, up to rows of them, and reports
// whether these were the last.
func (s *Snapshot) Read(to []HostRates, rows int, now int64) (out []HostRates, done bool) {
	at := s.e.stepsAt(now)
	for n := min(rows, len(s.heap)); n > 0; {
		some := s.heap[:min(n, readAhead)]
		for i := range some {
			r := s.e.row(some[i].no)
			s.touched += uint64(r.kind) + uint64(r.dir[0].avg[0]) + uint64(r.dir[0].sampling) + uint64(r.dir[1].avg[0]) + uint64(r.dir[1].sampling)
		}
		for i := range some {
			h := &some[i]
			if r := s.e.row(h.no); r.kind == uint8(ring.KindHost) && bigEndian(&r.k0) == h.hi && bigEndian(&r.k1) == h.lo {
				to = append(to, s.e.rates(r, at))
			}
		}
		n -= len(some)
		s.heap = s.heap[len(some):]
	}
	return to, len(s.heap) == 0
}

// compareRows puts larger values first, and hosts of equal ones by address.
func compareRows(a, b heapRow) int {
	switch {
	case a.value > b.value:
		return -1
	case a.value < b.value:
		return 1
	}
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// bigEndian reads eight octets of an address as they order addresses.
func bigEndian(k *uint64) uint64 { return binary.BigEndian.Uint64((*[8]byte)(unsafe.Pointer(k))[:]) }
