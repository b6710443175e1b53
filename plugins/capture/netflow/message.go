package main

import "encoding/binary"

// Headers of messages: NetFlow v9 (RFC 3954 5.1) and IPFIX (RFC 7011 3.1).
const (
	v9Header    = 20
	ipfixHeader = 16
	setHeader   = 4
	firstData   = 256 // sets with smaller ids do not hold data
)

// v9 decodes a NetFlow v9 message, which ends with its datagram.
func (d *decoder) v9(msg []byte) {
	be := binary.BigEndian
	d.src.e.Sequence(be.Uint32(msg[12:]), 1)
	uptime, export := be.Uint32(msg[4:]), int64(be.Uint32(msg[8:]))*1000
	d.src.begin(export, uptime)
	d.src.boot = export - int64(uptime)
	d.records, d.unsure = 0, false
	d.sets(msg, v9Header, len(msg), false)
	d.src.e.Records(int(d.records))
}

// ipfix decodes the IPFIX messages of a datagram.
func (d *decoder) ipfix(msg []byte) {
	be := binary.BigEndian
	for len(msg) >= ipfixHeader && be.Uint16(msg) == 10 {
		length := int(be.Uint16(msg[2:]))
		switch {
		case length < ipfixHeader:
			d.malformed(lostSet, "an IPFIX message is shorter than its header")
			return
		case length > len(msg):
			d.malformed(lostCutDatagram, "an IPFIX message is longer than its datagram")
			length = len(msg)
		}
		d.src.begin(int64(be.Uint32(msg[4:]))*1000, 0)
		if d.src.dom != nil {
			d.src.boot = d.src.dom.boot.Load()
		}
		d.records, d.unsure = 0, false
		d.sets(msg, ipfixHeader, length, true)
		d.src.sequenced(be.Uint32(msg[8:]), d.records, d.unsure)
		d.src.e.Records(int(d.records))
		msg = msg[length:]
	}
	d.trailing(msg)
}

// sequenced tells the exporter's statistics of an IPFIX message's sequence
// number, which counts data records. Where their number is not known, since a
// template is missing, the next message tells it.
func (s *source) sequenced(number, records uint32, unsure bool) {
	if s.pending {
		s.e.Sequence(s.sequence, number-s.sequence)
	}
	if s.pending, s.sequence = unsure, number; !unsure {
		s.e.Sequence(number, records)
	}
}

// sets goes through the sets of a message, which lie in msg[from:to].
func (d *decoder) sets(msg []byte, from, to int, ipfix bool) {
	be := binary.BigEndian
	for to-from >= setHeader {
		id, length := be.Uint16(msg[from:]), int(be.Uint16(msg[from+2:]))
		if length < setHeader {
			if !zero(msg[from:to]) { // else the datagram is filled up
				d.malformed(lostSet, "a set is shorter than its header")
			}
			return
		}
		end := from + length
		if end > to {
			d.malformed(lostSet, "a set ends behind its message")
			end = to
		}
		d.set(msg, id, from+setHeader, end, ipfix)
		from = end
	}
	if !zero(msg[from:to]) {
		d.malformed(lostSet, "octets follow behind the last set")
	}
}

// set decodes the set id, whose content is msg[from:to].
func (d *decoder) set(msg []byte, id uint16, from, to int, ipfix bool) {
	switch {
	case id >= firstData:
		t := d.src.dom.table.Load().find(id)
		if t == nil {
			d.unsure = true
			d.keep(msg, id, from, to)
			return
		}
		d.data(msg, from, to, t)
	case id == 0 && !ipfix || id == 2 && ipfix:
		d.templates(msg[from:to], false, ipfix)
	case id == 1 && !ipfix || id == 3 && ipfix:
		d.templates(msg[from:to], true, ipfix)
	default:
		d.lost[lostUnknownSet]++
		d.src.e.Unknown(1)
	}
}

// data decodes a set of data records.
func (d *decoder) data(msg []byte, from, to int, t *template) {
	if t.options {
		d.optionRecords(msg[from:to], t)
		return
	}
	if c, ok := t.counts(); !ok {
		d.pass(msg[from:to], t, c)
		return
	}
	switch {
	case t.section != sectionNone:
		d.frames(msg, from, to, t)
	case t.steps == nil:
		d.rest(msg, d.flows(msg, from, to, t), to, t)
	default:
		d.gather(msg, from, to, t)
	}
}

// pass counts records that are no traffic.
func (d *decoder) pass(data []byte, t *template, c cause) {
	n := uint32(0)
	for len(data) >= t.shortest {
		size, _ := t.size(data)
		if size < 0 {
			d.malformed(lostRecord, "a record ends behind its set")
			break
		}
		data = data[size:]
		n++
	}
	d.records += n
	d.lost[c] += uint64(n)
}

// rest looks at what follows the last record of a set: padding, unless it is
// a record that was cut.
func (d *decoder) rest(msg []byte, from, to int, t *template) {
	if to-from >= setHeader && !zero(msg[from:to]) {
		d.malformed(lostRecord, "a record ends behind its set")
	}
}

// size returns how long the record is with which data begins, and where in it
// the frame section lies, if t has one whose length varies; -1 if the record
// is not whole.
func (t *template) size(data []byte) (size int, section []byte) {
	if t.steps == nil {
		return t.shortest, nil
	}
	off := 0
	for i := range t.steps {
		s := &t.steps[i]
		off += int(s.fixed)
		if s.tail {
			break
		}
		n, head := varLength(data, off)
		if head == 0 {
			return -1, nil
		}
		off += head
		if s.section && off+n <= len(data) {
			section = data[off : off+n]
		}
		off += n
	}
	if off > len(data) {
		return -1, nil
	}
	return off, section
}

// varLength reads the length of a variable-length field at off (RFC 7011 7)
// and how many octets tell it; 0 if they are not there.
func varLength(data []byte, off int) (n, head int) {
	if off >= len(data) {
		return 0, 0
	}
	if data[off] < 255 {
		return int(data[off]), 1
	}
	if off+3 > len(data) {
		return 0, 0
	}
	return int(binary.BigEndian.Uint16(data[off+1:])), 3
}
