package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const envOrders = "TEST_GOBGP_ORDERS"

// orders are what a plugin in a process of its own is to do.
type orders struct {
	Config string
	First  int // of the hundred it holds
}

// TestChild is not a test but such a plugin, which lives until it is killed.
func TestChild(t *testing.T) {
	path := os.Getenv(envOrders)
	if path == "" {
		t.Skip("for other tests")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var o orders
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	h := sdktest.New(t, plugin(), o.Config)
	h.StateDir = filepath.Dir(path)
	w, all, dir := watch(t, h), hundred(o.First), h.StateDir
	sync1(t, h, all...)
	for _, m := range all {
		w.want(m.ID, sdk.MitigationActive, "")
	}
	writeFile(t, filepath.Join(dir, "active"), "")
	for !exists(filepath.Join(dir, "withdraw")) {
		time.Sleep(20 * time.Millisecond)
	}
	sync1(t, h)
	writeFile(t, filepath.Join(dir, "withdrawn"), "")
	select {}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// process is a plugin that runs by itself, and its state directory.
type process struct {
	*exec.Cmd
	dir string
}

// child starts a plugin that holds a hundred mitigations. It writes a file
// "active" once they are, ends them when it finds a file "withdraw", and then
// writes a file "withdrawn".
func child(t *testing.T, config string, first int) process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "orders")
	data, err := json.Marshal(orders{config, first})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(data))
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), envOrders+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slay(cmd) })
	return process{cmd, filepath.Dir(path)}
}

// slay kills a child with SIGKILL and waits for it.
func slay(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// hundred are mitigations of 100 hosts from first, of both families.
func hundred(first int) []sdk.Mitigation {
	var out []sdk.Mitigation
	for i := range 100 {
		target := fmt.Sprintf("203.0.113.%d/32", first+i)
		if i%2 == 1 {
			target = fmt.Sprintf("2001:db8:1::%d/128", first+i)
		}
		out = append(out, mitigate(fmt.Sprint(first+i), target, "blackhole"))
	}
	return out
}

// prefixes are the destinations of a peer's routes, in no order.
func prefixes(p *peer) map[string]bool {
	out := map[string]bool{}
	for _, family := range []string{"ipv4", "ipv6"} {
		list := p.list
		if p.brief != nil {
			list = p.brief
		}
		for _, text := range list(p, family) {
			prefix, _, _ := strings.Cut(text, " ")
			out[prefix] = true
		}
	}
	return out
}

// holdsAll reports whether a peer has these and no others.
func holdsAll(p *peer, want []sdk.Mitigation) bool {
	got := prefixes(p)
	for _, m := range want {
		if !got[m.Target.String()] {
			return false
		}
	}
	return len(got) == len(want)
}

// poll counts how many of some routes a peer has, until it is stopped; it gives
// the smallest number and for how long one was missing.
func poll(p *peer, want []sdk.Mitigation) (stop func() (least int, gap time.Duration)) {
	done, over := make(chan struct{}), sync.WaitGroup{}
	least, gap := len(want), time.Duration(0)
	over.Go(func() {
		last := time.Now()
		for {
			got, n := prefixes(p), 0
			for _, m := range want {
				if got[m.Target.String()] {
					n++
				}
			}
			now := time.Now()
			if n < len(want) {
				gap += now.Sub(last)
			}
			last, least = now, min(least, n)
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return func() (int, time.Duration) {
		close(done)
		over.Wait()
		return least, gap
	}
}

// A plugin that is killed with 100 mitigations and started again, with another
// ten in the place of ten that have ended meanwhile: a neighbour with graceful
// restart misses none of those that stay at any time, and the others are gone in
// the end. Without it there is a gap.
func TestKilled(t *testing.T) {
	if !inNamespace(t, "bird", "vtysh", "gobgpd") {
		return
	}
	for _, c := range []struct {
		name    string
		make    func(*testing.T, peerOptions) *peer
		restart bool
	}{
		{"bird", bird, true},
		{"gobgpd", gobgpd, true},
		{"frr", frr, true},
		{"bird without", bird, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.make(t, peerOptions{restart: c.restart})
			options := ""
			if !c.restart {
				options = `graceful_restart = "0s"`
			}
			config := self() + neighborBlock(p, options)
			before, after := hundred(10), hundred(20)
			first := child(t, config, 10)
			if !eventually(patience, func() bool { return holdsAll(p, before) }) {
				t.Fatalf("%s has %d of the 100 routes", p.name, len(prefixes(p)))
			}
			stay := after[:90] // those of before from the tenth on
			stop := poll(p, stay)
			slay(first.Cmd)
			killed := time.Now()
			child(t, config, 20)
			if !eventually(patience, func() bool { return holdsAll(p, after) }) {
				t.Fatalf("%s has %d routes", p.name, len(prefixes(p)))
			}
			healed := time.Since(killed)
			least, gap := stop()
			t.Logf("%s: all routes %.1f s after SIGKILL, never fewer than %d of 90, one missing for %.2f s", c.name, healed.Seconds(), least, gap.Seconds())
			if c.restart && least < len(stay) {
				t.Errorf("it had %d of %d routes at one time", least, len(stay))
			}
		})
	}
}

// Ending without a Sync leaves routes with a neighbour that knows graceful
// restart, and takes them from one that does not.
func TestPlannedEnd(t *testing.T) {
	if !inNamespace(t, "bird") {
		return
	}
	keeps, drops := bird(t, peerOptions{restart: true}), bird(t, peerOptions{restart: true})
	h := sdktest.New(t, plugin(), self()+neighborBlock(keeps, "")+neighborBlock(drops, `graceful_restart = "0s"`))
	m := mitigate("1", "203.0.113.5/32", "blackhole")
	sync1(t, h, m)
	keeps.wantRoutes("ipv4", "203.0.113.5/32")
	drops.wantRoutes("ipv4", "203.0.113.5/32")
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	drops.wantRoutes("ipv4")
	keeps.wantRoutes("ipv4", "203.0.113.5/32")
	// What has ended by the time we are back goes then.
	w := watch(t, h)
	sync1(t, h, mitigate("2", "203.0.113.6/32", "blackhole"))
	w.want("2", sdk.MitigationActive, "")
	keeps.wantRoutes("ipv4", "203.0.113.6/32")
	drops.wantRoutes("ipv4", "203.0.113.6/32")
	// A neighbour that is away may have it still when it is released.
	keeps.kill()
	w.wantPeer("2", keeps.address, sdk.MitigationPending, "may keep the route until")
	sync1(t, h)
	w.want("2", sdk.MitigationActive, keeps.address+" has no session and may keep it")
	keeps.start()
	w.want("2", sdk.MitigationReleased, "")
}
