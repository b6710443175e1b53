package count

import (
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Flow records tell of the past in lumps. One that tells of more than a second
// is counted forward: its volume over its duration d goes, at an even rate, to
// the Spread seconds from its arrival on. A steady flow then reads steady
// whatever the exporter's active timeout is.
//
// The cost does not grow with the number of flows that count at a time. All
// records of a row and class (the counters they belong to) are one stream,
// which has a rate; a record raises it when it begins and lowers it when it is
// over, which are its only two turns. Each stream adds its slice of a quarter
// second to its row, at a phase given by the row, so that work is even over
// the windows. Rates are whole numbers of 2^-16, what division leaves is
// carried: the slices of a record add up to its volume, packet by packet.
const (
	atOnce     = 1000    // ms: shorter records are counted when they come
	sliceTicks = 5       // ticks in a slice
	fraction   = 16      // bits of a rate behind the point
	maxRate    = 1 << 54 // of a stream, packets or octets a tick << fraction: 44 Tbit/s
	maxStreams = 1 << 20
	maxSmeared = 1 << 21 // records that count at a time
)

// The class of a stream: the built-in counter of its protocol, and what else
// its records are.
const (
	classCounter  = 7
	classSYN      = 1 << 3
	classFragment = 1 << 4
	classDropped  = 1 << 5
	classExempt   = 1 << 6
	classInner    = 1 << 7
	classTotal    = 1 << 8 // of no host: the key is an index of Table.totals
	classUsed     = 1 << 9
)

// meter is one quantity of a stream.
type meter struct {
	rate   uint64 // gained a tick, << fraction
	due    int64  // beyond rate × the ticks since the last slice, << fraction
	booked uint64 // rate, and that of the records that are to begin
}

// begin raises the rate, so many ticks after the present slice began.
func (m *meter) begin(rate uint64, ticks int64) {
	m.rate += rate
	m.due -= int64(rate) * ticks
}

// over lowers it.
func (m *meter) over(rate uint64, ticks int64) {
	m.rate -= rate
	m.booked -= rate
	m.due += int64(rate) * ticks
}

// take moves the whole part of what a slice holds out of the meter.
func (m *meter) take() uint64 {
	n := max(m.due, 0) >> fraction
	m.due -= n << fraction
	return uint64(n)
}

// stream is the sum of the records that count for one row and class.
type stream struct {
	addr
	packets, bytes meter
	user           uint64 // user counters its records belong to
	key            uint32 // of the row
	place          uint32
	row            uint32 // where the row was found last
	next           uint32 // in its chain of the index, or in the free list; 0: none
	sampling       uint32
	rest           uint32 // packets told that make no sample yet
	live           uint32 // records that count, or will
	class          uint32
}

func (s *stream) same(o *stream) bool {
	return s.addr == o.addr && s.key == o.key && s.user == o.user && s.sampling == o.sampling && s.class == o.class
}

const streamSlab = 256

// streamList holds the streams of one phase. Where a stream lies never
// changes: references to it are number<<3 | phase, plus 1.
type streamList struct {
	slabs []*[streamSlab]stream
	used  uint32
	free  uint32 // first of the free ones below used
}

// smearer is what a table knows of records that count forward.
type smearer struct {
	wheel   wheel
	lists   [sliceTicks]streamList
	index   []uint32 // first of each chain
	streams int
	done    int64 // the last tick that has had its slices
	follow  follower
	idle    int64  // the last tick with anything to smear
	pending uint64 // packets whose slices are still to come
}

const minIndex = 1 << 10

func newSmearer(done int64, seed uint64) *smearer {
	s := &smearer{done: done, idle: done, follow: follower{seed: newFlowSeed(seed ^ 0x2545f4914f6cdd1d)}}
	s.wheel.limit = maxSmeared
	s.free()
	return s
}

// free gives back the memory of a smearer without streams.
func (s *smearer) free() {
	s.wheel = wheel{heads: make([]uint32, wheelTicks), limit: s.wheel.limit}
	s.lists = [sliceTicks]streamList{}
	s.index = make([]uint32, minIndex)
	s.follow = follower{seed: s.follow.seed}
}

func (s *smearer) at(ref uint32) *stream {
	n := (ref - 1) >> 3
	return &s.lists[(ref-1)&7].slabs[n/streamSlab][n%streamSlab]
}

// since is the tick from which on a stream's next slice counts.
func (s *smearer) since(ref uint32) int64 {
	phase := int64((ref - 1) & 7)
	late := (s.done - phase) % sliceTicks
	if late < 0 {
		late += sliceTicks
	}
	return s.done - late + 1
}

func (s *smearer) hash(st *stream, seed [2]uint64) uint64 {
	h := mix(st.hi^seed[0]^uint64(st.key)<<32, st.lo^seed[1])
	return mix(h^st.user, seed[0]^uint64(st.class)<<32^uint64(st.sampling))
}

// stream finds the stream of a row and class, or makes it; 0: there is no
// room.
func (s *smearer) stream(want *stream, seed [2]uint64) uint32 {
	h := s.hash(want, seed)
	head := &s.index[h&uint64(len(s.index)-1)]
	for ref := *head; ref != 0; {
		st := s.at(ref)
		if st.same(want) {
			return ref
		}
		ref = st.next
	}
	if s.streams >= maxStreams {
		return 0
	}
	// Of all classes of a host at the same phase: its row is written once.
	phase := uint32(mix(want.hi^seed[1], want.lo^seed[0]) >> 32 % sliceTicks)
	l := &s.lists[phase]
	ref := l.free
	if ref != 0 {
		l.free = s.at(ref).next
	} else {
		if l.used%streamSlab == 0 {
			l.slabs = append(l.slabs, new([streamSlab]stream))
		}
		ref = l.used<<3 | phase + 1
		l.used++
	}
	st := s.at(ref)
	*st = *want
	st.next, *head = *head, ref
	if s.streams++; s.streams > len(s.index) {
		s.reindex(2*len(s.index), seed)
	}
	return ref
}

// reindex builds the index anew, for more streams or after they were renamed.
func (s *smearer) reindex(size int, seed [2]uint64) {
	s.index = make([]uint32, size)
	for phase := range s.lists {
		l := &s.lists[phase]
		for n := range l.used {
			ref := n<<3 | uint32(phase) + 1
			if st := s.at(ref); st.class != 0 {
				head := &s.index[s.hash(st, seed)&uint64(size-1)]
				st.next, *head = *head, ref
			}
		}
	}
}

// release frees a stream.
func (s *smearer) release(ref uint32, seed [2]uint64) {
	st := s.at(ref)
	at := &s.index[s.hash(st, seed)&uint64(len(s.index)-1)]
	for *at != ref {
		at = &s.at(*at).next
	}
	*at = st.next
	l := &s.lists[(ref-1)&7]
	*st = stream{next: l.free}
	l.free = ref
	s.streams--
}

// forward counts a record at a rate over the ticks from start to end. It
// reports false when there is no room for it, or no number for its rate.
func (s *smearer) forward(want *stream, r *traffic.Record, w smearWindow, seed [2]uint64) bool {
	if s.wheel.full() {
		return false
	}
	e := entry{ticks: uint32(w.end - w.start)}
	packets, bytes := share(r.Packets, w.part, w.whole), share(r.Bytes, w.part, w.whole)
	var restP, restB uint64
	var ok [2]bool
	e.packets, restP, ok[0] = perTickOf(packets, e.ticks)
	e.bytes, restB, ok[1] = perTickOf(bytes, e.ticks)
	if !ok[0] || !ok[1] {
		return false
	}
	if e.stream = s.stream(want, seed); e.stream == 0 {
		return false
	}
	st := s.at(e.stream)
	if st.packets.booked+e.packets > maxRate || st.bytes.booked+e.bytes > maxRate {
		return false // the stream has others: it goes on
	}
	st.live++
	st.packets.booked += e.packets
	st.bytes.booked += e.bytes
	st.packets.due += int64(restP)
	st.bytes.due += int64(restB)
	s.pending += packets
	if w.start > s.done+1 {
		s.wheel.add(w.start, e)
	} else {
		s.begin(e, w.start)
	}
	return true
}

// begin raises a stream's rate, from a tick on that may be past.
func (s *smearer) begin(e entry, start int64) {
	st, ticks := s.at(e.stream), start-s.since(e.stream)
	st.packets.begin(e.packets, ticks)
	st.bytes.begin(e.bytes, ticks)
	end := start + int64(e.ticks)
	e.ticks = 0
	s.wheel.add(end, e)
}

// over lowers it again.
func (s *smearer) over(e entry, end int64) {
	st, ticks := s.at(e.stream), end-s.since(e.stream)
	st.packets.over(e.packets, ticks)
	st.bytes.over(e.bytes, ticks)
	st.live--
}

// share is v × part ÷ whole, for part ≤ whole.
func share(v, part, whole uint64) uint64 {
	if part == whole {
		return v
	}
	hi, lo := bits.Mul64(v, part)
	n, _ := bits.Div64(hi, lo, whole)
	return n
}

// perTickOf divides a volume by ticks; false: the rate is absurd.
func perTickOf(v uint64, ticks uint32) (rate, rest uint64, ok bool) {
	if v>>(64-fraction) >= uint64(ticks) {
		return 0, 0, false
	}
	rate, rest = bits.Div64(v>>(64-fraction), v<<fraction, uint64(ticks))
	return rate, rest, rate <= maxRate
}

// classOf tells a record's class by what row.add looks at.
func classOf(r *traffic.Record) uint32 {
	c := uint32(counterOf[r.Protocol]) | classUsed
	if r.Protocol == traffic.ProtoTCP && r.TCPFlags&(traffic.FlagSYN|traffic.FlagACK) == traffic.FlagSYN {
		c |= classSYN
	}
	if r.Marks&traffic.MarkFragment != 0 {
		c |= classFragment
	}
	if r.Marks&traffic.MarkDropped != 0 {
		c |= classDropped
	}
	return c
}

// addSlice adds a slice to row number n, as add adds a record.
func (t *Table) addSlice(n uint32, r *row, class, sampling uint32, packets, bytes, raw uint64) {
	r.key |= rowSmeared
	r.sampling = max(r.sampling, sampling)
	r.saw(raw)
	if class&classExempt != 0 {
		t.gain(n, r, ring.CounterExempt, packets, bytes)
		r.key |= rowExempt
		return
	}
	if sampling > 1 {
		r.key |= rowAtLeast
	}
	if class&classInner != 0 {
		r.key |= rowInner
	}
	r.packets += packets
	r.bytes += bytes
	t.gain(n, r, int(class&classCounter), packets, bytes)
	for i, bit := range [...]uint32{
		ring.CounterTCPSYN: classSYN, ring.CounterFragmented: classFragment, ring.CounterDropped: classDropped,
	} {
		if class&bit != 0 {
			t.gain(n, r, i, packets, bytes)
		}
	}
}
