package count

import (
	"math"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// row is what one host, prefix or total has gained in one direction since its
// last flush. It is two cache lines long, so a counter has 32 bits: what a row
// gains beyond them lies in Table.wide, which hardly a row needs between two
// flushes.
type row struct {
	addr                  // masked
	packets, bytes uint64 // of total
	user           uint64 // user counters that have moved, a bit each
	key            uint32 // direction, length and family, below rowFlags
	place          uint32
	first          uint32 // tick of the first record, 0 while clean; see Table.base
	samples        uint32
	flows          uint32
	sampling       uint32
	counters       [8]narrow // by ring.Counter…; the last one takes protocols that have no counter
}

// narrow is a counter in a row.
type narrow struct{ packets, bytes uint32 }

// add reports false, and adds nothing, where the counter is too narrow.
func (c *narrow) add(packets, bytes uint64) bool {
	p, b := uint64(c.packets)+packets, uint64(c.bytes)+bytes
	if (packets|bytes|p|b)>>32 != 0 {
		return false
	}
	c.packets, c.bytes = uint32(p), uint32(b)
	return true
}

type pair struct{ packets, bytes uint64 }

// wide is what a row has gained beyond its counters' 32 bits.
type wide [noCounter]pair

const noCounter = 7

// Fields of row.key. The top octet holds flags and is no part of the key.
const (
	keyLength  = 8
	keyFamily  = 16
	keyMask    = 1<<24 - 1
	rowSmeared = uint32(ring.FlagSmeared) << 24
	rowFolded  = uint32(ring.FlagFolded) << 24
	rowAtLeast = uint32(ring.FlagFlowsLeast) << 24
	rowInner   = uint32(ring.FlagInternalRow) << 24
	rowExempt  = 1 << 31 // no flag of a delta: the counter exempt is not 0
	rowWide    = 1 << 30 // no flag of a delta: Table.wide has more of the row
	rowFlags   = (rowSmeared | rowFolded | rowAtLeast | rowInner) >> 24
)

func makeKey(d ring.Direction, length uint8, family uint32) uint32 {
	return uint32(d) | uint32(length)<<keyLength | family<<keyFamily
}

func (r *row) direction() ring.Direction { return ring.Direction(r.key & 0xff) }
func (r *row) length() uint8             { return uint8(r.key >> keyLength) }
func (r *row) family() uint8             { return uint8(r.key >> keyFamily) }
func (r *row) flags() ring.Flags         { return ring.Flags(r.key >> 24 & rowFlags) }

// counterOf gives the built-in counter of a protocol.
var counterOf = func() (t [256]uint8) {
	for i := range t {
		t[i] = noCounter
	}
	t[traffic.ProtoTCP] = ring.CounterTCP
	t[traffic.ProtoUDP] = ring.CounterUDP
	t[traffic.ProtoICMP] = ring.CounterICMP
	t[traffic.ProtoICMPv6] = ring.CounterICMP
	return t
}()

// add adds one record to row number n.
func (t *Table) add(n uint32, r *row, rec *traffic.Record, flows, flags uint32) {
	r.packets += rec.Packets
	r.bytes += rec.Bytes
	if c := counterOf[rec.Protocol] & 7; !r.counters[c].add(rec.Packets, rec.Bytes) {
		t.widen(n, r, int(c), rec.Packets, rec.Bytes)
	}
	r.flows += flows
	r.key |= flags
	if rec.Sampling > 1 {
		r.sampled(rec)
	} else {
		r.saw(rec.Packets)
	}
	if rec.Marks&(traffic.MarkFragment|traffic.MarkDropped) != 0 || rec.TCPFlags&(traffic.FlagSYN|traffic.FlagACK) == traffic.FlagSYN {
		t.addSpecial(n, r, rec)
	}
}

func (t *Table) addSpecial(n uint32, r *row, rec *traffic.Record) {
	if rec.Protocol == traffic.ProtoTCP && rec.TCPFlags&(traffic.FlagSYN|traffic.FlagACK) == traffic.FlagSYN {
		t.gain(n, r, ring.CounterTCPSYN, rec.Packets, rec.Bytes)
	}
	if rec.Marks&traffic.MarkFragment != 0 {
		t.gain(n, r, ring.CounterFragmented, rec.Packets, rec.Bytes)
	}
	if rec.Marks&traffic.MarkDropped != 0 {
		t.gain(n, r, ring.CounterDropped, rec.Packets, rec.Bytes)
	}
}

// addExempt counts a record that an exemption keeps out of everything else.
func (t *Table) addExempt(n uint32, r *row, rec *traffic.Record) {
	t.gain(n, r, ring.CounterExempt, rec.Packets, rec.Bytes)
	r.key |= rowExempt
	r.sampling = max(r.sampling, rec.Sampling)
	r.saw(rec.Raw())
}

// gain adds to a counter of row number n.
func (t *Table) gain(n uint32, r *row, counter int, packets, bytes uint64) {
	if !r.counters[counter&7].add(packets, bytes) {
		t.widen(n, r, counter, packets, bytes)
	}
}

// widen adds to a counter of row number n what does not fit it.
func (t *Table) widen(n uint32, r *row, counter int, packets, bytes uint64) {
	if counter == noCounter {
		return
	}
	w := t.wide[n]
	if w == nil {
		w = new(wide)
		t.wide[n] = w
	}
	w[counter].add(packets, bytes)
	r.key |= rowWide
}

// wideTotals returns those of the totals, which keep their numbers.
func wideTotals(all map[uint32]*wide) map[uint32]*wide {
	totals := map[uint32]*wide{}
	for n, w := range all {
		if n >= totalRow {
			totals[n] = w
		}
	}
	return totals
}

// counts returns all that the counters of row number n have gained.
func (t *Table) counts(n uint32, r *row) (c wide) {
	if r.key&rowWide != 0 {
		c = *t.wide[n]
	}
	for i := range c {
		c[i].add(uint64(r.counters[i].packets), uint64(r.counters[i].bytes))
	}
	return c
}

func (r *row) sampled(rec *traffic.Record) {
	r.sampling = max(r.sampling, rec.Sampling)
	r.key |= rowAtLeast
	r.saw(rec.Raw())
}

func (r *row) saw(raw uint64) {
	r.samples = uint32(min(uint64(r.samples)+raw, math.MaxUint32))
}

func (p *pair) add(packets, bytes uint64) {
	p.packets += packets
	p.bytes += bytes
}

// merge adds to row number n what another row gained, more of which lies in
// beyond if that is not nil.
func (t *Table) merge(n uint32, r, o *row, beyond *wide) {
	r.packets += o.packets
	r.bytes += o.bytes
	for i := range r.counters {
		t.gain(n, r, i, uint64(o.counters[i].packets), uint64(o.counters[i].bytes))
	}
	if beyond != nil {
		for i, c := range beyond {
			t.gain(n, r, i, c.packets, c.bytes)
		}
	}
	r.flows += o.flows
	r.saw(uint64(o.samples))
	r.sampling = max(r.sampling, o.sampling)
	r.key |= o.key &^ (keyMask | rowWide)
	if r.first == 0 || (o.first != 0 && o.first < r.first) {
		r.first = o.first
	}
}

// clear forgets what was flushed and keeps the identity.
func (r *row) clear() {
	*r = row{addr: r.addr, key: r.key & keyMask, place: r.place}
}

// heat orders rows for flushing and folding: the magnitude of their packets.
func (r *row) heat() int { return bits.Len64(r.packets) }

// splits is the number of deltas that row number n needs beyond the first,
// because a built-in counter does not fit its 32-bit field.
func (t *Table) splits(n uint32, r *row) int {
	if r.key&rowWide == 0 {
		return 0
	}
	c := t.counts(n, r)
	return c.splits()
}

func (c *wide) splits() int {
	var most uint64
	for i := range c {
		most = max(most, c[i].packets, c[i].bytes)
	}
	if most <= math.MaxUint32 {
		return 0
	}
	return int(min((most-1)/math.MaxUint32, maxSplits))
}
