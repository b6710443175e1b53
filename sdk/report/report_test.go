package report

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var update = flag.Bool("update", false, "rewrite golden files")

// attack is an event with every counter different.
func attack() *sdk.Event {
	e := &sdk.Event{
		Type: sdk.AttackStarted, ID: "0f5c1e", Target: netip.MustParsePrefix("10.10.10.221/32"), Direction: "incoming",
		AttackType: "syn_flood", Protocol: "tcp", InitialPPS: 99059.9, PeakPPS: 120000.4, Flows: [2]float64{98926.7, 0.99},
	}
	for i, name := range []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"} {
		n := float64(i + 1)
		e.Incoming = append(e.Incoming, sdk.CounterRate{Counter: name, PPS: n*1000 + 0.9, BPS: n*1e7 + 999_999})
		e.Outgoing = append(e.Outgoing, sdk.CounterRate{Counter: name, PPS: n * 10, BPS: n * 1e5})
	}
	return e
}

func TestCounters(t *testing.T) {
	sdktest.Golden(t, "testdata/counters.golden", string(Counters(attack())), *update)
	e := attack()
	e.Target = netip.MustParsePrefix("2001:db8:0:0:1:0:0:1/128")
	e.Incoming, e.Outgoing = nil, nil
	sdktest.Golden(t, "testdata/counters_v6.golden", string(Counters(e)), *update)
}

func TestMegabits(t *testing.T) {
	for bps, want := range map[float64]string{
		0: "0", -5: "0", 999_999: "0", 1e6: "1", 1_999_999: "1", 45_678_901: "45", 250e6: "250", 1e9: "1000",
		7: "0", 8_000_000 - 1: "7",
	} {
		if got := megabits(bps); got != want {
			t.Errorf("%v bit/s: %s mbps, want %s", bps, got, want)
		}
	}
}

func TestTruncate(t *testing.T) {
	inf := math.Inf(1)
	for v, want := range map[float64]uint64{0.99: 0, -3: 0, 1.99: 1, inf: 1<<63 - 1, -inf: 0} {
		if got := truncate(v); got != want {
			t.Errorf("%v: %d, want %d", v, got, want)
		}
	}
	if got := truncate(math.NaN()); got != 0 {
		t.Errorf("not a number: %d", got)
	}
}

// record makes a packet.
func record(src, dst string, proto, flags uint8, packets, size, rate uint64) traffic.Record {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	r := traffic.Record{
		Src: from.Addr().As16(), Dst: to.Addr().As16(), SrcPort: from.Port(), DstPort: to.Port(), Protocol: proto, TCPFlags: flags,
		Packets: packets * rate, Bytes: size * rate, Sampling: uint32(rate), TTL: 64,
	}
	if from.Addr().Is6() {
		r.Marks |= traffic.MarkIPv6
	}
	return r
}

// TestDump holds packet and flow dumps against the original's layout: the
// example of its documentation first, then what else its code can print.
func TestDump(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("", 2*3600)
	t.Cleanup(func() { time.Local = local })
	e := attack()
	first := record("10.0.0.1:1025", "10.10.10.221:80", traffic.ProtoTCP, traffic.FlagSYN|traffic.FlagACK, 1, 60, 1)
	fragment := record("10.0.0.3:0", "10.10.10.221:0", traffic.ProtoUDP, 0, 1, 1500, 512)
	fragment.Marks |= traffic.MarkFragment | traffic.MarkLater
	all := []traffic.Record{
		first,
		first,
		record("10.138.0.0:1025", "10.10.10.221:1024", traffic.ProtoTCP, 0xff, 3, 180, 1),
		record("10.10.10.221:53", "10.0.0.2:4000", traffic.ProtoUDP, 0, 1, 80, 1000),
		record("10.0.0.9:123", "10.10.10.221:5353", traffic.ProtoUDP, 0, 1, 468, 1),
		fragment,
		record("10.0.0.4:0", "10.10.10.221:0", traffic.ProtoICMP, 0, 1, 84, 1),
		record("10.0.0.4:0", "10.10.10.221:0", 254, 0, 1, 84, 1),
		record("[2001:db8::1]:7", "[2001:db8::2]:9", traffic.ProtoTCP, 0, 1, 60, 1),
	}
	e.Evidence = &sdk.EvidenceReport{}
	for i, r := range all {
		at := time.Date(2016, 5, 10, 11, 45, 1+i, 123000, time.UTC)
		e.Evidence.Dump = append(e.Evidence.Dump, sdk.Sample{Time: at, Record: traffic.Bytes([]traffic.Record{r})})
	}
	e.Evidence.Dump = append(e.Evidence.Dump, sdk.Sample{}) // no record: no line
	sdktest.Golden(t, "testdata/report.golden", string(Text(e)), *update)
	want := "2016-05-10 13:45:01.000123 10.0.0.1:1025 > 10.10.10.221:80 protocol: tcp flags: syn,ack frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n"
	if got := string(Packets(e.Evidence.Dump)); !strings.HasPrefix(got, want) {
		t.Errorf("got  %q\nwant %q", got[:len(want)], want)
	}
}

// What is on several prefixes has no target to tell the directions by.
func TestFlowsWithoutTarget(t *testing.T) {
	e := attack()
	e.Target = netip.Prefix{}
	r := record("10.1.0.1:53", "10.10.10.221:1025", traffic.ProtoUDP, 0, 1, 60, 1)
	e.Evidence = &sdk.EvidenceReport{Dump: []sdk.Sample{{Record: traffic.Bytes([]traffic.Record{r})}}}
	if text := string(Flows(e)); !strings.HasPrefix(text, "Incoming\n\nUDP flows: 1\n10.10.10.221:1025 < 10.1.0.1:53 ") {
		t.Errorf("an incoming attack:\n%s", text)
	}
	e.Direction = "outgoing"
	if text := string(Flows(e)); !strings.HasPrefix(text, "Outgoing\n\nUDP flows: 1\n10.1.0.1:53 > 10.10.10.221:1025 ") {
		t.Errorf("an outgoing attack:\n%s", text)
	}
}

// A long list of flows is cropped where the original crops it.
func TestFlowsCropped(t *testing.T) {
	e := attack()
	e.Evidence = &sdk.EvidenceReport{}
	for i := range 150 {
		r := record(fmt.Sprintf("10.1.%d.%d:1", i/256, i%256), "10.10.10.221:80", traffic.ProtoTCP, 0, 1, 60, 1)
		e.Evidence.Dump = append(e.Evidence.Dump, sdk.Sample{Record: traffic.Bytes([]traffic.Record{r})})
	}
	text := string(Flows(e))
	if n := strings.Count(text, " < "); n != flowLines+1 || !strings.HasPrefix(text, "Incoming\n\nTCP flows: 150\n") ||
		!strings.HasSuffix(text, " packets\nFlows have cropped due to very long list.\n\n") {
		t.Errorf("%d flows:\n%s", n, text)
	}
}
