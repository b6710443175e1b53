package gen

import "encoding/binary"

// What reflectors answer. Each payload is cut to the room there is.

// fillChargen is lines of 72 shifting characters (RFC 864).
func fillChargen(b []byte, s *spec) {
	for i := range b {
		switch line, column := i/74, i%74; column {
		case 72:
			b[i] = '\r'
		case 73:
			b[i] = '\n'
		default:
			b[i] = byte(' ' + (line+column+int(s.id%95))%95)
		}
	}
}

// ber writes a tag and a length of two octets (X.690 8.1) in front of all that
// follows in b, and returns what follows.
func ber(b []byte, tag byte) []byte {
	b[0], b[1] = tag, 0x82
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b[4:]
}

// fillSNMP is a version 2c response (RFC 3416) with one long sysDescr.
func fillSNMP(b []byte, s *spec) {
	fillText(b)
	if len(b) < 64 {
		return
	}
	b = ber(b, 0x30)
	b = b[copy(b, "\x02\x01\x01\x04\x06public"):]
	b = ber(b, 0xa2)
	copy(b, "\x02\x04\x00\x00\x00\x00\x02\x01\x00\x02\x01\x00")
	binary.BigEndian.PutUint32(b[2:], s.id&0x7fffffff)
	b = ber(b[12:], 0x30)
	b = ber(b, 0x30)
	b = b[copy(b, "\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00"):]
	ber(b, 0x04)
}

// fillCLDAP is one entry that a search found, and the search's end (RFC 4511).
func fillCLDAP(b []byte, _ *spec) {
	const done = "\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"
	fillText(b)
	if len(b) < 64 {
		return
	}
	copy(b[len(b)-len(done):], done)
	b = ber(b[:len(b)-len(done)], 0x30)
	b = b[copy(b, "\x02\x01\x01"):]
	b = ber(b, 0x64)
	b = b[copy(b, "\x04\x00"):]
	b = ber(b, 0x30)
	b = ber(b, 0x30)
	b = b[copy(b, "\x04\x13supportedExtensions"):]
	b = ber(b, 0x31)
	ber(b, 0x04)
}

// fillISAKMP is a first answer of IKE version 1 (RFC 2408): security
// association and a vendor id.
func fillISAKMP(b []byte, s *spec) {
	const association = 12
	fillText(b)
	if len(b) < 28+association+4 {
		return
	}
	clear(b[:28+association+4])
	binary.BigEndian.PutUint32(b, s.seq)
	binary.BigEndian.PutUint32(b[8:], s.id|1)
	copy(b[16:], "\x01\x10\x02\x00")
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	copy(b[28:], "\x0d\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x01")
	binary.BigEndian.PutUint16(b[28+association+2:], uint16(len(b)-28-association))
}

// fillMDNS is an answer as of DNS, with authority and without id (RFC 6762).
func fillMDNS(b []byte, s *spec) {
	fillDNSResponse(b, s)
	if len(b) >= dnsQuery {
		copy(b, "\x00\x00\x84\x00")
	}
}

// fillWSD is what a device answers to a probe (OASIS WS-Discovery 1.1).
func fillWSD(b []byte, _ *spec) {
	fillDocument(b, `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" `+
		`xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:ProbeMatches><d:ProbeMatch><d:Types>`,
		`</d:Types></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>`)
}

// fillDocument has a head, filler text, and a tail.
func fillDocument(b []byte, head, tail string) {
	fillText(b)
	copy(b, head)
	if len(b) > len(head)+len(tail) {
		copy(b[len(b)-len(tail):], tail)
	}
}

// fillCoAP is 2.05 Content in link format (RFC 7252, RFC 6690).
func fillCoAP(b []byte, s *spec) {
	const head, link = "\x60\x45\x00\x00\xc1\x28\xff", `</sensors/temp>;rt="temperature-c";if="sensor",`
	n := copy(b, head)
	for rest := b[n:]; len(rest) > 0; {
		rest = rest[copy(rest, link):]
	}
	if len(b) >= 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(s.id))
	}
}

// fillARD is an answer of Apple's Remote Management service: length, version,
// a computer's name.
func fillARD(b []byte, _ *spec) {
	clear(b)
	if len(b) < 64 {
		return
	}
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	copy(b[4:], "\x31\x00")
	for i, c := range []byte("office-mac") {
		b[17+2*i] = c
	}
}

// fillUbiquiti is a version 1 discovery answer: addresses, name, firmware.
func fillUbiquiti(b []byte, _ *spec) {
	fillText(b)
	const head = "\x01\x00\x00\x00\x02\x00\x0a\x02\x00\x00\x00\x00\x01\xc0\x00\x02\x01\x0b\x00\x06bridge\x03"
	if len(b) < len(head)+2 {
		return
	}
	copy(b, head)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	binary.BigEndian.PutUint16(b[len(head):], uint16(len(b)-len(head)-2))
}

// fillDVR is what a video recorder answers to a DHCPDiscover search: a header
// of 32 octets, and JSON.
func fillDVR(b []byte, _ *spec) {
	const header = 32
	if len(b) < 2*header {
		fillText(b)
		return
	}
	clear(b[:header])
	copy(b, "\x20\x00\x00\x00DHIP")
	binary.LittleEndian.PutUint32(b[16:], uint32(len(b)-header))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(b)-header))
	fillDocument(b[header:], `{"mac":"02:00:00:00:00:01","method":"client.notifyDevInfo","params":{"deviceInfo":{"Vendor":"`, `"}}}`)
}
