package traffic

import "encoding/binary"

// Builders of frames by hand, octet by octet, independent of the parser.

func ethernet(kind uint16, payload ...[]byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	b = binary.BigEndian.AppendUint16(b, kind)
	return join(b, payload...)
}

func join(b []byte, parts ...[]byte) []byte {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func tagged(id, kind uint16, payload ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 5<<13|id) // with a priority, which is no part of the id
	b = binary.BigEndian.AppendUint16(b, kind)
	return join(b, payload...)
}

func labels(n int, payload ...[]byte) []byte {
	var b []byte
	for i := range n {
		bottom := byte(0)
		if i == n-1 {
			bottom = 1
		}
		b = append(b, 0, byte(i), 0x10|bottom, 64)
	}
	return join(b, payload...)
}

// The addresses of all hand-made packets.
var (
	src4 = [4]byte{192, 0, 2, 1}
	dst4 = [4]byte{203, 0, 113, 9}
	src6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	dst6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, 15: 9}
)

// ipv4Packet has TTL 61 and ToS 0x2e; fragment is the flags and offset field.
func ipv4Packet(proto uint8, fragment uint16, options, payload []byte) []byte {
	header := 20 + len(options)
	b := []byte{byte(0x40 | header/4), 0x2e}
	b = binary.BigEndian.AppendUint16(b, uint16(header+len(payload)))
	b = append(b, 0, 7)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, 61, proto, 0, 0)
	b = append(b, src4[:]...)
	b = append(b, dst4[:]...)
	return join(b, options, payload)
}

// ipv6Packet has hop limit 61, traffic class 0x2e and a flow label.
func ipv6Packet(next uint8, payload ...[]byte) []byte {
	body := join(nil, payload...)
	b := []byte{0x62, 0xe5, 0x43, 0x21}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, next, 61)
	b = append(b, src6[:]...)
	b = append(b, dst6[:]...)
	return append(b, body...)
}

// extension is a hop-by-hop, routing, options or mobility header of
// 8*(1+extra) octets.
func extension(next uint8, extra int) []byte {
	b := make([]byte, 8*(1+extra))
	b[0], b[1] = next, byte(extra)
	return b
}

// authHeader is an AH with an integrity value of 12 octets.
func authHeader(next uint8) []byte {
	b := make([]byte, 24)
	b[0], b[1] = next, 4
	return b
}

func fragmentHeader(next uint8, offset uint16, more bool) []byte {
	field := offset << 3
	if more {
		field |= 1
	}
	b := []byte{next, 0}
	b = binary.BigEndian.AppendUint16(b, field)
	return append(b, 0, 0, 0, 9)
}

func udpDatagram(src, dst uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	return append(b, 0, 18, 0, 0, 'd', 'e', 't', 'e', 'c', 't', 'o', 'r', '.', '.')
}

func tcpSegment(src, dst uint16, flags uint8) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	return append(b, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0)
}
