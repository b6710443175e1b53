package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func packet(src, dst string, protocol uint8, srcPort, dstPort uint16) traffic.Record {
	r := traffic.Record{Src: as16(src), Dst: as16(dst), Protocol: protocol, SrcPort: srcPort, DstPort: dstPort, Packets: 5, Bytes: 500, Sampling: 5, Exporter: 2, InIf: 33}
	if netip.MustParseAddr(src).Is6() {
		r.Marks = traffic.MarkIPv6
	}
	return r
}

// Every example does what it says, on both engines.
func TestExamples(t *testing.T) {
	const dir = "../../../examples/filters"
	tests := map[string]struct {
		batch    []traffic.Record
		verdicts string
		classes  string
	}{
		"no_backup.lua": {[]traffic.Record{
			packet("192.0.2.3", "203.0.113.1", 6, 40000, 873), packet("203.0.113.1", "2001:db8:b::1", 6, 5205, 40000),
			packet("192.0.2.3", "203.0.113.1", 6, 40000, 80), packet("198.51.100.7", "203.0.113.1", 17, 1, 2), packet("192.0.2.99", "203.0.113.1", 6, 40000, 873),
		}, "xx.x.", "00000"},
		"one_interface.lua": {[]traffic.Record{
			{Exporter: 3, InIf: 33}, {Exporter: 3, InIf: 34}, {Exporter: 2, InIf: 34}, {InIf: 1},
		}, ".x..", "0000"},
		"replies.lua": {[]traffic.Record{
			packet("198.51.100.53", "203.0.113.1", 17, 53, 4000), packet("2001:db8:53::1", "2001:db8::2", 17, 53, 4000),
			packet("198.51.100.54", "203.0.113.1", 17, 53, 4000), packet("198.51.100.53", "203.0.113.1", 6, 53, 4000),
		}, "xx..", "0000"},
		"mark_games.lua": {[]traffic.Record{
			packet("192.0.2.3", "203.0.113.1", 17, 4000, 27015), packet("192.0.2.3", "203.0.113.1", 6, 4000, 27015), packet("2001:db8::1", "2001:db8::2", 17, 4000, 25565),
		}, "...", "202"},
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.lua"))
	if err != nil || len(names) != len(tests)+1 {
		t.Errorf("%d examples, %d tests, and one of thin_out.lua: %v", len(names), len(tests), err)
	}
	for name, c := range tests {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		each(t, func(t *testing.T, engine string) {
			_, j := mustTest(t, engine, string(text))
			j.Exporters(func(i uint32) netip.Addr {
				return map[uint32]netip.Addr{2: netip.MustParseAddr("192.0.2.99"), 3: netip.MustParseAddr("192.0.2.1")}[i]
			})
			err := j.Judge(c.batch)
			classes := ""
			for i := range c.batch {
				classes += fmt.Sprint(c.batch[i].Class)
			}
			if err != nil || verdicts(c.batch) != c.verdicts || classes != c.classes {
				t.Errorf("%s: %s and classes %s, want %s and %s: %v", name, verdicts(c.batch), classes, c.verdicts, c.classes, err)
			}
			for i := range c.batch {
				c.batch[i].Verdict, c.batch[i].Class = 0, 0
			}
		})
	}
}

// Of a hundred records ten stay, each for ten.
func TestThinOut(t *testing.T) {
	text, err := os.ReadFile("../../../examples/filters/thin_out.lua")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, engine string) {
		_, j := mustTest(t, engine, string(text))
		batch := make([]traffic.Record, 100)
		for i := range batch {
			batch[i] = packet("203.0.113.9", "192.0.2.1", 6, 443, 5000)
		}
		if err := j.Judge(batch); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, r := range batch {
			if r.Verdict == traffic.VerdictDrop {
				continue
			}
			if kept++; r.Sampling != 50 {
				t.Fatalf("a record stands for %d packets of the wire, want 50", r.Sampling)
			}
		}
		if kept != 10 {
			t.Errorf("%d of 100 are left", kept)
		}
	})
}
