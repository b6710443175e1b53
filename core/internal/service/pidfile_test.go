package service

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// holdPIDFile starts a process that holds the file.
func holdPIDFile(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := helper(t, "hold-pid-file", path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	if word, err := bufio.NewReader(out).ReadString('\n'); word != "held\n" {
		t.Fatalf("the helper said %q, %v", word, err)
	}
	return cmd
}

func readPID(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fastnetmon.pid")
	other := holdPIDFile(t, path)
	if pid := readPID(t, path); pid != other.Process.Pid {
		t.Errorf("the file says %d, the holder is %d", pid, other.Process.Pid)
	}

	var running *RunningError
	if _, err := WritePIDFile(path); !errors.As(err, &running) || running.PID != other.Process.Pid {
		t.Fatalf("a second start: %v, want RunningError with process %d", err, other.Process.Pid)
	} else if !strings.Contains(err.Error(), "process "+strconv.Itoa(other.Process.Pid)) {
		t.Errorf("the error does not name the process: %v", err)
	}
	if pid := readPID(t, path); pid != other.Process.Pid {
		t.Errorf("the refused start wrote %d into the file", pid)
	}
	second, err := WritePIDFile(path + ".second")
	if err != nil {
		t.Fatalf("a second instance with a path of its own: %v", err)
	}
	if err := second.Remove(); err != nil {
		t.Error(err)
	}

	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	if !exists(path) {
		t.Fatal("a killed process cannot have removed its file")
	}
	ours, err := WritePIDFile(path)
	if err != nil {
		t.Fatalf("taking over a stale file: %v", err)
	}
	if pid := readPID(t, path); pid != os.Getpid() {
		t.Errorf("the file says %d, we are %d", pid, os.Getpid())
	}
	if err := ours.Remove(); err != nil {
		t.Error(err)
	}
	if exists(path) {
		t.Error("the file is still there")
	}
}

func TestPIDFileRemovedAtEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fastnetmon.pid")
	other := holdPIDFile(t, path)
	if err := other.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	if exists(path) {
		t.Error("the file is still there")
	}
}

// A file that is not ours any more stays.
func TestPIDFileOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fastnetmon.pid")
	ours, err := WritePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := holdPIDFile(t, path)
	if err := ours.Remove(); err != nil {
		t.Error(err)
	}
	if !exists(path) || readPID(t, path) != other.Process.Pid {
		t.Error("the other's file was removed")
	}
}

// What is no PID file is not overwritten.
func TestPIDFileRefuses(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	for _, text := range []string{"root:x:0:0:root:/root:/bin/sh\n", "12 34\n", "-1", strings.Repeat(" ", 100) + "text"} {
		if err := os.WriteFile(precious, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := WritePIDFile(precious); err == nil {
			p.file.Close()
			t.Errorf("%q was taken for a PID file", text)
		}
		if got, _ := os.ReadFile(precious); string(got) != text {
			t.Errorf("%q has become %q", text, got)
		}
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, fifo, filepath.Join(dir, "none", "pid"), dir} {
		if p, err := WritePIDFile(path); err == nil {
			p.file.Close()
			t.Errorf("%s was taken for a PID file", path)
		}
	}
}

// Many processes that start at once: one of them runs.
func TestPIDFileRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fastnetmon.pid")
	var cmds []*exec.Cmd
	results := make(chan string)
	for range 6 {
		cmd := helper(t, "hold-pid-file", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
		go func() {
			word, err := bufio.NewReader(out).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				word = err.Error()
			}
			results <- word
		}()
	}
	held := 0
	for range cmds {
		if word := <-results; word == "held\n" {
			held++
		} else if word != "" {
			t.Error(word)
		}
	}
	if held != 1 {
		t.Errorf("%d processes hold the file", held)
	}
	for _, cmd := range cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
