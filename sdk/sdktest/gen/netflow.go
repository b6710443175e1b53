package gen

import (
	"encoding/binary"
	"math"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	maxSampling5 = 1<<14 - 1
	maxPayload   = 1464 // of NetFlow 5 with 30 records
	payload      = 1400 // of the others
	header5      = 24
	header9      = 20
	headerIPFIX  = 16
	template4    = 256 // template ids
	template6    = 257
	templateOpts = 258
)

// field is an information element and its length (RFC 5102, RFC 3954).
type field struct{ id, length uint16 }

// layout is how flow records of one family look in one protocol.
type layout struct {
	protocol Protocol
	template uint16
	fields   []field
	size     int // of a record
	times    int // offset of start and end within it
	payload  int
}

// fieldsOf are the elements of NetFlow 9 and IPFIX records, which differ in
// their times.
func fieldsOf(p Protocol, v6 bool) []field {
	fields := []field{{8, 4}, {12, 4}}
	if v6 {
		fields = []field{{27, 16}, {28, 16}}
	}
	start, end, icmp := field{22, 4}, field{21, 4}, field{32, 2}
	if p == IPFIX {
		start, end = field{152, 8}, field{153, 8}
		if v6 {
			icmp.id = 139
		}
	}
	return append(fields, start, end, field{1, 8}, field{2, 8}, field{7, 2}, field{11, 2}, icmp, field{10, 4}, field{14, 4},
		field{16, 4}, field{17, 4}, field{88, 2}, field{4, 1}, field{5, 1}, field{6, 1}, field{89, 1}, field{197, 1})
}

// layoutOf returns nil where the protocol does not know the family.
func layoutOf(p Protocol, v6 bool) *layout {
	if p == NetFlow5 {
		if v6 {
			return nil
		}
		return &layout{protocol: p, size: 48, times: 24, payload: header5 + 30*48}
	}
	l := &layout{protocol: p, template: template4, fields: fieldsOf(p, v6), payload: payload - 3, times: 8} // 3 of padding
	if v6 {
		l.template, l.times = template6, 32
	}
	for _, f := range l.fields {
		l.size += int(f.length)
	}
	return l
}

// begin writes what comes before the records. Counts and times are set later.
func (l *layout) begin(b []byte, o *output) []byte {
	switch l.protocol {
	case NetFlow5:
		b = append(b, make([]byte, header5)...)
		binary.BigEndian.PutUint16(b, 5)
		b[21] = uint8(o.Domain)
		if o.Sampling > 1 {
			binary.BigEndian.PutUint16(b[22:], 2<<14|uint16(o.Sampling)) // mode 2: random
		}
		return b
	case NetFlow9:
		b = head9(b, o.Domain)
	default:
		b = headIPFIX(b, o.Domain)
	}
	return put16(b, l.template, 0)
}

func head9(b []byte, domain uint32) []byte {
	b = put16(b, 9, 0)
	return put32(b, 0, 0, 0, domain)
}

func headIPFIX(b []byte, domain uint32) []byte {
	b = put16(b, 10, 0)
	return put32(b, 0, 0, domain)
}

// finish sets the counts.
func (l *layout) finish(b []byte, records int) []byte {
	switch l.protocol {
	case NetFlow5:
		binary.BigEndian.PutUint16(b[2:], uint16(records))
	case NetFlow9:
		b = endSet(b, header9)
		binary.BigEndian.PutUint16(b[2:], uint16(records))
	default:
		b = endSet(b, headerIPFIX)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return b
}

// endSet pads a set that began at an offset, and sets its length.
func endSet(b []byte, from int) []byte {
	for (len(b)-from)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[from+2:], uint16(len(b)-from))
	return b
}

// append writes a record. Times are those of the scenario until they are
// stamped.
func (l *layout) append(b []byte, f *flow) []byte {
	first, last := uint64(f.first/1e6), uint64(f.last/1e6)
	if l.protocol == NetFlow5 {
		b = append(b, f.src[12:]...)
		b = append(b, f.dst[12:]...)
		b = put32(b, 0) // next hop
		b = put16(b, f.in, f.out)
		b = put32(b, uint32(min(f.packets, math.MaxUint32)), uint32(min(f.bytes, math.MaxUint32)), uint32(first), uint32(last))
		b = put16(b, f.sport, f.icmpPort(f.dport))
		b = append(b, 0, f.flags, f.proto, f.tos)
		b = put16(b, f.srcAS, f.dstAS)
		return append(b, 24, 24, 0, 0)
	}
	skip := 12
	if l.template == template6 {
		skip = 0
	}
	b = append(b, f.src[skip:]...)
	b = append(b, f.dst[skip:]...)
	if l.protocol == IPFIX {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, first), last)
	} else {
		b = put32(b, uint32(first), uint32(last))
	}
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, f.bytes), f.packets)
	b = put16(b, f.sport, f.dport, f.icmpPort(0))
	b = put32(b, uint32(f.in), uint32(f.out), uint32(f.srcAS), uint32(f.dstAS))
	offset, flags := uint16(0), uint8(0)
	if f.marks&traffic.MarkFragment != 0 {
		flags = 0x20 // more fragments
	}
	if f.marks&traffic.MarkLater != 0 {
		offset = 185 // of 8 octets: the second of full packets
	}
	b = put16(b, offset)
	const forwarded = 64
	return append(b, f.proto, f.tos, f.flags, forwarded, flags)
}

// icmpPort is where NetFlow keeps ICMP's type and code: the destination port.
func (f *flow) icmpPort(port uint16) uint16 {
	if f.proto == traffic.ProtoICMP || f.proto == traffic.ProtoICMPv6 {
		return uint16(f.icmpType) << 8
	}
	return port
}

// TemplatesOf returns the datagram with an exporter's templates and, where it
// samples, its sampling rate; of sFlow the counters of its interfaces, if they
// are asked for. It is nil where there is nothing of the kind.
func TemplatesOf(t *Telemetry) *Datagram {
	var b []byte
	var header int
	var templates, options, optionsData uint16 = 0, 1, templateOpts
	switch t.Protocol {
	case NetFlow9:
		b, header = head9(nil, t.Domain), header9
	case IPFIX:
		b, header = headIPFIX(nil, t.Domain), headerIPFIX
		templates, options = 2, 3
	case SFlow:
		return countersOf(t)
	default:
		return nil
	}
	records := 2
	b = put16(b, templates, 0)
	for _, v6 := range []bool{false, true} {
		l := layoutOf(t.Protocol, v6)
		b = put16(b, l.template, uint16(len(l.fields)))
		for _, f := range l.fields {
			b = put16(b, f.id, f.length)
		}
	}
	b = endSet(b, header)
	if t.Sampling > 1 {
		records += 2
		at := len(b)
		if t.Protocol == NetFlow9 { // scope: system; interval, algorithm
			b = endSet(put16(b, options, 0, templateOpts, 4, 8, 1, 4, 34, 4, 35, 1), at)
			at = len(b)
			b = append(put32(put16(b, optionsData, 0), t.Domain, t.Sampling), 2)
		} else { // scope: observation domain; algorithm, interval, space
			b = endSet(put16(b, options, 0, templateOpts, 4, 1, 149, 4, 304, 2, 305, 4, 306, 4), at)
			at = len(b)
			b = put32(put16(b, optionsData, 0), t.Domain)
			b = put32(put16(b, 1), 1, t.Sampling-1)
		}
		b = endSet(b, at)
	}
	if t.Protocol == NetFlow9 {
		binary.BigEndian.PutUint16(b[2:], uint16(records))
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return &Datagram{Data: b, protocol: t.Protocol, options: (records - 2) / 2}
}
