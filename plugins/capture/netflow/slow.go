package main

import (
	"encoding/binary"
	"math"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Values of elements (IANA registry; RFC 7270 4.12 for the forwarding status).
const (
	forwardingDropped = 2
	egress            = 1
	laterFragment     = 0x1fff // bits of fragmentOffset
	moreFragments     = 0x20
	swappedOne        = 1 << 24 // a rate of 1 in the wrong byte order, as some routers send it
)

// slow finishes a record of whose template more is known than the hot slots,
// and hands it over if it counts. r is the next record of the output, with
// what the hot slots say in it; margin octets come before record.
func (d *decoder) slow(r *traffic.Record, w *window, record []byte, t *template) {
	x := &d.x
	for i := range t.slow {
		x[t.slow[i].what] = t.slow[i].of(record)
	}
	start, end := d.src.times(t, w)
	d.qualify(r, t)
	outgoing := t.has&(1<<slowDirection) != 0 && x[slowDirection] == egress
	if t.has&(1<<slowStation) != 0 {
		station(r, x[slowStation], outgoing)
	}
	start, end = d.src.moments(t, w, x, start, end)

	reverse := d.counters(r, t, start)
	if r.Packets|r.Bytes == 0 && reverse.packets == 0 {
		d.uncounted(t)
		return
	}
	if apart(r.Packets, r.Bytes) || apart(reverse.packets, reverse.octets) {
		d.malformed(lostImpossible, apartText)
		return
	}
	rate := d.recordRate(r, w, t, outgoing)
	r.Sampling = rate
	r.DurationMs, r.Spread = d.src.flow(start, end)
	back := *r
	r.Packets, r.Bytes = scale(r.Packets, uint64(rate)), scale(r.Bytes, uint64(rate))
	reverse.packets, reverse.octets = scale(reverse.packets, uint64(rate)), scale(reverse.octets, uint64(rate))
	if tooFast(r.Packets, r.Bytes, r.DurationMs) || tooFast(reverse.packets, reverse.octets, r.DurationMs) {
		d.malformed(lostImpossible, "a record has more traffic than any link carries")
		return
	}
	if r.Packets > 0 {
		d.emit(r, outgoing)
	}
	if reverse.packets > 0 {
		d.emitReverse(&back, reverse, outgoing)
	}
}

// station fills in the one address of a record that tells of a wireless
// station: what comes in from the air is from it, what goes out is to it.
func station(r *traffic.Record, address uint64, outgoing bool) {
	if outgoing {
		binary.BigEndian.PutUint64(r.Dst[8:], mapped|address)
		return
	}
	binary.BigEndian.PutUint64(r.Src[8:], mapped|address)
}

// emit hands over the record that the output has next, if it is wanted.
func (d *decoder) emit(r *traffic.Record, outgoing bool) {
	if d.src.filtered && !d.wanted(r, outgoing) {
		return
	}
	d.out.n++
}

// emitReverse makes a record of the way back.
func (d *decoder) emitReverse(back *traffic.Record, c reverse, outgoing bool) {
	o := d.out
	if o.n == len(o.records) {
		o.next()
	}
	r := &o.records[o.n]
	*r = *back
	r.Src, r.Dst = back.Dst, back.Src
	r.SrcPort, r.DstPort = back.DstPort, back.SrcPort
	r.SrcAS, r.DstAS = back.DstAS, back.SrcAS
	r.InIf, r.OutIf = back.OutIf, back.InIf
	r.NextHop = [16]byte{}
	r.TCPFlags = c.flags
	r.Packets, r.Bytes = c.packets, c.octets
	d.emit(r, outgoing)
}

// uncounted counts a record without packets and octets: an event where its
// template is one of events.
func (d *decoder) uncounted(t *template) {
	switch {
	case t.has&(1<<slowNATEvent) != 0:
		d.lost[lostNAT]++
	case t.has&(1<<slowFirewallEvent) != 0:
		d.lost[lostFirewall]++
	default:
		d.lost[lostNoCounters]++
	}
}

// qualify fills in marks, ICMP types and ports of other elements.
func (d *decoder) qualify(r *traffic.Record, t *template) {
	x := &d.x
	has := func(s int) bool { return t.has&(1<<s) != 0 }
	if has(slowFragmentOffset) && x[slowFragmentOffset]&laterFragment != 0 {
		r.Marks |= traffic.MarkFragment | traffic.MarkLater
	}
	if has(slowFragmentFlags) && x[slowFragmentFlags]&moreFragments != 0 {
		r.Marks |= traffic.MarkFragment
	}
	switch r.Protocol {
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		icmpOfPort(r)
		if has(slowICMP) {
			r.ICMPType, r.ICMPCode = uint8(x[slowICMP]>>8), uint8(x[slowICMP])
		}
		if has(slowICMPType) {
			r.ICMPType = uint8(x[slowICMPType])
		}
		if has(slowICMPCode) {
			r.ICMPCode = uint8(x[slowICMPCode])
		}
	case traffic.ProtoUDP:
		if r.SrcPort|r.DstPort == 0 && has(slowUDPSrc) && has(slowUDPDst) {
			r.SrcPort, r.DstPort = uint16(x[slowUDPSrc]), uint16(x[slowUDPDst])
		}
	case traffic.ProtoTCP:
		if r.SrcPort|r.DstPort == 0 && has(slowTCPSrc) && has(slowTCPDst) {
			r.SrcPort, r.DstPort = uint16(x[slowTCPSrc]), uint16(x[slowTCPDst])
		}
	}
}

// moments corrects a flow's times by elements that few records have.
func (s *source) moments(t *template, w *window, x *[slowSlots]uint64, start, end int64) (from, to int64) {
	if t.has&(1<<slowSystemInit) != 0 && x[slowSystemInit] != 0 {
		boot := s.boot
		s.boot = clampMillis(x[slowSystemInit], 1e6)
		start, end = s.times(t, w)
		s.boot = boot
	}
	if t.has&(1<<slowDuration) != 0 {
		ms := int64(x[slowDuration])
		if t.has&hasMicros != 0 {
			ms /= 1000
		}
		return s.export - ms, s.export
	}
	return start, end
}

// reverse is what came back in a flow of both directions.
type reverse struct {
	packets, octets uint64
	flags           uint8
}

// counters settles the counters of a record, unscaled, and returns those of
// the way back.
func (d *decoder) counters(r *traffic.Record, t *template, start int64) (back reverse) {
	x := &d.x
	has := func(s int) bool { return t.has&(1<<s) != 0 }
	if r.Packets == 0 && has(slowOutPackets) {
		r.Packets = x[slowOutPackets]
	}
	if r.Bytes == 0 && has(slowOutOctets) {
		r.Bytes = x[slowOutOctets]
	}
	if has(slowReversePackets) {
		back.packets = x[slowReversePackets]
	}
	if has(slowReverseOctets) {
		back.octets = x[slowReverseOctets]
	}
	if has(slowReverseFlags) {
		back.flags = uint8(x[slowReverseFlags])
	}
	if t.has&hasTotals != 0 && start != 0 {
		d.since(r, t, start, &back)
	}
	if r.Packets == 0 {
		r.Packets = guessPackets(r.Bytes)
	}
	if back.packets == 0 {
		back.packets = guessPackets(back.octets)
	}
	return back
}

// recordRate is the sampling rate of a record.
func (d *decoder) recordRate(r *traffic.Record, w *window, t *template, outgoing bool) uint32 {
	x, s := &d.x, d.src
	has := func(i int) bool { return t.has&(1<<i) != 0 }
	var told uint64
	if has(slowRate) && x[slowRate] != swappedOne {
		told = x[slowRate]
	}
	if told == 0 && has(slowInterval) && x[slowInterval] != 0 {
		told = x[slowInterval]
		if has(slowSpace) {
			told = (x[slowInterval] + x[slowSpace]) / x[slowInterval]
		}
	}
	if told == 0 && has(slowObserved) && has(slowSelected) && x[slowSelected] != 0 {
		told = x[slowObserved] / x[slowSelected]
	}
	sampler := t.hot[hotSampler].in(w)
	var iface uint32
	if s.dom.perInterface.Load() {
		if iface = r.InIf; outgoing {
			iface = r.OutIf
		}
	}
	if told > 0 {
		return s.e.Rate(sampler, iface, uint32(min(told, math.MaxUint32)))
	}
	if sampler == 0 && iface == 0 {
		return s.unnamed()
	}
	return s.rateOf(sampler, iface)
}
