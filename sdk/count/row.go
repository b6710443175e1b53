package count

import (
	"math"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// row is what one host, prefix or total has gained in one direction since its
// last flush. It is three cache lines long; a usual record touches the first
// two.
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
	counters       [8]pair // by ring.Counter…; the last one takes protocols that have no counter
}

type pair struct{ packets, bytes uint64 }

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

// add adds one record to the row.
func (r *row) add(rec *traffic.Record, flows, flags uint32) {
	r.packets += rec.Packets
	r.bytes += rec.Bytes
	c := &r.counters[counterOf[rec.Protocol]&7]
	c.packets += rec.Packets
	c.bytes += rec.Bytes
	r.flows += flows
	r.key |= flags
	if rec.Sampling > 1 {
		r.sampled(rec)
	} else {
		r.saw(rec.Packets)
	}
	if rec.Marks&(traffic.MarkFragment|traffic.MarkDropped) != 0 || rec.TCPFlags&(traffic.FlagSYN|traffic.FlagACK) == traffic.FlagSYN {
		r.addSpecial(rec)
	}
}

func (r *row) addSpecial(rec *traffic.Record) {
	if rec.Protocol == traffic.ProtoTCP && rec.TCPFlags&(traffic.FlagSYN|traffic.FlagACK) == traffic.FlagSYN {
		r.counters[ring.CounterTCPSYN].add(rec.Packets, rec.Bytes)
	}
	if rec.Marks&traffic.MarkFragment != 0 {
		r.counters[ring.CounterFragmented].add(rec.Packets, rec.Bytes)
	}
	if rec.Marks&traffic.MarkDropped != 0 {
		r.counters[ring.CounterDropped].add(rec.Packets, rec.Bytes)
	}
}

// addExempt counts a record that an exemption keeps out of everything else.
func (r *row) addExempt(rec *traffic.Record) {
	r.counters[ring.CounterExempt].add(rec.Packets, rec.Bytes)
	r.key |= rowExempt
	r.sampling = max(r.sampling, rec.Sampling)
	r.saw(rec.Raw())
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

// merge adds what another row gained.
func (r *row) merge(o *row) {
	r.packets += o.packets
	r.bytes += o.bytes
	for i := range r.counters {
		r.counters[i].add(o.counters[i].packets, o.counters[i].bytes)
	}
	r.flows += o.flows
	r.saw(uint64(o.samples))
	r.sampling = max(r.sampling, o.sampling)
	r.key |= o.key &^ keyMask
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

// splits is the number of deltas the row needs beyond the first, because a
// built-in counter does not fit its 32-bit field.
func (r *row) splits() int {
	// All other counters are part of the total. Few rows need the cache line
	// of the counter exempt.
	if (r.packets|r.bytes)>>32 == 0 && r.key&rowExempt == 0 {
		return 0
	}
	var most uint64
	for i := range ring.BuiltinCounters {
		most = max(most, r.counters[i].packets, r.counters[i].bytes)
	}
	if most <= math.MaxUint32 {
		return 0
	}
	return int(min((most-1)/math.MaxUint32, maxSplits))
}
