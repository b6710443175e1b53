package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A server that is away for ten minutes gets every event once, and those of an
// attack in order; what waits for it takes disk, not memory. In the middle of it
// the plugin is restarted.
func TestOutage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &store{back: time.Now().Add(10 * time.Minute), lossy: 10, seen: map[string]int{}}
		c := defaults("http://store.example/")
		c.Body = `{"padding": "` + strings.Repeat("x", 20000) + `"}`
		c.Spool = 1 << 30
		begin := func() *webhook {
			w := build(t, c, dir)
			w.client.Transport = s
			if err := w.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return w
		}
		w := begin()
		before := heap()
		const attacks = 400
		for seq := uint32(1); seq <= 3; seq++ {
			for i := range attacks {
				e := event(i, seq)
				if err := w.Notify(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if i%10 == 0 { // the core tells an event again when it did not hear
					if err := w.Notify(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(400 * time.Millisecond)
			}
			if seq == 2 {
				if err := w.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				w = begin()
			}
		}
		if err := w.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "1200 events wait") || !strings.Contains(err.Error(), "503 Service Unavailable") {
			t.Errorf("health in the outage: %v", err)
		}
		if grown := heap() - before; grown > 5<<20 {
			t.Errorf("the heap has grown by %d octets, for %d of events", grown, 1200*len(c.Body))
		}
		time.Sleep(5 * time.Minute) // and then it is all over
		if err := w.Health(t.Context()); err != nil {
			t.Errorf("health after it: %v", err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantAll(t, s, attacks)
		if s.requests > 3*attacks*3 {
			t.Errorf("%d requests for %d events", s.requests, 3*attacks)
		}
		if files, _ := filepath.Glob(dir + "/spool/*"); len(files) > 0 {
			t.Errorf("left in the spool: %v", files)
		}
	})
}

// wantAll wants each event once, in the order of its attack.
func wantAll(t *testing.T, s *store, attacks int) {
	t.Helper()
	told := s.told()
	if len(told) != 3*attacks {
		t.Errorf("%d events arrived, want %d", len(told), 3*attacks)
	}
	last := map[string]string{}
	for _, key := range told {
		id, seq, _ := strings.Cut(key, "-")
		if want := map[string]string{"": "1", "1": "2", "2": "3"}[last[id]]; seq != want {
			t.Fatalf("%s came after event %s of its attack", key, last[id])
		}
		last[id] = seq
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A full spool lets the oldest events go, counts them and keeps them aside.
func TestSpoolFull(t *testing.T) {
	for _, dir := range []string{t.TempDir(), ""} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{back: time.Now().Add(time.Hour), seen: map[string]int{}}
			c := defaults("http://store.example/")
			c.Spool, c.Body, c.Concurrency = 1<<20, `{"padding": "`+strings.Repeat("x", 20000)+`"}`, 1
			w := build(t, c, dir)
			w.client.Transport = s
			if err := w.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				if err := w.Notify(t.Context(), event(i, 1)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			waiting, _, dropped, _ := w.spool.state()
			if waiting+int(dropped) != 100 || dropped < 50 || waiting < 30 {
				t.Errorf("%d wait, %d were dropped", waiting, dropped)
			}
			if err := w.Health(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d found no room", dropped)) {
				t.Errorf("health: %v", err)
			}
			if dir != "" {
				wantDead(t, dir, int(dropped), "attack000001-1") // the first was under way
			}
			s.comesBack()
			time.Sleep(2 * time.Minute)
			if told := s.told(); len(told) != waiting || told[len(told)-1] != "attack000099-1" {
				t.Errorf("arrived: %v", told)
			}
			_ = w.Close(t.Context()) // it has no error
		})
	}
}

func wantDead(t *testing.T, dir string, n int, first string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "dead.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var d deadLetter
	if err := json.Unmarshal([]byte(lines[0]), &d); err != nil || len(lines) != n || d.Key != first || d.Why == "" || d.Body == "" {
		t.Errorf("%d dead letters, want %d; the first is %+v, %v", len(lines), n, d, err)
	}
}

// An event that grows too old is given up, and those behind it are told.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{back: time.Now().Add(time.Hour), seen: map[string]int{}}
		c := defaults("http://store.example/")
		c.MaxAge, c.Concurrency = 10*time.Minute, 1
		w := build(t, c, "")
		w.client.Transport = s
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = w.Notify(t.Context(), event(1, 1)) // it has no error
		time.Sleep(9 * time.Minute)
		_ = w.Notify(t.Context(), event(1, 2)) // likewise
		time.Sleep(4 * time.Minute)
		s.comesBack()
		time.Sleep(2 * time.Minute)
		if told := s.told(); len(told) != 1 || told[0] != "attack000001-2" {
			t.Errorf("arrived: %v", told)
		}
		if err := w.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "1 too old") {
			t.Errorf("health: %v", err)
		}
		_ = w.Close(t.Context()) // it has no error
	})
}

// What cannot be understood in the spool is put aside, half a file removed.
func TestDamagedSpool(t *testing.T) {
	url, got := server(t, nil)
	dir := t.TempDir()
	w := build(t, defaults(url), dir)
	if err := w.spool.open(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Notify(t.Context(), event(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	spool := filepath.Join(dir, "spool")
	for name, text := range map[string]string{fmt.Sprintf("%020d.json", 2): "{", fmt.Sprintf("%020d.json.new", 9): "x", "other": "x"} {
		if err := os.WriteFile(filepath.Join(spool, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, defaults(url), dir)
	keys := map[string]bool{}
	for range 2 {
		keys[next(t, got).Header.Get("Idempotency-Key")] = true
	}
	if !keys["attack000000-1"] || !keys["attack000002-1"] {
		t.Errorf("told: %v", keys)
	}
	if _, err := os.Stat(filepath.Join(spool, fmt.Sprintf("%020d.json.damaged", 2))); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(spool, fmt.Sprintf("%020d.json.new", 9))); err == nil {
		t.Error("half a file is still there")
	}
}

// A directory that cannot be written to costs the restart, not the event.
func TestNoDisk(t *testing.T) {
	url, got := server(t, nil)
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, defaults(url), dir)
	if err := w.Notify(t.Context(), event(1, 1)); err != nil {
		t.Fatal(err)
	}
	next(t, got)
	if err := w.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be written to disk") {
		t.Errorf("health: %v", err)
	}
}
