package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// One flipped bit in a sample's rate does not make it a flood: the rate is as
// good as not told, and the next sample's counts again.
func TestImplausibleRate(t *testing.T) {
	f := someFrames(1, false)[0]
	for name, c := range map[string]struct {
		block []exporter.Block
		want  string
		from  string
	}{
		"nothing else": {nil, "[1000 1 1000 16777216]", "record, unknown"},
		"block":        {[]exporter.Block{{Name: "r", Sampling: 20}}, "[1000 20 1000 16777216]", "record, block"},
	} {
		cfg := defaults()
		cfg.Exporters = c.block
		b := newBench(t, cfg)
		for i, rate := range []uint32{1000, 1000 | 1<<31, 1000, exporter.MaxRate} {
			s := flowSample{sequence: uint32(i), index: 1, rate: rate, records: [][]byte{header(1, 64, f)}}
			b.give(wrap(s.compact()))
		}
		var got []uint64
		for _, r := range b.out.records {
			got = append(got, r.Packets)
		}
		if fmt.Sprint(got) != c.want || b.cell(t, "sampling from") != c.from || !strings.Contains(b.cell(t, "notes"), "exporter_sampling_implausible") {
			t.Errorf("%s: %v from %q, notes %q", name, got, b.cell(t, "sampling from"), b.cell(t, "notes"))
		}
	}
}

// What an exporter block leaves out is no loss that doctor minds.
func TestDoctorLeavesOutWhatIsNotWanted(t *testing.T) {
	cfg := defaults()
	cfg.Exporters = []exporter.Block{{Name: "r", Interfaces: []string{"1"}}}
	b := newBench(t, cfg)
	f := someFrames(1, false)[0]
	s := func(in uint32) []byte {
		return flowSample{sequence: in, index: 9, rate: 10, in: in, records: [][]byte{header(1, 64, f)}}.compact()
	}
	b.give(wrap(s(1), s(2), s(3), s(4)))
	if n := len(b.out.records); n != 1 || b.out.lost[causeInterface] != 3 {
		t.Fatalf("%d records, lost %v", n, losses(&b.out.lost))
	}
	rows, err := b.Table(t.Context(), exporter.TableDoctor)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows.Rows {
		if (r[0] == "samples" || r[0] == "decoded") && r[1] != exporter.StateOK {
			t.Errorf("%q", r)
		}
	}
}
