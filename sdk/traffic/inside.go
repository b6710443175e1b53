package traffic

import "encoding/binary"

// maxNested is how many frames and service headers inside others are read: in
// each tunnel one, and as many without.
const maxNested = 2 * MaxTunnels

// nested reads an Ethernet frame inside something else.
func (p *Parser) nested(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	within := w.state()
	switch {
	case within.nested == maxNested:
		return TooManyTags
	case len(frame) < off+etherHeader:
		return Truncated
	}
	within.nested++
	within.vlan = vlan
	return p.ether(r, frame, off+etherHeader, wire, binary.BigEndian.Uint16(frame[off+12:]), &within)
}

// pseudowire reads what follows a label stack: an IP packet, or an Ethernet
// frame with or without a control word (RFC 4448). Which it is only the two
// ends know; a frame's EtherType tells.
func (p *Parser) pseudowire(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) <= off {
		return Truncated
	}
	switch frame[off] >> 4 {
	case 4, 6:
		if fits(frame[off:], wire-off) || !plausible(frame, off) {
			return p.ip(r, frame, off, wire, vlan, w)
		}
	case 0:
		if plausible(frame, off+4) || !plausible(frame, off) {
			off += 4
		}
	}
	return p.nested(r, frame, off, wire, vlan, w)
}

// plausible reports whether an Ethernet frame that leads on to IP may begin at
// off.
func plausible(frame []byte, off int) bool {
	if len(frame) <= off+etherHeader {
		return false
	}
	switch binary.BigEndian.Uint16(frame[off+12:]) {
	case etherIPv4:
		return frame[off+etherHeader]>>4 == 4
	case etherIPv6:
		return frame[off+etherHeader]>>4 == 6
	case etherVLAN, etherQinQ, etherQinQ1, etherQinQ2, etherMPLS, etherMPLSM, etherPPPoE:
		return true
	}
	return false
}

// fits reports whether an IP header's length is possible for what is there.
func fits(b []byte, wire int) bool {
	if len(b) < 6 {
		return true
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>4 == 6 {
		length = int(binary.BigEndian.Uint16(b[4:])) + ipv6Header
	}
	return length <= wire
}

// next protocols of NSH and VXLAN-GPE (RFC 8300 2.2).
const (
	nextIPv4     = 1
	nextIPv6     = 2
	nextEthernet = 3
	nextNSH      = 4
	nextMPLS     = 5
)

// next goes on at off by a number of that list.
func (p *Parser) next(r *Record, kind uint8, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	switch kind {
	case nextIPv4:
		return p.ipv4(r, frame, off, wire, vlan, w)
	case nextIPv6:
		return p.ipv6(r, frame, off, wire, vlan, w)
	case nextEthernet:
		return p.nested(r, frame, off, wire, vlan, w)
	case nextNSH:
		return p.nsh(r, frame, off, wire, vlan, w)
	case nextMPLS:
		return p.mpls(r, frame, off, wire, vlan, w)
	}
	return NotIP
}

// nsh reads a network service header (RFC 8300).
func (p *Parser) nsh(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	within := w.state()
	switch {
	case within.nested == maxNested:
		return TooManyTags
	case len(frame) < off+8:
		return Truncated
	}
	h := frame[off:]
	size := int(h[1]&0x3f) * 4
	if h[0]>>6 != 0 || size < 8 {
		return BadHeader
	}
	within.nested++
	return p.next(r, h[3], frame, off+size, wire, vlan, &within)
}

// GRE's flags (RFC 2784, 2890; RFC 2637 for version 1).
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
)

// gre reads what is in GRE, and in ERSPAN that it carries.
func (p *Parser) gre(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+4 {
		return Truncated
	}
	flags, kind := binary.BigEndian.Uint16(frame[off:]), binary.BigEndian.Uint16(frame[off+2:])
	version := flags & 7
	if flags&greRouting != 0 || version > 1 {
		return BadHeader // RFC 1701's source routes are gone
	}
	off += 4
	for _, flag := range [...]uint16{greChecksum, greKey, greSequence, greAck} {
		if flags&flag != 0 && (flag != greAck || version == 1) {
			off += 4
		}
	}
	switch kind {
	case greERSPAN:
		if flags&greSequence != 0 { // type II; type I has no header
			off += 8
		}
		return p.nested(r, frame, off, wire, vlan, w)
	case greERSPAN3:
		return p.erspan3(r, frame, off, wire, vlan, w)
	case grePPP:
		return p.ppp(r, frame, off, wire, vlan, w)
	}
	return p.ether(r, frame, off, wire, kind, w)
}

// erspan3 reads ERSPAN type III (draft-foschiano-erspan), which may carry a
// frame or an IP packet.
func (p *Parser) erspan3(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+12 {
		return Truncated
	}
	last := binary.BigEndian.Uint16(frame[off+10:])
	off += 12
	if last&1 != 0 { // a subheader of the platform's
		off += 8
	}
	if last>>10&0x1f == 2 {
		return p.ip(r, frame, off, wire, vlan, w)
	}
	return p.nested(r, frame, off, wire, vlan, w)
}

// vxlan reads VXLAN (RFC 7348), and VXLAN-GPE, which says so by a flag.
func (p *Parser) vxlan(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+8 {
		return Truncated
	}
	const hasNext = 0x04
	if flags := frame[off]; flags&hasNext != 0 {
		return p.next(r, frame[off+3], frame, off+8, wire, vlan, w)
	}
	return p.nested(r, frame, off+8, wire, vlan, w)
}

// geneve reads Geneve (RFC 8926).
func (p *Parser) geneve(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+8 {
		return Truncated
	}
	h := frame[off:]
	if h[0]>>6 != 0 {
		return BadHeader
	}
	return p.ether(r, frame, off+8+int(h[0]&0x3f)*4, wire, binary.BigEndian.Uint16(h[2:]), w)
}

const maxGTPExtensions = 8

// gtp reads a T-PDU of GTP-U (3GPP TS 29.281 5).
func (p *Parser) gtp(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+8 {
		return Truncated
	}
	h := frame[off:]
	if h[0]>>4 != 3 || h[1] != 255 { // version 1, no GTP'; anything but a packet
		return NotIP
	}
	off += 8
	if h[0]&7 == 0 {
		return p.ip(r, frame, off, wire, vlan, w)
	}
	// Sequence number, N-PDU number and the type of the first extension are there
	// together.
	if len(frame) < off+4 {
		return Truncated
	}
	next := frame[off+3]
	off += 4
	if h[0]&4 == 0 {
		next = 0
	}
	for range maxGTPExtensions {
		if next == 0 {
			return p.ip(r, frame, off, wire, vlan, w)
		}
		if len(frame) <= off {
			return Truncated
		}
		size := int(frame[off]) * 4
		if size == 0 {
			return BadHeader
		}
		if len(frame) < off+size {
			return Truncated
		}
		off += size
		next = frame[off-1]
	}
	return TooManyTags
}

// L2TP's flags (RFC 2661 3.1).
const (
	l2tpControl  = 0x8000
	l2tpLength   = 0x4000
	l2tpSequence = 0x0800
	l2tpOffset   = 0x0200
)

// l2tp reads data messages of L2TP: PPP in version 2, Ethernet in version 3.
func (p *Parser) l2tp(r *Record, protocol uint8, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+8 {
		return Truncated
	}
	if protocol == protoL2TP {
		if binary.BigEndian.Uint32(frame[off:]) == 0 {
			return NotIP // a control message
		}
		return p.afterSession(r, frame, off+4, wire, vlan, w)
	}
	flags := binary.BigEndian.Uint16(frame[off:])
	switch {
	case flags&l2tpControl != 0:
		return NotIP
	case flags&0xf == 3:
		return p.afterSession(r, frame, off+8, wire, vlan, w)
	case flags&0xf != 2:
		return BadHeader
	}
	off += 6
	if flags&l2tpLength != 0 {
		off += 2
	}
	if flags&l2tpSequence != 0 {
		off += 4
	}
	if flags&l2tpOffset != 0 {
		if len(frame) < off+2 {
			return Truncated
		}
		off += 2 + int(binary.BigEndian.Uint16(frame[off:]))
	}
	return p.ppp(r, frame, off, wire, vlan, w)
}

// afterSession goes on behind the session id of L2TP version 3. How long the
// cookie is and whether a sublayer follows only the two ends know: the first
// place at which a frame with an IP packet can begin is taken.
func (p *Parser) afterSession(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	for _, skip := range [...]int{0, 4, 8, 12} { // cookie of 0, 4 or 8 octets, sublayer of 0 or 4
		if plausible(frame, off+skip) {
			return p.nested(r, frame, off+skip, wire, vlan, w)
		}
	}
	return NotIP
}
