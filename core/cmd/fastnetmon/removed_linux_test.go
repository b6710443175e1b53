package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// A daemon outlives what others do to its files: its runtime directory is
// removed, its log runs full. It detects on, tells of it, and goes back to
// normal.
func TestFilesTakenAway(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf(killConfig, dir)
	config := write(t, "removed.hcl", text)
	log, full := filepath.Join(dir, "log"), filepath.Join(dir, "full")
	if err := unix.Mknod(full, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 7))); err != nil {
		sdktest.Absent(t, "a device that is always full cannot be made: "+err.Error())
	}
	if err := os.Symlink(full, log); err != nil {
		t.Fatal(err)
	}
	l := start(t, "run", "--config", config, "--log", "file:"+log)
	pid := capturePIDOnceUp(t, config)
	status := mustRun(t, "status", "--config", config).stdout
	if !strings.Contains(status, "trouble    the log has not been written since") || !strings.Contains(status, "no space left on device") {
		t.Errorf("status does not tell of the full disk:\n%s", status)
	}
	if r := run(t, "doctor", "--config", config); r.code != exitFailure || !strings.Contains(r.stdout, "no space left on device") {
		t.Errorf("doctor, exit status %d, says\n%s", r.code, r.stdout)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); run(t, "status", "--config", config).code != 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the control socket does not come back")
		}
	}
	if status := mustRun(t, "status", "--config", config).stdout; strings.Contains(status, "trouble") {
		t.Errorf("status still tells of trouble:\n%s", status)
	}
	if other := run(t, "run", "--config", config); other.code != exitFailure || !strings.Contains(other.stderr, "in use by another daemon") {
		t.Errorf("a second daemon in the same directory: exit status %d\n%s", other.code, other.stderr)
	}
	// A plugin can be started there.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	capturePID(t, config, pid)
	plugins := mustRun(t, "plugins", "--config", config).stdout
	if !strings.Contains(plugins, "last failure 20") || !strings.Contains(plugins, "killed") {
		t.Errorf("plugins do not tell of the failure:\n%s", plugins)
	}
	l.stop(t)
	said, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(said), "log lines were lost") || !strings.Contains(string(said), "the runtime directory was removed") {
		t.Errorf("the log, %v, says\n%s", err, said)
	}
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

// capturePIDOnceUp waits for a daemon that says nothing of its own.
func capturePIDOnceUp(t *testing.T, config string) int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); run(t, "status", "--config", config).code != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not come up")
		}
	}
	return capturePID(t, config, 0)
}
