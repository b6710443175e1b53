package count

import "net/netip"

// MaxCounters is the largest number of user-defined counters in a plan.
const MaxCounters = 64

// FlushTick is the unit of flushing in milliseconds: windows end on multiples
// of it on the stream's clock.
const FlushTick = 50

// Plan is what a capture needs to know to count: the core compiles it from
// the configuration and pushes it to running captures. Ids are never reused
// while the daemon lives, so a delta is never read under the wrong plan.
type Plan struct {
	Revision   uint64
	Prefixes   []Prefix    // longest match wins; networks and hostgroups merged, no duplicates
	Groups     []Group     // by id, any order
	Counters   []Counter   // at most MaxCounters
	Exemptions []Exemption // any match exempts
	CountFlows bool        // some threshold or exporter uses flows
	Seed       uint64      // of hash tables; fixed in replay
	MaxRows    uint32      // rows of the table before it folds; 0 means the default
}

// Prefix is one entry of the table of our own address space.
type Prefix struct {
	Prefix        netip.Prefix // masked
	Network       uint32       // id, never 0
	Group         uint32       // id; 0 where no hostgroup covers the network
	V6HostLen     uint8        // length of an IPv6 host: 128, 64 or 56; 0 means 128
	CountInternal bool         // internal = "count": internal traffic counts for both ends
}

// Group carries the smallest limits of a hostgroup: a row that gained more
// than a limit times 50 ms is flushed at once. Zero means no such limit.
type Group struct {
	ID      uint32
	Packets float64 // packets per second
	Bytes   float64 // bytes per second
	Flows   float64 // flows per second
	// Community counts the group's hosts as FastNetMon Community does: flow
	// records when they come, whatever time they tell of, and as new flows
	// those of TCP and UDP only.
	Community bool
}

// Counter is a conjunction: a record belongs to it when every field that is
// set matches. An empty slice or zero value does not restrict.
type Counter struct {
	ID         uint8 // 0 … 63, the bit and the id of its deltas
	Name       string
	Protocols  []uint8
	SrcPorts   []PortRange
	DstPorts   []PortRange
	FlagsSet   uint8 // TCP flags that must be set; with FlagsSet or FlagsClear only TCP matches
	FlagsClear uint8 // TCP flags that must be clear
	Fragment   *bool
	Dropped    *bool    // forwarding state
	Lengths    []Range  // IP length of a packet (a flow's mean), octets
	Classes    []uint8  // user classes set by filters: any of these bits
	_          struct{} // fields may be added
}

// PortRange is a closed range of ports.
type PortRange struct{ From, To uint16 }

// Range is a closed range.
type Range struct{ From, To uint32 }

// Exemption keeps records out of the rates; they count as the built-in
// counter exempt, and as a user counter of their own where Counter says so.
// Every field that is set must match.
type Exemption struct {
	Name      string
	Local     []netip.Prefix // our end
	Remote    []netip.Prefix // the other end
	Protocols []uint8
	Ports     []PortRange // either port
	Incoming  bool        // applies to incoming traffic
	Outgoing  bool        // applies to outgoing traffic
	UntilUnix int64       // seconds; 0 for ever; compared with the record's or the wall clock
	Counter   uint8       // 1 + id of the user counter that its records count in; 0: none. No Counter of the plan has that id
}
