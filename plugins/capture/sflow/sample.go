package main

import "github.com/fastnetmon-go/fastnetmon/sdk/traffic"

// Sample formats of enterprise 0 (sFlow version 5; format 5 is sFlow.org's
// "sFlow Drop Notifications").
const (
	sampleFlow         = 1
	sampleCounters     = 2
	sampleFlowExpanded = 3
	sampleCountersExp  = 4
	sampleDiscard      = 5
	sampleKinds        = 6
)

// heads is how many octets come before a sample's records, the last four of
// which are their number.
var heads = [sampleKinds]int{
	sampleFlow: 32, sampleCounters: 12, sampleFlowExpanded: 44, sampleCountersExp: 16, sampleDiscard: 32,
}

// ifInternal is the interface number of the device itself, in the compact
// form's 30 bits; the expanded form has all 32 set.
const ifInternal = 0x3fffffff

// sample is what a flow sample says besides its packet.
type sample struct {
	source   uint64 // of the data source: its class in the upper half, its index in the lower
	sequence uint32 // of the samples of this source
	rate     uint32 // 1 in rate packets is sampled; 0 the device does not say
	pool     uint32 // packets that this one was chosen among, ever, modulo 2^32
	drops    uint32 // samples that the device has dropped for lack of resources, modulo 2^32
	in, out  uint32 // ifIndex, 0 unknown or several
	flow     bool   // it is a flow sample or a discard: the fields above are set
	dropped  bool   // the device has not forwarded the packet
	discard  bool   // a notice of a drop: not sampled, each stands for itself
	header   span   // the sampled header
}

// span is where in the datagram something lies.
type span struct{ from, to int }

// result is what became of a sample.
type result uint8

const (
	ended   result = iota // there was none: the datagram is read
	counted               // it gave a record
	nothing               // it gave none: it has counters, or its loss is counted
)

// usualHead is how many octets a usual sample has before those sampled, with
// its format and length; an expanded one has 12 more.
const (
	usualHead    = 8 + 32 + 8 + headerSize
	expandedMore = 44 - 32
)

// next reads the next sample. After counted, r holds its packet as the parser
// leaves it: not scaled, with interfaces, next hop and AS numbers. Unless it
// returns ended, s is set.
//
// Usual samples begin with the header of an Ethernet frame, behind which
// little comes. These are read here, in half the time that the way through
// general and packet takes.
func (d *decoder) next(r *traffic.Record, s *sample) result {
	b := d.data[d.off:]
	if len(b) < usualHead+expandedMore || d.left == 0 || d.version != version5 {
		return d.general(r, s)
	}
	w := (*[usualHead + expandedMore]byte)(b)
	kind, size := be.Uint32(w[:]), be.Uint32(w[4:])
	h, from := (*rawSample)(w[36:]), usualHead
	if kind == sampleFlowExpanded {
		h, from = (*rawSample)(w[36+expandedMore:]), usualHead+expandedMore
	}
	header, frame, octets := be.Uint32(h[8:]), be.Uint32(h[16:]), be.Uint32(h[24:])
	records := be.Uint32(h[:])
	left := int64(size) + 8 - int64(header) - int64(from) + headerSize // behind the header record
	// A negative number sets the highest bit of all.
	odd := (int64(records) - 1) | left | (int64(header) - headerSize - int64(octets)) | (maxFrame - int64(frame)) | (int64(len(b)-8) - int64(size))
	differs := (be.Uint32(h[4:]) ^ recordHeader) | (be.Uint32(h[12:]) ^ protocolEthernet) | (size|header)&3 | (kind-sampleFlow)&^(sampleFlowExpanded-sampleFlow)
	if odd < 0 || differs != 0 {
		return d.general(r, s)
	}
	s.header = span{d.off + from, d.off + from + int(octets)}
	if kind == sampleFlow { // before the parser: what is read back at once stalls
		s.compact((*[32]byte)(w[8:]))
	} else {
		s.expanded((*[44]byte)(w[8:]))
	}
	if d.parser.Ethernet(r, b[from:from+int(octets)], int(frame)) != traffic.OK {
		return d.general(r, s)
	}
	r.InIf, r.OutIf = s.in, s.out
	if s.dropped {
		r.Marks |= traffic.MarkDropped
	}
	at := d.off + 8
	d.off = at + int(size)
	d.left--
	if records != 1 || left != 0 {
		d.rest(r, kind, at, int(size)-int(left), records-1)
	}
	return counted
}

// rawSample is the end of a usual sample's head: the number of records, then
// format, length and what comes before the octets of the first, the header.
type rawSample [4 + 8 + headerSize]byte

// rest reads the records of a usual sample behind its header: n of them at off
// in the sample, which begins at at.
func (d *decoder) rest(r *traffic.Record, kind uint32, at, off int, n uint32) {
	b := d.data[at:d.off]
	kinds, read := d.found.walk(b, off, n, foundHeader)
	if kinds&(foundSwitch|foundRouter|foundGateway) != 0 {
		d.extend(r, b, kinds)
	}
	if read != len(b) {
		d.resync(kind, at)
	}
}

// general is next for samples of every kind.
func (d *decoder) general(r *traffic.Record, s *sample) result {
	if d.left == 0 {
		return ended
	}
	d.left--
	s.header = span{} // the packet of the last sample is not this one's
	if d.version != version5 {
		return d.next4(r, s)
	}
	b := d.data[d.off:]
	if len(b) < 8 {
		d.cut()
		return ended
	}
	kind, size := be.Uint32(b), be.Uint32(b[4:])
	at := d.off + 8
	b = b[8:]
	if uint64(size) > uint64(len(b)) {
		return d.overrun(kind, at, s)
	}
	d.off = at + min((int(size)+3)&^3, len(b)) // the last may lack its padding
	b = b[:size]

	out, read := nothing, -1
	switch {
	case kind == sampleFlow && len(b) >= 32:
		s.compact((*[32]byte)(b))
		out, read = d.packet(r, s, b, 32, at)
	case kind == sampleFlowExpanded && len(b) >= 44:
		s.expanded((*[44]byte)(b))
		out, read = d.packet(r, s, b, 44, at)
	case kind == sampleDiscard && len(b) >= 32:
		s.notice(b[:32])
		out, read = d.packet(r, s, b, 32, at)
	case kind == sampleCounters || kind == sampleCountersExp:
		s.flow = false
		read = d.counterSample(kind, b)
	case kind == 0 || kind >= sampleKinds:
		s.flow = false
		d.skip(causeKind, &d.unknown)
		return nothing
	default: // too short
		s.flow = false
		d.skip(causeSample, &d.bad)
	}
	if read != len(b) {
		d.resync(kind, at)
	}
	return out
}

// skip counts a sample that gives no record.
func (d *decoder) skip(cause int, also *uint64) {
	d.lost[cause]++
	*also++
}

// compact reads what a flow sample has before its records.
func (s *sample) compact(h *[32]byte) {
	source, in, out := be.Uint32(h[4:]), be.Uint32(h[20:]), be.Uint32(h[24:])
	s.sequence, s.source = be.Uint32(h[:]), uint64(source>>24)<<32|uint64(source&0xffffff)
	s.rate, s.pool, s.drops = be.Uint32(h[8:]), be.Uint32(h[12:]), be.Uint32(h[16:])
	s.flow, s.dropped, s.discard = true, false, false
	s.in, s.out = in, out
	if in >= ifInternal || out >= ifInternal {
		s.input(in>>30, in&ifInternal, ifInternal)
		s.output(out>>30, out&ifInternal, ifInternal)
	}
}

// expanded reads what an expanded flow sample has before its records.
func (s *sample) expanded(h *[44]byte) {
	s.sequence, s.source = be.Uint32(h[:]), be.Uint64(h[4:])
	s.rate, s.pool, s.drops = be.Uint32(h[12:]), be.Uint32(h[16:]), be.Uint32(h[20:])
	s.flow, s.dropped, s.discard = true, false, false
	s.input(be.Uint32(h[24:]), be.Uint32(h[28:]), 0xffffffff)
	s.output(be.Uint32(h[32:]), be.Uint32(h[36:]), 0xffffffff)
}

// notice reads what the notice of a drop has before its records.
func (s *sample) notice(h []byte) {
	s.sequence, s.source = be.Uint32(h), be.Uint64(h[4:])
	s.rate, s.pool, s.drops = 1, 0, be.Uint32(h[12:])
	s.input(0, be.Uint32(h[16:]), 0xffffffff)
	s.output(0, be.Uint32(h[20:]), 0xffffffff)
	s.flow, s.dropped, s.discard = true, true, true
}

// input and output take an interface as its format and value: format 0 is an
// ifIndex, 1 (output only) a packet that was discarded, 2 several interfaces.
func (s *sample) input(format, value, internal uint32) {
	s.in = value
	if format != 0 || value == internal {
		s.in = 0
	}
}

func (s *sample) output(format, value, internal uint32) {
	s.out = value
	if format != 0 || value == internal {
		s.out, s.dropped = 0, format == 1
	}
}

// counterSample looks for an interface's name: all else in it counts no
// packets.
func (d *decoder) counterSample(kind uint32, b []byte) (read int) {
	d.counters++
	head := heads[kind]
	if len(b) < head {
		d.bad++
		return -1
	}
	var class, index uint32
	if kind == sampleCounters {
		source := be.Uint32(b[4:])
		class, index = source>>24, source&0xffffff
	} else {
		class, index = be.Uint32(b[4:]), be.Uint32(b[8:])
	}
	off := head
	for n := be.Uint32(b[head-4:]); n > 0; n-- {
		format, from, to, next := record(b, off)
		if next < 0 {
			return -1
		}
		if format == counterPortName && class == 0 && to-from >= 4 {
			if size := be.Uint32(b[from:]); size <= uint32(to-from-4) {
				d.portName = port{index, b[from+4 : from+4+int(size)]}
			}
		}
		off = next
	}
	return off
}

// overrun reads a sample whose length goes beyond the datagram. Where its
// records tell where it ends, only this sample is lost, else all that follow.
func (d *decoder) overrun(kind uint32, at int, s *sample) result {
	s.flow = false
	end, ok := d.extent(kind, at)
	if !ok || !d.plausible(end) {
		d.cut()
		return ended
	}
	d.off = end
	d.skip(causeSample, &d.bad)
	return nothing
}

// resync decides where the next sample begins behind one whose length is not
// that of its records: where its length says, unless nothing begins there and
// something does where its records end.
func (d *decoder) resync(kind uint32, at int) {
	if d.plausible(d.off) {
		return
	}
	if end, ok := d.extent(kind, at); ok && d.plausible(end) {
		d.off = end
	}
}

// maxRepairs bounds, in a datagram, the samples whose end is searched: each
// may cost as much as the datagram is long.
const maxRepairs = 8

// extent follows a sample's records, whatever its length says.
func (d *decoder) extent(kind uint32, at int) (end int, ok bool) {
	if kind == 0 || kind >= sampleKinds || len(d.data)-at < heads[kind] || d.repairs == maxRepairs {
		return 0, false
	}
	d.repairs++
	b, off := d.data[at:], heads[kind]
	for n := be.Uint32(b[off-4:]); n > 0; n-- {
		if _, _, _, off = record(b, off); off < 0 {
			return 0, false
		}
	}
	return at + off, true
}

// plausible reports whether a sample may begin at off, or the datagram end:
// one of a known kind, perhaps behind a few of vendors' own.
func (d *decoder) plausible(off int) bool {
	b := d.data[off:]
	for range 4 {
		if len(b) < 8 {
			return len(b) == 0
		}
		kind, size := be.Uint32(b), be.Uint32(b[4:])
		if size%4 != 0 || uint64(size) > uint64(len(b)-8) {
			return false
		}
		if kind < sampleKinds {
			return kind > 0 && size >= uint32(heads[kind])
		}
		if kind>>12 == 0 { // of no vendor
			return false
		}
		b = b[8+size:]
	}
	return false
}
