// Package traffic holds the one shape in which packets, sampled packets and
// flow records travel through FastNetMon, and the parser that makes it from
// frames.
package traffic

import (
	"net/netip"
	"unsafe"
)

// RecordSize is the size of a Record in bytes: two cache lines.
const RecordSize = 128

// Record is one packet, sampled packet or flow record, decoded and scaled. It
// has no pointers and the same layout on every architecture, so that it can
// lie in shared memory. The first 64 bytes are all that counting an
// unfiltered live packet reads.
type Record struct {
	Src, Dst [16]byte // 0, 16: addresses; IPv4 mapped as ::ffff:a.b.c.d (RFC 4291 2.5.5.2)

	Packets    uint64 // 32: packets, already multiplied by the sampling rate
	Bytes      uint64 // 40: octets by the IP header (or of the frame), already multiplied
	Sampling   uint32 // 48: sampling rate that was applied; 0 and 1 both mean unsampled
	DurationMs uint32 // 52: flow records: last minus first switched, milliseconds; 0 for packets
	SrcPort    uint16 // 56: 0 where the packet has none (ICMP, later fragments)
	DstPort    uint16 // 58
	Protocol   uint8  // 60: IANA protocol number of the transport
	TCPFlags   uint8  // 61: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 (RFC 9293)
	Marks      Marks  // 62: see the Mark constants

	Time     int64    // 64: nanoseconds since the Unix epoch; 0 when unknown
	Class    uint64   // 72: user classes set by filters, one bit each
	NextHop  [16]byte // 80
	Exporter uint32   // 96: index into the capture's table of exporters; 0 none
	InIf     uint32   // 100: SNMP ifIndex, 0 unknown
	OutIf    uint32   // 104
	SrcAS    uint32   // 108
	DstAS    uint32   // 112
	VLAN     uint16   // 116: outermost 802.1Q VLAN id, 0 none
	TTL      uint8    // 118: TTL or hop limit
	ToS      uint8    // 119: type of service or traffic class octet
	ICMPType uint8    // 120
	ICMPCode uint8    // 121
	Verdict  Verdict  // 122: written by filters only
	Spread   uint8    // 123: flow records: seconds over which the record counts from its arrival on; 0 and 1: at once
	_        [4]uint8 // 124
}

// Marks are properties of a record that counting needs.
type Marks uint16

// The marks of a record.
const (
	MarkIPv6     Marks = 1 << iota // family: set for IPv6, clear for IPv4
	MarkFragment                   // IPv4 MF set or offset not 0; IPv6 fragment header
	MarkDropped                    // the exporter says it dropped this traffic (forwarding status)
	MarkLater                      // a later fragment: ports are unknown
	MarkFlow                       // a flow record: it tells of the DurationMs before it was exported
)

// Verdict is what a filter thinks of a record.
type Verdict uint8

// The verdicts. A record that no filter has judged carries VerdictNone.
const (
	VerdictNone Verdict = iota
	VerdictPass
	VerdictDrop
)

// VerdictUnjudged is for records that a Judge failed on while it judged the
// rest of their batch: they follow the filter's on_failure. It means something
// only together with the error that says so.
const VerdictUnjudged Verdict = 254

// TCP flag bits (RFC 9293 3.1).
const (
	FlagFIN uint8 = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// IANA protocol numbers that the detector names.
const (
	ProtoICMP   uint8 = 1
	ProtoTCP    uint8 = 6
	ProtoUDP    uint8 = 17
	ProtoGRE    uint8 = 47
	ProtoICMPv6 uint8 = 58
)

// IsIPv6 reports the family of the record.
func (r *Record) IsIPv6() bool { return r.Marks&MarkIPv6 != 0 }

// SrcAddr returns the source address, IPv4 unmapped.
func (r *Record) SrcAddr() netip.Addr { return netip.AddrFrom16(r.Src).Unmap() }

// DstAddr returns the destination address, IPv4 unmapped.
func (r *Record) DstAddr() netip.Addr { return netip.AddrFrom16(r.Dst).Unmap() }

// Raw returns the number of raw samples behind the record: its packets
// divided by the sampling rate, at least 1 for a record that counts anything.
func (r *Record) Raw() uint64 {
	if r.Sampling <= 1 {
		return r.Packets
	}
	n := r.Packets / uint64(r.Sampling)
	if n == 0 && r.Packets > 0 {
		return 1
	}
	return n
}

// The layout is a contract between processes: hold it at compile time, on
// every architecture.
const (
	_ = uint(RecordSize - unsafe.Sizeof(Record{}))
	_ = uint(unsafe.Sizeof(Record{}) - RecordSize)
	_ = uint(62 - unsafe.Offsetof(Record{}.Marks))
	_ = uint(unsafe.Offsetof(Record{}.Marks) - 62)
	_ = uint(64 - unsafe.Offsetof(Record{}.Time))
	_ = uint(unsafe.Offsetof(Record{}.Time) - 64)
	_ = uint(122 - unsafe.Offsetof(Record{}.Verdict))
	_ = uint(unsafe.Offsetof(Record{}.Verdict) - 122)
)
