package gen

import (
	"encoding/binary"
	"fmt"
)

// Payloads look enough like their protocols that dissectors do not complain.

const filler = "fastnetmon synthetic traffic. "

func fillText(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, filler):]
	}
}

// fillTLS is one record of application data (RFC 8446 5.2).
func fillTLS(b []byte, _ *spec) {
	fillText(b)
	if len(b) >= 5 {
		copy(b, []byte{23, 3, 3})
		binary.BigEndian.PutUint16(b[3:], uint16(len(b)-5))
	}
}

// fillQUIC has a short header (RFC 9000 17.3.1).
func fillQUIC(b []byte, s *spec) {
	fillText(b)
	if len(b) >= 9 {
		b[0] = 0x40
		binary.BigEndian.PutUint32(b[1:], s.id)
		binary.BigEndian.PutUint32(b[5:], s.seq)
	}
}

const (
	dnsQuestion = "\x07example\x03com\x00\x00\x10\x00\x01" // TXT IN
	dnsQuery    = 12 + len(dnsQuestion)
	dnsAnswer   = 12 // of a resource record before its data, with a compressed name
)

// fillDNSQuery fills b if it has the dnsQuery octets of a question.
func fillDNSQuery(b []byte, s *spec) {
	clear(b)
	if len(b) < dnsQuery {
		return
	}
	binary.BigEndian.PutUint16(b, uint16(s.id))
	copy(b[2:], "\x01\x00\x00\x01")
	copy(b[12:], dnsQuestion)
}

// fillDNSResponse fills b with a question and TXT records.
func fillDNSResponse(b []byte, s *spec) {
	fillDNSQuery(b, s)
	if len(b) < dnsQuery {
		return
	}
	copy(b[2:], "\x81\x80")
	answers := uint16(0)
	for rest := b[dnsQuery:]; len(rest) >= dnsAnswer+2; answers++ {
		text := min(len(rest)-dnsAnswer-1, 255)
		if left := len(rest) - dnsAnswer - 1 - text; left > 0 && left < dnsAnswer+2 {
			text -= dnsAnswer + 2 // leave room for one more
		}
		copy(rest, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x0e\x10")
		binary.BigEndian.PutUint16(rest[10:], uint16(text+1))
		rest[dnsAnswer] = byte(text)
		fillText(rest[dnsAnswer+1 : dnsAnswer+1+text])
		rest = rest[dnsAnswer+1+text:]
	}
	binary.BigEndian.PutUint16(b[6:], answers)
}

// fillNTP is a response to monlist: mode 7, implementation 3, request 42,
// items of 72 octets.
func fillNTP(b []byte, s *spec) {
	clear(b)
	if len(b) < 8 {
		return
	}
	copy(b, "\xd7\x00\x03\x2a")
	b[1] = uint8(s.seq) & 0x7f
	items := min((len(b)-8)/72, 6)
	binary.BigEndian.PutUint16(b[4:], uint16(items))
	if items > 0 {
		binary.BigEndian.PutUint16(b[6:], 72)
	}
}

func fillSSDP(b []byte, _ *spec) {
	const head = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: upnp:rootdevice\r\nEXT:\r\nSERVER: "
	fillText(b)
	copy(b, head)
	if len(b) > len(head)+4 {
		copy(b[len(b)-4:], "\r\n\r\n")
	}
}

// fillMemcached has the 8-octet frame header of the UDP protocol and a value.
func fillMemcached(b []byte, s *spec) {
	fillText(b)
	if len(b) < 64 {
		return
	}
	clear(b[:8])
	binary.BigEndian.PutUint16(b, uint16(s.id)&0x7fff) // a set top bit would look like the binary protocol
	b[5] = 1                                           // datagrams in this answer
	// The count of octets has four digits for all sizes that come here.
	value := len(b) - 8 - len("VALUE a 0 0000\r\n") - len("\r\nEND\r\n")
	copy(b[8:], fmt.Sprintf("VALUE a 0 %04d\r\n", value))
	copy(b[len(b)-7:], "\r\nEND\r\n")
}

// fillWireGuard is a transport message (type 4) with counter and ciphertext.
func fillWireGuard(b []byte, s *spec) {
	fillText(b)
	if len(b) < 16 {
		return
	}
	clear(b[:16])
	b[0] = 4
	binary.LittleEndian.PutUint32(b[4:], s.seq)
	binary.LittleEndian.PutUint32(b[8:], s.id)
}

// fillRTP has a header without extensions (RFC 3550 5.1), payload type 96.
func fillRTP(b []byte, s *spec) {
	fillText(b)
	if len(b) < 12 {
		return
	}
	b[0], b[1] = 0x80, 96
	binary.BigEndian.PutUint16(b[2:], uint16(s.id))
	binary.BigEndian.PutUint32(b[4:], s.seq)
	binary.BigEndian.PutUint32(b[8:], s.ack)
}
