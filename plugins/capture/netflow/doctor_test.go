package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// loggedRig is a rig of exporters in blocks, that logs.
func loggedRig(t *testing.T, st *store, blocks ...exporter.Block) (*rig, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	r := newRig(t, 3, st)
	x, err := exporter.NewSet(exporter.Options{Blocks: blocks, Logger: hclog.New(&hclog.LoggerOptions{Output: log}), Now: func() int64 { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	r.set, r.view = x, x.View()
	return r, log
}

// cell is a value of the only exporter's row.
func (r *rig) cell(t *testing.T, column string) string {
	t.Helper()
	rows := r.set.Rows()
	if len(rows.Rows) != 1 {
		t.Fatalf("%d rows", len(rows.Rows))
	}
	for i, name := range rows.Columns {
		if name == column {
			return rows.Rows[0][i]
		}
	}
	t.Fatalf("no column %q", column)
	return ""
}

// rateOption is an options template and a rate, for one interface if that is
// not 0.
func rateOption(ipfix bool, iface, rate uint32) [][]byte {
	fields, values := ids(144, 4, 34, 4), []any{uint32(0), rate}
	if iface != 0 {
		fields, values = ids(144, 4, 10, 4, 34, 4), []any{uint32(0), iface, rate}
	}
	return [][]byte{optionsSet(ipfix, 300, 1, fields), set(300, (&builder{}).put(values...).b)}
}

// A rate is unknown only if a record that needs it came without one: not while
// options are on their way, not where a template is missing, and not where
// records tell their own or that of their interface.
func TestSamplingIsAskedForByRecords(t *testing.T) {
	layout := append(basic[:5:5], ids(10, 4)...)
	data := func(iface uint32) []byte { return append(basicRecord(17), (&builder{}).put(iface).b...) }
	for _, ipfix := range []bool{false, true} {
		announce := templateSet(ipfix, 256, layout)
		m := func(sets ...[]byte) []byte { return message(ipfix, 0, 1, sets...) }
		inRecord := append(basic[:5:5], ids(34, 4)...)
		for name, c := range map[string]struct {
			datagrams [][]byte
			rates     []uint32
			from      string
		}{
			"all in one":      {[][]byte{m(append(append([][]byte{announce}, rateOption(ipfix, 0, 100)...), set(256, data(5)))...)}, []uint32{100}, "options"},
			"no template":     {[][]byte{m(set(256, data(5))), m(set(256, data(5)))}, nil, ""},
			"templates only":  {[][]byte{m(announce)}, nil, ""},
			"options in time": {[][]byte{m(set(256, data(5))), m(rateOption(ipfix, 0, 100)...), m(announce)}, []uint32{100}, "options"},
			"per interface":   {[][]byte{m(append([][]byte{announce}, rateOption(ipfix, 5, 50)...)...), m(set(256, data(5), data(5))), m(set(256, data(5)))}, []uint32{50, 50, 50}, "options"},
			"in the record":   {[][]byte{m(templateSet(ipfix, 257, inRecord), set(257, append(basicRecord(17), 0, 0, 0, 20)))}, []uint32{20}, "record"},
			"none":            {[][]byte{m(announce, set(256, data(5), data(6)))}, []uint32{1, 1}, "unknown"},
			"none, then some": {[][]byte{m(announce, set(256, data(5))), m(append(rateOption(ipfix, 0, 100), set(256, data(5)))...)}, []uint32{1, 100}, "options"},
		} {
			r, log := loggedRig(t, nil)
			r.give(device, c.datagrams...)
			wantRates(t, name, r.rates(), c.rates...)
			if got := r.cell(t, "sampling from"); got != c.from {
				t.Errorf("%s: sampling from %q, want %q", name, got, c.from)
			}
			if got, want := strings.Contains(log.String(), "sampling_unknown"), strings.HasPrefix(name, "none"); got != want {
				t.Errorf("%s: logged unknown: %v: %s", name, got, log)
			}
			for _, row := range r.set.Doctor(nil).Rows {
				if row[0] == "sampling" && (row[1] != exporter.StateOK) != (c.from == "unknown") {
					t.Errorf("%s: doctor says %q", name, row)
				}
			}
		}
	}
}

// A rate is asked for once a set at the most, and again in the exporter's next
// window: who had one record of an interface without a rate is not said to
// have no rate for ever.
func TestUnknownSamplingFades(t *testing.T) {
	layout := append(basic[:5:5], ids(10, 4)...)
	data := func(iface uint32) []byte {
		return message(true, 0, 1, set(256, append(basicRecord(17), (&builder{}).put(iface).b...)))
	}
	r, _ := loggedRig(t, nil)
	r.give(device, message(true, 0, 1, append(rateOption(true, 5, 50), templateSet(true, 256, layout))...), data(0), data(5))
	if got := r.cell(t, "sampling from"); got != "options, unknown" {
		t.Errorf("sampling from %q", got)
	}
	for range 3 {
		r.now += 11e9
		r.give(device, data(5))
	}
	if got := r.cell(t, "sampling from"); got != "options" {
		t.Errorf("later: sampling from %q", got)
	}
	wantRates(t, "all", r.rates(), 1, 50, 50, 50, 50)
}

// Nobody samples one packet of more than 2^24, wherever it stands.
func TestImplausibleSampling(t *testing.T) {
	const wrong = 1<<31 | 1000
	layout := append(basic[:5:5], ids(34, 4)...)
	record := append(basicRecord(17), 0x80, 0, 3, 0xe8)
	for _, ipfix := range []bool{false, true} {
		m := func(sets ...[]byte) []byte { return message(ipfix, 0, 1, sets...) }
		for name, c := range map[string]struct {
			datagrams [][]byte
			blocks    []exporter.Block
			rates     []uint32
		}{
			"options":             {[][]byte{m(append(rateOption(ipfix, 0, wrong), templateSet(ipfix, 256, basic), set(256, basicRecord(17)))...)}, nil, []uint32{1}},
			"options after right": {[][]byte{m(rateOption(ipfix, 0, 100)...), m(append(rateOption(ipfix, 0, wrong), templateSet(ipfix, 256, basic), set(256, basicRecord(17)))...)}, nil, []uint32{100}},
			"records":             {[][]byte{m(templateSet(ipfix, 256, layout), set(256, record, record))}, nil, []uint32{1, 1}},
			"records and options": {[][]byte{m(append(rateOption(ipfix, 0, 100), templateSet(ipfix, 256, layout), set(256, record))...)}, nil, []uint32{100}},
			"records and block":   {[][]byte{m(templateSet(ipfix, 256, layout), set(256, record))}, []exporter.Block{{Name: "a", Sampling: 70}}, []uint32{70}},
		} {
			st := newStore()
			r, log := loggedRig(t, st, c.blocks...)
			r.give(device, c.datagrams...)
			wantRates(t, name, r.rates(), c.rates...)
			if !strings.Contains(log.String(), "exporter_sampling_implausible") {
				t.Errorf("%s: it is not reported: %s", name, log)
			}
			for _, d := range st.domains {
				for k, rate := range d.rates {
					if rate > exporter.MaxRate {
						t.Errorf("%s: %d is kept for %v", name, rate, k)
					}
				}
			}
		}
	}
	r := newRig(t, 3, nil) // a v5 header has 14 bits for it
	r.give(device, v5Message(1, 0, 0xffff, flow4.v5()))
	wantRates(t, "v5", r.rates(), 1<<14-1)
}

// Doctor minds what is lost, not what nobody wants to count.
func TestDoctorDecoded(t *testing.T) {
	for name, c := range map[string]struct {
		datagrams, records uint64
		lost               map[cause]uint64
		state, part        string
	}{
		"well":            {10, 1000, nil, "", ""},
		"ingress only":    {10, 1000, map[cause]uint64{lostDirection: 1000}, "", ""},
		"interfaces":      {10, 1000, map[cause]uint64{lostInterface: 5000}, "", ""},
		"two routers":     {10, 1000, map[cause]uint64{lostDuplicate: 1000}, "", ""},
		"events":          {10, 1000, map[cause]uint64{lostNAT: 1000, lostFirewall: 1000}, "", ""},
		"wanted and lost": {10, 1000, map[cause]uint64{lostDirection: 1000, lostNoCounters: 20}, exporter.StateWarn, "1000 records count, 20 do not, most often for the cause no_counters (20)"},
		"all left out":    {10, 0, map[cause]uint64{lostDirection: 7}, exporter.StateFault, "not_metered_direction (7)"},
		"nothing":         {10, 0, map[cause]uint64{lostDirection: 7, lostRecord: 1}, exporter.StateFault, "cut_record (1)"},
		"sFlow":           {10, 0, map[cause]uint64{lostVersion: 10}, exporter.StateFault, "none of 10 datagrams is NetFlow v5, v9 or IPFIX: see what the devices send to this port; sFlow belongs to the capture sflow"},
		"sFlow too":       {100, 1000, map[cause]uint64{lostVersion: 50}, exporter.StateWarn, "sFlow belongs to the capture sflow"},
	} {
		x, err := newCapture(defaults(), sdk.Env{Logger: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		x.stats = make([]stats, 1)
		x.stats[0].datagrams.Store(c.datagrams)
		x.stats[0].records.Store(c.records)
		for cause, n := range c.lost {
			x.stats[0].lost[cause].Store(n)
		}
		rows := x.doctor()
		if got := fmt.Sprint(rows); len(rows) != min(len(c.state), 1) || len(rows) > 0 && (rows[0][1] != c.state || !strings.Contains(got, c.part)) {
			t.Errorf("%s: %q", name, rows)
		}
	}
}

// What the fixture's options tell is what stands in the list of fixtures.
func TestFixtureTellsRateOne(t *testing.T) {
	const name = "netflow9_test_juniper_srx_tplopt"
	data := fixtures(t)[name]
	r := newRig(t, 3, nil)
	r.give(device, data)
	if e := r.src.e; e.Rate(0, 0, 0) != 1 || r.cell(t, "sampling from") != "options" || !strings.Contains(goldens[name].why, "sampling rate of 1") {
		t.Errorf("%s: the rate is %d from %q; the list says %q", name, e.Rate(0, 0, 0), r.cell(t, "sampling from"), goldens[name].why)
	}
}
