package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// fixtures returns the vendors' datagrams by file name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sdktest.Fixtures(t, "vendor-flows"), "*.dat"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no datagrams among the fixtures: %v", err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[strings.TrimSuffix(filepath.Base(f), ".dat")], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// families groups the files by the device they came from, templates first.
func families(files map[string][]byte) map[string][]string {
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		device := name
		for _, part := range []string{"_tpl", "_opttpl", "_data"} {
			if i := strings.Index(device, part); i > 0 {
				device = device[:i]
			}
		}
		out[device] = append(out[device], name)
	}
	for _, names := range out {
		slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	}
	return out
}

func rank(name string) int {
	if strings.Contains(name, "tpl") && !strings.Contains(name, "data") {
		return 0
	}
	return 1
}

// golden is what a fixture yields once its device's templates are known.
type golden struct {
	records int
	lost    string // cause and number
	held    int    // sets that wait for templates
	why     string // of all that is not a record
}

// Every fixture decodes, and whatever in it is not a record has its cause.
func TestFixtures(t *testing.T) {
	files := fixtures(t)
	seen := map[string]bool{}
	for device, names := range families(files) {
		r := newRig(t, 7, nil)
		for _, name := range names {
			seen[name] = true
			before := heldSets(r.hold)
			r.give(device4(device), files[name])
			lost := r.losses()
			got := golden{records: len(r.take()), held: heldSets(r.hold) - before}
			for _, cause := range slices.Sorted(maps.Keys(lost)) {
				got.lost += fmt.Sprintf("%s %d ", cause, lost[cause])
			}
			got.lost = strings.TrimSpace(got.lost)
			want, known := goldens[name]
			why := want.why
			if want.why = ""; !known || got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
			if (got.records == 0 || got.lost != "" || got.held > 0) && why == "" {
				t.Errorf("%s: %+v without a reason", name, got)
			}
		}
	}
	for name := range goldens {
		if !seen[name] {
			t.Errorf("%s: there is no such fixture", name)
		}
	}
}

func heldSets(h *hold) (n int) {
	for x := h.oldest; x != nil; x = x.newer {
		n++
	}
	return n
}
