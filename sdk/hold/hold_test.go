package hold

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func watch(t *testing.T, b *Board) (<-chan sdk.MitigationStatus, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan sdk.MitigationStatus), make(chan error, 1)
	go func() {
		ended <- b.Watch(ctx, func(s sdk.MitigationStatus) {
			select {
			case out <- s:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return out, cancel
}

func TestBoard(t *testing.T) {
	var b Board
	set := func(id string, state sdk.MitigationState, cause string) {
		b.Set(sdk.MitigationStatus{ID: id, State: state, Cause: cause})
	}
	set("b", sdk.MitigationPending, "nobody reads")
	set("a", sdk.MitigationSent, "")
	out, _ := watch(t, &b)
	for _, want := range []string{"a sent ", "b pending nobody reads"} {
		s := <-out
		if got := fmt.Sprintf("%s %s %s", s.ID, s.State, s.Cause); got != want || s.Time.IsZero() {
			t.Errorf("reported %q at %v, want %q", got, s.Time, want)
		}
	}
	set("b", sdk.MitigationPending, "nobody reads") // nothing new
	set("b", sdk.MitigationSent, "")
	if s := <-out; s.ID != "b" || s.State != sdk.MitigationSent {
		t.Errorf("reported %+v", s)
	}
	if s, ok := b.Get("b"); !ok || s.State != sdk.MitigationSent {
		t.Errorf("b is %+v, %t", s, ok)
	}
}

// A watcher that does not listen costs no memory: it gets the newest.
func TestSlowWatcher(t *testing.T) {
	var b Board
	out, _ := watch(t, &b)
	b.Set(sdk.MitigationStatus{ID: "first", State: sdk.MitigationSent})
	for i := range 10000 {
		b.Set(sdk.MitigationStatus{ID: "x", State: sdk.MitigationPending, Cause: fmt.Sprint(i)})
	}
	b.Set(sdk.MitigationStatus{ID: "last", State: sdk.MitigationSent})
	n := 0
	for s := range out {
		if n++; s.ID == "last" {
			break
		}
	}
	if n > 4 {
		t.Errorf("%d reports, want each mitigation's newest", n)
	}
}

// What was released long ago is not told to those who come later.
func TestForget(t *testing.T) {
	var b Board
	old := time.Now().Add(-time.Hour)
	b.Set(sdk.MitigationStatus{ID: "old", State: sdk.MitigationReleased, Time: old})
	b.Set(sdk.MitigationStatus{ID: "new", State: sdk.MitigationSent})
	if _, ok := b.Get("old"); ok {
		t.Error("a mitigation that was released an hour ago is still known")
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	f := NewFile(dir, "held.json")
	var got map[string]int
	if err := f.Load(&got); err != nil || got != nil {
		t.Fatalf("without a file: %v, %v", got, err)
	}
	for i := range 3 {
		if err := f.Save(map[string]int{"a": i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Load(&got); err != nil || got["a"] != 2 {
		t.Errorf("read back %v, %v", got, err)
	}
	path := filepath.Join(dir, "held.json")
	if err := os.WriteFile(path, []byte(`{"a":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Load(&got); err == nil || !strings.Contains(err.Error(), "held.json.damaged") {
		t.Errorf("a damaged file: %v", err)
	}
	if err := f.Load(&got); err != nil {
		t.Errorf("it was not moved aside: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

// Without a directory nothing is kept, and nothing fails.
func TestNoFile(t *testing.T) {
	f := NewFile("", "held.json")
	var got map[string]int
	if err := f.Save(map[string]int{"a": 1}); err != nil {
		t.Error(err)
	}
	if err := f.Load(&got); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSaveFails(t *testing.T) {
	f := NewFile(filepath.Join(t.TempDir(), "none"), "held.json")
	if err := f.Save(1); err == nil {
		t.Error("a file in a directory that is not there was saved")
	}
}
