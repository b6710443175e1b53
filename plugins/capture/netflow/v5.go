package main

import (
	"encoding/binary"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// NetFlow v5: a header of 24 octets, then records of 48 (Cisco, NetFlow
// Export Datagram Format, tables B-3 and B-4).
const (
	v5Header = 24
	v5Record = 48
)

// mapped is the upper half of the last eight octets of an IPv4 address mapped
// to IPv6.
const mapped = 0xffff << 32

// v5 decodes the messages of a datagram.
func (d *decoder) v5(msg []byte) {
	be := binary.BigEndian
	for len(msg) >= v5Header && be.Uint16(msg) == 5 {
		n := int(be.Uint16(msg[2:]))
		there := min(n, (len(msg)-v5Header)/v5Record)
		if there < n || n == 0 {
			d.malformed(lostCount, "the header announces records that are not there, or none")
		}
		uptime := be.Uint32(msg[4:])
		export := int64(be.Uint32(msg[8:]))*1000 + int64(be.Uint32(msg[12:])/1e6)
		d.src.e.Sequence(be.Uint32(msg[16:]), uint32(n))
		d.src.e.Records(there)
		d.src.begin(export, uptime)
		if there > 0 {
			// The two high bits name the sampling mode, which some leave at 0
			// although they sample.
			d.src.sample(uint32(be.Uint16(msg[22:]) & 0x3fff))
			// Its first times stand for those of flows that count at once.
			w := msg[v5Header+24:]
			d.src.flow(export+int64(int32(be.Uint32(w)-uptime)), export+int64(int32(be.Uint32(w[4:])-uptime)))
		}
		d.v5Records(msg[v5Header : v5Header+there*v5Record])
		msg = msg[v5Header+there*v5Record:]
	}
	d.trailing(msg)
}

// v5Records decodes records side by side.
func (d *decoder) v5Records(data []byte) {
	s, o := d.src, d.out
	for len(data) >= v5Record {
		if o.n == len(o.records) {
			o.next()
		}
		out := o.records[o.n:]
		kept := s.v5Plain(out, data)
		data = data[kept*v5Record:]
		if kept < len(out) && len(data) >= v5Record { // the next one is not plain
			switch why, counts := s.v5Odd(&out[kept], (*[v5Record]byte)(data)); {
			case counts:
				kept++
			case why == lostImpossible:
				d.malformed(why, apartText)
			default:
				d.lost[why]++
			}
			data = data[v5Record:]
		}
		if s.filtered {
			kept = d.sift(out[:kept])
		}
		o.n += kept
	}
}

// sift moves the records that are wanted to the front and returns how many
// they are.
func (d *decoder) sift(records []traffic.Record) (kept int) {
	for i := range records {
		if d.wanted(&records[i], false) {
			records[kept] = records[i]
			kept++
		}
	}
	return kept
}

// v5Plain decodes records until out is full or one is not of the plain kind,
// which it has filled in but for what v5Odd does. It returns how many before
// that one are finished.
//
// This loop decides what a NetFlow v5 record costs. It calls nothing, so that
// all it works with stays in registers.
func (s *source) v5Plain(out []traffic.Record, data []byte) (n int) {
	be, rate, long := binary.BigEndian, uint64(s.base.Sampling), s.long
	for n < len(out) && len(data) >= v5Record {
		w, r := (*[v5Record]byte)(data), &out[n]
		*r = s.base
		*(*[4]byte)(r.Src[12:]) = [4]byte(w[0:]) // the base has mapped addresses
		*(*[4]byte)(r.Dst[12:]) = [4]byte(w[4:])
		packets, octets := be.Uint32(w[16:]), be.Uint32(w[20:])
		r.Packets, r.Bytes = uint64(packets)*rate, uint64(octets)*rate // of 32 bits each: never too large
		duration := be.Uint32(w[28:]) - be.Uint32(w[24:])
		r.DurationMs = duration
		ports := bits.RotateLeft32(be.Uint32(w[32:]), 16)
		r.SrcPort, r.DstPort = uint16(ports), uint16(ports>>16) // one store
		r.TCPFlags, r.Protocol, r.ToS = w[37], w[38], w[39]
		*(*[4]byte)(r.NextHop[12:]) = [4]byte(w[8:])
		interfaces, systems := be.Uint32(w[12:]), be.Uint32(w[40:])
		r.InIf, r.OutIf = interfaces>>16, interfaces&0xffff
		r.SrcAS, r.DstAS = systems>>16, systems&0xffff
		if duration >= long || octets>>packetBits >= packets || octets < packets || w[38] == traffic.ProtoICMP {
			return n
		}
		data = data[v5Record:]
		n++
	}
	return n
}

// v5Odd finishes a record that is not of the plain kind. It reports whether it
// counts anything, and why it does not.
func (s *source) v5Odd(r *traffic.Record, w *[v5Record]byte) (why cause, counts bool) {
	be := binary.BigEndian
	if apart(uint64(be.Uint32(w[16:])), uint64(be.Uint32(w[20:]))) {
		return lostImpossible, false
	}
	if r.Packets == 0 {
		if r.Bytes == 0 {
			return lostNoCounters, false
		}
		r.Packets = guessPackets(uint64(be.Uint32(w[20:]))) * uint64(r.Sampling)
	}
	if r.Protocol == traffic.ProtoICMP {
		icmpOfPort(r)
	}
	if r.DurationMs >= s.long {
		first, last := int32(be.Uint32(w[24:])-s.uptime), int32(be.Uint32(w[28:])-s.uptime)
		r.DurationMs, r.Spread = s.flow(s.export+int64(first), s.export+int64(last))
	}
	return 0, true
}

// icmpOfPort reads type and code of an ICMP flow, which stand where others
// have the destination port.
func icmpOfPort(r *traffic.Record) {
	r.ICMPType, r.ICMPCode = uint8(r.DstPort>>8), uint8(r.DstPort)
	r.SrcPort, r.DstPort = 0, 0
}

// guessPackets is the least number of packets that octets may have been, where
// an exporter does not tell.
func guessPackets(octets uint64) uint64 { return octets/1500 + min(octets%1500, 1) }

// scale multiplies a counter by the sampling rate; what does not fit becomes
// the largest number.
func scale(n, rate uint64) uint64 {
	hi, lo := bits.Mul64(n, rate)
	if hi != 0 {
		return ^uint64(0)
	}
	return lo
}
