package main

import (
	"encoding/binary"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// stop says why plain came to an end before its output was full.
type stop uint8

const (
	filled  stop = iota // it did not
	timed               // a flow whose times are to be looked at; all else is done
	sampled             // a record of another sampler
	odd                 // a record for slow: its hot slots are read, and nothing is scaled
)

// flows decodes records of a fixed layout side by side in msg[from:to] and
// returns where they end.
func (d *decoder) flows(msg []byte, from, to int, t *template) int {
	s, o := d.src, d.out
	left := (to - from) / t.length
	d.records += uint32(left)
	s.forced = t.has&plain == 0 || s.filtered || s.dom.perInterface.Load()
	if left > 0 && s.base.Sampling == 0 && !s.forced {
		s.sample(0)
	}
	for left > 0 {
		if o.n == len(o.records) {
			o.next()
		}
		out := o.records[o.n:min(o.n+left, len(o.records))]
		view := msg[from-margin : to+slack]
		if t.far != nil {
			out, view = out[:1], d.window(t, msg, from)[:]
		}
		n, why := s.plain(out, view, t)
		o.n += n
		from += n * t.length
		left -= n
		if why == filled {
			continue
		}
		r, w := &out[n], d.window(t, msg, from)
		switch why {
		case sampled: // once more
			s.switchSampler(t.hot[hotSampler].in(w))
			continue
		case timed:
			r.DurationMs, r.Spread = s.flow(s.times(t, w))
			o.n++
		case odd:
			d.slow(r, w, msg[from-margin:from+t.length], t)
		}
		from += t.length
		left--
	}
	return from
}

// plain decodes records of which the hot slots are all that matters, data
// beginning margin octets before the first and going on behind the last. It
// returns how many it has finished, and why there are no more.
//
// This loop decides what a flow record costs. It calls nothing, so that all it
// works with stays in registers.
func (s *source) plain(out []traffic.Record, data []byte, t *template) (n int, why stop) {
	be, h := binary.BigEndian, &t.hot
	sampler, rate, long, has := s.sampler, uint64(s.base.Sampling), uint64(s.long), t.has
	step := t.length
	if t.far != nil { // data is one record
		step = 0
	}
	for n < len(out) {
		w, r := (*window)(data), &out[n]
		*r = s.base
		if has&hasPair4 != 0 { // as the base has mapped addresses, their last octets are enough
			*(*[4]byte)(r.Src[12:]) = h[hotSrc4].octets4(w)
			*(*[4]byte)(r.Dst[12:]) = h[hotDst4].octets4(w)
		} else {
			be.PutUint32(r.Src[12:], uint32(h[hotSrc4].in(w)))
			be.PutUint32(r.Dst[12:], uint32(h[hotDst4].in(w)))
		}
		packets, octets := h[hotPackets].in(w), h[hotOctets].in(w)
		r.Packets, r.Bytes = packets, octets
		r.SrcPort, r.DstPort = uint16(h[hotSrcPort].in(w)), uint16(h[hotDstPort].in(w))
		protocol := uint8(h[hotProtocol].in(w))
		r.Protocol, r.TCPFlags = protocol, uint8(h[hotFlags].in(w))
		r.InIf, r.OutIf = uint32(h[hotInIf].in(w)), uint32(h[hotOutIf].in(w))
		r.ToS = uint8(h[hotToS].in(w))
		if has&hasHot2 != 0 {
			r.SrcAS, r.DstAS = uint32(h[hotSrcAS].in(w)), uint32(h[hotDstAS].in(w))
			if hop := h[hotHop4].in(w); hop != 0 {
				be.PutUint64(r.NextHop[8:], mapped|hop)
			}
		}
		if has&hasHot3 != 0 {
			r.VLAN, r.TTL = uint16(h[hotVLAN].in(w))&0xfff, uint8(h[hotTTL].in(w))
			if uint8(h[hotForwarding].in(w))>>6 == forwardingDropped {
				r.Marks |= traffic.MarkDropped
			}
		}
		if has&hasIPv6 != 0 && t.addresses6(r, w) {
			r.Marks |= traffic.MarkIPv6
		}
		if octets>>packetBits >= packets || octets < packets || protocol == traffic.ProtoICMP || protocol == traffic.ProtoICMPv6 || s.forced ||
			t.quiet[0].in(w)|t.quiet[1].in(w)|(packets|octets)>>counterBits != 0 { // the first also where there are no packets, the second no octets
			return n, odd
		}
		if h[hotSampler].in(w) != sampler {
			return n, sampled
		}
		if rate != 1 { // at most MaxRate, 24 bits
			r.Packets, r.Bytes = packets*rate, octets*rate
		}
		duration := (h[hotEnd].in(w) - h[hotStart].in(w)) & t.elapsed
		r.DurationMs = uint32(duration)
		if duration >= long || t.time > timeMillis {
			return n, timed
		}
		data = data[step:]
		n++
	}
	return n, filled
}

// addresses6 fills in the addresses of a template with IPv6 ones and reports
// whether they are. Where it has both families the record is of the one that
// is not zero.
func (t *template) addresses6(r *traffic.Record, w *window) bool {
	be := binary.BigEndian
	var src, dst [16]byte
	if t.has&hasSrc6 != 0 {
		src = octets16(w, t.v6[0])
	}
	if t.has&hasDst6 != 0 {
		dst = octets16(w, t.v6[1])
	}
	if t.has&hasHop6 != 0 {
		r.NextHop = octets16(w, t.v6[2])
	}
	high := be.Uint64(src[:]) | be.Uint64(dst[:])
	low := be.Uint64(src[8:]) | be.Uint64(dst[8:])
	if t.has&hasIPv4 != 0 && high|low == 0 {
		return false
	}
	r.Src, r.Dst = src, dst
	return high != 0 || low>>32 != 0xffff // else IPv4 in IPv6's clothes
}

// Seconds from the epoch of NTP, 1900, to that of Unix (RFC 5905), and the
// NTP second from which on a number is taken for NTP's format: 1990.
const (
	ntpUnix  = 2208988800
	ntpStart = ntpUnix + 20*365*86400
)

// times returns when a flow began and ended, in Unix milliseconds; 0 and 0
// where the record does not tell.
func (s *source) times(t *template, w *window) (start, end int64) {
	a, b := t.hot[hotStart].in(w), t.hot[hotEnd].in(w)
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
