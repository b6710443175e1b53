package service

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func helper(t *testing.T, as, file string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+as, fileEnv+"="+file)
	return cmd
}

// eventually waits for what another process does.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 30 seconds this did not happen: %s", what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestDetachReady(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report")
	cmd := helper(t, "ready", file)
	// A pipe, not a buffer's file: whoever held its other end would be waited for.
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stray, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	cmd.ExtraFiles = []*os.File{stray, stray}
	if err := cmd.Run(); err != nil {
		t.Fatalf("the parent: %v\n%s", err, out.String())
	}
	if got := out.String(); got != "child is starting\n" {
		t.Errorf("the parent relayed %q", got)
	}
	eventually(t, "the child's report", func() bool { return exists(file) })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	stdio := "[  ]"
	if runtime.GOOS == "linux" {
		stdio = "[/dev/null /dev/null /dev/null]"
		for _, fd := range []string{"3", "4"} {
			if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd)); err == nil && link == os.DevNull {
				t.Errorf("descriptor %s of the parent reached the child", fd)
			}
		}
	}
	if want := fmt.Sprintf("%d true / false %s", pid, stdio); string(text) != want {
		t.Errorf("pid, leads session, directory, marked, stdio: %q, want %q", text, want)
	}
	if pid == cmd.Process.Pid {
		t.Error("parent and child are the same process")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child's end", func() bool { return exists(file + ".ended") })
}

func TestDetachFails(t *testing.T) {
	for _, test := range []struct {
		as   string
		code int
		want string
	}{
		{"fails", 5, "child is starting\n"},
		{"ends", 1, "child is starting\nstarting in the background: the program ended before it was ready\n"},
		{"killed", 137, "child is starting\nstarting in the background: the program was ended by a signal: killed\n"},
	} {
		t.Run(test.as, func(t *testing.T) {
			out, err := helper(t, test.as, "").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.code {
				t.Errorf("ended with %v, want exit code %d", err, test.code)
			}
			if string(out) != test.want {
				t.Errorf("said %q, want %q", out, test.want)
			}
		})
	}
}

// A parent that is told to stop while it waits takes the child with it.
func TestDetachInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hangs")
	cmd := helper(t, "hangs", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child's start", func() bool { return exists(file) })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 6 {
		t.Errorf("ended with %v, want the child's exit code 6", err)
	}
}

func TestNotDetached(t *testing.T) {
	if InDetached() != nil {
		t.Error("a process that nobody detached takes itself for one")
	}
	t.Setenv(detachedEnv, "3")
	regular, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(detachedFD, &stat); err == nil && stat.Mode&syscall.S_IFMT == syscall.S_IFIFO {
		t.Logf("descriptor %d of the test is a pipe itself: nothing to see", detachedFD)
		return
	}
	if InDetached() != nil {
		t.Error("the variable alone makes a process take itself for a detached one")
	}
	if _, still := os.LookupEnv(detachedEnv); still {
		t.Error("the mark is still there for programs that are started")
	}
}

// A daemon in the background: refuses a second one, is killed, is started
// again, and stops.
func TestDaemonInBackground(t *testing.T) {
	dir := shortDir(t)
	syslog := listenSyslog(t, filepath.Join(dir, "log"))
	heard := func(want string) {
		t.Helper()
		if got := receive(t, syslog); !strings.HasSuffix(got, want) {
			t.Errorf("syslog got %q, want %q", got, want)
		}
	}
	pidFile := filepath.Join(dir, "pid")
	begin := func() int {
		t.Helper()
		if out, err := helper(t, "daemon", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		heard("running")
		pid := readPID(t, pidFile)
		t.Cleanup(func() {
			if exists(pidFile) && readPID(t, pidFile) == pid {
				_ = syscall.Kill(pid, syscall.SIGKILL) // a check has failed
			}
		})
		return pid
	}
	first := begin()
	out, err := helper(t, "daemon", dir).CombinedOutput()
	var exit *exec.ExitError
	if want := fmt.Sprintf("already running: process %d holds", first); !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(string(out), want) {
		t.Errorf("a second start: %v, %q; want exit code 7 and %q", err, out, want)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock of a killed process is free", func() bool {
		f, err := os.Open(pidFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
	second := begin()
	if second == first {
		t.Errorf("the file still says %d", first)
	}
	if err := syscall.Kill(second, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	heard("stopped")
	eventually(t, "the PID file is removed", func() bool { return !exists(pidFile) })
}
