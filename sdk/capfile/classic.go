package capfile

import (
	"fmt"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The classic format (draft-ietf-opsawg-pcap): a file header of 24 octets,
// then records of 16 octets and the frame.
const (
	classicFileHeader   = 24
	classicRecordHeader = 16
)

func (r *Reader) classicHeader() error {
	h, err := r.in.Peek(classicFileHeader)
	if err != nil {
		return shortHeader(r.name, err)
	}
	if major, minor := r.u16(h[4:]), r.u16(h[6:]); major != 2 || minor != 4 {
		return fmt.Errorf("%s: pcap version %d.%d is not supported, only 2.4", r.name, major, minor)
	}
	// The upper half holds the length of a frame check sequence.
	r.link = traffic.LinkType(r.u32(h[20:]))
	return r.skip(classicFileHeader, "the file header")
}

// nextRecord reads one record. The file header's snapshot length is not
// enforced: some writers exceed it, and nothing here is sized by it.
func (r *Reader) nextRecord(p *Packet) error {
	if err := r.skip(r.unread, "a packet"); err != nil {
		return err
	}
	r.unread = 0
	h, err := r.peek(classicRecordHeader, "a record header")
	if err != nil {
		return err
	}
	sec, frac := int64(r.u32(h)), int64(r.u32(h[4:]))
	if !r.nano {
		frac *= 1000
	}
	captured, wire := r.u32(h[8:]), r.u32(h[12:])
	if captured > maxFrame {
		return r.damaged("a record says that %d bytes were captured, more than the %d that a frame can have", captured, maxFrame)
	}
	n := int(captured)
	keep := min(n, bufferSize-classicRecordHeader)
	b, err := r.peek(classicRecordHeader+keep, "a packet")
	if err != nil {
		return err
	}
	r.stamp(p, sec*1e9+frac)
	p.Link = r.link
	p.Wire = wireLength(wire, n)
	p.Data = b[classicRecordHeader:]
	r.unread = classicRecordHeader + n
	return nil
}

// wireLength is a frame's length on the wire: what the file says, but at
// least what was captured and at most what an int holds everywhere.
func wireLength(wire uint32, captured int) int {
	return max(captured, int(min(wire, 1<<30)))
}
