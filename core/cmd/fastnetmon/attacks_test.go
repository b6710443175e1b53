package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/schema"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// pastEvents are attacks of two weeks, some with names that nobody should have.
func pastEvents(dir string) (out []sdk.Event) {
	for i, x := range []struct {
		target, label, group string
		after, lasted        time.Duration
		peak                 float64
	}{
		{"203.0.113.7/32", "dns_reflection", "default", 0, time.Hour, 1.5e6},
		{"203.0.113.9/32", "syn_flood", "default", 26 * time.Hour, 2 * time.Minute, 51234},
		{"203.0.113.0/24", "carpet", "=HYPERLINK(\"http://x\")", 8 * 24 * time.Hour, 10 * time.Minute, 400000},
		{"2001:db8::7/128", "", "-2+3\x1b[2J\r\n", 9 * 24 * time.Hour, 90 * time.Second, 9000},
		{"203.0.113.7/32", "ntp_reflection", "default", 10 * 24 * time.Hour, 0, 70000},
	} {
		e := clientEvent(3)
		e.ID = fmt.Sprintf("%d0112233aabbccdd", i)
		e.Started = clientTime.Add(x.after)
		e.Time = e.Started.Add(x.lasted)
		e.At, e.Crossed[0].At = e.Started, e.Started
		e.Target, e.Label, e.HostGroup, e.PeakPPS = netip.MustParsePrefix(x.target), x.label, x.group, x.peak
		if x.lasted > 0 {
			e.Type = sdk.AttackEnded
		}
		if i == 0 {
			e.Confidence = 0.97
			e.Evidence = &sdk.EvidenceReport{
				Samples: 100, Frames: 100, Packets: 100000, Bytes: 1.4e8, Complete: true, First: e.Started, Last: e.Started.Add(time.Second), Basis: "packets",
				Reasons: []string{"97 % of packets are UDP from port 53"}, Spoofed: "unlikely", SourceEntropy: 0.91,
				Tops:     []sdk.Top{{Name: "sources", Distinct: 80, Rows: []sdk.TopRow{{Value: "198.51.100.1", Packets: 2000, Bytes: 3e6, Share: 0.02}}}},
				Timeline: []sdk.TimelinePoint{{Second: 1, PPS: 700000, BPS: 8e9}, {Second: 2, PPS: 1.5e6, BPS: 1.8e10}},
				Findings: []sdk.Finding{{Label: "dns_reflection", Confidence: 0.95, Detail: "DNS in 98 % of packets"}},
				PCAP:     filepath.Join(dir, evidence.Name(&e)+".pcap"),
			}
		}
		out = append(out, e)
	}
	return out
}

// pastDaemon serves a history of pastEvents in dir; state has a copy that can be
// read without a daemon.
func pastDaemon(t *testing.T) (socket, state, dir string) {
	t.Helper()
	dir, state = t.TempDir(), t.TempDir()
	files := filepath.Join(dir, "evidence")
	h := store.OpenHistory(store.HistoryOptions{
		Path: filepath.Join(dir, store.HistoryFile), Retention: func() store.Retention { return store.Retention{} }, Log: hclog.NewNullLogger(),
	})
	t.Cleanup(h.Close)
	events := pastEvents(files)
	for i := range events {
		h.Offer(&events[i])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h.Settle(ctx)
	r, err := h.Reader()
	if err != nil {
		t.Fatal(err, h.Troubles())
	}
	if err := os.MkdirAll(files, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events[0].Evidence.PCAP, []byte("packets"), 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, store.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, store.HistoryFile), content, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &archive{r, config.Evidence{Keep: 30 * 24 * time.Hour, MaxSize: 1 << 30, Directory: files}}
	socket, _ = serveFake(t, &fakeDaemon{Archive: a})
	return socket, state, dir
}

func TestAttacksOfThePast(t *testing.T) {
	socket, state, dir := pastDaemon(t)
	for name, args := range map[string][]string{
		"list": {"attacks", "--until", "2030-01-01"}, "page": {"attacks", "--limit", "2", "--label", "dns_reflection"}, "list.json": {"attacks", "--until", "2030-01-01", "--json"},
		"list.csv": {"attacks", "--until", "2030-01-01", "--format", "csv"}, "target": {"attacks", "--target", "203.0.113.9"},
		"nothing": {"attacks", "--group", "none"}, "show": {"attacks", "show", "00112233"}, "show.json": {"attacks", "show", "00112233", "--json"},
		"show-open": {"attacks", "show", "40112233aabbccdd"}, "export.csv": {"attacks", "export"}, "export.json": {"attacks", "export", "--format", "json", "--state", "ended"},
		"summary": {"attacks", "summary", "--until", "2026-03-18"}, "summary.json": {"attacks", "summary", "--since", "2026-03-11", "--until", "2026-03-18", "--json"},
	} {
		t.Run(name, func(t *testing.T) {
			var out sdktest.Output
			notes, code, err := ask(t.Context(), &out, append(slices.Clone(args), "--socket", socket)...)
			if err != nil || code != 0 {
				t.Fatalf("%v: exit %d, %v\n%s", args, code, err, notes)
			}
			if !strings.Contains(name, "json") && strings.ContainsAny(out.String(), "\x1b\r") {
				t.Errorf("it can steer a terminal: %q", out.String())
			}
			sdktest.Golden(t, filepath.Join("testdata", "client", "attacks-"+strings.ReplaceAll(name, ".", "-")+".txt"), strings.ReplaceAll(out.String(), dir, "DIR"), *update)
			var offline sdktest.Output
			if _, code, err := ask(t.Context(), &offline, append(slices.Clone(args), "--state-dir", state)...); err != nil || code != 0 {
				t.Fatalf("without a daemon: exit %d, %v", code, err)
			}
			if name == "export.json" && offline.String() != out.String() {
				t.Errorf("without a daemon it is\n%s", offline.String())
			}
		})
	}
}

func TestAttacksPCAP(t *testing.T) {
	socket, state, _ := pastDaemon(t)
	path := filepath.Join(t.TempDir(), "x.pcap")
	var out sdktest.Output
	if _, code, err := ask(t.Context(), &out, "attacks", "pcap", "0011", "--out", path, "--socket", socket); code != 0 {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "packets" {
		t.Errorf("%q %v", got, err)
	}
	if _, code, err := ask(t.Context(), &out, "attacks", "pcap", "0011", "--socket", socket); code != 0 || out.String() != "packets" {
		t.Errorf("%q %v", out.String(), err)
	}
	if _, code, err := ask(t.Context(), &out, "attacks", "pcap", "0011", "--out", path, "--socket", socket); code != exitFailure || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a file that is there: %v", err)
	}
	if _, code, err := ask(t.Context(), &out, "attacks", "pcap", "10112233aabbccdd", "--socket", socket); code != exitFailure || !strings.Contains(err.Error(), "no packets of it were sampled") {
		t.Errorf("without samples: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".fastnetmon*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %q %v", files, err)
	}
	// Evidence and history have ends of their own.
	a, err := store.OpenReader(filepath.Join(state, store.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	gone := &archive{a, config.Evidence{Keep: 30 * 24 * time.Hour, MaxSize: 1 << 30, Directory: state}}
	attack, err := a.Get("0011")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(attack.Event.Evidence.PCAP); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.AttackFile(t.Context(), "0011", "packets"); err == nil || !strings.Contains(err.Error(), "it was removed; files of evidence are kept for 30d, and up to 1GiB") {
		t.Errorf("removed: %v", err)
	}
}

func TestAttacksRefuses(t *testing.T) {
	socket, state, _ := pastDaemon(t)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"attacks", "--since", "yesterday"}, exitConfig, "write an age"},
		{[]string{"attacks", "--target", "203.0.113.0/33"}, exitConfig, "no prefix"},
		{[]string{"attacks", "--state", "over"}, exitConfig, "use one of open, ended, interrupted"},
		{[]string{"attacks", "--min-peak", "many"}, exitConfig, "a rate is a number"},
		{[]string{"attacks", "--limit", "501"}, exitConfig, "ask for 1 to 500"},
		{[]string{"attacks", "--format", "xml"}, exitConfig, "use one of table, json, csv"},
		{[]string{"attacks", "--after", "x"}, exitConfig, "no cursor"},
		{[]string{"attacks", "show", "ffff"}, exitFailure, "no attack with that id"},
		{[]string{"attacks", "summary", "--since", "2026-03-02", "--until", "2026-03-01"}, exitConfig, "ends before it begins"},
		{[]string{"attacks", "summary", "--since", "2020-01-01", "--until", "2026-03-01"}, exitConfig, "longer than 366 days"},
	} {
		for _, where := range [][]string{{"--socket", socket}, {"--state-dir", state}} {
			var out sdktest.Output
			if _, code, err := ask(t.Context(), &out, append(slices.Clone(test.args), where...)...); code != test.code || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v %v: exit %d, %v", test.args, where, code, err)
			}
		}
	}
	if _, code, err := ask(t.Context(), &sdktest.Output{}, "attacks", "--state", "open", "--state-dir", t.TempDir()); code != exitFailure || err == nil {
		t.Errorf("no history: exit %d, %v", code, err)
	}
}

// checkExports holds what "attacks export" writes against the schema, and CSV
// against what a spreadsheet would do with it.
func checkExports(t *testing.T, asJSON, asCSV string) (states []string) {
	t.Helper()
	root, err := schema.Load(schema.Attack)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(asJSON) {
		if _, err := root.Check("", []byte(line), "attack"); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
		var a struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Error(err)
		}
		states = append(states, a.State)
	}
	rows, err := csv.NewReader(strings.NewReader(asCSV)).ReadAll()
	if err != nil || len(rows) != len(states)+1 || len(rows[0]) != len(csvColumns) {
		t.Fatalf("%d rows of CSV, %d lines of JSON: %v", len(rows), len(states), err)
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%s is a formula: %q", rows[0][i], cell)
			}
		}
	}
	return states
}

func TestExports(t *testing.T) {
	socket, _, _ := pastDaemon(t)
	var asJSON, asCSV sdktest.Output
	for format, out := range map[string]*sdktest.Output{"json": &asJSON, "csv": &asCSV} {
		if _, code, err := ask(t.Context(), out, "attacks", "export", "--format", format, "--socket", socket); code != 0 {
			t.Fatal(err)
		}
	}
	if got := checkExports(t, asJSON.String(), asCSV.String()); !slices.Equal(got, []string{"open", "ended", "ended", "ended", "ended"}) {
		t.Errorf("states %q", got)
	}
}
