package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin, fmt.Sprintf("file = %q", filepath.Join(t.TempDir(), "out.json")))
}

// Each call appends lines of JSON.
func TestLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	h := sdktest.New(t, plugin, fmt.Sprintf("file = %q", file))
	snapshot := sdk.Snapshot{Time: time.Unix(1_700_000_000, 0), Totals: []sdk.TotalRate{{Direction: "incoming", Family: 4}}}
	if err := h.Export(snapshot); err != nil {
		t.Fatal(err)
	}
	if err := h.Events([]sdk.Event{{Type: sdk.AttackStarted, ID: "a"}, {Type: sdk.AttackEnded, ID: "a"}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, want := range []string{"totals", `"attack.started"`, `"attack.ended"`} {
		if i >= len(lines) || !json.Valid([]byte(lines[i])) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d of %q lacks %s", i, lines, want)
		}
	}
}

// A file that cannot be opened stops the plugin's start, not its check.
func TestCannotOpen(t *testing.T) {
	h := sdktest.New(t, plugin, fmt.Sprintf("file = %q", t.TempDir()))
	if ds := h.Validate(); ds.HasErrors() {
		t.Errorf("%v", ds)
	}
}
