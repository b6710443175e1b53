package main

import (
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Values of dataLinkFrameType (408), the kind of frame of a section.
const frameEthernet = 1

// maxFrame is the longest frame that anybody sends, in octets.
const maxFrame = 1 << 20

// frames decodes records that hold the beginning of a sampled packet: Cisco's
// NetFlow Lite (element 104) and IPFIX sections (313, 315; RFC 5477 8.5). What
// they count are packets, not flows.
func (d *decoder) frames(msg []byte, from, to int, t *template) {
	for to-from >= t.shortest {
		size, section := t.size(msg[from:to])
		if size < 0 {
			d.malformed(lostRecord, "a record ends behind its set")
			return
		}
		d.records++
		at, begin, length := msg, from, size
		if t.steps != nil {
			clear(d.scratch[:margin])
			t.copyRecord(msg[from:to], d.scratch[margin:margin+t.length])
			at, begin, length = d.scratch, margin, t.length
		}
		record, w := at[begin-margin:begin+length], d.window(t, at, begin)
		if t.sectionEnd != 0 {
			end := int(t.sectionEnd) + margin
			section = record[end-int(t.sectionLength) : end]
		}
		d.frame(w, record, section, t)
		from += size
	}
	d.rest(msg, from, to, t)
}

// frame decodes one section. margin octets come before its record.
func (d *decoder) frame(w *window, record, section []byte, t *template) {
	x, o := &d.x, d.out
	for i := range t.slow {
		x[t.slow[i].what] = t.slow[i].of(record)
	}
	has := func(s int) bool { return t.has&(1<<s) != 0 }
	if o.n == len(o.records) {
		o.next()
	}
	r := &o.records[o.n]
	wire := len(section)
	if has(slowSectionSize) { // the rest of a section of fixed length is padding
		section = section[:min(uint64(len(section)), x[slowSectionSize])]
		wire = max(wire, int(min(x[slowSectionSize], maxFrame)))
	}
	if has(slowFrameSize) {
		wire = int(min(x[slowFrameSize], maxFrame))
	}
	outcome, link := traffic.UnknownLink, traffic.LinkEthernet
	switch {
	case has(slowSectionOffset) && x[slowSectionOffset] != 0: // not from the beginning
	case t.section == sectionIP:
		outcome, link = d.parser.IP(r, section, wire), traffic.LinkRaw
	case !has(slowFrameType) || x[slowFrameType] <= frameEthernet:
		outcome = d.parser.Ethernet(r, section, wire)
	}
	if outcome != traffic.OK {
		d.lost[outcomeCause(outcome)]++
		return
	}
	at := o.n
	d.complete(r, w, t)
	if o.n > at { // it counts
		if t.steps != nil && t.sectionEnd != 0 {
			section = slices.Clone(section) // the copied record makes room for the next one
		}
		o.framed = append(o.framed, framed{at, link, wire, section})
		if d.parser.Several() {
			d.inside(o.records[at], link, section, wire)
		}
	}
}

// inside adds the packets inside a section's that count besides it.
func (d *decoder) inside(outer traffic.Record, link traffic.LinkType, section []byte, wire int) {
	o := d.out
	var more [traffic.MaxTunnels]traffic.Record
	n := d.parser.More(more[:], link, section, wire)
	for i := range more[:n] {
		if o.n == len(o.records) {
			o.next()
		}
		more[i].Carried(&outer)
		o.records[o.n] = more[i]
		o.framed = append(o.framed, framed{o.n, link, wire, section})
		o.n++
	}
}

// complete adds to a packet what its record knows beside the section.
func (d *decoder) complete(r *traffic.Record, w *window, t *template) {
	s := d.src
	r.Time, r.Exporter = s.base.Time, s.base.Exporter
	r.InIf, r.OutIf = uint32(t.hot[hotInIf].in(w)), uint32(t.hot[hotOutIf].in(w))
	r.SrcAS, r.DstAS = uint32(t.hot[hotSrcAS].in(w)), uint32(t.hot[hotDstAS].in(w))
	if r.VLAN == 0 {
		r.VLAN = uint16(t.hot[hotVLAN].in(w)) & 0xfff
	}
	if uint8(t.hot[hotForwarding].in(w))>>6 == forwardingDropped {
		r.Marks |= traffic.MarkDropped
	}
	outgoing := t.has&(1<<slowDirection) != 0 && d.x[slowDirection] == egress
	rate := uint64(d.recordRate(r, w, t, outgoing))
	packets := max(t.hot[hotPackets].in(w), 1)
	r.Packets, r.Bytes, r.Sampling = scale(packets, rate), scale(scale(r.Bytes, packets), rate), uint32(rate)
	d.emit(r, outgoing)
}
