package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// replace puts another program in a file's place, as package managers do: under
// another name first. It is the same one, and a little longer.
func replace(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// missing asks the router over and over, until it is stopped, and says which
// routes it lacked, and how often it was asked.
func (r *routerBed) missing(want []string) (asked *atomic.Int32, stop func() []string) {
	asked = &atomic.Int32{}
	done, over := make(chan struct{}), sync.WaitGroup{}
	var lacked []string
	over.Go(func() {
		for {
			got := r.routes()
			for _, w := range want {
				if !slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, w+" ") }) {
					lacked = append(lacked, fmt.Sprintf("%s, it had %q", w, got))
				}
			}
			asked.Add(1)
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return asked, func() []string { close(done); over.Wait(); return lacked }
}

// The plugin's program is replaced while it announces: whoever ends the old one,
// and however, the new one takes over, and the router lacks no route at any time.
func TestPluginUpgradedInPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a router and its time")
	}
	r := newRouterBed(t, "10m")
	plugin := filepath.Join(r.dir, "action-gobgp")
	data, err := os.ReadFile(filepath.Join(filepath.Dir(program), "plugins", "action-gobgp"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plugin, data, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	r.configure(strings.Replace(string(text), "  announce \"blackhole\" {", fmt.Sprintf("  process {\n    path = %q\n  }\n  announce \"blackhole\" {", plugin), 1))
	r.run()
	targets := []string{"203.0.113.9/32", "2001:db8::9/128"}
	for _, target := range targets {
		r.ban(target, "--for", "1h", "--action", "action.gobgp.edge.blackhole")
	}
	r.awaitRoutes(slices.Clone(targets)...)

	sessions := func() int { return strings.Count(r.daemon.stderr.String(), "session established") }
	asked, stop := r.missing(targets)
	for name, end := range map[string]func(pid int){
		"SIGTERM": func(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }, // it is there
		"SIGKILL": func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) },
		"service": func(int) { r.daemon.stop(t); r.run() },
	} {
		old, before, from := pluginPID(t, r.config, "action", 0), sessions(), asked.Load()
		replace(t, plugin)
		end(old)
		if name == "service" {
			before = 0 // it has a log of its own
		}
		pid := pluginPID(t, r.config, "action", old)
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != plugin {
			t.Errorf("%s: the process that took over runs %s, %v", name, exe, err)
		}
		for deadline := time.Now().Add(20 * time.Second); sessions() == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: there is no session any more\n%s", name, r.daemon.stderr)
			}
		}
		for _, target := range targets {
			r.await(strings.TrimSuffix(strings.TrimSuffix(target, "/32"), "/128"), "active")
		}
		for until := asked.Load() + 5; asked.Load() < until; time.Sleep(5 * time.Millisecond) {
		}
		t.Logf("%s: the router was asked %d times meanwhile", name, asked.Load()-from)
	}
	if lacked := stop(); len(lacked) > 0 {
		t.Errorf("the router lacked routes %d times, first %s\n%s", len(lacked), lacked[0], r.daemon.stderr)
	}
	r.awaitRoutes(slices.Clone(targets)...)
	mustRun(t, "unban", "--all", "--config", r.config)
	r.awaitRoutes()
	r.daemon.stop(t)
}
