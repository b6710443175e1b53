package traffic

import (
	"encoding/binary"
	"math/bits"
)

// EtherTypes (IEEE 802 numbers) that lead on to IP.
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherVLAN  = 0x8100 // IEEE 802.1Q
	etherQinQ  = 0x88a8 // IEEE 802.1ad
	etherQinQ1 = 0x9100 // before the standard
	etherQinQ2 = 0x9200
	etherMPLS  = 0x8847 // RFC 3032
	etherMPLSM = 0x8848 // multicast, or upstream-assigned labels (RFC 5332)
	etherPPPoE = 0x8864 // session stage (RFC 2516)
	etherTEB   = 0x6558 // Ethernet (RFC 1701, RFC 7637)
	etherNSH   = 0x894f // RFC 8300
)

// PPP protocol numbers (IANA).
const (
	pppIPv4 = 0x0021
	pppIPv6 = 0x0057
	pppMPLS = 0x0281
)

const (
	etherHeader = 14
	etherLeast  = 1536 // EtherTypes begin here; what is less is a length (IEEE 802.3 3.2.6)
)

// snap is the LLC and SNAP header before an EtherType (RFC 1042).
var snap = [6]byte{0xaa, 0xaa, 0x03}

// Parser turns frames into records. The zero value is ready. It keeps no
// state: one Parser may serve any number of goroutines.
//
// A frame may be cut (snap length): as soon as the fixed IP header is whole
// the packet counts; ports, TCP flags and ICMP type are filled in where their
// octets are there. Of a tunnelled packet the outermost IP header counts, unless
// Decapsulate says otherwise; what stands before an IP header without being one
// itself (tags, labels, PPPoE, Ethernet over MPLS, NSH) is always passed.
//
// After OK every field of the record is defined, whatever it held before:
// Packets and Sampling are 1; Time, Class, NextHop, Exporter, the interfaces
// and AS numbers, DurationMs and Verdict are 0 for the caller to set. After
// any other outcome the record's content is undefined.
type Parser struct {
	// LengthFromFrame counts the frame's length on the wire instead of the
	// IP header's length.
	LengthFromFrame bool

	inner, both, into uint8 // tunnels of which the inner packet counts, both do, either
}

// walk is how deep in a frame the parser is; nil is the outermost layer. (In a
// struct of its own, since what is handed on in registers is all the faster.)
type walk struct {
	vlan   uint16 // outermost tag so far
	level  uint8  // packets around this one
	nested uint8  // frames and service headers inside others
	more   *more  // collects the inner packets that count besides; nil: nobody asks
}

// state is a walk to go further from.
func (w *walk) state() walk {
	if w == nil {
		return walk{}
	}
	return *w
}

// Frame parses one frame of the given link type. wire is the frame's length
// on the wire in octets; less than len(frame) means that it was not cut.
func (p *Parser) Frame(r *Record, link LinkType, frame []byte, wire int) Outcome {
	if link == LinkEthernet {
		return p.Ethernet(r, frame, wire)
	}
	return p.frame(r, link, frame, max(wire, len(frame)), nil)
}

// frame is Frame for link types other than Ethernet.
func (p *Parser) frame(r *Record, link LinkType, frame []byte, wire int, w *walk) Outcome {
	switch link {
	case LinkRaw, LinkRawBSD, LinkRawOBSD:
		return p.ip(r, frame, 0, wire, 0, w)
	case LinkIPv4:
		return p.ipv4(r, frame, 0, wire, 0, w)
	case LinkIPv6:
		return p.ipv6(r, frame, 0, wire, 0, w)
	case LinkSLL:
		if len(frame) < 16 {
			return Truncated
		}
		return p.ether(r, frame, 16, wire, binary.BigEndian.Uint16(frame[14:]), w)
	case LinkSLL2:
		if len(frame) < 20 {
			return Truncated
		}
		return p.ether(r, frame, 20, wire, binary.BigEndian.Uint16(frame), w)
	case LinkNull, LinkLoop:
		return p.loopback(r, frame, wire, w)
	case LinkPPP:
		return p.ppp(r, frame, 0, wire, 0, w)
	case LinkMPLS:
		return p.mpls(r, frame, 0, wire, 0, w)
	}
	return UnknownLink
}

// IP parses a packet that begins with its IPv4 or IPv6 header. wire is its
// length on the wire.
func (p *Parser) IP(r *Record, packet []byte, wire int) Outcome {
	return p.ip(r, packet, 0, max(wire, len(packet)), 0, nil)
}

// Ethernet parses an Ethernet II frame, without preamble. wire is its length
// on the wire.
//
// Most frames hold an IPv4 packet without options that is no fragment, and at
// least transportMost octets behind its header. These are read here, at fixed
// places, in less time than it takes to find out where the others' lie.
func (p *Parser) Ethernet(r *Record, frame []byte, wire int) Outcome {
	const start = etherHeader + ipv4Header
	if len(frame) < start+transportMost {
		return p.ethernet(r, frame, wire)
	}
	h := (*[start + transportMost]byte)(frame)
	length := binary.BigEndian.Uint16(h[16:])
	if binary.BigEndian.Uint32(h[12:])>>8 != etherIPv4<<8|0x45 || binary.BigEndian.Uint16(h[20:])&0x3fff != 0 || length < ipv4Header+transportMost {
		return p.ethernet(r, frame, wire)
	}
	*r = Record{}
	binary.LittleEndian.PutUint64(r.Src[8:], mapped|uint64(binary.LittleEndian.Uint32(h[26:]))<<32)
	binary.LittleEndian.PutUint64(r.Dst[8:], mapped|uint64(binary.LittleEndian.Uint32(h[30:]))<<32)
	r.Packets, r.Sampling = 1, 1
	r.Bytes = uint64(length)
	if p.LengthFromFrame {
		r.Bytes = uint64(max(wire, len(frame)))
	}
	protocol := h[23]
	r.Protocol, r.TTL, r.ToS = protocol, h[22], h[15]
	switch protocol {
	case ProtoTCP:
		r.TCPFlags = h[start+13]
	case ProtoUDP:
		if p.into != 0 {
			return p.ethernet(r, frame, wire)
		}
	default:
		if p.into != 0 {
			return p.ethernet(r, frame, wire)
		}
		transport(r, h[start:])
		return OK
	}
	ports := bits.RotateLeft32(binary.BigEndian.Uint32(h[start:]), 16)
	r.SrcPort, r.DstPort = uint16(ports), uint16(ports>>16) // one store
	return OK
}

// ethernet is Ethernet for frames of every kind.
func (p *Parser) ethernet(r *Record, frame []byte, wire int) Outcome {
	if len(frame) < etherHeader {
		return Truncated
	}
	kind := binary.BigEndian.Uint16(frame[12:])
	switch kind {
	case etherIPv6:
		return p.ipv6(r, frame, etherHeader, max(wire, len(frame)), 0, nil)
	case etherVLAN:
		const tag = etherHeader + 4
		if len(frame) >= tag+plainMost && binary.BigEndian.Uint16(frame[tag-2:]) == etherIPv4 &&
			p.plain(r, (*[plainMost]byte)(frame[tag:]), max(wire, len(frame)), binary.BigEndian.Uint16(frame[etherHeader:])&0x0fff) {
			return OK
		}
	}
	return p.ether(r, frame, etherHeader, max(wire, len(frame)), kind, nil)
}

// ether goes on at off, where what the EtherType kind announces begins.
func (p *Parser) ether(r *Record, frame []byte, off, wire int, kind uint16, w *walk) Outcome {
	var vlan uint16
	if w != nil {
		vlan = w.vlan
	}
	for tags := 0; ; tags++ {
		switch kind {
		case etherIPv4:
			return p.ipv4(r, frame, off, wire, vlan, w)
		case etherIPv6:
			return p.ipv6(r, frame, off, wire, vlan, w)
		case etherVLAN, etherQinQ, etherQinQ1, etherQinQ2:
		case etherMPLS, etherMPLSM:
			return p.mpls(r, frame, off, wire, vlan, w)
		case etherPPPoE:
			return p.ppp(r, frame, off+6, wire, vlan, w)
		default:
			switch {
			case kind == etherTEB:
				return p.nested(r, frame, off, wire, vlan, w)
			case kind == etherNSH:
				return p.nsh(r, frame, off, wire, vlan, w)
			case kind >= etherLeast:
				return NotIP
			}
			// A length: IEEE 802.3 with LLC, from which SNAP leads on.
			if len(frame) < off+8 {
				return Truncated
			}
			kind = binary.BigEndian.Uint16(frame[off+6:])
			if [6]byte(frame[off:]) != snap || kind < etherLeast {
				return NotIP
			}
			off += 8
			continue
		}
		if tags == MaxTags {
			return TooManyTags
		}
		if len(frame) < off+4 {
			return Truncated
		}
		if tags == 0 && vlan == 0 {
			vlan = binary.BigEndian.Uint16(frame[off:]) & 0x0fff
		}
		kind = binary.BigEndian.Uint16(frame[off+2:])
		off += 4
	}
}

// mpls skips a label stack. Nothing in it names what follows, so the first
// nibble decides, as it does in routers (RFC 4928): 0 begins a pseudowire's
// control word, 4 and 6 an IP header. But where a pseudowire has no control word
// these may begin an Ethernet address; then the header's length is wrong.
func (p *Parser) mpls(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	for range MaxLabels {
		if len(frame) < off+4 {
			return Truncated
		}
		bottom := frame[off+2]&1 != 0
		off += 4
		if bottom {
			if len(frame) >= off+plainMost && int(binary.BigEndian.Uint16(frame[off+2:])) <= wire-off &&
				p.plain(r, (*[plainMost]byte)(frame[off:]), wire, vlan) {
				return OK
			}
			return p.pseudowire(r, frame, off, wire, vlan, w)
		}
	}
	return TooManyTags
}

// ppp reads a PPP header: optional address and control octets, then the
// protocol in one octet (odd) or two (RFC 1661 2).
func (p *Parser) ppp(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) >= off+2 && frame[off] == 0xff && frame[off+1] == 0x03 {
		off += 2
	}
	if len(frame) < off+2 {
		return Truncated
	}
	kind := uint16(frame[off])
	off++
	if kind&1 == 0 {
		kind = kind<<8 | uint16(frame[off])
		off++
	}
	switch kind {
	case pppIPv4:
		return p.ipv4(r, frame, off, wire, vlan, w)
	case pppIPv6:
		return p.ipv6(r, frame, off, wire, vlan, w)
	case pppMPLS:
		return p.mpls(r, frame, off, wire, vlan, w)
	}
	return NotIP
}

// loopback reads the address family, which LinkNull has in the byte order of
// a host that the file does not name: all families are below 256.
func (p *Parser) loopback(r *Record, frame []byte, wire int, w *walk) Outcome {
	if len(frame) < 4 {
		return Truncated
	}
	family := binary.BigEndian.Uint32(frame)
	if family > 0xffff {
		family = bits.ReverseBytes32(family)
	}
	switch family {
	case 2: // AF_INET everywhere
		return p.ipv4(r, frame, 4, wire, 0, w)
	case 10, 24, 28, 30: // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin
		return p.ipv6(r, frame, 4, wire, 0, w)
	}
	return NotIP
}

// ip goes on where the version nibble alone tells the family.
func (p *Parser) ip(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) <= off {
		return Truncated
	}
	switch frame[off] >> 4 {
	case 4:
		return p.ipv4(r, frame, off, wire, vlan, w)
	case 6:
		return p.ipv6(r, frame, off, wire, vlan, w)
	}
	return NotIP
}
