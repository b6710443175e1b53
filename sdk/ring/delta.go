package ring

import (
	"net/netip"
	"unsafe"
)

// DeltaSize is the size of every record in a delta ring, in bytes.
const DeltaSize = 128

// Kind tells what a delta speaks of.
type Kind uint8

// The kinds of delta. Zero is invalid, so that untouched memory is.
const (
	KindFlush   Kind = 1 // a Flush: opens a batch
	KindHost    Kind = 2 // one host in one direction
	KindPrefix  Kind = 3 // rows folded into their prefix when the table was full
	KindTotal   Kind = 4 // internal (ignored) or other traffic of one family
	KindCounter Kind = 5 // what a user-defined counter gained for one host
	KindLoss    Kind = 6 // records dropped for one cause
)

// Direction of traffic, seen from the configured networks.
type Direction uint8

// The directions.
const (
	Incoming Direction = iota // to one of our networks from outside
	Outgoing                  // from one of our networks to outside
	Internal                  // between our networks
	Other                     // neither end is ours
)

func (d Direction) String() string {
	switch d {
	case Incoming:
		return "incoming"
	case Outgoing:
		return "outgoing"
	case Internal:
		return "internal"
	}
	return "other"
}

// Flags of a delta.
type Flags uint8

// The flags.
const (
	FlagSmeared     Flags = 1 << iota // spread forward from flow records: burst rules ignore it
	FlagFolded                        // includes rows folded in from hosts that lost their own
	FlagFlowsLeast                    // flows is a lower bound (sampled, or the flow set was full)
	FlagInternalRow                   // internal traffic counted for this host (internal = "count")
)

// The built-in counters, total apart: indexes of Delta.CounterPackets and
// Delta.CounterBytes.
const (
	CounterTCP = iota
	CounterUDP
	CounterICMP
	CounterTCPSYN // SYN without ACK
	CounterFragmented
	CounterDropped
	CounterExempt // records an exemption keeps out of all other counters
	BuiltinCounters
)

// Delta is what one host, prefix or total gained in one direction since its
// last flush. Integers are little-endian; the layout is:
//
//	off size field
//	  0    1 kind (2 … 6)
//	  1    1 direction (0 incoming, 1 outgoing, 2 internal, 3 other)
//	  2    1 family (4, 6; 0 for loss)
//	  3    1 flags
//	  4    4 network id (0 none)
//	  8   16 address, IPv4 mapped, masked to the row's length
//	 24    4 group id (0 none)
//	 28    4 span: milliseconds from the flush before the first record to the window's end; a multiple of 50
//	 32    8 packets of total (host, prefix, total), of the counter (counter), records lost (loss)
//	 40    8 bytes of the same
//	 48   28 packets of the seven other built-in counters, u32 each: tcp, udp, icmp, tcp_syn, fragmented, dropped, exempt
//	 76   28 bytes of the same
//	104    4 new flows
//	108    4 largest sampling rate applied (1 when unsampled)
//	112    4 raw samples seen
//	116    1 prefix length in the family's own bits (32 for an IPv4 host)
//	117    1 id: user counter (0 … 63) or drop cause (index into the plugin's declared causes)
//	118    2 reserved, 0
//	120    8 reserved, 0
//
// A value that does not fit its field is split over several deltas.
type Delta struct {
	Kind           Kind
	Direction      Direction
	Family         uint8
	Flags          Flags
	Network        uint32
	Addr           [16]byte
	Group          uint32
	SpanMs         uint32
	Packets        uint64
	Bytes          uint64
	CounterPackets [BuiltinCounters]uint32
	CounterBytes   [BuiltinCounters]uint32
	Flows          uint32
	Sampling       uint32
	Samples        uint32
	PrefixLen      uint8
	ID             uint8
	_              [10]uint8
}

// Flush opens each batch of deltas. All counts are running totals since the
// process started; rings are told apart by generation. The layout is:
//
//	off size field
//	  0    1 kind (1)
//	  1    1 reserved, 0
//	  2    1 reserved, 0
//	  3    1 flags (FlushFinished: the input has ended, nothing follows)
//	  4    4 generation of the ring
//	  8    8 flush number, from 1 in each process and worker
//	 16    8 revision of the plan under which the batch was counted
//	 24    8 window end, nanoseconds on the stream's clock; a multiple of 50 ms
//	 32    8 lag: nanoseconds between the window's end and the write, or for which
//	         some of its records have waited for filters, if that was longer
//	 40    8 records received
//	 48    8 records counted (in deltas of this and earlier batches, or still in the table)
//	 56    8 records dropped, all causes
//	 64    4 deltas that follow in this batch
//	 68    4 rows left in the table, dirty
//	 72    8 rows folded into their prefix so far
//	 80    8 packets received, scaled
//	 88    8 raw samples in the deltas of this batch, those of counters apart
//	 96    8 raw samples in what was counted and is left in the table; not those of flow records whose time is still to come
//	104   24 reserved, 0
type Flush struct {
	Kind         Kind
	_            [2]uint8
	Flags        FlushFlags
	Generation   uint32
	Number       uint64
	Revision     uint64
	WindowEnd    int64
	LagNanos     uint64
	Received     uint64
	Counted      uint64
	DroppedTotal uint64
	Deltas       uint32
	DirtyRows    uint32
	Folded       uint64
	Packets      uint64
	Samples      uint64
	Held         uint64
	_            [24]uint8
}

// FlushFlags qualify a flush.
type FlushFlags uint8

// FlushFinished marks the last flush of an input that has ended.
const FlushFinished FlushFlags = 1

// AsFlush reads a record of KindFlush as what it is.
func (d *Delta) AsFlush() *Flush { return (*Flush)(unsafe.Pointer(d)) }

// AsDelta returns the flush as a ring record.
func (f *Flush) AsDelta() *Delta { return (*Delta)(unsafe.Pointer(f)) }

// Prefix returns the address and length of a host or prefix delta in its own
// family.
func (d *Delta) Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(d.Addr).Unmap(), int(d.PrefixLen))
}

// Layout checks that hold on every architecture, 32-bit ones included.
const (
	_ = uint(DeltaSize - unsafe.Sizeof(Delta{}))
	_ = uint(unsafe.Sizeof(Delta{}) - DeltaSize)
	_ = uint(DeltaSize - unsafe.Sizeof(Flush{}))
	_ = uint(unsafe.Sizeof(Flush{}) - DeltaSize)
	_ = uint(32 - unsafe.Offsetof(Delta{}.Packets))
	_ = uint(unsafe.Offsetof(Delta{}.Packets) - 32)
	_ = uint(48 - unsafe.Offsetof(Delta{}.CounterPackets))
	_ = uint(unsafe.Offsetof(Delta{}.CounterPackets) - 48)
	_ = uint(76 - unsafe.Offsetof(Delta{}.CounterBytes))
	_ = uint(unsafe.Offsetof(Delta{}.CounterBytes) - 76)
	_ = uint(104 - unsafe.Offsetof(Delta{}.Flows))
	_ = uint(unsafe.Offsetof(Delta{}.Flows) - 104)
	_ = uint(117 - unsafe.Offsetof(Delta{}.ID))
	_ = uint(unsafe.Offsetof(Delta{}.ID) - 117)
	_ = uint(24 - unsafe.Offsetof(Flush{}.WindowEnd))
	_ = uint(unsafe.Offsetof(Flush{}.WindowEnd) - 24)
	_ = uint(80 - unsafe.Offsetof(Flush{}.Packets))
	_ = uint(unsafe.Offsetof(Flush{}.Packets) - 80)
	_ = uint(96 - unsafe.Offsetof(Flush{}.Held))
	_ = uint(unsafe.Offsetof(Flush{}.Held) - 96)
)
