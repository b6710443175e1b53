package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// behind is a pipeline of stubs with a Lua script before its counting, beside a
// capture that no filter stands behind.
type behind struct {
	*stubs
	script string // its file
	filter *filter
}

func newBehind(t *testing.T, programs map[string]string, engine, limits, onFailure, script string) *behind {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.lua")
	b := &behind{script: path}
	b.write(t, script)
	body := fmt.Sprintf("script = %q\nengine = %q\n%s", path, engine, limits)
	b.stubs = newStubs(t, true, realFilter(t, programs, "lua", body, patient(onFailure)))
	b.filter = b.wiring.filters[0]
	b.run()
	b.startFilters()
	c := b.capture("a", false, "WORKERS", "1", "PACKETS", "100000000", "EVERY_US", "5000", "STAY", "1")
	beside := newCapture(b.sys, stub(host.KindCapture, "b", config.Process{}, "WORKERS", "1", "PACKETS", "100000000", "EVERY_US", "5000", "STAY", "1"), &wiring{}, false)
	b.captures = append(b.captures, beside)
	c.inst.Start()
	beside.inst.Start()
	return b
}

func (b *behind) write(t *testing.T, script string) {
	t.Helper()
	if err := os.WriteFile(b.script, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *behind) row(i int) sdk.LedgerRow { rows, _ := b.counted(); return rows[i] }

// goesOn demands that the capture without filters counts on.
func (b *behind) goesOn() {
	b.t.Helper()
	before := b.row(1).Used
	b.await("the other capture counts on", func() bool { return b.row(1).Used > before+500 })
}

// onFailure demands of what no verdict came for that it went as the mode says.
func (b *behind) onFailure(mode string) {
	b.t.Helper()
	switch mode {
	case "bypass":
		b.await("unjudged records count", func() bool { return b.row(0).Used > 1000 })
	case "drop":
		b.await("unjudged records are dropped", func() bool { return b.row(0).Dropped["filter_failed"] > 1000 })
	case "stop":
		b.await("records wait until the ring is full", func() bool { return b.row(0).Dropped["record_ring_full"] > 0 })
	}
	b.goesOn()
	b.stop()
	r := b.row(0)
	sum := r.Used
	for _, n := range r.Dropped {
		sum += n
	}
	if r.Received != sum || mode != "bypass" && r.Used != 0 || mode != "drop" && r.Dropped["filter_failed"] != 0 || r.Dropped["filtered"] != 0 {
		b.t.Errorf("on_failure %s: %+v", mode, r)
	}
}

// Lua scripts before the counting of live records, on each engine that can be
// built here.
func TestLuaLive(t *testing.T) {
	build := luaFilter(t)
	programs := buildFilters(t, build)
	for _, engine := range []string{"gopher-lua", "luajit"} {
		if engine == "luajit" && build != withLuaJIT {
			continue
		}
		t.Run(engine, func(t *testing.T) {
			luaHurts(t, programs, engine)
			luaFails(t, programs, engine)
			t.Run("reload", func(t *testing.T) {
				t.Parallel()
				luaReloads(t, programs, engine)
			})
		})
	}
}

// Scripts that never come to an end or want all memory: it costs the process, or
// on LuaJIT the record that wants memory, and the records follow on_failure.
func luaHurts(t *testing.T, programs map[string]string, engine string) {
	t.Helper()
	for _, mode := range []string{"bypass", "drop", "stop"} {
		t.Run("endless "+mode, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t, programs, engine, `deadline = "100ms"`, mode, "function filter(r) while true do end end")
			b.await("the process ends, and comes again", func() bool { return b.filter.inst.Status().Launches > 1 })
			b.onFailure(mode)
		})
	}
	for _, mode := range []string{"bypass", "drop"} {
		t.Run("memory "+mode, func(t *testing.T) {
			t.Parallel()
			// The guard looks at Go's memory four times within the deadline;
			// LuaJIT looks at each allocation.
			limits := map[string]string{
				"gopher-lua": "memory = \"8MiB\"\ndeadline = \"200ms\"", "luajit": "memory = \"2MiB\"\ndeadline = \"20s\"",
			}[engine]
			b := newBehind(t, programs, engine, limits, mode, "local t = {}\nfunction filter(r) while true do t[#t + 1] = ('x'):rep(10000) .. #t end end")
			b.await("it is told of", func() bool {
				s := b.filter.inst.Status()
				if engine == "gopher-lua" {
					return s.Failures.Count > 0
				}
				return strings.Contains(s.Health.Message, "not enough memory")
			})
			if n := b.filter.inst.Status().Launches; engine == "luajit" && n != 1 {
				t.Errorf("the process was started %d times", n)
			}
			b.onFailure(mode)
		})
	}
}

// A script that fails at each third record: those follow on_failure, the others
// its verdict; with "stop" the filter is started again, and nothing passes it.
func luaFails(t *testing.T, programs map[string]string, engine string) {
	t.Helper()
	const script = "local n = 0\nfunction filter(r)\n  n = n + 1\n  if n % 3 == 0 then return nil + 1 end\nend"
	for _, mode := range []string{"bypass", "drop", "stop"} {
		t.Run("each third "+mode, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t, programs, engine, "", mode, script)
			b.await("it is told of", func() bool {
				s := b.filter.inst.Status()
				return strings.Contains(s.Health.Message+s.Message+s.Failures.Last, "script.lua:4: ")
			})
			if mode != "drop" {
				b.onFailure(mode)
				return
			}
			b.await("the others count", func() bool { return b.row(0).Used > 1000 })
			b.goesOn()
			b.stop()
			// Of every three records two count, less those that came too late.
			r := b.row(0)
			if failed := r.Dropped["filter_failed"]; r.Received != r.Used+failed || r.Used > 2*failed+2 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A script that changes is taken while records flow, one that cannot be loaded
// is not, and nothing is started again.
func luaReloads(t *testing.T, programs map[string]string, engine string) {
	t.Helper()
	b := newBehind(t, programs, engine, "", "stop", "function filter(r) return r.dst_port ~= 53 end")
	filtered := func() uint64 { return b.row(0).Dropped["filtered"] }
	b.await("it filters", func() bool { return filtered() > 500 })
	b.write(t, "function filter(r) return r.dst_port == end")
	b.await("the mistake is told", func() bool {
		return strings.Contains(b.filter.inst.Status().Health.Message, "the script before it stays in force")
	})
	if m := b.filter.inst.Status().Health.Message; !strings.Contains(m, "script.lua") {
		t.Errorf("it does not say where: %s", m)
	}
	before := filtered()
	b.await("the script before it filters on", func() bool { return filtered() > before+500 })
	b.write(t, "function filter(r) return false end")
	b.await("the mended script is taken", func() bool {
		used := b.row(0).Used
		before := filtered()
		b.await("more is judged", func() bool { return filtered() > before+1000 })
		return b.row(0).Used == used
	})
	b.stop()
	r := b.row(0)
	if n := b.filter.inst.Status().Launches; n != 1 || r.Received != r.Used+r.Dropped["filtered"] {
		t.Errorf("%d launches, %+v", n, r)
	}
}
