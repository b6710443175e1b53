package pcapfilter

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func as16(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// What records a capture makes; the letters name them in the table below.
var seen = map[byte]traffic.Record{
	'd': {Src: as16("198.51.100.7"), Dst: as16("203.0.113.1"), SrcPort: 53, DstPort: 40000, Protocol: 17, Packets: 10, Bytes: 12000, TTL: 60, ToS: 0x2e},
	's': {Src: as16("192.0.2.1"), Dst: as16("203.0.113.1"), SrcPort: 1024, DstPort: 443, Protocol: 6, TCPFlags: 2, Packets: 1, Bytes: 60, VLAN: 7},
	'a': {Src: as16("203.0.113.1"), Dst: as16("192.0.2.1"), SrcPort: 443, DstPort: 1024, Protocol: 6, TCPFlags: 18, Packets: 1, Bytes: 60},
	'i': {Src: as16("192.0.2.1"), Dst: as16("203.0.113.1"), Protocol: 1, ICMPType: 8, Packets: 1, Bytes: 84},
	'f': {Src: as16("198.51.100.8"), Dst: as16("203.0.113.1"), Protocol: 17, Packets: 1, Bytes: 1500, Marks: traffic.MarkFragment | traffic.MarkLater},
	'6': {Src: as16("2001:db8::1"), Dst: as16("2001:db8:1::2"), SrcPort: 5000, DstPort: 53, Protocol: 17, Packets: 1, Bytes: 100, Marks: traffic.MarkIPv6},
	'S': {Src: as16("2001:db8::1"), Dst: as16("2001:db8:1::2"), SrcPort: 5000, DstPort: 443, Protocol: 6, TCPFlags: 2, Packets: 1, Bytes: 80, Marks: traffic.MarkIPv6},
	'p': {Src: as16("2001:db8::1"), Dst: as16("ff02::1"), Protocol: 58, ICMPType: 135, Packets: 1, Bytes: 72, Marks: traffic.MarkIPv6 | traffic.MarkFlow},
}

func TestMatch(t *testing.T) {
	for expression, want := range map[string]string{
		"":    "dsaif6Sp",
		"ip":  "dsaif",
		"ip6": "6Sp",
		"not (udp and src port 53 and src net 198.51.100.0/24)": "saif6Sp",
		"udp port 53":                           "d6",
		"src port 53":                           "d",
		"port 53 or 443":                        "dsa6S",
		"port (53 or 443) and not src port 443": "ds6S",
		"tcp src port https":                    "a",
		"portrange 440-445":                     "saS",
		"port 0":                                "",
		"host 192.0.2.1":                        "sai",
		"dst host 192.0.2.1 or 203.0.113.1 and tcp":    "sa",
		"src or dst net 198.51.100":                    "df",
		"net 198.51.100.0 mask 255.255.255.0":          "df",
		"src and dst net 2001:db8::/32":                "6S",
		"ip6 host 2001:db8::1 && !udp":                 "Sp",
		"net ::/0":                                     "6Sp",
		"net 0.0.0.0/0":                                "dsaif",
		"tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn": "sS",
		"tcp[13] = 18":                                 "a",
		"tcp[13] != 18":                                "sS",
		"not tcp[13] = 18":                             "dsif6Sp",
		"icmp[icmptype] == icmp-echo":                  "i",
		"icmp6[0] = icmp6-neighborsolicit":             "p",
		"icmp or icmp6":                                "ip",
		"ip[6:2] & 0x1fff != 0":                        "f",
		"ip[6:2] & 0x1fff = 0":                         "dsai",
		"greater 1000":                                 "df",
		"less 80":                                      "sap" + "S",
		"len - 20 > 1000":                              "df",
		"ip[8] = 60 and ip[1] = 0x2e and ip[12:4] = 0xc6336407": "d",
		"udp[2:2] = 53":         "6",
		"tcp[0:4] = 0x040001bb": "s",
		"vlan":                  "s",
		"vlan 7 and tcp":        "s",
		"vlan 8":                "",
		"proto 17":              "df6",
		`ip proto \icmp`:        "i",
		"ip6 proto 58":          "p",
		"ip6 multicast":         "p",
		"udp and not (port 53 or net 198.51.100.8/32)": "",
		"not host 192.0.2.1 and 203.0.113.1":           "df",
		"not not (not udp)":                            "saiSp",
		"UDP AND PORT 53":                              "d6",
	} {
		p, err := Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		for _, name := range "dsaif6Sp" {
			r := seen[byte(name)]
			if got := p.Match(&r); got != strings.ContainsRune(want, name) {
				t.Errorf("%s: record %c: %v", expression, name, got)
			}
		}
	}
}

// A mistake is shown at its place, with what to do.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ expression, fault, say string }{
		{"udp and scr port 53", "scr", `Did you mean "src"?`},
		{"udp port", "", "ends too early"},
		{"udp port domian", "domian", "is no port"},
		{"(udp or tcp", "(", "not closed"},
		{"udp)", ")", "no bracket is open"},
		{"udp tcp", "tcp", "Write and or or"},
		{"10.0.0.1", "10.0.0.1", "Write host, net, port"},
		{"host 10.0.0.0/8", "10.0.0.0", "Write net instead"},
		{"net 10.0.0.1/8", "10.0.0.1/8", "Write net 10.0.0.0/8."},
		{"net 10.0.0.0/33", "10.0.0.0/33", "a prefix of 33 bits"},
		{"host example.org", "example.org", "not looked up"},
		{"host 10.1", "10.1", "all four numbers"},
		{"tcp host 10.0.0.1", "tcp", "tcp and host"},
		{"icmp port 3", "icmp", "does not go with port"},
		{"ip host 2001:db8::1", "2001:db8::1", "other family"},
		{"ether host 00:11:22:33:44:55", "ether", "link-layer"},
		{"mpls 5", "mpls", "MPLS labels"},
		{"udp and inbound", "inbound", "networks give traffic its direction"},
		{"tcp[4:4] > 5", "tcp[4:4]", "tcp[13]"},
		{"udp[8:4] = 0x1234", "udp[8:4]", "udp[0:2]"},
		{"ether[0] & 1 != 0", "ether[0]", "can be read"},
		{"tcp[tcp[0]] = 1", "tcp", "write a number"},
		{"tcp[0:3] = 1", "3", "One, two or four"},
		{"ip[6:2] & 0x4000 != 0", "ip[6:2]", "fragment offsets"},
		{"len / 0 > 1", "/", "Divide by a number"},
		{"1 = 1", "1 = 1", "Both sides are numbers"},
		{"len > 1 ^ 3 + 4", "^", "in brackets"},
		{"vlan 5000", "5000", "1 to 4095"},
		{"ip broadcast", "broadcast", "mask"},
		{"src proto 17", "17", "no direction"},
		{"udp und tcp", "und", `Did you mean "and"?`},
		{"port 70000", "70000", "is no port"},
		{"udp # comment", "#", "means nothing"},
		{"udp and ü", "ü", "means nothing"},
		{strings.Repeat("(", 500) + "udp" + strings.Repeat(")", 500), "(", "nested too deep"},
		{strings.Repeat("udp or ", 20000) + "udp", "", "too long"},
	} {
		_, err := Compile(c.expression)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.expression, err)
			continue
		}
		if got := c.expression[e.At : e.At+e.Len]; got != c.fault || !strings.Contains(e.Error(), c.say) {
			t.Errorf("%q: fault %q, want %q: %v", c.expression, got, c.fault, e)
		}
	}
}

func TestMarked(t *testing.T) {
	_, err := Compile("udp and\nscr port 53")
	var e *Error
	if !errors.As(err, &e) || e.Column() != 9 {
		t.Fatal(err)
	}
	if got, want := e.Marked(), "  udp and scr port 53\n          ^^^"; got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"not (udp and src port 53 and src net 198.51.100.0/24)", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or host (1.2.3.4 or !::1)",
		"len - 20 > 1000 && ip[6:2] & 0x1fff = 0", "vlan 5 and port (80 or 443 or ftp-data)", `ip proto \tcp and portrange 1-5`, "((((((1+2", "src or dst net 10 mask 255.0.0.0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Compile(s)
		if err != nil {
			var e *Error
			if errors.As(err, &e) && (e.At < 0 || e.Len < 0 || e.At+e.Len > len(s) || e.Marked() == "") {
				t.Fatalf("%q: fault at %d, %d", s, e.At, e.Len)
			}
			return
		}
		negated, err := Compile("not (" + s + ")")
		for _, r := range seen {
			if got := p.Match(&r); err == nil && s != "" && strings.TrimSpace(s) != "" && got == negated.Match(&r) {
				t.Fatalf("%q and its negation agree on %+v", s, r)
			}
		}
	})
}

// The expression of the reference's engines, on random records.
func BenchmarkMatch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	records := make([]traffic.Record, 1<<12)
	for i := range records {
		src := netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.Int()), byte(rng.Int())})
		dst := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(2)), byte(rng.Int())})
		records[i] = traffic.Record{
			Src: src.As16(), Dst: dst.As16(), Protocol: []uint8{6, 17}[rng.IntN(2)], SrcPort: []uint16{53, 80}[rng.IntN(2)], DstPort: []uint16{53, 443}[rng.IntN(2)], TCPFlags: []uint8{2, 16, 18}[rng.IntN(3)],
			Packets: 1, Bytes: uint64(rng.IntN(1500)),
		}
	}
	for name, expression := range map[string]string{
		"five conditions": "udp and (src port 53 or dst port 53) and greater 513 and dst net 10.0.0.0/24",
		"reply":           "not (udp and src port 53 and src net 198.51.100.0/24)",
		"flags":           "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
	} {
		p, err := Compile(expression)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for i := range b.N {
				if p.Match(&records[i&(len(records)-1)]) {
					n++
				}
			}
			if b.N > len(records) && name != "reply" && (n == 0 || n == b.N) {
				b.Fatal("nothing is told apart")
			}
		})
	}
}
