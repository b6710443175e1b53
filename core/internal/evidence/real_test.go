package evidence

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// TestRealCaptures labels attacks that were recorded, by the first hundred
// packets to their target.
func TestRealCaptures(t *testing.T) {
	dir, m := sdktest.Fixtures(t, "attacks"), matrix{}
	for file, want := range map[string]string{
		"amp.UDP.isakmp.pcap": "isakmp_reflection", "amp.UDP.snmp.src161.pcapng": "snmp_reflection",
		"amp.dns.RRSIG.fragmented.pcap": "dns_reflection", "pkt.TCP.synflood.spoofed.pcap": "syn_flood",
	} {
		all := readCapture(t, filepath.Join(dir, file))
		e := attackEvent()
		e.Target = netip.MustParsePrefix("10.10.10.10/32")
		e.Incoming = []sdk.CounterRate{{Counter: "total", PPS: 1000, BPS: 1e6}, {Counter: "udp", PPS: 1000, BPS: 1e6}}
		f := Analyse(&Input{Event: e, Samples: all[:min(100, len(all))]})
		m.add(file, f.Label)
		if f.Label != want {
			t.Errorf("%s: %s, want %s: %v", file, f.Label, want, f.Report.Reasons)
		}
	}
	t.Logf("\n%s", m.text())
}

// readCapture reads the packets to the target of a capture file.
func readCapture(t *testing.T, path string) (out []sdk.Sample) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var link int
	var next func() ([]byte, gopacket.CaptureInfo, error)
	if r, err := pcapgo.NewReader(f); err == nil {
		link, next = int(r.LinkType()), r.ReadPacketData
	} else {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		link, next = int(r.LinkType()), r.ReadPacketData
	}
	target := netip.MustParseAddr("10.10.10.10")
	var parser traffic.Parser
	for {
		data, info, err := next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var r traffic.Record
		if parser.Frame(&r, traffic.LinkType(link), data, info.Length) == traffic.OK && r.DstAddr() == target {
			s := sample(&r, data, time.Unix(0, info.Timestamp.UnixNano()))
			s.Link = link
			out = append(out, s)
		}
	}
}
