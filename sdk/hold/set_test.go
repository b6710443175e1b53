package hold

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// path is a route with its attributes.
type path struct{ key, attributes string }

func (p path) Key() string { return p.key }

func TestSet(t *testing.T) {
	s := NewSet[string, path]()
	if s.Synced || len(s.Known()) > 0 {
		t.Fatalf("%+v", s)
	}
	s.Releasing = map[string][]string{"before": {"a"}, "again": {"b"}}
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// The ID is whose it is, the profile the keys of what it comes to.
	ask := func(id, keys string, age time.Duration) sdk.Mitigation {
		return sdk.Mitigation{ID: id, Profile: keys, Requested: born.Add(-age)}
	}
	plan := func(m sdk.Mitigation) *Held[path] {
		h := &Held[path]{Mitigation: m}
		for _, k := range m.Profile {
			h.Routes = append(h.Routes, path{string(k), "of " + m.ID})
		}
		return h
	}
	check := func(routes []path, releasing ...string) {
		t.Helper()
		if got := s.Routes(); !slices.Equal(got, routes) {
			t.Errorf("routes %v, want %v", got, routes)
		}
		if got := slices.Sorted(maps.Keys(s.Releasing)); !slices.Equal(got, releasing) {
			t.Errorf("releasing %v, want %v", got, releasing)
		}
	}

	s.Sync([]sdk.Mitigation{ask("again", "b", 1), ask("old", "xy", 2), ask("none", "", 3)}, plan)
	check([]path{{"x", "of old"}, {"y", "of old"}, {"b", "of again"}}, "before")
	want := map[string][]string{"before": {"a"}, "again": {"b"}, "old": {"x", "y"}}
	if got := s.Known(); !s.Synced || !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("known %v, want %v", got, want)
	}
	// Of one route the oldest's attributes, then the next one's.
	s.Sync([]sdk.Mitigation{ask("again", "bx", 1), ask("old", "xy", 2)}, plan)
	check([]path{{"x", "of old"}, {"y", "of old"}, {"b", "of again"}}, "before", "none")
	s.Sync([]sdk.Mitigation{ask("again", "bx", 1)}, plan)
	check([]path{{"b", "of again"}, {"x", "of again"}}, "before", "none", "old")
	if got := s.Releasing["old"]; !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("releasing %v", got)
	}
	s.Sync([]sdk.Mitigation{ask("old", "y", 2)}, plan)
	check([]path{{"y", "of old"}}, "again", "before", "none")
}
