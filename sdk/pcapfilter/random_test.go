package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
)

var ports = []uint16{0, 22, 53, 80, 123, 443, 6000, 6004, 65535}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func address4(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(100 + rng.IntN(2)), byte(rng.IntN(4))})
}

func address6(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rng.IntN(2)), 15: byte(rng.IntN(4))})
}

// packet is a random packet without options or extension headers.
func packet(rng *rand.Rand) []byte {
	proto := pick(rng, []uint8{6, 6, 17, 17, 1, 58, 132, 2, 47, 50, 51, 103, 112, 9})
	if proto == 51 {
		proto = 50 // what is behind an AH is not looked at alike
	}
	body := make([]byte, pick(rng, []int{20, 20, 60, 400, 1200}))
	binary.BigEndian.PutUint16(body[0:], pick(rng, ports))
	binary.BigEndian.PutUint16(body[2:], pick(rng, ports))
	switch proto {
	case 6:
		body[12], body[13] = 0x50, pick(rng, []byte{2, 16, 18, 4, 24, 17, 0, 255})
	case 1, 58:
		body[0], body[1] = pick(rng, []byte{0, 3, 8, 11, 128, 129}), byte(rng.IntN(3))
	}
	if rng.IntN(2) == 0 {
		h := make([]byte, 40, 40+len(body))
		h[0] = 0x60
		binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
		h[6], h[7] = proto, byte(1+rng.IntN(255))
		s, d := address6(rng).As16(), address6(rng).As16()
		if rng.IntN(8) == 0 {
			d = netip.MustParseAddr("ff02::1").As16()
		}
		copy(h[8:], s[:])
		copy(h[24:], d[:])
		return append(h, body...)
	}
	h := make([]byte, 20, 20+len(body))
	h[0], h[1] = 0x45, byte(rng.IntN(256))
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
	binary.BigEndian.PutUint16(h[6:], pick(rng, []uint16{0, 0, 0, 0x4000, 0x2000, 0x2010, 0x0020}))
	h[8], h[9] = byte(1+rng.IntN(255)), proto
	s, d := address4(rng).As4(), address4(rng).As4()
	if rng.IntN(8) == 0 {
		d = [4]byte{224, 0, 0, 5}
	}
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	return append(h, body...)
}

// randomExpression is one that means the same to both: tcp[…] of IPv4 only.
func randomExpression(rng *rand.Rand, depth int) string {
	if depth == 0 || rng.IntN(3) == 0 {
		return primitive(rng)
	}
	l, r := randomExpression(rng, depth-1), randomExpression(rng, depth-1)
	switch rng.IntN(6) {
	case 0:
		return pick(rng, []string{"not ", "! ", "!", "not not "}) + "(" + l + ")"
	case 1:
		return pick(rng, []string{"not ", "!"}) + l
	case 2:
		return "(" + l + ") " + pick(rng, []string{"and", "or", "&&", "||"}) + " " + r
	case 3:
		return l + " and (" + r + ")"
	}
	return l + " " + pick(rng, []string{"and", "or"}) + " " + r
}

func dir(rng *rand.Rand) string {
	return pick(rng, []string{"", "", "src ", "dst ", "src or dst ", "src and dst ", "dst or src "})
}

func primitive(rng *rand.Rand) string {
	family := pick(rng, []string{"", "", "ip ", "ip6 "})
	switch rng.IntN(12) {
	case 0, 1:
		a := address4(rng).String()
		if family == "ip6 " || family == "" && rng.IntN(2) == 0 {
			a = address6(rng).String()
		}
		more := ""
		if rng.IntN(4) == 0 {
			more = pick(rng, []string{" or ", " and "}) + pick(rng, []string{"", "not ", "!"}) + address4(rng).String()
			if strings.Contains(a, ":") {
				more = " or " + address6(rng).String()
			}
		}
		return family + dir(rng) + "host " + a + more
	case 2:
		switch bits := 1 + rng.IntN(32); rng.IntN(4) {
		case 0:
			p, _ := address6(rng).Prefix(4 * bits)
			return strings.Replace(family, "ip ", "", 1) + dir(rng) + "net " + p.String()
		case 1:
			return dir(rng) + "net " + pick(rng, []string{"198.51.100", "198.51", "198"})
		case 2:
			return dir(rng) + "net 198.51.100.0 mask 255.255.255.0"
		default:
			p, _ := address4(rng).Prefix(bits)
			return strings.Replace(family, "ip6 ", "", 1) + dir(rng) + "net " + p.String()
		}
	case 3, 4:
		more := ""
		if rng.IntN(3) == 0 {
			more = fmt.Sprintf(" or %d", pick(rng, ports))
		}
		if rng.IntN(4) == 0 {
			more += fmt.Sprintf(" or (%d or not %d)", pick(rng, ports), pick(rng, ports))
		}
		return pick(rng, []string{"", "tcp ", "udp ", "sctp "}) + dir(rng) + fmt.Sprintf("port %d", pick(rng, ports)) + more
	case 5:
		return pick(rng, []string{"", "tcp ", "udp "}) + dir(rng) + fmt.Sprintf("portrange %d-%d", pick(rng, ports), pick(rng, ports))
	case 6:
		return pick(rng, []string{"tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "igrp", "pim", "vrrp", "esp", "ip", "ip6", "carp"})
	case 7:
		return family + "proto " + pick(rng, []string{"6", "17", `\tcp`, `\udp`, `\icmp`, "47", `\pim`, "0x3a"})
	case 8:
		return pick(rng, []string{"less ", "greater "}) + pick(rng, []string{"40", "100", "420", "0x100"})
	case 9:
		return pick(rng, []string{"ip multicast", "ip6 multicast"})
	}
	return "(" + pick(rng, []string{"", "ip and "}) + relationText(rng) + ")"
}

func relationText(rng *rand.Rand) string {
	switch rng.IntN(6) {
	case 0:
		return "ip and tcp[tcpflags] & (tcp-syn|tcp-ack) " + pick(rng, []string{"== tcp-syn", "!= 0", "= 18", "== (tcp-syn|tcp-ack)"})
	case 1:
		return pick(rng, []string{"icmp[icmptype] = icmp-echo", "icmp[1] < 2", "icmp6[icmp6type] = icmp6-echo", "icmp6[0] != 129", "icmp[0:2] > 0x0800"})
	case 2:
		return "ip[6:2] & " + pick(rng, []string{"0x1fff", "0x3fff"}) + pick(rng, []string{" = 0", " != 0", " > 0"})
	}
	// libpcap looks only at the first field of a sum for the header that must be
	// there, so all are of one.
	first := pick(rng, [][]string{
		{"ip[8]", "ip[9]", "ip[1]", "ip[2:2]", "ip[12:4]", "ip[16:2]", "ip[19]"},
		{"ip6[7]", "ip6[8:4]", "ip6[38:2]", "ip6[23]"},
		{"icmp[0]", "icmp[0:2]"},
		{"len"},
	})
	fields := append(first[:len(first):len(first)], "len", "7", "0x20", "1000", "-1", "255")
	var sum func(depth int) string
	sum = func(depth int) string {
		if depth == 0 {
			return pick(rng, fields)
		}
		if rng.IntN(5) == 0 {
			return "((" + sum(depth-1) + ")" + pick(rng, []string{" / ", " % ", " << ", " >> "}) + pick(rng, []string{"3", "7", "31", "1"}) + ")"
		}
		if rng.IntN(6) == 0 {
			return "((" + sum(depth-1) + ") ^ " + pick(rng, fields) + ")"
		}
		s := sum(depth-1) + pick(rng, []string{" + ", " - ", " * ", " & ", " | "}) + sum(depth-1)
		if rng.IntN(3) == 0 {
			s = "(" + s + ")"
		}
		return s
	}
	return pick(rng, first) + pick(rng, []string{" + ", " & ", " - ", " | "}) + sum(rng.IntN(3)) +
		pick(rng, []string{" < ", " > ", " <= ", " >= ", " = ", " == ", " != "}) + sum(rng.IntN(2))
}
