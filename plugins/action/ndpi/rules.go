//go:build ndpi

package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// rule is one service that amplifies: an answer of it comes from its port, has
// the form of an answer, and is of no other protocol to nDPI.
type rule struct {
	label  string
	ports  []uint16
	names  []string // of nDPI's protocols; none: it knows none for it
	answer func(payload []byte) bool
}

// from is the ports as text.
func (r *rule) from() string {
	var b strings.Builder
	for i, port := range r.ports {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(strconv.Itoa(int(port)))
	}
	return b.String()
}

// rules are the amplifiers. A question, such as a flood of them at a server of
// ours, is no answer: that is told by bits of the payload.
var rules = []rule{
	{"dns_reflection", []uint16{53}, []string{"DNS"}, dnsAnswer},
	{"ntp_reflection", []uint16{123}, []string{"NTP"}, ntpAnswer},
	{"ssdp_reflection", []uint16{1900}, []string{"SSDP"}, ssdpAnswer},
	{"snmp_reflection", []uint16{161}, []string{"SNMP"}, snmpAnswer},
	{"cldap_reflection", []uint16{389}, []string{"LDAP"}, cldapAnswer},
	{"memcached_reflection", []uint16{11211}, []string{"Memcached"}, memcachedAnswer},
	{"chargen_reflection", []uint16{19}, nil, chargenAnswer},
	{"mdns_reflection", []uint16{5353}, []string{"MDNS", "DNS"}, dnsAnswer},
	{"coap_reflection", []uint16{5683}, []string{"COAP"}, coapAnswer},
	{"ws_discovery_reflection", []uint16{3702}, []string{"WSD"}, wsdAnswer},
	{"isakmp_reflection", []uint16{500, 4500}, []string{"IPsec", "IPSec"}, isakmpAnswer},
}

// ruleOf is the rule that a datagram's answer belongs to, -1 for none. sure says
// that nDPI has recognized the protocol; where it has not, as in the first 128
// octets of a datagram, the form is enough.
func ruleOf(port uint16, payload []byte, protocol string) (rule int, sure bool) {
	for i := range rules {
		r := &rules[i]
		if slices.Contains(r.ports, port) && r.answer(payload) {
			sure = slices.Contains(r.names, protocol)
			if sure || protocol == "" {
				return i, sure
			}
		}
	}
	return -1, false
}

// dnsAnswer: a response with an answer, authority or additional record (RFC
// 1035 4.1.1); also one that was refused is a small one, and none.
func dnsAnswer(b []byte) bool {
	const header = 12
	return len(b) >= header && b[2]&0x80 != 0 && b[3]&0x0f == 0 && b[6]|b[7]|b[8]|b[9]|b[10]|b[11] != 0
}

// ntpAnswer: a response in mode 7, as of monlist, or 6, of control messages (RFC
// 9327). What servers answer clients is mode 4, and does not amplify.
func ntpAnswer(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	switch b[0] & 7 {
	case 7:
		return b[0]&0x80 != 0
	case 6:
		return b[1]&0x80 != 0
	}
	return false
}

// ssdpAnswer: an answer to a search, not the search (M-SEARCH) itself.
func ssdpAnswer(b []byte) bool { return bytes.HasPrefix(b, []byte("HTTP/1.")) }

// snmpAnswer: a Response (RFC 3416 3) inside the message's sequence, behind
// version and community.
func snmpAnswer(b []byte) bool {
	b, ok := inside(b, 0x30)
	if !ok {
		return false
	}
	for _, tag := range []byte{0x02, 0x04} {
		_, b, ok = element(b, tag)
		if !ok {
			return false
		}
	}
	return len(b) > 0 && b[0] == 0xa2
}

// cldapAnswer: an entry that a search found, or the search's end (RFC 4511
// 4.5.2), behind the message id.
func cldapAnswer(b []byte) bool {
	b, ok := inside(b, 0x30)
	if ok {
		_, b, ok = element(b, 0x02)
	}
	return ok && len(b) > 0 && (b[0] == 0x64 || b[0] == 0x65 || b[0] == 0x73)
}

// inside is what a constructed element holds, as far as it is there.
func inside(b []byte, tag byte) ([]byte, bool) {
	value, _, ok := element(b, tag)
	return value, ok
}

// element reads a tag and a length (X.690 8.1), and gives its value and what
// follows, as far as they are there.
func element(b []byte, tag byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, at := int(b[1]), 2
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > 4 || len(b) < 2+octets {
			return nil, nil, false
		}
		n = 0
		for _, x := range b[2 : 2+octets] {
			n = n<<8 | int(x)
		}
		at += octets
	}
	if n < 0 || n > len(b)-at { // cut off
		return b[at:], nil, true
	}
	return b[at : at+n], b[at+n:], true
}

// memcachedAnswer: a frame header (8 octets: request id, number, how many, 0),
// and a value, statistics, or more of them.
func memcachedAnswer(b []byte) bool {
	if len(b) < 10 || b[6] != 0 || b[7] != 0 {
		return false
	}
	number, of := int(b[2])<<8|int(b[3]), int(b[4])<<8|int(b[5])
	if of == 0 || number >= of {
		return false
	}
	for _, ask := range []string{"get", "gets", "stats", "set ", "version", "flush_all"} {
		if bytes.HasPrefix(b[8:], []byte(ask)) {
			return false
		}
	}
	return number > 0 || bytes.HasPrefix(b[8:], []byte("VALUE ")) || bytes.HasPrefix(b[8:], []byte("STAT ")) || bytes.HasPrefix(b[8:], []byte("VERSION "))
}

// chargenAnswer: lines of printable characters (RFC 864).
func chargenAnswer(b []byte) bool {
	const least = 32
	for _, c := range b[:min(len(b), 512)] {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' {
			return false
		}
	}
	return len(b) >= least
}

// coapAnswer: version 1 and a response code, 2.xx to 5.xx (RFC 7252 3).
func coapAnswer(b []byte) bool {
	return len(b) >= 4 && b[0]>>6 == 1 && b[1]>>5 >= 2 && b[1]>>5 <= 5
}

// wsdAnswer: a match, in XML of which at least that much is there: more than the
// 128 octets that sFlow has of a packet.
func wsdAnswer(b []byte) bool {
	return bytes.Contains(b, []byte("ProbeMatch")) || bytes.Contains(b, []byte("ResolveMatch"))
}

// isakmpAnswer: a responder's cookie is set (RFC 2408 3.1, RFC 7296 3.1), and in
// IKE version 2 the bit of responses.
func isakmpAnswer(b []byte) bool {
	const header = 28
	if marker := []byte{0, 0, 0, 0}; bytes.HasPrefix(b, marker) { // beside ESP (RFC 3948 2.2)
		b = b[len(marker):]
	}
	if len(b) < header || bytes.Equal(b[8:16], make([]byte, 8)) {
		return false
	}
	return b[17]>>4 == 1 || b[17]>>4 == 2 && b[19]&0x20 != 0
}
