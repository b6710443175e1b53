package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// engines are those that this binary has: both where it is built with LuaJIT.
func engines() []string {
	if engineName == engineLuaJIT {
		return []string{engineGopher, engineLuaJIT}
	}
	return []string{engineGopher}
}

// each runs a test on every engine.
func each(t *testing.T, run func(t *testing.T, engine string)) {
	for _, name := range engines() {
		t.Run(name, func(t *testing.T) { run(t, name) })
	}
}

func writeScript(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.lua")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newTest makes a filter with a script, not started.
func newTest(t testing.TB, engine, text string) (*filter, error) {
	t.Helper()
	c := config{Script: writeScript(t, text), Memory: 16 << 20, Deadline: 200 * time.Millisecond, Engine: engine}
	f, err := newFilter(c, sdk.Env{Logger: hclog.NewNullLogger(), Mode: sdk.ModeRun})
	if err != nil {
		t.Fatal(err)
	}
	return f, f.Validate(t.Context())
}

func mustTest(t testing.TB, engine, text string) (*filter, *judge) {
	t.Helper()
	f, err := newTest(t, engine, text)
	if err != nil {
		t.Fatal(err)
	}
	j, err := f.NewWorker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.(*judge).Close() })
	return f, j.(*judge)
}

func as16(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// records are some of every sort.
func records() []traffic.Record {
	return []traffic.Record{
		{Src: as16("198.51.100.7"), Dst: as16("203.0.113.1"), SrcPort: 53, DstPort: 40000, Protocol: 17, Packets: 10, Bytes: 12000, Sampling: 10, TTL: 60, InIf: 33, OutIf: 4, Exporter: 1, VLAN: 9},
		{Src: as16("192.0.2.1"), Dst: as16("203.0.113.1"), SrcPort: 1024, DstPort: 443, Protocol: 6, TCPFlags: 2, Packets: 1, Bytes: 60},
		{Src: as16("2001:db8::1:0:0:1"), Dst: as16("2001:db8:1::2"), SrcPort: 5000, DstPort: 53, Protocol: 17, Packets: 1, Bytes: 100, Marks: traffic.MarkIPv6},
		{Src: as16("203.0.113.9"), Dst: as16("192.0.2.200"), SrcPort: 443, DstPort: 6003, Protocol: 6, TCPFlags: 18, Packets: 100, Bytes: 150000, Sampling: 10, DurationMs: 3000, Spread: 3, Marks: traffic.MarkFlow, Exporter: 2, InIf: 7, OutIf: 33, SrcAS: 70000, DstAS: 64500, Time: 1_700_000_000_500_000_000, NextHop: as16("192.0.2.254")},
		{Src: as16("::"), Dst: as16("ff02::1"), Protocol: 58, ICMPType: 135, ICMPCode: 1, Packets: 1, Bytes: 72, Marks: traffic.MarkIPv6 | traffic.MarkFlow | traffic.MarkFragment | traffic.MarkLater, Exporter: 1},
	}
}

func exporters(index uint32) netip.Addr {
	return map[uint32]netip.Addr{1: netip.MustParseAddr("22.11.22.33"), 2: netip.MustParseAddr("192.0.2.10")}[index]
}

// verdicts is a letter for each record: . passes, x is dropped, ! was not judged.
func verdicts(batch []traffic.Record) string {
	var b strings.Builder
	for _, r := range batch {
		switch r.Verdict {
		case traffic.VerdictNone, traffic.VerdictPass:
			b.WriteByte('.')
		case traffic.VerdictDrop:
			b.WriteByte('x')
		case traffic.VerdictUnjudged:
			b.WriteByte('!')
		default:
			fmt.Fprintf(&b, "?%d", r.Verdict)
		}
	}
	return b.String()
}
