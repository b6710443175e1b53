//go:build libpcap

package pcapfilter

import (
	"math/rand/v2"
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
