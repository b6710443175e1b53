package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// builder appends big-endian values.
type builder struct{ b []byte }

func (b *builder) put(values ...any) *builder {
	for _, v := range values {
		switch v := v.(type) {
		case uint8:
			b.b = append(b.b, v)
		case uint16:
			b.b = binary.BigEndian.AppendUint16(b.b, v)
		case uint32:
			b.b = binary.BigEndian.AppendUint32(b.b, v)
		case uint64:
			b.b = binary.BigEndian.AppendUint64(b.b, v)
		case string:
			b.b = append(b.b, v...)
		case []byte:
			b.b = append(b.b, v...)
		case netip.Addr:
			b.b = append(b.b, v.AsSlice()...)
		default:
			panic("put: unknown type")
		}
	}
	return b
}

// The message times of generated datagrams.
const (
	testUptime = uint32(500000)
	testExport = uint32(1750000000)
)

// v5Message makes a NetFlow v5 datagram of ready records.
func v5Message(count uint16, sequence uint32, sampling uint16, records ...[]byte) []byte {
	b := (&builder{}).put(uint16(5), count, testUptime, testExport, uint32(0), sequence, uint16(0), sampling)
	for _, r := range records {
		b.put(r)
	}
	return b.b
}

// v5Flow is one flow for any protocol version.
type v5Flow struct {
	src, dst        netip.Addr
	sport, dport    uint16
	protocol, flags uint8
	packets, octets uint32
	first, last     uint32
	in, out         uint16
	hop             netip.Addr
	srcAS, dstAS    uint16
	tos             uint8
}

func (f v5Flow) v5() []byte {
	hop := f.hop
	if !hop.IsValid() {
		hop = netip.IPv4Unspecified()
	}
	return (&builder{}).put(f.src, f.dst, hop, f.in, f.out, f.packets, f.octets, f.first, f.last, f.sport, f.dport,
		uint8(0), f.flags, f.protocol, f.tos, f.srcAS, f.dstAS, uint16(0), uint16(0)).b
}

// spec is one field of a template.
type spec struct {
	id, length uint16
	pen        uint32
}

// ids makes fields of ids and lengths in turn.
func ids(pairs ...uint16) (out []spec) {
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, spec{id: pairs[i], length: pairs[i+1]})
	}
	return out
}

func specs(fields []spec, ipfix bool) []byte {
	b := &builder{}
	for _, f := range fields {
		if ipfix && f.pen != 0 {
			b.put(f.id|0x8000, f.length, f.pen)
			continue
		}
		b.put(f.id, f.length)
	}
	return b.b
}

// set wraps contents in a set's header, padded to four octets.
func set(id uint16, contents ...[]byte) []byte {
	var body []byte
	for _, c := range contents {
		body = append(body, c...)
	}
	pad := (4 - len(body)%4) % 4
	return (&builder{}).put(id, uint16(4+len(body)+pad), body, make([]byte, pad)).b
}

// templateSet announces a template.
func templateSet(ipfix bool, id uint16, fields []spec) []byte {
	record := (&builder{}).put(id, uint16(len(fields)), specs(fields, ipfix)).b
	if ipfix {
		return set(2, record)
	}
	return set(0, record)
}

// optionsSet announces an options template, the first fields of which are its
// scope.
func optionsSet(ipfix bool, id uint16, scope int, fields []spec) []byte {
	if ipfix {
		return set(3, (&builder{}).put(id, uint16(len(fields)), uint16(scope), specs(fields, true)).b)
	}
	return set(1, (&builder{}).put(id, uint16(4*scope), uint16(4*(len(fields)-scope)), specs(fields, false)).b)
}

// message makes a NetFlow v9 or IPFIX datagram of sets.
func message(ipfix bool, sequence, domain uint32, sets ...[]byte) []byte {
	var body []byte
	for _, s := range sets {
		body = append(body, s...)
	}
	if ipfix {
		return (&builder{}).put(uint16(10), uint16(16+len(body)), testExport, sequence, domain, body).b
	}
	return (&builder{}).put(uint16(9), uint16(len(sets)), testUptime, testExport, sequence, domain, body).b
}

// standard is the layout that most routers send, of twenty fields.
func standard(v6, ipfix bool) []spec {
	f := ids(8, 4, 12, 4, 15, 4)
	if v6 {
		f = ids(27, 16, 28, 16, 62, 16)
	}
	f = append(f, ids(10, 4, 14, 4, 2, 4, 1, 4)...)
	if ipfix {
		f = append(f, ids(152, 8, 153, 8)...)
	} else {
		f = append(f, ids(22, 4, 21, 4)...)
	}
	return append(f, ids(7, 2, 11, 2, 4, 1, 6, 1, 5, 1, 16, 4, 17, 4, 9, 1, 13, 1, 61, 1, 48, 1)...)
}

// record writes a flow by a layout; fields that a flow does not have are 0.
func (f v5Flow) record(fields []spec) []byte {
	b := &builder{}
	value := map[uint16]uint64{
		10: uint64(f.in), 14: uint64(f.out), 2: uint64(f.packets), 1: uint64(f.octets), 22: uint64(f.first), 21: uint64(f.last),
		7: uint64(f.sport), 11: uint64(f.dport), 4: uint64(f.protocol), 6: uint64(f.flags), 5: uint64(f.tos),
		16: uint64(f.srcAS), 17: uint64(f.dstAS),
		152: uint64(testExport)*1000 - uint64(testUptime) + uint64(f.first), 153: uint64(testExport)*1000 - uint64(testUptime) + uint64(f.last),
	}
	for _, s := range fields {
		switch {
		case s.pen != 0 && s.length == variableLength:
			b.put(uint8(5), "hello")
		case s.length == variableLength:
			b.put(uint8(3), "abc")
		case s.id == 8 || s.id == 27:
			b.put(f.src)
		case s.id == 12 || s.id == 28:
			b.put(f.dst)
		case (s.id == 15 || s.id == 62) && f.hop.IsValid():
			b.put(f.hop)
		default:
			v := binary.BigEndian.AppendUint64(make([]byte, 64), value[s.id])
			b.put(v[len(v)-int(s.length):])
		}
	}
	return b.b
}

// random makes a plausible flow.
func random(rng *rand.Rand, v6 bool) v5Flow {
	f := v5Flow{
		sport: uint16(rng.Uint32()), dport: uint16(rng.Uint32()), protocol: []uint8{6, 17, 17, 47}[rng.IntN(4)], flags: uint8(rng.Uint32()),
		packets: 1 + rng.Uint32N(1000), last: testUptime - rng.Uint32N(2000), in: uint16(rng.Uint32N(100)), out: uint16(rng.Uint32N(100)),
		srcAS: uint16(rng.Uint32()), dstAS: uint16(rng.Uint32()), tos: uint8(rng.Uint32()),
	}
	f.octets = f.packets * (40 + rng.Uint32N(1400))
	f.first = f.last
	if rng.IntN(10) == 0 {
		f.first -= rng.Uint32N(60000)
	}
	address := func(net byte) netip.Addr {
		if v6 {
			a := [16]byte{0x20, 1, 0xd, 0xb8, net}
			binary.BigEndian.PutUint64(a[8:], rng.Uint64())
			return netip.AddrFrom16(a)
		}
		return netip.AddrFrom4([4]byte{net, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	f.src, f.dst, f.hop = address(11), address(12), address(13)
	return f
}
