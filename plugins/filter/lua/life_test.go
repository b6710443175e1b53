package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestConformance(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		path := writeScript(t, "function filter(r) return r.src_port ~= 53 end")
		sdktest.Conformance(t, plugin(), fmt.Sprintf("script = %q\nengine = %q", path, engine))
	})
}

func TestMistakes(t *testing.T) {
	path := writeScript(t, "function filter(r) end")
	for _, c := range []struct{ config, path, say string }{
		{`script = "none.lua"`, "script", "no such file"},
		{fmt.Sprintf("script = %q\nengine = \"lua54\"", path), "engine", `"luajit" or "gopher-lua"`},
		{fmt.Sprintf("script = %q\nmemory = \"1K\"", path), "memory", "1 MiB to 4 GiB"},
		{fmt.Sprintf("script = %q\ndeadline = \"1ms\"", path), "deadline", "10ms to 1m"},
	} {
		ds := sdktest.New(t, plugin(), c.config).Validate()
		if len(ds) != 1 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Error(), c.say) {
			t.Errorf("%s\n%v", c.config, ds)
		}
	}
}

// A script that changes is taken when it can be, else the one before it stays.
func TestReload(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		f, j := mustTest(t, engine, "function filter(r) return r.src_port ~= 53 end")
		seen := f.script.Load().text
		change := func(text string) {
			t.Helper()
			if err := os.WriteFile(f.Script, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				seen = f.poll(t.Context(), seen)
			}
		}
		want := func(what, verdict string, held string) {
			t.Helper()
			batch := records()
			if err := j.Judge(batch); err != nil || verdicts(batch) != verdict {
				t.Errorf("%s: %s, want %s: %v", what, verdicts(batch), verdict, err)
			}
			err := f.Health(t.Context())
			if held == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), held) {
				t.Errorf("%s: health %v, want %q", what, err, held)
			}
		}
		want("as it was", "x....", "")
		change("function filter(r) return r.protocol ~= 6 end")
		want("changed", ".x.x.", "")
		change("function filter(r) return r.protocol ~= end")
		want("a syntax error", ".x.x.", "script.lua")
		change("error('not yet')")
		want("an error", ".x.x.", "script.lua:1: not yet")
		if err := os.Remove(f.Script); err != nil {
			t.Fatal(err)
		}
		seen = f.poll(t.Context(), seen)
		want("gone", ".x.x.", "no such file")
		change("function filter(r) return false end")
		want("mended", "xxxxx", "")
	})
}

// A script that never ends is tried once, whatever it catches, and nothing of
// the trial runs on; the one before it stays in force.
func TestEndlessChange(t *testing.T) {
	for name, text := range map[string]string{
		"loop":      "while true do end",
		"caught":    "while true do pcall(function() while true do end end) end",
		"coroutine": "local step = coroutine.wrap(function() while true do end end) step()",
	} {
		each(t, func(t *testing.T, engine string) {
			f, j := mustTest(t, engine, "function filter(r) return r.src_port ~= 53 end")
			f.limit = 100 * time.Millisecond
			exit = func() { t.Errorf("%s: the process ends", name) }
			t.Cleanup(func() { exit = func() { os.Exit(1) } })
			if err := os.WriteFile(f.Script, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			before := runtime.NumGoroutine()
			seen := ""
			for range 5 {
				seen = f.poll(t.Context(), seen)
			}
			sdktest.Until(t, "the trial ends", func() error {
				if n := runtime.NumGoroutine(); n > before {
					return fmt.Errorf("%s: %d goroutines, before the trial %d", name, n, before)
				}
				return nil
			})
			if err := f.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "has not come to its end") {
				t.Errorf("%s: health %v", name, err)
			}
			batch := records()
			if err := j.Judge(batch); err != nil || verdicts(batch) != "x...." {
				t.Errorf("%s: %s: %v", name, verdicts(batch), err)
			}
		})
	}
}

// A script that was refused is tried again when its file has been touched, not
// before.
func TestRefusedOnce(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		f, j := mustTest(t, engine, "function filter(r) end")
		list := filepath.Join(filepath.Dir(f.Script), "list")
		write := func(path, text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		seen := ""
		judged := func() string {
			for range 3 {
				seen = f.poll(t.Context(), seen)
			}
			batch := records()
			if err := j.Judge(batch); err != nil {
				t.Fatal(err)
			}
			return verdicts(batch)
		}
		write(f.Script, fmt.Sprintf("local p = prefixes{file = %q} function filter(r) return false end", list))
		if got := judged(); got != "....." || f.Health(t.Context()) == nil {
			t.Errorf("without its list: %s", got)
		}
		write(list, "192.0.2.0/24\n")
		if got := judged(); got != "....." || f.Health(t.Context()) == nil {
			t.Errorf("it was tried again: %s", got)
		}
		if err := os.Chtimes(f.Script, time.Time{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if got, err := judged(), f.Health(t.Context()); got != "xxxxx" || err != nil {
			t.Errorf("touched: %s: %v", got, err)
		}
	})
}

// A batch that does not come to its end costs the process, and so does a script
// that holds too much of Go's memory.
func TestGuard(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		f, j := mustTest(t, engine, `function filter(r) local t = os_clock while stop_me == nil do t = r.src_port end end`)
		gone := make(chan bool, 10)
		var n atomic.Int64
		exit = func() {
			n.Add(1)
			select {
			case gone <- true:
			default:
			}
		}
		t.Cleanup(func() { exit = func() { os.Exit(1) } })
		// The batch would never end: it is the guard's word that is tested.
		j.busy.Add(1)
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Error("the process lives on")
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
		j.busy.Add(1)
	})
}

// BenchmarkJudge is the five-condition script of the reference, by engine.
func BenchmarkJudge(b *testing.B) {
	for _, engine := range engines() {
		for name, script := range map[string]string{
			"five":     `function filter(r) return not (r.protocol == 17 and (r.src_port == 53 or r.dst_port == 53) and r.length > 512 and r.in_if == 33) end`,
			"prefixes": `local p = prefixes{"198.51.100.0/24", "192.0.2.0/24"} function filter(r) return not (r.protocol == 17 and p:src(r)) end`,
		} {
			b.Run(engine+"/"+name, func(b *testing.B) {
				_, j := mustTest(b, engine, script)
				batch := make([]traffic.Record, 0, 512)
				for len(batch) < 510 {
					batch = append(batch, records()...)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += len(batch) {
					if err := j.Judge(batch); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
