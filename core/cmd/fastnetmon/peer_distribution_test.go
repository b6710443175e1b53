package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// peerClasses are attacks on ordinary traffic that last until both programs
// must have seen them.
var peerClasses = []floodClass{
	{multiple: 20, background: 0.3, lasts: 2500 * time.Millisecond},
	{multiple: 10, background: 0.3, lasts: 2500 * time.Millisecond},
	{multiple: 4, background: 0.3, lasts: 4 * time.Second},
	{multiple: 2, background: 0.3, lasts: 6500 * time.Millisecond},
	{multiple: 1.5, background: 0.3, lasts: 7500 * time.Millisecond},
}

// planPeerFloods spreads so many attacks of each class over a time, each at a
// random phase on a host of its own.
func planPeerFloods(each int, over time.Duration) []flood {
	rng := rand.New(rand.NewPCG(31, 1))
	floods := make([]flood, each*len(peerClasses))
	host := floodNetwork4.Addr()
	for i := range floods {
		host = host.Next()
		place := (float64(i) + rng.Float64()) / float64(len(floods))
		floods[i] = flood{floodClass: peerClasses[i%len(peerClasses)], host: host, start: leadIn + time.Duration(place*float64(over))}
	}
	return floods
}

// BenchmarkPeerDistribution gives both programs the same sFlow at the same
// time, one sample for each packet, and writes how long each attack went on
// before the script was called for it.
func BenchmarkPeerDistribution(b *testing.B) {
	peer := os.Getenv("FASTNETMON_PEER")
	if peer == "" {
		b.Skip("FASTNETMON_PEER names no executable of FastNetMon Community; make report does")
	}
	for b.Loop() {
		floods := planPeerFloods(200, 150*time.Second)
		var ports []int
		var calls []string
		for _, who := range []contestant{&community{path: peer, limit: floodLimit}, &itself{limit: floodLimit}} {
			script, log := callLog(b)
			who.notify(script)
			ports, calls = append(ports, freeUDP(b)), append(calls, log)
			who.start(b, "sflow", ports[len(ports)-1])
			defer who.stop(b)
		}
		began, late := sendToAll(b, floodScenario(floods, 32), ports)
		time.Sleep(3 * time.Second) // for scripts that have been started
		text := peerTable(b, floods, began, calls)
		b.Logf("sent up to %v late\n%s", late, text)
		if path := os.Getenv("FASTNETMON_REPORT"); path != "" {
			if err := corpus.Quote(path, "beside the peer", text); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// callLog is a script that notes when it is called, and where.
func callLog(b *testing.B) (script, calls string) {
	b.Helper()
	dir := b.TempDir()
	script, calls = filepath.Join(dir, "notify.sh"), filepath.Join(dir, "calls")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\necho \"$(date +%%s.%%N) $1 $4\" >> %s\ncat > /dev/null\n", calls), 0o700); err != nil {
		b.Fatal(err)
	}
	return script, calls
}

// sendToAll plays a scenario's samples to several ports of this machine in its
// own time, which begins when it says.
func sendToAll(b *testing.B, s *gen.Scenario, ports []int) (began time.Time, late time.Duration) {
	b.Helper()
	var conns []net.Conn
	for _, port := range ports {
		c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	began = time.Now().Add(time.Second)
	s.Start = began
	var stamp gen.Stamper
	var failed error
	telemetry := gen.Telemetry{Protocol: gen.SFlow}
	_, err := telemetry.Datagrams(s, func(d *gen.Datagram) bool {
		wait := time.Until(time.Unix(0, d.Time))
		if late = max(late, -wait); wait > 0 {
			time.Sleep(wait)
		}
		stamp.Stamp(d, time.Now().UnixNano())
		for _, c := range conns {
			if _, err := c.Write(d.Data); err != nil {
				failed = err
			}
		}
		return failed == nil
	})
	if err != nil || failed != nil {
		b.Fatal(err, failed)
	}
	return began, late
}

// peerTable holds the scripts' calls against the attacks.
func peerTable(b *testing.B, floods []flood, began time.Time, calls []string) string {
	b.Helper()
	seen := make([]map[floodClass][]time.Duration, len(calls))
	for n, path := range calls {
		at := firstCalls(b, path)
		seen[n] = map[floodClass][]time.Duration{}
		for _, f := range floods {
			if t, ok := at[f.host]; ok {
				seen[n][f.floodClass] = append(seen[n][f.floodClass], t.Sub(began.Add(f.start)))
			}
		}
	}
	var text strings.Builder
	text.WriteString("| first packet to the script | FastNetMon 1.2.4: found, p50, p99, largest | this: found, p50, p99, largest |\n|---|---|---|\n")
	for _, c := range peerClasses {
		fmt.Fprintf(&text, "| %v |", c)
		for n := range calls {
			d := seen[n][c]
			if len(d) == 0 {
				text.WriteString(" none |")
				continue
			}
			fmt.Fprintf(&text, " %d; %.2f s, %.2f s, %.2f s |", len(d), quantile(d, 0.5).Seconds(), quantile(d, 0.99).Seconds(), quantile(d, 1).Seconds())
		}
		text.WriteString("\n")
	}
	return text.String()
}

// firstCalls are when a script was called first to ban each address.
func firstCalls(b *testing.B, path string) map[netip.Addr]time.Time {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	out := map[netip.Addr]time.Time{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "ban" {
			continue
		}
		seconds, err := strconv.ParseFloat(f[0], 64)
		host, err2 := netip.ParseAddr(f[1])
		if err != nil || err2 != nil {
			b.Fatalf("the script's line %q: %v, %v", line, err, err2)
		}
		if _, again := out[host]; !again {
			out[host] = time.UnixMicro(int64(seconds * 1e6))
		}
	}
	return out
}
