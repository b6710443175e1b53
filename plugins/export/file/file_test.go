package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("path = %q", filepath.Join(t.TempDir(), "out.jsonl")))
}

func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`path = ""`: "path",
		"path = \"x\"\nsnapshots = false\nevents = false": "events",
		"path = \"x\"\nmax_size = \"1k\"":                 "max_size",
		"path = \"x\"\nmax_age = \"1ms\"":                 "max_age",
		"path = \"x\"\nkeep = -1":                         "keep",
		"path = \"x\"\nlayout = \"old\"":                  "layout",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
}

func open(t *testing.T, c config) *lines {
	t.Helper()
	l := &lines{cfg: c}
	if err := l.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func read(t *testing.T, path string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Fatalf("%s ends in the middle of a line", path)
	}
	return bytes.Split(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
}

// What is read back is what was handed over.
func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	h := sdktest.New(t, plugin(), fmt.Sprintf("path = %q", path))
	s := sdktest.Snapshot(time.Unix(1700000000, 0).UTC(), 20)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	sdktest.Until(t, "the snapshot is there", func() error { _, err := os.ReadFile(path); return err })
	attack := append(sdktest.Attack(s.Time, 3), sdktest.Mitigated(s.Time, 3)...)
	if err := h.Events(attack); err != nil {
		t.Fatal(err)
	}
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if len(got) != 7 {
		t.Fatalf("%d lines", len(got))
	}
	for _, line := range got {
		var kind struct{ Event string }
		if err := json.Unmarshal(line, &kind); err != nil {
			t.Fatal(err)
		}
		if kind.Event != "snapshot" {
			want, _ := json.Marshal(attack[0])
			if !bytes.Equal(line, want) {
				t.Errorf("%s\nwant\n%s", line, want)
			}
			attack = attack[1:]
			continue
		}
		var back struct {
			Hosts       []sdk.HostRate
			Mitigations []any
			Networks    []sdk.ScopeRate
			Totals      []sdk.TotalRate
			Ledger      []sdk.LedgerRow
			System      []sdk.Metric
		}
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if len(back.Mitigations) != 1 {
			t.Errorf("mitigations: %v", back.Mitigations)
		}
		text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
		for _, pair := range [][2]any{{back.Hosts, s.Hosts}, {back.Networks, s.Networks}, {back.Totals, s.Totals}, {back.Ledger, s.Ledger}, {back.System, s.System}} {
			if d := cmp.Diff(text(pair[0]), text(pair[1])); d != "" {
				t.Error(d)
			}
		}
	}
}

// Half a line is cut off; events that are there already are not written again.
func TestAgain(t *testing.T) {
	c := defaults()
	c.Path = filepath.Join(t.TempDir(), "out.jsonl")
	l := open(t, c)
	events := sdktest.Attack(time.Unix(1700000000, 0), 1)
	if err := l.Events(t.Context(), delivery.Batch{Events: events[:2]}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.Path, l.size-5); err != nil { // killed in the second line
		t.Fatal(err)
	}
	l = open(t, c)
	for range 2 {
		if err := l.Events(t.Context(), delivery.Batch{Events: events, Again: true}); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, c.Path)
	if len(got) != 3 {
		t.Fatalf("%d lines", len(got))
	}
	for i, line := range got {
		if want, _ := json.Marshal(events[i]); !bytes.Equal(line, want) {
			t.Errorf("%s", line)
		}
	}
}

// Files are put aside by size and age, the oldest go, and what somebody else
// has put aside is let go.
func TestRotation(t *testing.T) {
	c := defaults()
	dir := t.TempDir()
	c.Path, c.MaxSize, c.Keep = filepath.Join(dir, "out.jsonl"), 64<<10, 3
	l := open(t, c)
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 10)
	for range 40 {
		if err := l.Snapshot(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
	}
	aside, _ := filepath.Glob(c.Path + ".*")
	if len(aside) != 3 {
		t.Errorf("%d files aside", len(aside))
	}
	for _, name := range append(aside, c.Path) {
		if info, err := os.Stat(name); err != nil || info.Size() > 64<<10 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		read(t, name)
	}
	if err := os.Rename(c.Path, c.Path+".mine"); err != nil {
		t.Fatal(err)
	}
	if err := l.Snapshot(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.Path); len(got) != 1 {
		t.Errorf("%d lines in the new file", len(got))
	}
	l.cfg.MaxAge, l.since = time.Minute, time.Now().Add(-time.Hour)
	if err := l.Snapshot(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.Path); len(got) != 1 {
		t.Errorf("%d lines after the file became old", len(got))
	}
	if _, err := os.Stat(c.Path + ".mine"); err != nil {
		t.Error("a file that is not ours was removed")
	}
}

func TestCommunityDocuments(t *testing.T) {
	c := defaults()
	c.Path, c.Layout = filepath.Join(t.TempDir(), "out.jsonl"), delivery.LayoutFastNetMon
	l := open(t, c)
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 1)
	if err := l.Snapshot(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if err := l.Events(t.Context(), delivery.Batch{Events: sdktest.Attack(s.Time, 1)}); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, line := range read(t, c.Path) {
		var d struct{ Action, IP string }
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, d.IP+" "+d.Action)
	}
	if d := cmp.Diff(actions, []string{"10.1.0.1 ban", "10.1.0.1 unban"}); d != "" {
		t.Error(d)
	}
}

// While the directory is missing events wait.
func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "out.jsonl")
	h := sdktest.New(t, plugin(), fmt.Sprintf("path = %q\ndelivery {\n  backoff = \"20ms\"\n  max_backoff = \"50ms\"\n}", path))
	h.StateDir = t.TempDir()
	for n := range 5 {
		if err := h.Events(append(sdktest.Attack(time.Unix(1700000000, 0), n), sdktest.Mitigated(time.Unix(1700000000, 0), n)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sdktest.Until(t, "all events are there", func() error {
		b, err := os.ReadFile(path)
		if n := bytes.Count(b, []byte{'\n'}); err == nil && n != 30 {
			err = fmt.Errorf("%d lines", n)
		}
		return err
	})
}
