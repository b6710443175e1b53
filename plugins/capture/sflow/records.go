package main

import (
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Record formats of enterprise 0 that are read.
const (
	recordHeader   = 1
	recordEthernet = 2
	recordIPv4     = 3
	recordIPv6     = 4
	recordSwitch   = 1001
	recordRouter   = 1002
	recordGateway  = 1003

	counterPortName = 1005 // among counters: the interface's name
)

// The least octets of their bodies.
const (
	headerSize   = 16 // before the sampled octets
	ethernetSize = 20 // six octets of address each; agents differ in padding them
	ipv4Size     = 32
	ipv6Size     = 56
	switchSize   = 16
	routerSize   = 12
	gatewaySize  = 20
)

// maxFrame is the longest frame that is believed, in octets: offloading hands
// up to 512 KiB through a device as one.
const maxFrame = 1 << 20

// The kinds of record that a sample's packet is made of, as a bit each.
const (
	foundHeader = 1 << iota
	foundEthernet
	foundIPv4
	foundIPv6
	foundSwitch
	foundRouter
	foundGateway
	foundShort // not a kind: a record of some kind is too short for it, or cut
)

// found is where in a sample the bodies of its records lie: those that the
// set of kinds beside it names.
type found struct {
	header, ethernet, ip4, ip6, vlan, router, gateway span
}

// record reads a record's format and the bounds of its body at off; next is
// -1 where it does not fit.
func record(b []byte, off int) (format uint32, from, to, next int) {
	if len(b)-off < 8 {
		return 0, 0, 0, -1
	}
	size := uint64(be.Uint32(b[off+4:]))
	format, from = be.Uint32(b[off:]), off+8
	if size > uint64(len(b)-from) {
		return 0, 0, 0, -1
	}
	to = from + int(size)
	return format, from, to, min((to+3)&^3, len(b)) // the last may lack its padding
}

// walk notes the first record of each kind among n at off, but for kinds, and
// returns all kinds. end is where they end, -1 where one does not fit; those
// before it are noted.
func (f *found) walk(b []byte, off int, n uint32, kinds uint) (all uint, end int) {
	for ; n > 0; n-- {
		format, from, to, next := record(b, off)
		if next < 0 {
			return kinds | foundShort, -1
		}
		off = next
		at := span{from, to}
		switch format {
		case recordHeader:
			kinds = note(kinds, foundHeader, &f.header, at, headerSize)
		case recordSwitch:
			kinds = note(kinds, foundSwitch, &f.vlan, at, switchSize)
		case recordRouter:
			kinds = note(kinds, foundRouter, &f.router, at, routerSize)
		case recordGateway:
			kinds = note(kinds, foundGateway, &f.gateway, at, gatewaySize)
		case recordEthernet:
			kinds = note(kinds, foundEthernet, &f.ethernet, at, ethernetSize)
		case recordIPv4:
			kinds = note(kinds, foundIPv4, &f.ip4, at, ipv4Size)
		case recordIPv6:
			kinds = note(kinds, foundIPv6, &f.ip6, at, ipv6Size)
		}
	}
	return kinds, off
}

// note takes a record as that of its kind, if it is the first and long enough.
func note(kinds, kind uint, place *span, at span, least int) uint {
	if at.to-at.from < least {
		return kinds | foundShort
	}
	if kinds&kind == 0 {
		*place = at
	}
	return kinds | kind
}

// noCause says that a packet counts.
const noCause = -1

// packet makes r from the records of a sample, which begin at head in b; b
// begins at base in the datagram. The sampled header tells the packet, else
// the addresses that the device has decoded. read is how far the records go,
// -1 where one does not fit.
func (d *decoder) packet(r *traffic.Record, s *sample, b []byte, head, base int) (out result, read int) {
	n := be.Uint32(b[head-4:])
	cause, kinds, off := causeNoHeader, uint(0), head
	if n > 0 { // the first record is the header, as a rule, and the only one
		if format, from, to, next := record(b, head); next > 0 && format == recordHeader && to-from >= headerSize {
			cause = d.raw(r, s, b[from:to], base+from)
			kinds, off, n = foundHeader, next, n-1
		}
	}
	if n > 0 {
		had := kinds
		if kinds, off = d.found.walk(b, off, n, kinds); kinds&^had&foundHeader != 0 {
			from := d.found.header.from
			cause = d.raw(r, s, b[from:d.found.header.to], base+from)
		}
		if cause != noCause && kinds&(foundIPv4|foundIPv6) != 0 {
			cause = d.decoded(r, b, kinds)
		}
		if cause == causeNoHeader && kinds&foundShort != 0 {
			cause = causeSample
		}
	}
	if cause != noCause {
		d.lost[cause]++
		if cause == causeSample {
			d.bad++
		}
		return nothing, off
	}
	r.InIf, r.OutIf = s.in, s.out
	if s.dropped {
		r.Marks |= traffic.MarkDropped
	}
	if kinds&(foundSwitch|foundRouter|foundGateway) != 0 {
		d.extend(r, b, kinds)
	}
	return counted, off
}

// raw parses a sampled header record, whose body is at base in the datagram.
func (d *decoder) raw(r *traffic.Record, s *sample, h []byte, base int) int {
	size := be.Uint32(h[12:])
	if size > uint32(len(h)-headerSize) {
		return causeSample
	}
	s.header = span{base + headerSize, base + headerSize + int(size)}
	return d.header(r, be.Uint32(h), be.Uint32(h[4:]), h[headerSize:headerSize+size])
}

// header parses a sampled header: protocol is sFlow's number for its kind,
// frame the length it had on the wire.
func (d *decoder) header(r *traffic.Record, protocol, frame uint32, b []byte) int {
	if frame > maxFrame {
		return causeSample
	}
	var o traffic.Outcome
	if protocol == protocolEthernet {
		o = d.parser.Ethernet(r, b, int(frame))
	} else {
		o = d.parser.Frame(r, linkOf(protocol), b, int(frame))
	}
	return int(o) - 1
}

const protocolEthernet = 1

// linkOf is the link type of sFlow's other header protocols. Token bus, token
// ring, FDDI, frame relay, X.25, SMDS, AAL5 and 802.11 are not read.
func linkOf(protocol uint32) traffic.LinkType {
	switch protocol {
	case 7, 14: // PPP, and PPP over SONET or SDH
		return traffic.LinkPPP
	case 10: // IP in AAL5 without a header of its own
		return traffic.LinkRaw
	case 11:
		return traffic.LinkIPv4
	case 12:
		return traffic.LinkIPv6
	case 13:
		return traffic.LinkMPLS
	}
	return linkNone
}

// linkNone is a link type that the parser does not read.
const linkNone traffic.LinkType = 0xffff

// decoded makes r from sampled IPv4 or IPv6 data.
func (d *decoder) decoded(r *traffic.Record, b []byte, kinds uint) int {
	frame := uint32(0)
	if kinds&foundEthernet != 0 {
		frame = be.Uint32(b[d.found.ethernet.from:])
	}
	if at := d.found.ip4; kinds&foundIPv4 != 0 {
		return d.decoded4(r, b[at.from:at.to], frame)
	}
	at := d.found.ip6
	return d.decoded6(r, b[at.from:at.to], frame)
}

func (d *decoder) decoded4(r *traffic.Record, h []byte, frame uint32) int {
	*r = traffic.Record{ToS: uint8(be.Uint32(h[28:]))}
	r.Src, r.Dst = netip.AddrFrom4([4]byte(h[8:])).As16(), netip.AddrFrom4([4]byte(h[12:])).As16()
	return d.transport(r, be.Uint32(h), be.Uint32(h[4:]), h[16:28], frame)
}

func (d *decoder) decoded6(r *traffic.Record, h []byte, frame uint32) int {
	*r = traffic.Record{Marks: traffic.MarkIPv6, ToS: uint8(be.Uint32(h[52:]))}
	r.Src, r.Dst = [16]byte(h[8:]), [16]byte(h[24:])
	return d.transport(r, be.Uint32(h), be.Uint32(h[4:]), h[40:52], frame)
}

// transport fills in what sampled IPv4 and IPv6 data have in common: h has
// ports and TCP flags in four octets each.
func (d *decoder) transport(r *traffic.Record, length, protocol uint32, h []byte, frame uint32) int {
	src, dst := be.Uint32(h), be.Uint32(h[4:])
	if length > maxFrame || frame > maxFrame || protocol > 0xff || src > 0xffff || dst > 0xffff {
		return causeSample
	}
	r.Packets, r.Sampling, r.Bytes = 1, 1, uint64(length)
	if d.parser.LengthFromFrame {
		r.Bytes = uint64(max(length, frame))
	}
	r.Protocol = uint8(protocol)
	switch r.Protocol {
	case traffic.ProtoTCP:
		r.TCPFlags = h[11]
		r.SrcPort, r.DstPort = uint16(src), uint16(dst)
	case traffic.ProtoUDP, protoDCCP, protoSCTP, protoUDPLite:
		r.SrcPort, r.DstPort = uint16(src), uint16(dst)
	}
	return noCause
}

// Protocols with ports besides TCP and UDP (IANA).
const (
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136
)
