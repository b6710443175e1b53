package main

import (
	"encoding/binary"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// margin is how many octets before a record a window on it begins: numbers
// are read as the eight octets before their end. There are always that many:
// the header of the set and that of the message.
const margin = 8

// of reads the number in a window.
func (s *slot) of(w []byte) uint64 {
	i := int(s.end)
	return binary.BigEndian.Uint64(w[i:i+8]) & s.mask // cheaper than w[i:]
}

// flows decodes records of a fixed layout side by side in msg[from:to] and
// returns where they end.
func (d *decoder) flows(msg []byte, from, to int, t *template) int {
	s, o := d.src, d.out
	d.records += uint32((to - from) / t.length)
	if t.has&plain == 0 || s.filtered || s.dom.perInterface.Load() {
		for ; to-from >= t.length; from += t.length {
			if o.n == len(o.records) {
				o.next()
			}
			w, r := msg[from-margin:from+t.length], &o.records[o.n]
			*r = s.base
			t.fill(r, w)
			start, end := s.times(t, w)
			d.slow(r, w, t, start, end)
		}
		return from
	}
	if to-from >= t.length && s.base.Sampling == 0 {
		s.sample(0)
	}
	for to-from >= t.length {
		if o.n == len(o.records) {
			o.next()
		}
		n := min(len(o.records)-o.n, (to-from)/t.length)
		kept := s.plainBatch(o.records[o.n:o.n+n], msg[from-margin:from+n*t.length], t)
		d.lost[lostNoCounters] += uint64(n - kept)
		o.n += kept
		from += n * t.length
	}
	return from
}

// plainBatch decodes as many records as out has room for, of a template of
// which the hot slots are all that matters. data begins margin octets before
// the first. It returns how many of them count anything.
func (s *source) plainBatch(out []traffic.Record, data []byte, t *template) (kept int) {
	at, end := 0, margin+t.length
	for range out {
		w, r := data[at:end], &out[kept]
		at, end = at+t.length, end+t.length
		*r = s.base
		t.fill(r, w)
		duration := (t.hot[hotEnd].of(w) - t.hot[hotStart].of(w)) & t.elapsed
		r.DurationMs = uint32(duration)
		if sampler := t.hot[hotSampler].of(w); sampler != 0 {
			r.Sampling = s.rateOf(sampler, 0)
		}
		if duration >= uint64(s.long) || r.Packets == 0 || t.time > timeMillis {
			if r.Packets == 0 {
				if r.Bytes == 0 {
					continue
				}
				r.Packets = guessPackets(r.Bytes)
			}
			r.DurationMs, r.Spread = s.flow(s.times(t, w))
		}
		if rate := uint64(r.Sampling); rate != 1 {
			r.Packets, r.Bytes = scale(r.Packets, rate), scale(r.Bytes, rate)
		}
		kept++
	}
	return kept
}

// fill fills in what the hot slots say, but for times and sampling.
func (t *template) fill(r *traffic.Record, w []byte) {
	if t.has&hasIPv6 == 0 {
		binary.BigEndian.PutUint64(r.Src[8:], mapped|t.hot[hotSrc4].of(w))
		binary.BigEndian.PutUint64(r.Dst[8:], mapped|t.hot[hotDst4].of(w))
	} else {
		t.addresses6(r, w)
	}
	r.Packets, r.Bytes = t.hot[hotPackets].of(w), t.hot[hotOctets].of(w)
	r.SrcPort, r.DstPort = uint16(t.hot[hotSrcPort].of(w)), uint16(t.hot[hotDstPort].of(w))
	r.Protocol, r.TCPFlags = uint8(t.hot[hotProtocol].of(w)), uint8(t.hot[hotFlags].of(w))
	r.InIf, r.OutIf = uint32(t.hot[hotInIf].of(w)), uint32(t.hot[hotOutIf].of(w))
	r.ToS = uint8(t.hot[hotToS].of(w))
	if t.has&hasHot2 != 0 {
		r.SrcAS, r.DstAS = uint32(t.hot[hotSrcAS].of(w)), uint32(t.hot[hotDstAS].of(w))
		if hop := t.hot[hotHop4].of(w); hop != 0 {
			binary.BigEndian.PutUint64(r.NextHop[8:], mapped|hop)
		}
	}
	if t.has&hasHot3 != 0 {
		r.VLAN, r.TTL = uint16(t.hot[hotVLAN].of(w))&0xfff, uint8(t.hot[hotTTL].of(w))
		if forwarding := uint8(t.hot[hotForwarding].of(w)); forwarding>>6 == forwardingDropped {
			r.Marks |= traffic.MarkDropped
		}
	}
	if r.Protocol == traffic.ProtoICMP || r.Protocol == traffic.ProtoICMPv6 {
		icmpOfPort(r)
	}
}

// addresses6 fills in the addresses of a template with IPv6 ones. Where it has
// both families the record is of the one that is not zero.
func (t *template) addresses6(r *traffic.Record, w []byte) {
	be := binary.BigEndian
	r.Src, r.Dst = address(w, t.src6), address(w, t.dst6)
	r.NextHop = address(w, t.hop6)
	high := be.Uint64(r.Src[:]) | be.Uint64(r.Dst[:])
	low := be.Uint64(r.Src[8:]) | be.Uint64(r.Dst[8:])
	if t.has&hasIPv4 != 0 && high|low == 0 {
		be.PutUint64(r.Src[8:], mapped|t.hot[hotSrc4].of(w))
		be.PutUint64(r.Dst[8:], mapped|t.hot[hotDst4].of(w))
		return
	}
	if high == 0 && low>>32 == 0xffff { // IPv4 in IPv6's clothes
		return
	}
	r.Marks |= traffic.MarkIPv6
}

// address reads the IPv6 address that ends at end, the unspecified one where
// there is none.
func address(w []byte, end uint16) (a [16]byte) {
	if end != 0 {
		at := int(end) - 16 + margin
		return [16]byte(w[at : at+16])
	}
	return a
}

// Seconds from the epoch of NTP, 1900, to that of Unix (RFC 5905), and the
// NTP second from which on a number is taken for NTP's format: 1990.
const (
	ntpUnix  = 2208988800
	ntpStart = ntpUnix + 20*365*86400
)

// times returns when a flow began and ended, in Unix milliseconds; 0 and 0
// where the record does not tell.
func (s *source) times(t *template, w []byte) (start, end int64) {
	a, b := t.hot[hotStart].of(w), t.hot[hotEnd].of(w)
	switch t.time {
	case timeNone:
		return 0, 0
	case timeUptime:
		return s.sinceBoot(uint32(a), uint32(b))
	case timeMillis:
		return clampMillis(a, time.Millisecond), clampMillis(b, time.Millisecond)
	case timeSeconds:
		return clampMillis(a, time.Second), clampMillis(b, time.Second)
	case timeDelta:
		return s.export - int64(a/1000), s.export - int64(b/1000)
	case timeMicros:
		return ntpMillis(a, 1000), ntpMillis(b, 1000)
	default:
		return ntpMillis(a, 1e6), ntpMillis(b, 1e6)
	}
}

// sinceBoot reads times that count from the exporter's boot. An IPFIX message
// does not say when that was; if no option has told either, the flow is taken
// to have ended when it was exported.
func (s *source) sinceBoot(first, last uint32) (start, end int64) {
	if s.boot == 0 {
		return s.export - int64(int32(last-first)), s.export
	}
	// The counter wraps after 49 days: what counts is the distance.
	up := uint32(s.export - s.boot)
	return s.export + int64(int32(first-up)), s.export + int64(int32(last-up))
}

// clampMillis turns a number of units into milliseconds.
func clampMillis(n uint64, unit time.Duration) int64 {
	return int64(min(n, 1<<50)) * int64(unit/time.Millisecond)
}

// ntpMillis reads a time in NTP's format, or one that counts units, of which
// perMilli make a millisecond, since 1970.
func ntpMillis(n, perMilli uint64) int64 {
	if n>>32 < ntpStart {
		return int64(n / perMilli)
	}
	return int64(n>>32-ntpUnix)*1000 + int64((n&0xffffffff)*1000>>32)
}
