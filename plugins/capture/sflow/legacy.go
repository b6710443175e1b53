package main

import "github.com/fastnetmon-go/fastnetmon/sdk/traffic"

// In versions 2 and 4 nothing has a length: what is not known cannot be
// skipped, and ends the datagram (RFC 3176 4).

// Sample, packet data, extended data and counter types of versions 2 and 4.
const (
	sample4Flow     = 1
	sample4Counters = 2

	packet4Header = 1
	packet4IPv4   = 2
	packet4IPv6   = 3

	extended4Switch  = 1
	extended4Router  = 2
	extended4Gateway = 3
	extended4User    = 4
	extended4URL     = 5
)

// counters4 is how many octets each type of counters has.
var counters4 = [...]int{
	1: 88,      // generic
	2: 88 + 52, // Ethernet
	3: 88 + 72, // token ring
	4: 88,      // FDDI
	5: 88 + 80, // 100BaseVG
	6: 88,      // WAN
	7: 28,      // VLAN
}

// cursor reads on through octets; once past the end it stays failed.
type cursor struct {
	b      []byte
	off    int
	failed bool
}

func (c *cursor) take(n uint32) []byte {
	if c.failed || uint64(n) > uint64(len(c.b)-c.off) {
		c.failed = true
		return nil
	}
	c.off += int(n)
	return c.b[c.off-int(n) : c.off]
}

func (c *cursor) number() uint32 {
	if b := c.take(4); b != nil {
		return be.Uint32(b)
	}
	return 0
}

// opaque reads octets of a length that comes before them, padded to four.
func (c *cursor) opaque() []byte {
	b := c.take(c.number())
	c.take(uint32(-len(b) & 3))
	return b
}

// next4 is next for versions 2 and 4.
func (d *decoder) next4(r *traffic.Record, s *sample) result {
	c := cursor{b: d.data, off: d.off}
	s.flow = false
	var out result
	switch c.number() {
	case sample4Flow:
		out = d.flow4(&c, r, s)
	case sample4Counters:
		out = d.counters4(&c)
	default:
		out = ended
	}
	if c.failed || out == ended {
		s.flow = false
		d.cut()
		return ended
	}
	d.off = c.off
	return out
}

func (d *decoder) counters4(c *cursor) result {
	c.take(12) // sequence number, source, interval
	kind := c.number()
	if kind == 0 || kind >= uint32(len(counters4)) {
		return ended
	}
	c.take(uint32(counters4[kind]))
	if !c.failed {
		d.counters++
	}
	return nothing
}

// flow4 reads a flow sample. Whatever is wrong with its packet, it reads on
// to the sample's end.
func (d *decoder) flow4(c *cursor, r *traffic.Record, s *sample) result {
	h := c.take(28)
	if c.failed {
		return ended
	}
	source := be.Uint32(h[4:])
	*s = sample{
		flow: true, sequence: be.Uint32(h), source: uint64(source>>24)<<32 | uint64(source&0xffffff),
		rate: be.Uint32(h[8:]), pool: be.Uint32(h[12:]), drops: be.Uint32(h[16:]), in: be.Uint32(h[20:]), out: be.Uint32(h[24:]),
	}
	if s.out>>31 != 0 { // so many interfaces
		s.out = 0
	}
	cause, ok := d.packet4(c, r, s)
	if !ok || !d.extended4(c, r, cause == noCause) {
		return ended
	}
	if cause != noCause {
		d.lost[cause]++
		if cause == causeSample {
			d.bad++
		}
		return nothing
	}
	r.InIf, r.OutIf = s.in, s.out
	return counted
}

// packet4 reads the packet data; ok is false where they are of no known type.
func (d *decoder) packet4(c *cursor, r *traffic.Record, s *sample) (cause int, ok bool) {
	switch c.number() {
	case packet4Header:
		protocol, frame := c.number(), c.number()
		b := c.opaque()
		if c.failed {
			return 0, false
		}
		from := c.off - (len(b)+3)&^3
		s.header = span{from, from + len(b)}
		return d.header(r, protocol, frame, b), true
	case packet4IPv4:
		if h := c.take(ipv4Size); h != nil {
			return d.decoded4(r, h, 0), true
		}
	case packet4IPv6:
		if h := c.take(ipv6Size); h != nil {
			return d.decoded6(r, h, 0), true
		}
	}
	return 0, false
}

// extended4 reads the extended data, into r where that holds a packet.
func (d *decoder) extended4(c *cursor, r *traffic.Record, packet bool) (ok bool) {
	var scratch traffic.Record
	if !packet {
		r = &scratch
	}
	for n := c.number(); n > 0 && !c.failed; n-- {
		switch c.number() {
		case extended4Switch:
			if h := c.take(switchSize); h != nil {
				setVLAN(r, be.Uint32(h))
			}
		case extended4Router:
			hop, end, ok := address(c.b, c.off)
			if !ok {
				return false
			}
			setNextHop(r, hop)
			c.off = end
			c.take(8) // mask lengths
		case extended4Gateway:
			g, end, ok := readGateway(c.b, c.off, d.version)
			if !ok {
				return false
			}
			g.set(r)
			c.off = end
			if d.version == version4 {
				c.take(4 * min(c.number(), 1<<16)) // communities
				c.take(4)                          // local preference
			}
		case extended4User:
			c.opaque()
			c.opaque()
		case extended4URL:
			c.number()
			c.opaque()
		default:
			return false
		}
	}
	return !c.failed
}
