package traffic

import (
	"encoding/binary"
	"math/bits"
)

const (
	ipv4Header    = 20
	ipv6Header    = 40
	transportMost = 14 // octets of the upper protocol that are read at most: TCP, up to its flags
)

// IANA protocol numbers that only the parser needs: transports with the
// ports in the first four octets, and IPv6 extension headers.
const (
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136

	noNextHeader = 59 // in the IPv6 header: nothing follows it

	extHopByHop = 0
	extRouting  = 43
	extFragment = 44
	extAuth     = 51
	extOptions  = 60
	extMobility = 135
	extHIP      = 139
	extShim6    = 140
)

// mapped is the second half of an IPv4-mapped address as a little-endian
// number, without the IPv4 address itself in its upper half.
const mapped = 0xffff0000

// ipv4 parses the IPv4 header at off (RFC 791).
func (p *Parser) ipv4(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+ipv4Header {
		return Truncated
	}
	b := frame[off:]
	h := b[:ipv4Header]
	header := int(h[0]&15) * 4
	if h[0]>>4 != 4 || header < ipv4Header {
		return BadHeader
	}
	length := int(binary.BigEndian.Uint16(h[2:]))
	if length == 0 {
		length = wire - off // segmentation offload: the card fills it in later
	}
	if length < header {
		return BadHeader
	}
	if len(b) > length {
		b = b[:length] // Ethernet pads short frames
	}

	*r = Record{}
	binary.LittleEndian.PutUint64(r.Src[8:], mapped|uint64(binary.LittleEndian.Uint32(h[12:]))<<32)
	binary.LittleEndian.PutUint64(r.Dst[8:], mapped|uint64(binary.LittleEndian.Uint32(h[16:]))<<32)
	r.Packets, r.Sampling = 1, 1
	r.Bytes = uint64(length)
	if p.LengthFromFrame {
		r.Bytes = uint64(wire)
	}
	r.Protocol = h[9]
	r.TTL, r.ToS, r.VLAN = h[8], h[1], vlan

	if fragment := binary.BigEndian.Uint16(h[6:]); fragment&0x3fff != 0 {
		r.Marks = MarkFragment
		if fragment&0x1fff != 0 {
			r.Marks = MarkFragment | MarkLater
			return OK
		}
	}
	if header <= len(b) {
		transport(r, b[header:])
		if p.into != 0 {
			p.tunnel(r, frame[:off+len(b)], off+header, wire, vlan, w)
		}
	}
	return OK
}

// plainMost is how much of a packet plain reads.
const plainMost = ipv4Header + transportMost

// plain reads a packet of the kind that most are: IPv4 without options, no
// fragment, with transportMost octets behind its header. false: it is another,
// or there may be a tunnel to look into.
func (p *Parser) plain(r *Record, h *[plainMost]byte, wire int, vlan uint16) bool {
	length := binary.BigEndian.Uint16(h[2:])
	if h[0] != 0x45 || binary.BigEndian.Uint16(h[6:])&0x3fff != 0 || length < plainMost || p.into != 0 {
		return false
	}
	*r = Record{}
	binary.LittleEndian.PutUint64(r.Src[8:], mapped|uint64(binary.LittleEndian.Uint32(h[12:]))<<32)
	binary.LittleEndian.PutUint64(r.Dst[8:], mapped|uint64(binary.LittleEndian.Uint32(h[16:]))<<32)
	r.Packets, r.Sampling = 1, 1
	r.Bytes = uint64(length)
	if p.LengthFromFrame {
		r.Bytes = uint64(wire)
	}
	protocol := h[9]
	r.Protocol, r.TTL, r.ToS, r.VLAN = protocol, h[8], h[1], vlan
	switch protocol {
	case ProtoTCP:
		r.TCPFlags = h[ipv4Header+13]
	case ProtoUDP:
	default:
		transport(r, h[ipv4Header:])
		return true
	}
	ports := bits.RotateLeft32(binary.BigEndian.Uint32(h[ipv4Header:]), 16)
	r.SrcPort, r.DstPort = uint16(ports), uint16(ports>>16) // one store
	return true
}

// ipv6 parses the IPv6 header at off (RFC 8200).
func (p *Parser) ipv6(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if len(frame) < off+ipv6Header {
		return Truncated
	}
	b := frame[off:]
	h := b[:ipv6Header]
	if h[0]>>4 != 6 {
		return BadHeader
	}
	length := int(binary.BigEndian.Uint16(h[4:])) + ipv6Header
	if length == ipv6Header && h[6] != noNextHeader {
		length = wire - off // jumbogram (RFC 2675) or segmentation offload
	}
	if len(b) > length {
		b = b[:length]
	}

	*r = Record{}
	copy(r.Src[:], h[8:24])
	copy(r.Dst[:], h[24:40])
	r.Packets, r.Sampling = 1, 1
	r.Bytes = uint64(length)
	if p.LengthFromFrame {
		r.Bytes = uint64(wire)
	}
	r.Marks = MarkIPv6
	r.Protocol = h[6]
	r.TTL, r.ToS, r.VLAN = h[7], h[0]<<4|h[1]>>4, vlan

	end := off + len(b)
	b = b[ipv6Header:]
	switch h[6] { // the usual ones need not ask whether they are extensions
	case ProtoTCP, ProtoUDP, ProtoICMPv6:
		transport(r, b)
	default:
		b = extensions(r, b)
	}
	if p.into != 0 && b != nil {
		p.tunnel(r, frame[:end], end-len(b), wire, vlan, w)
	}
	return OK
}

// extensions walks the extension headers, b beginning with the first, until
// the upper protocol, which it leaves in r.Protocol, and returns what the upper
// protocol has. Where the packet is cut or the chain too long, r.Protocol is the
// first header that was not reached.
func extensions(r *Record, b []byte) []byte {
	for range MaxExtensions {
		var size int
		switch r.Protocol {
		case extHopByHop, extRouting, extOptions, extMobility, extHIP, extShim6:
			if len(b) < 2 {
				return nil
			}
			size = (int(b[1]) + 1) * 8
		case extAuth: // counts in four octets, minus two (RFC 4302 2.2)
			if len(b) < 2 {
				return nil
			}
			size = (int(b[1]) + 2) * 4
		case extFragment:
			if len(b) < 8 {
				return nil
			}
			r.Marks |= MarkFragment
			if binary.BigEndian.Uint16(b[2:])&0xfff8 != 0 {
				r.Marks |= MarkLater
				r.Protocol = b[0]
				return nil
			}
			size = 8
		default:
			transport(r, b)
			return b
		}
		r.Protocol = b[0]
		if len(b) < size {
			return nil // cut, or a header longer than its packet
		}
		b = b[size:]
	}
	if isExtension(r.Protocol) {
		return nil
	}
	transport(r, b)
	return b
}

func isExtension(proto uint8) bool {
	switch proto {
	case extHopByHop, extRouting, extFragment, extAuth, extOptions, extMobility, extHIP, extShim6:
		return true
	}
	return false
}

// transport fills in what the first octets of the upper protocol hold.
func transport(r *Record, b []byte) {
	switch r.Protocol {
	case ProtoTCP:
		if len(b) >= transportMost {
			r.TCPFlags = b[13]
		}
	case ProtoUDP, protoSCTP, protoDCCP, protoUDPLite:
	case ProtoICMP, ProtoICMPv6:
		if len(b) >= 2 {
			r.ICMPType, r.ICMPCode = b[0], b[1]
		}
		return
	default:
		return
	}
	if len(b) >= 4 {
		r.SrcPort = binary.BigEndian.Uint16(b)
		r.DstPort = binary.BigEndian.Uint16(b[2:])
	}
}
