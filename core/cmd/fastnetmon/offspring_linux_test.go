package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// A core that is killed leaves nothing, were it started by a script in a
// session of its own: not by its guard and the script's sweeper, and where the
// guard is killed too, not after the next start.
func TestNothingOutlivesTheCore(t *testing.T) {
	dir := t.TempDir()
	sign := "TEST_OFFSPRING=" + mark.New()
	script := filepath.Join(dir, "script.sh")
	text := "#!/bin/sh\nexport " + sign + "\nsetsid sleep 600 &\nsleep 600 &\necho > " + filepath.Join(dir, "called") + "\nsetsid -w sleep 600\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, "offspring.hcl", fmt.Sprintf(strings.NewReplacer(
		`action "hello" "greet" {}`, `action "script" "call" {
  role    = "notify"
  command = ["`+script+`"]
}`, "action.hello.greet", "action.script.call").Replace(killConfig), dir))
	for range counts(2, 100) {
		if err := os.RemoveAll(filepath.Join(dir, "called")); err != nil {
			t.Fatal(err)
		}
		l := start(t, "run", "--config", config)
		l.waitLog(t, "attack started")
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, "called")); err == nil && mark.Signal(sign, 0) >= 3 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the script is not called\n%s", l.stderr)
			}
		}
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(2 * time.Second); processes() != "" || mark.Signal(sign, 0) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("two seconds after the core was killed %d processes of the script are left, and\n%s", mark.Signal(sign, 0), processes())
			}
		}
	}
}

// What is left where core and guard are killed together goes when the next
// daemon starts.
func TestNextStartSweeps(t *testing.T) {
	dir := t.TempDir()
	config := write(t, "sweep.hcl", fmt.Sprintf(killConfig, dir))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack started")
	id, err := os.ReadFile(filepath.Join(dir, "run", "lock"))
	if err != nil || len(id) != 32 {
		t.Fatalf("the lock holds %q, %v", id, err)
	}
	sign := "FASTNETMON_PROCESS=" + string(id) + "."
	if n := mark.Signal(sign, 0); n != 2 {
		t.Errorf("%d processes have the run's mark, want capture and action", n)
	}
	left := leave(t, sign+"1;")
	if err := l.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	endProcesses(t, "guard-plugins")
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.done <- <-l.done // it is dead, and what waits for that at the end hears of it too
	if syscall.Kill(left, 0) != nil {
		t.Fatal("what was to be left is gone: the test proves nothing")
	}
	again := start(t, "run", "--config", config)
	again.waitLog(t, "attack started")
	if n := mark.Signal(sign, 0); n != 0 {
		t.Errorf("%d processes of the run before are left", n)
	}
	again.stop(t)
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

// leave starts a process in a session of its own with an entry in its
// environment.
func leave(t *testing.T, entry string) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Env = []string{entry}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// endProcesses kills the program's processes that have a word in their command
// line.
func endProcesses(t *testing.T, word string) {
	t.Helper()
	for line := range strings.Lines(processes()) {
		pid, command, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(pid)
		if err != nil || !strings.Contains(command, word) {
			continue
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}
