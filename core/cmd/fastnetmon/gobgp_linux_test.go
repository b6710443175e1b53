package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const gobgpConfig = `
daemon {
  mode        = "enforce"
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1s"
  quiet    = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 5000
  }
  mitigation {
    hold = "%[2]s"
    max  = "1h"
  }
}

exporter "router" {
  source   = ["127.0.0.1"]
  sampling = 10
}

capture "sflow" "routers" {
  listen    = ["127.0.0.1:6343"]
  exporters = [exporter.router]
}

action "gobgp" "edge" {
  local_as  = 65001
  router_id = "10.77.0.1"
  neighbor "10.77.0.2" {
    peer_as       = 65002
    local_address = "10.77.0.1"
    multihop      = 2
  }
  announce "blackhole" {
    next_hop    = "192.0.2.66"
    next_hop_v6 = "2001:db8:ffff::66"
    communities = ["65001:666", "blackhole"]
  }
}

guard {
  max_active         = 1000
  max_share          = "100%%"
  max_new_per_minute = 1000
}

pipeline "main" {
  captures = [capture.sflow.routers]
  actions  = [action.gobgp.edge.blackhole]
}
`

// routerBed is a daemon that samples come to and that tells a router of
// blackholes; the router is BIRD.
type routerBed struct {
	*bed
	bird string // its directory
}

// newRouterBed makes a network of this thread's own: whoever calls it stays on
// the thread.
func newRouterBed(tb testing.TB, hold string) *routerBed {
	tb.Helper()
	sdktest.Program(tb, "bird")
	runtime.LockOSThread() // and never unlocked: the thread's network ends with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		sdktest.Absent(tb, "this user may not make a network namespace: "+err.Error())
	}
	for _, line := range []string{"link set lo up", "address add 10.77.0.1/32 dev lo", "address add 10.77.0.2/32 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			tb.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	dir, err := os.MkdirTemp("", "rtr")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &routerBed{bed: &bed{t: tb, dir: dir, config: filepath.Join(dir, "bed.hcl")}, bird: dir}
	for name, text := range map[string]string{
		"bed.hcl": fmt.Sprintf(gobgpConfig, dir, hold),
		"bird.conf": `
			log "` + dir + `/bird.log" all;
			timeformat log "%Y-%m-%d %H:%M:%S.%6f";
			router id 10.77.0.2;
			protocol device { }
			protocol bgp fnm {
				debug { routes };
				local 10.77.0.2 port 179 as 65002;
				neighbor 10.77.0.1 as 65001;
				strict bind yes;
				multihop 2;
				passive yes;
				ipv4 { import all; export none; };
				ipv6 { import all; export none; };
			}
		`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cmd := exec.Command(sdktest.Program(tb, "bird"), "-f", "-c", dir+"/bird.conf", "-s", dir+"/ctl", "-P", dir+"/pid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return r
}

// run starts the daemon and waits until the router has a session with it, and
// it answers.
func (r *routerBed) run() {
	r.t.Helper()
	r.daemon = start(r.t, "run", "--config", r.config)
	r.daemon.waitLog(r.t, "session established")
	r.waitUp()
}

var routeOfBIRD = regexp.MustCompile(`(?m)^(203\.0\.113\.\d+/32|2001:db8:\S+)\s(?:.*\n)+?.*next_hop: (\S+)(?:.*\n)+?.*community: (.*)`)

// routes are what the router has: prefix, next hop, communities.
func (r *routerBed) routes() (out []string) {
	for _, table := range []string{"master4", "master6"} {
		text, err := exec.Command("birdc", "-s", r.bird+"/ctl", "show", "route", "all", "table", table).Output()
		if err != nil {
			return []string{"birdc: " + err.Error()}
		}
		for _, m := range routeOfBIRD.FindAllStringSubmatch(string(text), -1) {
			out = append(out, strings.Join(m[1:], " "))
		}
	}
	slices.Sort(out)
	return out
}

func (r *routerBed) awaitRoutes(want ...string) {
	r.t.Helper()
	for i, w := range want {
		hop := "192.0.2.66"
		if strings.Contains(w, ":") {
			hop = "2001:db8:ffff::66"
		}
		want[i] = w + " " + hop + " (65001,666) (65535,666) (65535,65281)"
	}
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = r.routes(); slices.Equal(got, want) {
			return
		}
	}
	r.t.Fatalf("the router has\n%s\nnot\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), r.daemon.stderr)
}

// Samples of a flood come in, its target is a blackhole with the router, people
// see so, and it is none any more when its time is over. People ban and unban
// too, and what they have banned outlives the daemon.
func TestAttackToRouter(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a router and its time")
	}
	r := newRouterBed(t, "3s")
	r.run()
	router := startAs(t, program, "traffic", "--send", "sflow", "--to", "127.0.0.1:6343", "--sampling", "10", "--duration", "3s", "--network", "203.0.113.0/24", "--pps", "100",
		"--attack", "udp_flood,target=203.0.113.7,pps=40000")
	m := r.await("203.0.113.7", "active")
	if len(m.Peers) != 1 || m.Peers[0].Peer != "10.77.0.2" || m.Peers[0].State != "active" || m.Action != "action.gobgp.edge.blackhole" {
		t.Errorf("%+v", m)
	}
	if want := "203.0.113.7/32 next hop 192.0.2.66 communities 65001:666 blackhole no-export"; strings.Join(m.Announcements, "\n") != want {
		t.Errorf("announced: %q, want %q", m.Announcements, want)
	}
	r.awaitRoutes("203.0.113.7/32")
	if out := mustRun(t, "neighbors", "--config", r.config).stdout; !regexp.MustCompile(`(?m)^NEIGHBOR +AS +STATE .*\n10\.77\.0\.2 +\d+ +established .* 1 +`).MatchString(out) {
		t.Errorf("neighbors prints\n%s", out)
	}
	if err := <-router.done; err != nil {
		t.Error(err)
	}
	close(router.done)
	r.awaitRoutes()

	ban := func(target string) {
		t.Helper()
		mustRun(t, "ban", target, "--config", r.config, "--for", "1h", "--reason", "test", "--action", "action.gobgp.edge.blackhole")
	}
	ban("203.0.113.9")
	ban("2001:db8::9")
	r.awaitRoutes("203.0.113.9/32", "2001:db8::9/128")
	if refused := run(t, "ban", "10.77.0.2", "--config", r.config, "--for", "1h", "--reason", "test", "--action", "action.gobgp.edge.blackhole"); refused.code == 0 && len(r.routes()) != 2 {
		t.Errorf("the neighbour itself was announced: %q", r.routes())
	}
	if err := r.daemon.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := <-r.daemon.done
	r.daemon.done <- err
	r.run()
	r.await("203.0.113.9", "active")
	r.awaitRoutes("203.0.113.9/32", "2001:db8::9/128")
	mustRun(t, "unban", "203.0.113.9", "--config", r.config)
	r.awaitRoutes("2001:db8::9/128")
	mustRun(t, "unban", "--all", "--config", r.config)
	r.awaitRoutes()
	tried := func() {
		t.Helper()
		got := run(t, "action", "test", "gobgp.edge.blackhole", "--config", r.config, "--announce", "203.0.113.11", "--for", "0s")
		if got.code != 0 || !strings.Contains(got.stdout, "10.77.0.2: active") || !strings.Contains(got.stdout, "taken back") {
			t.Errorf("status %d: %s%s", got.code, got.stdout, got.stderr)
		}
		r.awaitRoutes()
	}
	tried()
	r.daemon.stop(t)
	if got := mustRun(t, "action", "test", "gobgp.edge.blackhole", "--config", r.config, "--target", "203.0.113.11").stdout; !strings.Contains(got, "203.0.113.11/32 next hop 192.0.2.66") {
		t.Errorf("asked alone: %s", got)
	}
	tried() // by the plugin alone
	log, err := os.ReadFile(filepath.Join(r.dir, "bird.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "added [best] 203.0.113.11/32"); n != 2 {
		t.Errorf("the router had the route %d times, not twice", n)
	}
}

// BenchmarkAttackToRoute measures from attack.started to the route in the
// router's table, over 100 attacks, by the clocks in the event and in the
// router's log.
func BenchmarkAttackToRoute(b *testing.B) {
	// In the first second of a session routes wait for the neighbour's End-of-RIB.
	const attacks, settled = 100, 3 * time.Second
	for range b.N {
		r := newRouterBed(b, "1h")
		r.run()
		events := startInto(b, filepath.Join(r.dir, "events"), program, "events", "--follow", "--config", r.config, "--json")
		args := []string{"traffic", "--send", "sflow", "--to", "127.0.0.1:6343", "--sampling", "10", "--duration", "17s", "--network", "203.0.113.0/24", "--pps", "100"}
		for i := range attacks {
			args = append(args, "--attack", fmt.Sprintf("udp_flood,target=203.0.113.%d,pps=40000,start=%s,for=2s", i+1, settled+time.Duration(i)*120*time.Millisecond))
		}
		mustRun(b, args...)
		for deadline := time.Now().Add(20 * time.Second); len(r.routes()) < attacks && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		}
		_ = events.Process.Signal(syscall.SIGTERM)
		_ = events.Wait()
		took := r.delays(b)
		if len(took) < attacks {
			b.Fatalf("%d of %d attacks came to be routes\n%s", len(took), attacks, r.daemon.stderr)
		}
		b.Logf("the slowest: %v", took[len(took)-5:])
		for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
			b.ReportMetric(float64(quantile(took, q))/float64(time.Millisecond), name)
		}
		r.daemon.stop(b)
	}
}

// startInto runs a program whose output goes to a file.
func startInto(tb testing.TB, path string, words ...string) *exec.Cmd {
	tb.Helper()
	out, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return cmd
}

var addedByBIRD = regexp.MustCompile(`(?m)^(\S+ \S+) <TRACE> fnm\.ipv4 > added \[best\] (203\.0\.113\.\d+)/32`)

// delays are how long each attack took from its event to the router's table.
func (r *routerBed) delays(tb testing.TB) (out []time.Duration) {
	tb.Helper()
	log, err := os.ReadFile(filepath.Join(r.dir, "bird.log"))
	if err != nil {
		tb.Fatal(err)
	}
	added := map[string]time.Time{}
	for _, m := range addedByBIRD.FindAllStringSubmatch(string(log), -1) {
		at, err := time.ParseInLocation("2006-01-02 15:04:05.000000", m[1], time.Local)
		if err != nil {
			tb.Fatal(err)
		}
		if _, seen := added[m[2]]; !seen {
			added[m[2]] = at
		}
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "events"))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e struct {
			Event, Target string
			Time          time.Time
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			tb.Fatalf("%v in %s", err, line)
		}
		if at, ok := added[strings.TrimSuffix(e.Target, "/32")]; ok && e.Event == "attack.started" {
			out = append(out, at.Sub(e.Time))
		}
	}
	slices.Sort(out)
	return out
}
