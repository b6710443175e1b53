//go:build ndpi

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestConformance(t *testing.T) { sdktest.Conformance(t, plugin(), `min_share = 0.6`) }

func TestComplaint(t *testing.T) {
	ds := sdktest.New(t, plugin(), `min_share = 7`).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "min_share" {
		t.Errorf("%v", ds)
	}
}

func started(t testing.TB) *inspector {
	t.Helper()
	x, err := newInspector(config{MinShare: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return x
}

var target = netip.MustParseAddr("203.0.113.7")

// attackOf is a hundred packets of a kind of attack, cut to so many octets.
func attackOf(t testing.TB, kind gen.Kind, to netip.Addr, cut int) (e sdk.Evidence) {
	t.Helper()
	s := &gen.Scenario{
		Seed: 4, Duration: 2 * time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Attacks: []gen.Attack{{Kind: kind, Target: to, Duration: 2 * time.Second, PPS: 500}},
	}
	e.Event = sdktest.Event()
	e.Event.Direction = "incoming"
	e.Event.Incoming, e.Event.Outgoing = []sdk.CounterRate{{Counter: "udp", PPS: 500}}, []sdk.CounterRate{{Counter: "udp", PPS: 1}}
	if err := s.Packets(func(p *gen.Packet) bool {
		e.Frames = append(e.Frames, sdk.Sample{
			Time: time.Unix(0, p.Time), Link: 1, Data: bytes.Clone(p.Frame[:min(len(p.Frame), cut)]), WireLen: len(p.Frame), Record: bytes.Clone(traffic.Bytes([]traffic.Record{p.Record})),
		})
		return len(e.Frames) < 200
	}); err != nil {
		t.Fatal(err)
	}
	return e
}

// label is what a set of findings calls an attack.
func label(found []sdk.Finding) (string, float64) {
	for _, f := range found {
		if f.Label != "" {
			return f.Label, f.Confidence
		}
	}
	return "", 0
}

func texts(found []sdk.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "    %s (%.2f) %s\n", f.Label, f.Confidence, f.Detail)
	}
	return b.String()
}

// Every kind of attack that the generator makes, whole and as the first 128
// octets of sFlow, in both families: reflections are named, floods are not.
func TestKinds(t *testing.T) {
	x := started(t)
	named := map[string]bool{}
	for _, r := range rules {
		named[r.label] = true
	}
	for _, kind := range gen.KindNames() {
		want := strings.Replace(kind, "_amplification", "_reflection", 1)
		if !named[want] {
			want = ""
		}
		for _, to := range []netip.Addr{target, netip.MustParseAddr("2001:db8::7")} {
			for _, cut := range []int{sdk.MaxFrame, 128} {
				found, err := x.Inspect(t.Context(), attackOf(t, gen.Kind(kind), to, cut))
				if err != nil {
					t.Fatal(err)
				}
				want := want
				if kind == string(gen.WSDAmplification) && cut == 128 {
					want = "" // what makes it an answer stands further back
				}
				got, confidence := label(found)
				t.Logf("%s to %s, %d octets: %q %.2f\n%s", kind, to, cut, got, confidence, texts(found))
				if got != want || want != "" && confidence < 0.7 {
					t.Errorf("%s to %s, %d octets: %q (%.2f), want %q", kind, to, cut, got, confidence, want)
				}
			}
		}
	}
}

// The same answers are no attack where the target has asked for them, and
// questions at a server are none of a reflection.
func TestWhatIsNoReflection(t *testing.T) {
	x := started(t)
	e := attackOf(t, gen.DNSAmplification, target, sdk.MaxFrame)
	e.Event.Outgoing[0].PPS = 400
	found, err := x.Inspect(t.Context(), e)
	if got, _ := label(found); got != "" || err != nil || !strings.Contains(texts(found), "it has asked for them") {
		t.Errorf("a resolver: %q %v\n%s", got, err, texts(found))
	}
	for name, payload := range map[string]string{
		"dns_reflection":          "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x07example\x03com\x00\x00\xff\x00\x01",
		"ntp_reflection":          "\x17\x00\x03\x2a" + strings.Repeat("\x00", 44),
		"ssdp_reflection":         "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n",
		"snmp_reflection":         "\x30\x1c\x02\x01\x01\x04\x06public\xa5\x0f\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x7f\x30\x00",
		"cldap_reflection":        "\x30\x25\x02\x01\x01\x63\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00",
		"memcached_reflection":    "\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n",
		"chargen_reflection":      "\x00",
		"coap_reflection":         "\x40\x01\x00\x01\xbb.well-known\x04core",
		"ws_discovery_reflection": "<?xml version=\"1.0\"?><Envelope><Body><Probe/></Body></Envelope>",
		"mdns_reflection":         "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09_services",
		"isakmp_reflection":       "\x01\x02\x03\x04\x05\x06\x07\x08" + strings.Repeat("\x00", 8) + "\x01\x10\x02\x00" + strings.Repeat("\x00", 8),
	} {
		for i := range rules {
			if rules[i].label == name && rules[i].answer([]byte(payload)) {
				t.Errorf("a question is an answer: %s", name)
			}
		}
	}
	if dnsAnswer([]byte("\x00\x01\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00")) {
		t.Error("a refusal is an answer")
	}
	if ntpAnswer(append([]byte{0x24}, make([]byte, 47)...)) {
		t.Error("what servers answer clients amplifies")
	}
}

// What DPI says of attacks that were recorded.
func TestRealCaptures(t *testing.T) {
	dir, x := sdktest.Fixtures(t, "attacks"), started(t)
	for file, want := range map[string]string{
		"amp.UDP.isakmp.pcap": "isakmp_reflection", "amp.UDP.snmp.src161.pcapng": "snmp_reflection",
		"amp.dns.RRSIG.fragmented.pcap": "dns_reflection", "pkt.TCP.synflood.spoofed.pcap": "",
	} {
		packets, err := capfile.ReadFile(filepath.Join(dir, file), 100)
		if err != nil {
			t.Fatal(err)
		}
		e := sdk.Evidence{Event: sdktest.Event()}
		for _, p := range packets {
			e.Frames = append(e.Frames, sdk.Sample{Time: time.Unix(0, p.Time), Link: int(p.Link), Data: p.Data[:min(len(p.Data), sdk.MaxFrame)], WireLen: p.Wire})
		}
		e.Event.Incoming, e.Event.Outgoing = nil, nil
		found, err := x.Inspect(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := label(found)
		t.Logf("%s, %d packets: %q\n%s", file, len(e.Frames), got, texts(found))
		if got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

// damage changes, cuts and lengthens frames.
func damage(r *rand.Rand, frames []sdk.Sample) (out []sdk.Sample) {
	for i := range frames {
		s := frames[i]
		s.Data = bytes.Clone(s.Data[:1+r.IntN(len(s.Data))])
		for range r.IntN(8) {
			at := r.IntN(len(s.Data))
			if r.IntN(2) == 0 {
				at = min(at, 13+r.IntN(30)) // headers
				at = min(at, len(s.Data)-1)
			}
			s.Data[at] = byte(r.Uint32())
		}
		s.Link = []int{1, 1, 1, 1, 101, 0, 113, 228, 229, 9999, -1}[r.IntN(11)]
		out = append(out, s)
	}
	return out
}

// Damaged packets neither crash the library nor make it keep memory.
func TestDamagedPacketsAndMemory(t *testing.T) {
	x := started(t)
	r := rand.New(rand.NewPCG(1, 1))
	var all []sdk.Sample
	for _, kind := range gen.KindNames() {
		all = append(all, attackOf(t, gen.Kind(kind), target, sdk.MaxFrame).Frames[:40]...)
	}
	rounds := 20
	if os.Getenv("FASTNETMON_SOAK") != "" {
		rounds = 1000
	}
	e := sdk.Evidence{Event: sdktest.Event()}
	inspect := func() (resides int64) {
		t.Helper()
		for i := range rounds {
			e.Frames = damage(r, all)
			if i%4 == 0 {
				e.Frames = all
			}
			if _, err := x.Inspect(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		debug.FreeOSMemory() // what is Go's
		return resident(t)
	}
	// A library that keeps memory does so each time, Go's heap does not.
	kept := []int64{inspect()}
	for i := 1; ; i++ {
		kept = append(kept, inspect())
		if kept[i] <= kept[i-1]+8<<10 {
			break
		}
		if i == 5 {
			t.Errorf("resident memory grows: %d kB", kept)
			break
		}
	}
	t.Logf("%d packets %d times: resident %d kB", len(all), rounds, kept)
	if len(x.dpi.packet) != sdk.MaxFrame+slack || x.dpi.packet[sdk.MaxFrame+slack-1] != 0 {
		t.Error("the library has written behind the packet")
	}
}

// resident is this process's resident memory in kB.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzInspect: whatever a frame is, nothing crashes and findings make sense.
func FuzzInspect(f *testing.F) {
	x := started(f)
	for _, kind := range []gen.Kind{gen.DNSAmplification, gen.SNMPAmplification, gen.CLDAPAmplification, gen.MemcachedAmplification, gen.SYNFlood} {
		f.Add(attackOf(f, kind, target, 300).Frames[0].Data, 1)
	}
	f.Fuzz(func(t *testing.T, frame []byte, link int) {
		found, err := x.Inspect(t.Context(), sdk.Evidence{Event: sdktest.Event(), Frames: []sdk.Sample{{Link: link, Data: frame[:min(len(frame), sdk.MaxFrame)], WireLen: len(frame)}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range found {
			if finding.Confidence < 0 || finding.Confidence > 1 || len(finding.Detail) > 200 {
				t.Errorf("%+v", finding)
			}
		}
	})
}

// BenchmarkInspect is a full sample, of which the core waits 700 ms for.
func BenchmarkInspect(b *testing.B) {
	x := started(b)
	e := attackOf(b, gen.DNSAmplification, target, sdk.MaxFrame)
	for len(e.Frames) < 1000 {
		e.Frames = append(e.Frames, e.Frames...)
	}
	e.Frames = e.Frames[:1000]
	for b.Loop() {
		if _, err := x.Inspect(context.Background(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// Through the contract, as the core calls it.
func TestThroughContract(t *testing.T) {
	h := sdktest.New(t, plugin(), ``)
	found, err := h.Inspect(attackOf(t, gen.SSDPAmplification, target, sdk.MaxFrame))
	if got, _ := label(found); got != "ssdp_reflection" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// What is found is called as flow-spec rules and evidence call what comes from
// these ports.
func TestPortsOfRules(t *testing.T) {
	for _, r := range rules {
		var want []uint16
		for _, f := range flowspec.ForEvent(&sdk.Event{Label: r.label}) {
			for _, s := range f.Numeric[flowspec.SourcePort] {
				want = append(want, uint16(s.Low))
			}
		}
		if !slices.Equal(r.ports, want) {
			t.Errorf("%s: ports %d, flow-spec rules match %d", r.label, r.ports, want)
		}
	}
}
