//go:build libpcap

package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// dltRaw is pcap's name for packets without a link header on Linux.
const dltRaw layers.LinkType = 12

// TestAgainstLibpcap holds random expressions against libpcap's own compiler,
// on random packets: both must say the same of each.
func TestAgainstLibpcap(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	packets := make([][]byte, 3000)
	records := make([]traffic.Record, len(packets))
	for i := range packets {
		packets[i] = packet(rng)
		if got := (&traffic.Parser{}).IP(&records[i], packets[i], len(packets[i])); got != traffic.OK {
			t.Fatalf("packet %x: %v", packets[i], got)
		}
	}
	matches, mixed := 0, 0
	for n := range 4000 {
		expression := randomExpression(rng, 3)
		p, err := Compile(expression)
		if err != nil {
			t.Fatalf("%s\n%v", expression, err)
		}
		theirs, err := pcap.NewBPF(dltRaw, 65535, expression)
		if err != nil {
			if strings.Contains(err.Error(), "expression rejects all packets") {
				for i := range records {
					if p.Match(&records[i]) {
						t.Fatalf("%s\nlibpcap says that nothing can match, but %+v does", expression, records[i])
					}
				}
				continue
			}
			t.Fatalf("libpcap refuses %q: %v", expression, err)
		}
		before := matches
		for range 60 {
			i := rng.IntN(len(packets))
			ci := gopacket.CaptureInfo{CaptureLength: len(packets[i]), Length: len(packets[i])}
			got, want := p.Match(&records[i]), theirs.Matches(ci, packets[i])
			if got != want {
				t.Fatalf("%d: %s\n%x\n%+v\nwe say %v, libpcap %v", n, expression, packets[i], records[i], got, want)
			}
			if got {
				matches++
			}
		}
		if d := matches - before; d > 0 && d < 60 {
			mixed++
		}
	}
	if mixed < 1000 {
		t.Errorf("only %d of 4000 expressions tell packets apart", mixed)
	}
	t.Logf("%d of 240000 match, %d expressions tell packets apart", matches, mixed)
}

// TestRefusedByLibpcap: what libpcap refuses as a mistake we refuse, too.
func TestRefusedByLibpcap(t *testing.T) {
	for _, s := range []string{
		"host", "port 70000", "tcp host 10.0.0.1", "ip port 53", "and udp", "udp and", "(udp", "udp)", "udp tcp", "net 10.0.0.1/8",
		"10.0.0.1", "src udp", "tcp[0:3] = 1", "len > ", "not", "udp or or tcp", "host 10.0.0.0/8", "host 300.1.1.1", "port 10-20", "tcp[13 & 2 != 0", "ip[0",
		"len / 0 > 1", "ip6 host 10.0.0.1", "ip host 2001:db8::1", "net 10.0.0.0/33", "tcp or 53", "portrange a-b",
	} {
		if _, err := pcap.NewBPF(dltRaw, 65535, s); err == nil {
			t.Errorf("libpcap takes %q", s)
		}
		if _, err := Compile(s); err == nil {
			t.Errorf("we take %q", s)
		}
	}
}

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
