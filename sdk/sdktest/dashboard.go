package sdktest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Panel is one query of a dashboard.
type Panel struct{ Title, Query string }

// Dashboard reads the queries of a Grafana dashboard, in its order. macros are
// what Grafana puts in place of its variables, each followed by that.
func Dashboard(t testing.TB, path string, macros ...string) (out []Panel) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []map[string]any
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	replace := strings.NewReplacer(macros...)
	for _, p := range d.Panels {
		n := len(out)
		for _, target := range p.Targets {
			for _, key := range []string{"expr", "query", "rawSql", "target"} {
				if q, ok := target[key].(string); ok {
					out = append(out, Panel{p.Title, replace.Replace(q)})
				}
			}
		}
		if len(out) == n {
			t.Errorf("%s: the panel %q has no query", path, p.Title)
		}
	}
	if len(out) < 8 {
		t.Fatalf("%s: %d queries: the search is broken", path, len(out))
	}
	for _, p := range out {
		if strings.Contains(p.Query, "$") {
			t.Errorf("%s: %s: a variable is left in %s", path, p.Title, p.Query)
		}
	}
	return out
}
