package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bed is a daemon whose floods are files that come and go, and whose peer is a
// file.
type bed struct {
	t                 testing.TB
	dir, config, peer string
	trigger, text     string
	daemon            *live
}

const bedConfig = `
daemon {
  mode        = "enforce"
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "500ms"
  quiet    = "500ms"

  threshold "flood" {
    direction = "incoming"
    pps       = 2000
  }
  mitigation {
    hold = "%[2]s"
    max  = "1h"
  }
}

capture "flood" "file" {
  network    = "198.18.0.0/16"
  pps        = 100
  hidden     = "203.0.113.7"
  hidden_pps = 50000
  trigger    = "%[1]s/flood"
  process {
    path = "%[3]s/capture-flood"
  }
}

action "rib" "edge" {
  file = "%[1]s/peer"
  announce "blackhole" {
    text = "discard"
  }
  announce "rule" {
    flow = true
  }
  process {
    path        = "%[3]s/action-rib"
    backoff     = "10ms"
    max_backoff = "50ms"
  }
}

pipeline "main" {
  captures = [capture.flood.file]
  actions  = [action.rib.edge.blackhole]
}
`

// bedPlugins builds them beside the program, once, and tells where.
var bedPlugins = sync.OnceValues(func() (string, error) {
	dir := filepath.Dir(program)
	for name, source := range map[string]string{"capture-flood": "flood-capture", "action-rib": "rib-action"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./core/cmd/fastnetmon/testdata/"+source)
		build.Dir = repository
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
	}
	return dir, nil
})

func newBed(t testing.TB, hold, more string) *bed {
	t.Helper()
	dir := t.TempDir()
	b := &bed{t: t, dir: dir, peer: filepath.Join(dir, "peer"), trigger: filepath.Join(dir, "flood")}
	plugins, err := bedPlugins()
	if err != nil {
		t.Fatal(err)
	}
	b.text = fmt.Sprintf(bedConfig, dir, hold, plugins) + more
	b.config = filepath.Join(dir, "bed.hcl")
	b.configure(b.text)
	return b
}

func (b *bed) configure(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) run() {
	b.t.Helper()
	b.daemon = start(b.t, "run", "--config", b.config)
	b.waitUp()
}

func (b *bed) flood(on bool) {
	b.t.Helper()
	if on {
		if err := os.WriteFile(b.trigger, nil, 0o600); err != nil {
			b.t.Fatal(err)
		}
		return
	}
	if err := os.Remove(b.trigger); err != nil {
		b.t.Fatal(err)
	}
}

// mitigation is what "mitigations --json" prints of one.
type mitigation struct {
	ID, Target, Action, State, Cause, By, Reason string

	Announcements []string
	Peers         []struct{ Peer, State string }
}

func (b *bed) list(args ...string) (out []mitigation) {
	b.t.Helper()
	text := mustRun(b.t, append([]string{"mitigations", "--config", b.config, "--json"}, args...)...).stdout
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.t.Fatalf("%v in %s", err, text)
	}
	return out
}

// await waits until there is a mitigation of a target in a state.
func (b *bed) await(target, state string) mitigation {
	b.t.Helper()
	var last []mitigation
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		last = b.list()
		for _, m := range last {
			if m.Target == target && m.State == state {
				return m
			}
		}
	}
	b.t.Fatalf("no mitigation of %s came to be %s: %+v\n%s", target, state, last, b.daemon.stderr)
	return mitigation{}
}

// routes are what the peer has.
func (b *bed) routes() (out []string) {
	b.t.Helper()
	text, err := os.ReadFile(b.peer)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, route, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, route)
	}
	return out
}

// awaitRoutes waits until the peer has so many.
func (b *bed) awaitRoutes(n int) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if len(b.routes()) == n {
			return
		}
	}
	b.t.Fatalf("the peer has %d routes, not %d: %v\n%s", len(b.routes()), n, b.routes(), b.daemon.stderr)
}

// An attack is announced, seen to be active, and taken back when its hold time is
// over.
func TestAnAttackIsMitigated(t *testing.T) {
	b := newBed(t, "2s", "")
	b.run()
	b.flood(true)
	m := b.await("203.0.113.7", "active")
	if m.Action != "action.rib.edge.blackhole" || len(m.Peers) != 1 || m.Peers[0].State != "active" || strings.Join(m.Announcements, "") != "203.0.113.7/32 discard" {
		t.Errorf("%+v", m)
	}
	if got := b.routes(); len(got) != 1 || got[0] != "203.0.113.7/32 discard" {
		t.Errorf("the peer has %q", got)
	}
	b.flood(false)
	b.awaitRoutes(0)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		past := b.list("--history")
		if len(past) == 1 && past[0].State == "released" && past[0].ID == m.ID {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("history: %+v", past)
		}
	}
	b.daemon.stop(t)
}

// waitUp waits until the daemon answers.
func (b *bed) waitUp() {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); run(b.t, "status", "--config", b.config).code != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the daemon does not answer\n%s", b.daemon.stderr)
		}
	}
}

// ban asks for a mitigation and returns it as it was decided.
func (b *bed) ban(prefix string, more ...string) mitigation {
	b.t.Helper()
	args := append([]string{"ban", prefix, "--config", b.config, "--json", "--reason", "test"}, more...)
	var out []mitigation
	if err := json.Unmarshal([]byte(mustRun(b.t, args...).stdout), &out); err != nil || len(out) != 1 {
		b.t.Fatalf("%v: %+v", err, out)
	}
	return out[0]
}

// log is what the peer was told, a line each: announce or withdraw, id, prefix.
func (b *bed) log() (out [][]string) {
	b.t.Helper()
	text, err := os.ReadFile(b.peer + ".log")
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		out = append(out, strings.Fields(line))
	}
	return out
}

// kills is who is killed, and how often.
func kills() int { return counts(1, 100) }

// shortBan is the target of what is on its way when somebody is killed.
const shortBan = "10.1.1.1"

// A daemon, a plugin, or both are killed at any moment with a hundred mitigations
// in force: within 5 s of being up the peer has what the journal has, what was
// announced is not announced again, and what has expired is taken back.
func TestKilledWithAHundredMitigations(t *testing.T) {
	b := newBed(t, "10m", `
guard {
  max_active         = 1000
  max_new_per_minute = 1000
}
`)
	b.run()
	for n := range 98 {
		b.ban(fmt.Sprintf("10.0.%d.%d", n/250, 1+n%250), "--for", "1h")
	}
	b.ban("2001:db8::7", "--for", "1h")
	b.flood(true)
	b.await(attackTarget, "active")
	b.flood(false)
	b.awaitRoutes(100)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range kills() {
		for _, who := range []string{"plugin", "daemon", "both"} {
			plugin := pluginPID(t, b.config, "action", 0)
			// It ends at any moment of a ban that is begun, and soon over.
			short := exec.Command(program, "ban", shortBan, "--config", b.config, "--for", "1s", "--reason", "test")
			if err := short.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
			if who != "daemon" {
				_ = syscall.Kill(plugin, syscall.SIGKILL) // it is there
			}
			if who != "plugin" {
				_ = b.daemon.cmd.Process.Kill() // it is there
				if err := <-b.daemon.done; err == nil {
					t.Error("it was not killed")
				}
				close(b.daemon.done)
				time.Sleep(time.Second) // the ban expires meanwhile
				b.run()
			}
			up := time.Now()
			pluginPID(t, b.config, "action", plugin)
			b.awaitRoutes(100)
			_ = short.Wait() // it may have had no answer
			for _, m := range b.list() {
				if m.Target != shortBan && m.State != "active" {
					b.await(m.Target, "active")
				}
			}
			if took := time.Since(up); took > 5*time.Second {
				t.Errorf("%s: %v until the peer had what the journal has", who, took)
			}
		}
	}
	there := map[string]bool{}
	for _, line := range b.log() {
		if line[2] == shortBan+"/32" {
			continue // the peer may have died between its table and its log
		}
		now := line[0] == "announce"
		if there[line[1]] == now {
			t.Errorf("told twice: %v", line)
		}
		if there[line[1]] = now; !now {
			t.Errorf("withdrawn: %v", line)
		}
	}
	mustRun(t, "unban", "--all", "--config", b.config)
	b.awaitRoutes(0)
	b.daemon.stop(t)
}

// What people do is done, audited, and judged by the guards.
func TestPeopleAndGuards(t *testing.T) {
	b := newBed(t, "10m", `
guard {
  max_active         = 2
  max_new_per_minute = 100
  protected          = ["203.0.113.1/32"]
}
`)
	b.run()
	if m := b.ban("203.0.113.50", "--for", "1h", "--action", "rib.edge.blackhole", "--set", "text=special"); m.State != "active" || m.By != "root" || m.Announcements[0] != "203.0.113.50/32 special" {
		t.Errorf("%+v", m)
	}
	b.ban("2001:db8::5", "--for", "1h")
	for prefix, cause := range map[string]string{
		"203.0.113.1": "protected", "0.0.0.0/0": "default route", "198.51.100.1": "not inside our networks", "203.0.113.0/24": "wider than",
	} {
		m := b.ban(prefix, "--for", "1h")
		if m.State != "held" || !strings.Contains(m.Cause, cause) {
			// max_active comes first while it is reached
			if m.State != "held" || !strings.Contains(m.Cause, "max_active") {
				t.Errorf("%s: %+v", prefix, m)
			}
		}
	}
	held := b.ban("203.0.113.60", "--for", "1h")
	if held.State != "held" || !strings.Contains(held.Cause, "max_active") {
		t.Errorf("%+v", held)
	}
	mustRun(t, "held", "release", held.ID, "--config", b.config, "--reason", "it is real")
	if got := b.routes(); len(got) != 3 {
		t.Errorf("the peer has %q", got)
	}
	for _, m := range b.list() {
		if m.State != "held" {
			continue
		}
		run(t, "held", "release", m.ID, "--config", b.config) // hard rules hold it still
		if m.Target == "203.0.113.1" {
			mustRun(t, "held", "refuse", m.ID, "--config", b.config)
		}
	}
	if got := b.routes(); len(got) != 3 {
		t.Errorf("a person let pass what must not be: %q", got)
	}
	for _, bad := range [][]string{{"unban", "nothing"}, {"ban", "10.0.0.1", "--for", "1h", "--reason", "x", "--action", "rib.edge.blackhol"}, {"held", "release", "x"}} {
		if r := run(t, append(bad, "--config", b.config)...); r.code != exitConfig {
			t.Errorf("%v: %d, %s", bad, r.code, r.stderr)
		}
	}
	mustRun(t, "unban", "203.0.113.0/24", "--config", b.config, "--reason", "over")
	b.awaitRoutes(1)
	audit := mustRun(t, "mitigations", "--audit", "--config", b.config).stdout
	for _, want := range []string{"ban", "unban", "held release", "held refuse", "root", "it is real", "over"} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit has no %q:\n%s", want, audit)
		}
	}
	test := mustRun(t, "action", "test", "rib.edge", "--config", b.config, "--target", "203.0.113.9").stdout
	if !strings.Contains(test, "203.0.113.9/32 discard") || !strings.Contains(test, "action.rib.edge.rule") {
		t.Errorf("action test: %s", test)
	}
	b.daemon.stop(t)
}

// A reload takes back what its configuration does not have any more, at once, and
// keeps the rest; a stop withdraws where it is told to.
func TestReloadsOfMitigations(t *testing.T) {
	b := newBed(t, "10m", "")
	b.run()
	b.flood(true)
	first := b.await(attackTarget, "active")
	text := strings.Replace(b.text, `text = "discard"`, `text = "elsewhere"`, 1)
	b.configure(text)
	mustRun(t, "reload", "--config", b.config)
	for deadline := time.Now().Add(20 * time.Second); strings.Join(b.routes(), "") != "203.0.113.7/32 elsewhere"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the peer has %q", b.routes())
		}
	}
	if m := b.await(attackTarget, "active"); m.ID != first.ID {
		t.Errorf("%s has become %s", first.ID, m.ID)
	}
	b.configure(strings.Replace(text, `mode        = "enforce"`, `mode        = "monitor"`, 1))
	mustRun(t, "reload", "--config", b.config)
	b.awaitRoutes(0)
	b.configure(text)
	mustRun(t, "reload", "--config", b.config)
	b.awaitRoutes(1)
	withdraw := strings.Replace(text, `max_backoff = "50ms"`, `max_backoff = "50ms"
    on_stop     = "withdraw"`, 1)
	b.configure(withdraw)
	mustRun(t, "reload", "--config", b.config)
	b.await(attackTarget, "active")
	b.daemon.stop(t)
	if got := b.routes(); len(got) != 0 {
		t.Errorf("after the stop the peer has %q", got)
	}
	b.run()
	b.awaitRoutes(1)
	b.configure(strings.Replace(withdraw, "actions  = [action.rib.edge.blackhole]", "actions  = []", 1))
	mustRun(t, "reload", "--config", b.config)
	b.awaitRoutes(0)
	if n := len(b.list()); n != 0 {
		t.Errorf("%d are left", n)
	}
	b.daemon.stop(t)
}
