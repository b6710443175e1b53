package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// live is a running daemon.
type live struct {
	cmd    *exec.Cmd
	stderr *sdktest.Output
	done   chan error
}

func start(t testing.TB, args ...string) *live {
	t.Helper()
	l := &live{cmd: exec.Command(program, args...), stderr: &sdktest.Output{}, done: make(chan error, 1)}
	l.cmd.Dir = repository
	l.cmd.Stderr = l.stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.done <- l.cmd.Wait() }()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // it may have ended
		if err := <-l.done; err != nil && !t.Failed() {
			t.Log("killed:", err)
		}
	})
	return l
}

// stop asks the daemon to end and demands that it does, with status 0.
func (l *live) stop(t testing.TB) {
	t.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-l.done:
		close(l.done)
		if err != nil {
			t.Errorf("run ended with %v\n%s", err, l.stderr)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("run did not stop within 20 s of SIGTERM\n%s", l.stderr)
	}
}

const attackTarget = "203.0.113.7"

// liveConfig plays a capture and calls a script that appends a line a call.
func liveConfig(t *testing.T, capture, log string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "notify.sh")
	text := fmt.Sprintf("#!/bin/sh\nprintf '%%s %%s %%s %%s %%s\\n' \"$(date +%%s.%%N)\" \"$@\" >> %s\ncat >> %s.stdin\n", log, log)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return write(t, "live.hcl", fmt.Sprintf(`
daemon {
  runtime_dir = %q
  state_dir   = %q
}

network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1s"
  quiet    = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 2000
  }
}

capture "pcap" "file" {
  files = [%q]
}

action "script" "notify" {
  role    = "notify"
  command = [%q]
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}
`, t.TempDir(), t.TempDir(), capture, script))
}

func TestRunDetectsAndCallsTheScript(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "attack.pcap")
	mustRun(t, "traffic", "--out", capture, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "6s", "--pps", "1000",
		"--attack", "syn_flood,target="+attackTarget+",pps=20000,start=2s,for=3s")
	log := filepath.Join(t.TempDir(), "calls")
	l := start(t, "run", "--config", liveConfig(t, capture, log))
	calls := waitForLines(t, log, 3, 40*time.Second, l)
	l.stop(t)

	ban, details, unban := strings.Fields(calls[0]), strings.Fields(calls[1]), strings.Fields(calls[2])
	if len(ban) != 5 || ban[1] != attackTarget || ban[2] != "incoming" || ban[4] != "ban" {
		t.Errorf("the first call was %q", calls[0])
	}
	if len(details) != 5 || details[1] != attackTarget || details[4] != "attack_details" {
		t.Errorf("the second call was %q", calls[1])
	}
	if len(unban) != 5 || unban[1] != attackTarget || unban[4] != "unban" {
		t.Errorf("the third call was %q", calls[2])
	}
	if n := len(waitForLines(t, log, 3, time.Second, l)); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	report, err := os.ReadFile(log + ".stdin")
	if err != nil || !bytes.Contains(report, []byte("Attack type: syn_flood\n")) {
		t.Errorf("the report: %v\n%s", err, report)
	}
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

// waitForLines returns the lines of a file once there are n of them.
func waitForLines(t *testing.T, path string, n int, limit time.Duration, l *live) []string {
	t.Helper()
	var lines []string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		lines = lines[:0]
		if f, err := os.Open(path); err == nil {
			for scan := bufio.NewScanner(f); scan.Scan(); {
				lines = append(lines, scan.Text())
			}
			f.Close()
		}
		if len(lines) >= n {
			return lines
		}
	}
	t.Fatalf("%d lines in %s after %s, want %d", len(lines), path, limit, n)
	return nil
}

// processes lists what runs with the program's folder in its command line.
func processes() string {
	out, err := exec.Command("pgrep", "-af", filepath.Dir(program)).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
