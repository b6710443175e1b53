package udp

import (
	"encoding/binary"
	"net/netip"
)

// headroom is the longest header that is put before a forwarded datagram.
const headroom = 52

// proxySignature begins a header of the PROXY protocol, version 2 (section
// 2.2 of its specification).
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader writes a PROXY protocol header (version 2, command PROXY, over
// UDP) that says from where to where a datagram went.
func proxyHeader(b []byte, from, to netip.AddrPort) []byte {
	b = append(b[:0], proxySignature...)
	if from.Addr().Is4() && to.Addr().Is4() {
		b = append(b, 0x21, 0x12, 0, 12)
		src, dst := from.Addr().As4(), to.Addr().As4()
		b = append(append(b, src[:]...), dst[:]...)
	} else {
		b = append(b, 0x21, 0x22, 0, 36)
		src, dst := from.Addr().As16(), to.Addr().As16()
		b = append(append(b, src[:]...), dst[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// ipHeader writes the IPv4 (RFC 791) or IPv6 (RFC 8200) and UDP (RFC 768)
// headers of a datagram; both ends are of the same family. The kernel fills
// in IPv4's length, identification and checksum (raw(7)).
func ipHeader(b []byte, from, to netip.AddrPort, data []byte) []byte {
	length := uint16(8 + len(data))
	if to.Addr().Is4() {
		src, dst := from.Addr().As4(), to.Addr().As4()
		b = append(b[:0], 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, 20+length)
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0)
		b = append(append(b, src[:]...), dst[:]...)
	} else {
		src, dst := from.Addr().As16(), to.Addr().As16()
		b = append(b[:0], 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, length)
		b = append(b, 17, 64)
		b = append(append(b, src[:]...), dst[:]...)
	}
	udp := len(b)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, length)
	b = append(b, 0, 0)
	binary.BigEndian.PutUint16(b[udp+6:], checksum(from, to, b[udp:], data))
	return b
}

// checksum is UDP's, over the pseudo header, its own header and the data.
func checksum(from, to netip.AddrPort, header, data []byte) uint16 {
	var sum uint64
	add := func(b []byte) {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint64(b[0]) << 8
		}
	}
	if to.Addr().Is4() {
		src, dst := from.Addr().As4(), to.Addr().As4()
		add(src[:])
		add(dst[:])
	} else {
		src, dst := from.Addr().As16(), to.Addr().As16()
		add(src[:])
		add(dst[:])
	}
	sum += 17 + uint64(len(header)+len(data))
	add(header)
	add(data)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if c := ^uint16(sum); c != 0 {
		return c
	}
	return 0xffff // 0 would say that there is none
}
