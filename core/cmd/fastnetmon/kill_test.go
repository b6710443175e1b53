package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// counts is how often a long test does what it does: full counts under
// "make soak".
func counts(normal, soak int) int {
	if os.Getenv("FASTNETMON_SOAK") != "" {
		return soak
	}
	return normal
}

const killConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    direction = "incoming"
    pps       = 1000
  }
}

capture "hello" "killed" {
  target = "203.0.113.7"
  pps    = 50000

  process {
    backoff     = "10ms"
    max_backoff = "20ms"
  }
}

action "hello" "greet" {}

pipeline "main" {
  captures = [capture.hello.killed]
  actions  = [action.hello.greet]
}
`

type pluginRow struct {
	Kind, State string
	PID         int
}

// capturePID waits for a capture that runs as another process than before.
func capturePID(t testing.TB, config string, before int) int {
	t.Helper()
	return pluginPID(t, config, "capture", before)
}

func pluginPID(t testing.TB, config, kind string, before int) int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var list []pluginRow
		if err := json.Unmarshal([]byte(mustRun(t, "plugins", "--config", config, "--json").stdout), &list); err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.Kind == kind && p.State == "running" && p.PID > 0 && p.PID != before {
				return p.PID
			}
		}
	}
	t.Fatalf("no new %s after process %d", kind, before)
	return 0
}

// A capture that is killed again and again costs its own input what it had not
// handed over, which the ledger tells, and nothing else.
func TestKilledCaptures(t *testing.T) {
	dir := t.TempDir()
	config := write(t, "kill.hcl", fmt.Sprintf(killConfig, dir))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack started")
	pid := 0
	for range counts(10, 1000) {
		pid = capturePID(t, config, pid)
		time.Sleep(time.Duration(100+pid*7%150) * time.Millisecond) // anywhere between two flushes
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	capturePID(t, config, pid)
	row := balanced(t, config)
	t.Logf("received %d, used %d, dropped %v", row.Received, row.Used, row.Dropped)
	l.stop(t)
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

type ledgerRow struct {
	Received uint64
	Used     uint64
	InFlight uint64 `json:"in_flight"`
	Dropped  map[string]uint64
}

// balanced is the account of the only input, which must add up.
func balanced(t testing.TB, config string) ledgerRow {
	t.Helper()
	var ledger []ledgerRow
	out := mustRun(t, "ledger", "--config", config, "--json").stdout
	if err := json.Unmarshal([]byte(out), &ledger); err != nil || len(ledger) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	row := ledger[0]
	sum := row.Used + row.InFlight
	for _, n := range row.Dropped {
		sum += n
	}
	if row.Received != sum || row.Used == 0 {
		t.Errorf("the ledger does not balance: %s", out)
	}
	return row
}

// Reloads under load drop nothing and leave the capture the process it is.
func TestReloadsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf(killConfig, dir)
	config := write(t, "kill.hcl", text)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack started")
	pid := capturePID(t, config, 0)
	for i := range counts(10, 100) {
		limit := fmt.Sprintf("pps       = %d", 1001+i)
		if err := os.WriteFile(config, []byte(strings.Replace(text, "pps       = 1000", limit, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		mustRun(t, "reload", "--config", config)
	}
	if row := balanced(t, config); len(row.Dropped) > 0 {
		t.Errorf("dropped %v", row.Dropped)
	}
	if now := capturePID(t, config, 0); now != pid {
		t.Errorf("the capture was process %d and is %d", pid, now)
	}
	l.stop(t)
	if n := strings.Count(l.stderr.String(), "attack started"); n != 1 {
		t.Errorf("%d attacks started, want 1", n)
	}
}

// When the core is killed its plugins are gone within two seconds.
func TestKilledCore(t *testing.T) {
	for range counts(3, 200) {
		dir := t.TempDir()
		l := start(t, "run", "--config", write(t, "kill.hcl", fmt.Sprintf(killConfig, dir)))
		l.waitLog(t, "attack started")
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		gone := false
		for deadline := time.Now().Add(2 * time.Second); !gone && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			gone = processes() == ""
		}
		if !gone {
			t.Fatalf("two seconds after the core was killed:\n%s", processes())
		}
		// What a killed daemon leaves does not hinder the next one.
		again := start(t, "run", "--config", write(t, "kill.hcl", fmt.Sprintf(killConfig, dir)))
		again.waitLog(t, "attack started")
		again.stop(t)
		if left, err := filepath.Glob(filepath.Join(dir, "run", "plugin-dir*")); err != nil || len(left) > 0 {
			t.Errorf("left in the runtime directory: %v, %v", left, err)
		}
	}
}
