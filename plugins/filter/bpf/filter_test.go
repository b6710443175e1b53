package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), `expression = "not (udp and src port 53)"`)
}

func record(src string, proto uint8, port uint16) traffic.Record {
	a := netip.MustParseAddr(src)
	r := traffic.Record{Src: a.As16(), Dst: a.As16(), Protocol: proto, SrcPort: port, DstPort: 4000, Packets: 1, Bytes: 100}
	if a.Is6() {
		r.Marks = traffic.MarkIPv6
	}
	return r
}

func TestJudge(t *testing.T) {
	records := []traffic.Record{record("198.51.100.1", 17, 53), record("198.51.101.1", 17, 53), record("2001:db8::1", 17, 53), record("198.51.100.1", 6, 53)}
	const expression = "expression = \"udp and src port 53 and src net (198.51.100.0/24 or 2001:db8::/32)\"\n"
	want := []bool{true, false, true, false}
	for _, then := range []string{verdict.Keep, verdict.Drop, verdict.Mark} {
		config := expression
		if then != verdict.Keep {
			config += "then = \"" + then + "\"\n"
		}
		if then == verdict.Mark {
			config += "class = 5\n"
		}
		judged, err := sdktest.New(t, plugin(), config).Judge(records)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range judged {
			dropped, marked := want[i] && then == verdict.Drop || !want[i] && then == verdict.Keep, want[i] && then == verdict.Mark
			if (r.Verdict == traffic.VerdictDrop) != dropped || (r.Class == 1<<5) != marked || r.Class&^(1<<5) != 0 {
				t.Errorf("%s: record %d has verdict %d and class %x", then, i, r.Verdict, r.Class)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		config, path string
		say          []string
	}{
		{`expression = "udp and scr port 53"`, "expression", []string{"Column 9: \"scr\" cannot stand here: Did you mean \"src\"?", "\n  udp and scr port 53\n          ^^^"}},
		{`expression = "ether host 00:11:22:33:44:55"`, "expression", []string{"link-layer", "\n  ^^^^^"}},
		{`expression = " "`, "expression", []string{"Empty expression"}},
		{"expression = \"udp\"\nthen = \"pass\"", "then", []string{`"drop", "keep" or "mark"`}},
		{"expression = \"udp\"\nthen = \"mark\"", "then", []string{"No class"}},
		{"expression = \"udp\"\nclass = 1", "class", []string{"Class without effect"}},
		{"expression = \"udp\"\nthen = \"mark\"\nclass = 64", "class", []string{"0 to 63"}},
	} {
		ds := sdktest.New(t, plugin(), c.config).Validate()
		if len(ds) != 1 || !ds.HasErrors() || ds[0].Path.String() != c.path {
			t.Errorf("%s\n%v", c.config, ds)
			continue
		}
		for _, want := range c.say {
			if !strings.Contains(ds[0].Error(), want) {
				t.Errorf("%s\n%q lacks %q", c.config, ds[0].Error(), want)
			}
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	c := config{Expression: "not (udp and src port 53 and src net 198.51.100.0/24)", Then: verdict.Keep}
	f, err := newFilter(c, sdk.Env{})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]traffic.Record, 512)
	for i := range batch {
		batch[i] = record([]string{"198.51.100.1", "192.0.2.1"}[i%2], []uint8{6, 17}[i/2%2], uint16(53+i%3))
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(batch) {
		if err := f.Judge(batch); err != nil {
			b.Fatal(err)
		}
	}
}
