package gen

import (
	"encoding/binary"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	mtu          = 1500
	minFrame     = 60 // without FCS (IEEE 802.3)
	header4      = 20
	header6      = 40
	fragHeader6  = 8
	headerTCP    = 20
	headerUDP    = 8 // ICMP echo's header has 8 octets too
	etherIPv4    = 0x0800
	etherIPv6    = 0x86dd
	etherVLAN    = 0x8100
	nextFragment = 44
)

// spec describes one IP datagram.
type spec struct {
	src, dst   [16]byte // IPv4 mapped
	v6         bool
	proto      uint8 // TCP, UDP, ICMP or ICMPv6
	flags      uint8
	icmpType   uint8
	ttl, tos   uint8
	sport      uint16
	dport      uint16
	vlan       uint16
	size       int // IP length before fragmentation
	id         uint32
	seq, ack   uint32
	fill       func(payload []byte, s *spec) // nil: filler text
	loneOffset uint16                        // not 0: only a later fragment, at that many times 8 octets
}

// record is the truth about a packet of the datagram, apart from its length.
func (s *spec) record() traffic.Record {
	r := traffic.Record{Src: s.src, Dst: s.dst, Packets: 1, Sampling: 1, Protocol: s.proto, VLAN: s.vlan, TTL: s.ttl, ToS: s.tos}
	if s.v6 {
		r.Marks |= traffic.MarkIPv6
	}
	switch s.proto {
	case traffic.ProtoTCP:
		r.TCPFlags = s.flags
		fallthrough
	case traffic.ProtoUDP:
		r.SrcPort, r.DstPort = s.sport, s.dport
	default:
		r.ICMPType = s.icmpType
	}
	return r
}

// minSize is the smallest IP length that holds the headers.
func (s *spec) minSize() int {
	n := header4 + headerUDP
	if s.v6 {
		n = header6 + headerUDP
	}
	switch {
	case s.loneOffset != 0 && s.v6:
		n += fragHeader6
	case s.proto == traffic.ProtoTCP:
		n += headerTCP - headerUDP
	}
	return n
}

// builder writes datagrams as one or more Ethernet frames.
type builder struct {
	spec    spec              // set before begin
	segment [maxDatagram]byte // transport header and payload
	length  int
	sent    int
	frame   [2048]byte
}

// more reports whether fragments of the datagram begun are left.
func (b *builder) more() bool { return b.sent < b.length }

// begin writes the transport segment of the datagram that spec describes,
// with its checksum over the whole.
func (b *builder) begin() {
	s := &b.spec
	s.size = min(max(s.size, s.minSize()), maxDatagram)
	header := header4
	if s.v6 {
		header = header6
		if s.loneOffset != 0 {
			header += fragHeader6
		}
	}
	b.sent, b.length = 0, s.size-header
	seg := b.segment[:b.length]
	if s.loneOffset != 0 { // the middle of something: payload only, a multiple of 8
		b.length &^= 7
		fillText(seg)
		return
	}
	head := headerUDP
	if s.proto == traffic.ProtoTCP {
		head = headerTCP
	}
	clear(seg[:head])
	if s.fill != nil {
		s.fill(seg[head:], s)
	} else {
		fillText(seg[head:])
	}
	b.transport(seg)
}

func (b *builder) transport(seg []byte) {
	s := &b.spec
	be := binary.BigEndian
	at := 2 // of the checksum
	switch s.proto {
	case traffic.ProtoTCP:
		be.PutUint16(seg, s.sport)
		be.PutUint16(seg[2:], s.dport)
		be.PutUint32(seg[4:], s.seq)
		if s.flags&traffic.FlagACK != 0 {
			be.PutUint32(seg[8:], s.ack)
		}
		seg[12], seg[13] = headerTCP/4<<4, s.flags
		be.PutUint16(seg[14:], 64240)
		at = 16
	case traffic.ProtoUDP:
		be.PutUint16(seg, s.sport)
		be.PutUint16(seg[2:], s.dport)
		be.PutUint16(seg[4:], uint16(len(seg)))
		at = 6
	default:
		seg[0] = s.icmpType
		be.PutUint16(seg[4:], uint16(s.id))
		be.PutUint16(seg[6:], uint16(s.seq))
	}
	sum := uint64(0)
	if s.proto != traffic.ProtoICMP { // which has no pseudo header
		sum = uint64(s.proto) + uint64(len(seg))
		skip := 12
		if s.v6 {
			skip = 0
		}
		sum = add(add(sum, s.src[skip:]), s.dst[skip:])
	}
	check := fold(add(sum, seg))
	if check == 0 && s.proto == traffic.ProtoUDP {
		check = 0xffff // 0 would mean none (RFC 768)
	}
	be.PutUint16(seg[at:], check)
}

// add adds b as 16-bit numbers to a ones' complement sum (RFC 1071).
func add(sum uint64, b []byte) uint64 {
	for len(b) >= 8 {
		var carry uint64
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum += carry
		b = b[8:]
	}
	var tail [8]byte
	copy(tail[:], b)
	sum, carry := bits.Add64(sum, binary.BigEndian.Uint64(tail[:]), 0)
	return sum + carry
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// emit writes the next frame of the datagram begun.
func (b *builder) emit(p *Packet) {
	s := &b.spec
	header := header4
	if s.v6 {
		header = header6
	}
	fragmented := s.loneOffset != 0 || header+b.length > mtu
	if fragmented && s.v6 {
		header += fragHeader6
	}
	n := b.length - b.sent
	last := header+n <= mtu
	if !last {
		n = (mtu - header) &^ 7
	}
	offset := s.loneOffset + uint16(b.sent/8)

	p.Record = s.record()
	p.Record.Bytes = uint64(header + n)
	if fragmented {
		p.Record.Marks |= traffic.MarkFragment
	}
	if offset != 0 {
		p.Record.Marks |= traffic.MarkLater
		p.Record.SrcPort, p.Record.DstPort, p.Record.TCPFlags, p.Record.ICMPType = 0, 0, 0, 0
	}

	f := b.ethernet()
	more := !last || s.loneOffset != 0
	if s.v6 {
		f = b.ipv6(f, n, fragmented, offset, more)
	} else {
		f = b.ipv4(f, n, offset, more && fragmented)
	}
	f = append(f, b.segment[b.sent:b.sent+n]...)
	b.sent += n
	for len(f) < minFrame {
		f = append(f, 0)
	}
	p.Frame = f
}

func (b *builder) ethernet() []byte {
	f := append(b.frame[:0], 0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2)
	kind := uint16(etherIPv4)
	if b.spec.v6 {
		kind = etherIPv6
	}
	if b.spec.vlan != 0 {
		f = binary.BigEndian.AppendUint16(f, etherVLAN)
		f = binary.BigEndian.AppendUint16(f, b.spec.vlan)
	}
	return binary.BigEndian.AppendUint16(f, kind)
}

func (b *builder) ipv4(f []byte, n int, offset uint16, more bool) []byte {
	s := &b.spec
	begin := len(f)
	f = append(f, 0x45, s.tos)
	f = binary.BigEndian.AppendUint16(f, uint16(header4+n))
	f = binary.BigEndian.AppendUint16(f, uint16(s.id))
	if more {
		offset |= 0x2000
	}
	f = binary.BigEndian.AppendUint16(f, offset)
	f = append(f, s.ttl, s.proto, 0, 0)
	f = append(f, s.src[12:]...)
	f = append(f, s.dst[12:]...)
	binary.BigEndian.PutUint16(f[begin+10:], fold(add(0, f[begin:])))
	return f
}

func (b *builder) ipv6(f []byte, n int, fragmented bool, offset uint16, more bool) []byte {
	s := &b.spec
	f = append(f, 0x60|s.tos>>4, s.tos<<4, 0, 0)
	next := s.proto
	if fragmented {
		next = nextFragment
		f = binary.BigEndian.AppendUint16(f, uint16(n+fragHeader6))
	} else {
		f = binary.BigEndian.AppendUint16(f, uint16(n))
	}
	f = append(f, next, s.ttl)
	f = append(f, s.src[:]...)
	f = append(f, s.dst[:]...)
	if fragmented {
		field := offset << 3
		if more {
			field |= 1
		}
		f = append(f, s.proto, 0)
		f = binary.BigEndian.AppendUint16(f, field)
		f = binary.BigEndian.AppendUint32(f, s.id)
	}
	return f
}
