package evidence

import (
	"math"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// TestRealCaptures labels attacks that were recorded, by the first hundred
// packets to their target.
func TestRealCaptures(t *testing.T) {
	dir, m := sdktest.Fixtures(t, "attacks"), corpus.Confusion{}
	for file, want := range map[string]string{
		"amp.UDP.isakmp.pcap": "isakmp_reflection", "amp.UDP.snmp.src161.pcapng": "snmp_reflection",
		"amp.dns.RRSIG.fragmented.pcap": "dns_reflection", "pkt.TCP.synflood.spoofed.pcap": "syn_flood",
	} {
		all := toTarget(t, filepath.Join(dir, file))
		e := attackEvent()
		e.Target = netip.MustParsePrefix("10.10.10.10/32")
		e.Incoming = []sdk.CounterRate{{Counter: "total", PPS: 1000, BPS: 1e6}, {Counter: "udp", PPS: 1000, BPS: 1e6}}
		f := Analyse(&Input{Event: e, Samples: all[:min(100, len(all))]})
		m.Add(file, f.Label)
		if f.Label != want {
			t.Errorf("%s: %s, want %s: %v", file, f.Label, want, f.Report.Reasons)
		}
	}
	t.Logf("\n%s", m.String())
}

// toTarget are the packets to the target of a capture file.
func toTarget(t *testing.T, path string) (out []sdk.Sample) {
	t.Helper()
	target := netip.MustParseAddr("10.10.10.10")
	var parser traffic.Parser
	packets, err := capfile.ReadFile(path, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		var r traffic.Record
		if parser.Frame(&r, p.Link, p.Data, p.Wire) == traffic.OK && r.DstAddr() == target {
			s := sample(&r, p.Data, time.Unix(0, p.Time))
			s.Link = int(p.Link)
			out = append(out, s)
		}
	}
	return out
}
