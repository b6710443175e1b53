package capfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// pcapng (draft-ietf-opsawg-pcapng): blocks of type, length, body and the
// length once more.
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	blockFrame    = 12      // type and both lengths
	maxBlock      = 1 << 28 // skipped unread, so only int's width bounds it
	maxInterfaces = 1 << 16

	byteOrderMagic = 0x1a2b3c4d

	optionEnd      = 0
	optionTSResol  = 9
	optionTSOffset = 14
)

// iface is an interface of the current section.
type iface struct {
	link   traffic.LinkType
	snap   uint32
	resol  uint8 // if_tsresol: units of 10^-n seconds, or of 2^-n with the top bit
	offset int64 // if_tsoffset, seconds
}

// firstSection reads the section header that a file must begin with.
func (r *Reader) firstSection() error {
	err := r.section()
	if d := (*Damage)(nil); errors.As(err, &d) && d.Cut {
		return fmt.Errorf("%s: too short for a capture file", r.name)
	}
	return err
}

// nextBlock reads blocks up to the next one that holds a packet.
func (r *Reader) nextBlock(p *Packet) error {
	if r.unread > 0 {
		total := r.unread
		r.unread = 0
		if err := r.skipBlock(total); err != nil {
			return err
		}
	}
	for {
		b, err := r.peek(8, "a block header")
		if err != nil {
			return err
		}
		typ := r.u32(b)
		if typ == magicNG {
			if err := r.section(); err != nil {
				return err
			}
			continue
		}
		total, err := r.blockLength(b)
		if err != nil {
			return err
		}
		switch typ {
		case blockEnhanced, blockSimple, blockPacket:
			b, err := r.peek(min(total, bufferSize), "a packet block")
			if err != nil {
				return err
			}
			r.unread = total
			return r.packetBlock(p, typ, b[8:], total-blockFrame)
		case blockInterface:
			b, err := r.peek(min(total, bufferSize), "an interface block")
			if err != nil {
				return err
			}
			if err := r.interfaceBlock(b[8:], total-blockFrame); err != nil {
				return err
			}
		}
		if err := r.skipBlock(total); err != nil {
			return err
		}
	}
}

// section reads a section header block: it sets the byte order of what
// follows and forgets the interfaces of the section before.
func (r *Reader) section() error {
	b, err := r.peek(28, "a section header")
	if err != nil {
		return err
	}
	switch binary.LittleEndian.Uint32(b[8:]) {
	case byteOrderMagic:
		r.swap = false
	case bits.ReverseBytes32(byteOrderMagic):
		r.swap = true
	default:
		return r.damaged("a section header without its byte-order magic (% x)", b[8:12])
	}
	if major := r.u16(b[12:]); major != 1 {
		return r.damaged("pcapng version %d.%d is not supported, only 1.x", major, r.u16(b[14:]))
	}
	total, err := r.blockLength(b)
	if err != nil {
		return err
	}
	if total < 28 {
		return r.damaged("a section header of %d bytes, too short", total)
	}
	r.ifaces = r.ifaces[:0]
	return r.skipBlock(total)
}

// blockLength checks the length of the block whose first octets are b.
func (r *Reader) blockLength(b []byte) (int, error) {
	n := r.u32(b[4:])
	if n < blockFrame || n%4 != 0 || n > maxBlock {
		return 0, r.damaged("a block of type %#x says that it is %d bytes long", r.u32(b), n)
	}
	return int(n), nil
}

// skipBlock consumes a block and checks that its two lengths agree.
func (r *Reader) skipBlock(total int) error {
	if err := r.skip(total-4, "a block"); err != nil {
		return err
	}
	b, err := r.peek(4, "a block")
	if errors.Is(err, io.EOF) {
		return r.broken(err, "a block")
	}
	if err != nil {
		return err
	}
	if n := r.u32(b); n != uint32(total) {
		return r.damaged("the two lengths of a block differ: %d before it, %d after it", total, n)
	}
	return r.skip(4, "a block")
}

// interfaceBlock adds an interface to the section. body has size octets, of
// which the buffer may hold fewer.
func (r *Reader) interfaceBlock(body []byte, size int) error {
	if size < 8 {
		return r.damaged("an interface block of %d bytes, too short", size+blockFrame)
	}
	if len(r.ifaces) == maxInterfaces {
		return r.damaged("more than %d interfaces in one section", maxInterfaces)
	}
	i := iface{link: traffic.LinkType(r.u16(body)), snap: r.u32(body[4:]), resol: 6}
	for o := body[8:min(size, len(body))]; len(o) >= 4; {
		code, n := r.u16(o), int(r.u16(o[2:]))
		o = o[4:]
		if code == optionEnd || n > len(o) {
			break
		}
		switch {
		case code == optionTSResol && n >= 1:
			i.resol = o[0]
		case code == optionTSOffset && n >= 8:
			i.offset = r.i64(o)
		}
		o = o[min((n+3)&^3, len(o)):]
	}
	r.ifaces = append(r.ifaces, i)
	return nil
}

// packetBlock takes a packet out of the block of type typ. body has size
// octets, of which the buffer may hold fewer.
func (r *Reader) packetBlock(p *Packet, typ uint32, body []byte, size int) error {
	head := 20
	if typ == blockSimple {
		head = 4
	}
	if size < head {
		return r.damaged("a packet block of %d bytes, too short", size+blockFrame)
	}
	if typ == blockSimple {
		return r.simplePacket(p, body, size)
	}
	id := r.u32(body)
	if typ == blockPacket {
		id = uint32(r.u16(body)) // the other half counts drops
	}
	captured := r.u32(body[12:])
	if captured > uint32(size-head) {
		return r.damaged("a packet block says that %d bytes were captured and has room for %d", captured, size-head)
	}
	n := int(captured)
	p.Link = LinkUnknown
	if id < uint32(len(r.ifaces)) {
		i := &r.ifaces[id]
		p.Link = i.link
		r.stamp(p, i.nanoseconds(uint64(r.u32(body[4:]))<<32|uint64(r.u32(body[8:]))))
	} else {
		r.stamp(p, 0)
	}
	p.Wire = wireLength(r.u32(body[16:]), n)
	p.Data = body[head:min(head+n, len(body))]
	return nil
}

// simplePacket takes a packet that has no time of its own: it takes that of
// the packet before. It belongs to the section's first interface, whose
// snapshot length may have cut it.
func (r *Reader) simplePacket(p *Packet, body []byte, size int) error {
	wire := r.u32(body)
	n := int(min(wire, uint32(size-4)))
	p.Link = LinkUnknown
	if len(r.ifaces) > 0 {
		p.Link = r.ifaces[0].link
		if snap := r.ifaces[0].snap; snap > 0 && uint32(n) > snap {
			n = int(snap)
		}
	}
	r.stamp(p, 0)
	p.Wire = wireLength(wire, n)
	p.Data = body[4:min(4+n, len(body))]
	return nil
}

// nanoseconds turns a time stamp in the interface's units into nanoseconds
// since the epoch, at least 0 and at most Latest.
func (i *iface) nanoseconds(ts uint64) int64 {
	unit, n := uint64(1e9), uint(i.resol&0x7f)
	if i.resol&0x80 == 0 {
		for ; n > 0 && unit > 1; n-- {
			unit /= 10
		}
	}
	hi, lo := bits.Mul64(ts, unit)
	if i.resol&0x80 != 0 {
		if n >= 64 {
			hi, lo, n = 0, hi, n-64
		}
		hi, lo = hi>>n, lo>>n|hi<<(64-n)
	} else {
		for ; n > 0 && hi|lo != 0; n-- {
			var rem uint64
			hi, rem = hi/10, hi%10
			lo, _ = bits.Div64(rem, lo, 10)
		}
	}
	if hi > 0 || lo > uint64(Latest) {
		lo = uint64(Latest)
	}
	// A whole offset outside ±Latest would only hide an overflow.
	const seconds = Latest / 1e9
	return min(max(int64(lo)+min(max(i.offset, -seconds), seconds)*1e9, 0), Latest)
}
