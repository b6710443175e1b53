package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guarded is a daemon in enforce mode with one capture of steady traffic
// (testdata/steady-capture), at half the limit, and a mitigating script.
type guarded struct {
	*live
	config string
	calls  string // file with a line for each call of the script
	factor string // file that multiplies the traffic
}

const guardConfig = `
daemon {
  mode        = "enforce"
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "%[2]s"
  quiet    = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
}

capture "steady" "line" {
  target = "203.0.113.7"
  pps    = 10000
  factor = "%[1]s/factor"
  %[3]s

  process {
    backoff     = "10ms"
    max_backoff = "20ms"
    path        = "%[4]s"
  }
}

action "script" "ban" {
  role    = "mitigate"
  command = ["%[1]s/ban.sh"]
}
%[5]s
pipeline "main" {
  captures = [capture.steady.line]
  filters  = [%[6]s]
  actions  = [action.script.ban]
}
`

// guardFilter lets everything wait for it.
const guardFilter = `
filter "hello" "stops" {
  port = 54

  process {
    on_failure = "stop"
  }
}
`

func startGuarded(t *testing.T, average, settings string) *guarded {
	t.Helper()
	return startFiltered(t, average, settings, "", "")
}

// startFiltered is startGuarded with a filter block and its reference.
func startFiltered(t *testing.T, average, settings, filter, reference string) *guarded {
	t.Helper()
	dir := t.TempDir()
	plugin := filepath.Join(dir, "capture-steady")
	build := exec.Command("go", "build", "-o", plugin, "./core/cmd/fastnetmon/testdata/steady-capture")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g := &guarded{calls: filepath.Join(dir, "calls"), factor: filepath.Join(dir, "factor")}
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s\ncat > /dev/null\n", g.calls)
	if err := os.WriteFile(filepath.Join(dir, "ban.sh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	g.config = write(t, "guard.hcl", fmt.Sprintf(guardConfig, dir, average, settings, plugin, filter, reference))
	g.live = start(t, "run", "--config", g.config)
	return g
}

func (g *guarded) multiply(t *testing.T, factor string) {
	t.Helper()
	if err := os.WriteFile(g.factor, []byte(factor), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bans are the calls of the script so far that ask for a ban.
func (g *guarded) bans() int {
	text, err := os.ReadFile(g.calls)
	if err != nil {
		return 0
	}
	return strings.Count(string(text), " ban\n")
}

func (g *guarded) noBan(t *testing.T) {
	t.Helper()
	if n := g.bans(); n != 0 {
		t.Errorf("the mitigating script was called %d times\n%s", n, g.stderr)
	}
}

// attackBans makes traffic an attack, and demands that it is enforced.
func (g *guarded) attackBans(t *testing.T, factor string) {
	t.Helper()
	g.multiply(t, factor)
	waitForLines(t, g.calls, 1, 30*time.Second, g.live)
	if g.bans() != 1 {
		t.Errorf("an attack was not enforced once\n%s", g.stderr)
	}
}

func (g *guarded) status(t *testing.T) (s statusJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--config", g.config, "--json").stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// waitSteady waits until the capture's start is forgotten.
func (g *guarded) waitSteady(t *testing.T) {
	t.Helper()
	g.waitLog(t, "running: captures")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if s := g.status(t); s.Suspended == "" && s.Hosts > 0 {
			return
		}
	}
	t.Fatal("attacks are not enforced 30 s after the start")
}

// signalled stops and continues a process, which may be gone by then.
func signalled(t *testing.T, pid int, stop time.Duration) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(stop)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// What came in while a capture did not run looks like a flood when it is
// counted in a moment: told, but not enforced.
func TestStoppedCaptureBansNobody(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "1s", "")
	g.multiply(t, "1.4")
	g.waitSteady(t)
	pid := capturePID(t, g.config, 0)
	signalled(t, pid, 1500*time.Millisecond)
	g.waitLog(t, "rates may be too high")
	g.waitLog(t, "attack started")
	if s := g.status(t); !strings.Contains(s.Suspended, "input steady.line was silent for 1") {
		t.Errorf("status says %q", s.Suspended)
	}
	g.waitLog(t, "attack ended")
	signalled(t, pid, 10*time.Second) // too long: it is replaced
	capturePID(t, g.config, pid)
	g.noBan(t)
	g.waitSteady(t)
	g.attackBans(t, "10")
	g.stop(t)
}

// What waited for a filter that did not run looks like a flood as well, though
// the capture went on.
func TestStoppedFilterBansNobody(t *testing.T) {
	t.Parallel()
	g := startFiltered(t, "1s", "", guardFilter, "filter.hello.stops")
	g.multiply(t, "1.4")
	g.waitSteady(t)
	signalled(t, pluginPID(t, g.config, "filter", 0), 2*time.Second)
	g.waitLog(t, "waited 2")
	g.waitLog(t, "attack started")
	g.waitLog(t, "attack ended")
	g.noBan(t)
	g.waitSteady(t)
	g.attackBans(t, "10")
	g.stop(t)
}

func TestStoppedCoreBansNobody(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "1s", "")
	g.waitSteady(t)
	signalled(t, g.cmd.Process.Pid, 10*time.Second)
	g.waitLog(t, "this program was stopped for 1")
	time.Sleep(time.Second)
	g.noBan(t)
	g.waitSteady(t)
	g.attackBans(t, "10")
	g.stop(t)
}

// A capture that starts, or starts again, with a million packets waiting.
func TestQueuedPacketsBanNobody(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "1s", "queued = 1000000")
	g.waitLog(t, "attack started")
	g.waitLog(t, "attack ended")
	pid := capturePID(t, g.config, 0)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	capturePID(t, g.config, pid)
	for deadline := time.Now().Add(30 * time.Second); strings.Count(g.stderr.String(), "attack ended") < 2 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := strings.Count(g.stderr.String(), "attack started"); n != 2 {
		t.Errorf("%d attacks were told, want one a start\n%s", n, g.stderr)
	}
	g.noBan(t)
	g.waitSteady(t)
	g.attackBans(t, "10")
	g.stop(t)
}

// An attack that is on while enforcement is suspended is enforced afterwards.
func TestAttackOutlastsSuspension(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "1s", "queued = 1000000")
	g.multiply(t, "10")
	g.waitLog(t, "attack started")
	g.waitLog(t, "is enforced from now on")
	waitForLines(t, g.calls, 1, 10*time.Second, g.live)
	if g.bans() != 1 {
		t.Errorf("%d bans, want 1\n%s", g.bans(), g.stderr)
	}
	g.stop(t)
}

// Loss hides traffic and never silences detection: five times the limit minus
// 30 % is an attack, and the event tells of the loss.
func TestLossDoesNotSilence(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "5s", "lose = 30")
	g.waitSteady(t)
	g.attackBans(t, "10")
	var attacks []struct {
		LossRatio float64 `json:"loss_ratio"`
	}
	if err := json.Unmarshal([]byte(mustRun(t, "attacks", "--config", g.config, "--json").stdout), &attacks); err != nil {
		t.Fatal(err)
	}
	if len(attacks) != 1 || attacks[0].LossRatio < 0.25 || attacks[0].LossRatio > 0.35 {
		t.Errorf("attacks %+v", attacks)
	}
	g.stop(t)
}
