package pipeline

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	synBit, ackBit, finBit = traffic.FlagSYN, traffic.FlagACK, traffic.FlagFIN
	rstBit, pshBit, urgBit = traffic.FlagRST, traffic.FlagPSH, traffic.FlagURG
)

// shippedCases gives for each shipped counter a flow that it counts and one
// like it that it does not.
func shippedCases() map[string][2]flow {
	tcp := func(flags uint8) flow { return flow{proto: 6, srcPort: 40000, dstPort: 80, flags: flags} }
	later := tcp(0)
	later.marks = traffic.MarkFragment | traffic.MarkLater
	cases := map[string][2]flow{
		"syn":     {tcp(synBit), tcp(synBit | ackBit)},
		"syn_ack": {tcp(synBit | ackBit), tcp(synBit | ackBit | pshBit | finBit)}, // the flow record of a whole connection
		"ack":     {tcp(ackBit | pshBit), tcp(ackBit | finBit)},
		"rst":     {tcp(rstBit | ackBit), tcp(synBit | rstBit)},
		"fin":     {tcp(finBit | ackBit), tcp(finBit | ackBit | pshBit)},
		"null":    {tcp(0), later},
		"xmas":    {tcp(finBit | pshBit | urgBit), tcp(pshBit | urgBit)},
		"gre":     {{proto: 47}, {proto: 50}},
	}
	for service, port := range map[string]uint16{
		"qotd": 17, "chargen": 19, "dns": 53, "tftp": 69, "portmap": 111, "ntp": 123, "netbios": 137, "snmp": 161, "cldap": 389,
		"slp": 427, "isakmp": 500, "rip": 520, "ssdp": 1900, "ard": 3283, "rdp": 3389, "ws_discovery": 3702, "mdns": 5353,
		"coap": 5683, "ubiquiti": 10001, "memcached": 11211, "dvr": 37810,
	} {
		asked := flow{proto: 17, srcPort: 40000, dstPort: port} // a question is no reflection
		cases[service+"_reflection"] = [2]flow{{proto: 17, srcPort: port, dstPort: 40000}, asked}
	}
	return cases
}

// Each shipped counter fires on its traffic, and on nothing else that is as
// fast; all of them fit a plan together.
func TestShippedCounters(t *testing.T) {
	cases := shippedCases()
	if len(cases) != 29 {
		t.Fatalf("%d counters", len(cases))
	}
	var text strings.Builder
	text.WriteString("network \"n\" {\n  prefixes = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n}\nhostgroup \"g\" {\n  networks = [network.n]\n")
	for name := range cases {
		fmt.Fprintf(&text, "  threshold %q {\n    direction = \"incoming\"\n    counter = counter.%s\n    pps = 1000\n  }\n", name, name)
	}
	text.WriteString("}\n")
	b := newCountBed(t, load(t, text.String()))
	var flows []flow
	yes, no := map[string]string{}, map[string]string{}
	n := byte(0)
	for name, c := range cases {
		for i, f := range c {
			for _, six := range []bool{false, true} {
				n++
				f.src, f.dst, f.pps = "192.0.2.1", netip.AddrFrom4([4]byte{10, 0, 0, n}).String(), 4000
				if six {
					f.src, f.dst = "2001:db9::1", fmt.Sprintf("2001:db8::%x", n)
				}
				flows = append(flows, f)
				map[bool]map[string]string{true: yes, false: no}[i == 0][f.dst] = name
			}
		}
	}
	b.run(2*time.Second, flows...)
	got := b.crossed()
	for host, name := range yes {
		if !slices.Contains(got[host], name) {
			t.Errorf("counter %s: no attack on %s", name, host)
		}
	}
	for host, name := range no {
		if slices.Contains(got[host], name) {
			t.Errorf("counter %s: an attack on %s, whose traffic is not its own", name, host)
		}
	}
}

// The documentation lists each shipped counter with a limit and the reason.
func TestShippedCountersAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range shippedCases() {
		if !regexp.MustCompile("(?m)^\\| `" + name + "` \\| [^|]+ \\| [0-9,]+ \\| [^|]+ \\|$").Match(doc) {
			t.Errorf("core/README.md has no row for counter.%s with its condition, a limit and a reason", name)
		}
	}
}
