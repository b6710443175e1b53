package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestExitStatus(t *testing.T) {
	s, _, log := setup(t, "echo hello; echo first >&2; echo 'no route to mail server' >&2; exit 3", nil)
	err := s.Notify(t.Context(), attack())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no route to mail server") {
		t.Errorf("error %v", err)
	}
	if sdk.IsRetry(err) {
		t.Error("a script that failed would be called again")
	}
	for _, want := range []string{"[INFO]  script says", "line=hello", "[WARN]  script says", "line=first", "attack=0f5c1e"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

func TestCannotStart(t *testing.T) {
	s, dir, _ := setup(t, "", nil)
	s.cfg.Command = []string{filepath.Join(dir, "none")}
	err := s.Notify(t.Context(), attack())
	if err == nil || !strings.Contains(err.Error(), "cannot start "+dir+"/none") {
		t.Errorf("error %v", err)
	}
}

// appears waits for a file that a script writes.
func appears(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(path); len(b) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s does not appear", path)
			return
		}
	}
}

// gone waits for a process to end; the test's own deadline is the limit.
func gone(t *testing.T, dir, pidFile string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir, pidFile)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d (%s) still lives", pid, pidFile)
		}
	}
}

// zombie reports a dead process that nobody has waited for: a container's
// first process may not.
func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return bytes.Contains(b, []byte(") Z "))
}

// A script that hangs and ignores SIGTERM is killed with its children.
func TestHungScript(t *testing.T) {
	s, dir, _ := setup(t, `trap '' TERM
echo $$ > "$1/leader.pid"
sh -c 'trap "" TERM; echo $$ > "$1/child.pid"; while :; do sleep 1; done' sh "$1" &
setsid sh -c 'trap "" TERM; echo $$ > "$1/apart.pid"; while :; do sleep 1; done' sh "$1" > /dev/null 2>&1 &
echo waiting >&2
while :; do sleep 1; done`, func(c *config) { c.Timeout = time.Second })
	begin := time.Now()
	err := s.Notify(t.Context(), attack())
	if took := time.Since(begin); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("took %s, want the timeout of 1s and the grace of 2s", took)
	}
	if err == nil || !strings.Contains(err.Error(), "timeout") || !strings.Contains(err.Error(), "waiting") {
		t.Errorf("error %v", err)
	}
	gone(t, dir, "leader.pid")
	gone(t, dir, "child.pid")
	gone(t, dir, "apart.pid")
}

// A script that still runs when the plugin stops is stopped. One that obeys
// SIGTERM costs no grace; its children get it as well.
func TestTerminated(t *testing.T) {
	s, dir, _ := setup(t, `echo $$ > "$1/leader.pid"
sleep 600 & echo $! > "$1/child.pid"
wait`, nil)
	closed := make(chan error, 1)
	go func() {
		appears(t, filepath.Join(dir, "child.pid"))
		closed <- s.Close(context.Background())
	}()
	begin := time.Now()
	err := s.Notify(t.Context(), attack())
	if err == nil || !strings.Contains(err.Error(), "the plugin stops") {
		t.Errorf("error %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	// Where nobody waits for orphans, their zombies keep the group alive.
	if took := time.Since(begin); took > grace+time.Second {
		t.Errorf("took %s", took)
	}
	gone(t, dir, "leader.pid")
	gone(t, dir, "child.pid")
}

// Where the plugin has no time left to stop, a script that ignores SIGTERM is
// killed with its children, and Close does not wait for any grace.
func TestKilledAtClose(t *testing.T) {
	s, dir, _ := setup(t, `trap '' TERM
echo $$ > "$1/leader.pid"
sh -c 'trap "" TERM; echo $$ > "$1/child.pid"; while :; do sleep 1; done' sh "$1" &
while :; do sleep 1; done`, nil)
	called := make(chan error, 1)
	go func() { called <- s.Notify(t.Context(), attack()) }()
	appears(t, filepath.Join(dir, "child.pid"))
	over, cancel := context.WithCancel(context.Background())
	cancel()
	begin := time.Now()
	if err := s.Close(over); err != nil {
		t.Log(err) // on a busy machine its death may take longer
	}
	if took := time.Since(begin); took > grace {
		t.Errorf("took %s", took)
	}
	if err := <-called; err == nil || !strings.Contains(err.Error(), "the plugin stops") {
		t.Errorf("error %v", err)
	}
	gone(t, dir, "leader.pid")
	gone(t, dir, "child.pid")
}

// A script may leave a process behind that holds its output.
func TestForkingScript(t *testing.T) {
	s, dir, _ := setup(t, `sleep 600 & echo $! > "$1/child.pid"; echo done`, nil)
	begin := time.Now()
	if err := s.Notify(t.Context(), attack()); err != nil {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir, "child.pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the process left behind on purpose is gone: %v", err)
	}
}

// A script need not read its input, however much there is.
func TestStdinUnread(t *testing.T) {
	s, _, _ := setup(t, "exec true", func(c *config) { c.Format = formatJSON })
	e := attack()
	for range 50_000 {
		e.Crossed = append(e.Crossed, e.Crossing)
	}
	if err := s.Notify(t.Context(), e); err != nil {
		t.Errorf("error %v", err)
	}
}

// Output beyond the limit is read and thrown away.
func TestHugeOutput(t *testing.T) {
	s, _, log := setup(t, `i=0; while [ $i -lt 3000 ]; do echo "0123456789012345678901234567890123456789012345678901234567890123456789"; i=$((i+1)); done; echo END`, nil)
	if err := s.Notify(t.Context(), attack()); err != nil {
		t.Errorf("error %v", err)
	}
	text := log.String()
	if n := strings.Count(text, "0123456789"); n == 0 || n > maxOutput/10 {
		t.Errorf("%d repetitions in the log", n)
	}
	if strings.Contains(text, "line=END") || !strings.Contains(text, "lost_bytes=") {
		t.Errorf("the end of the log: %s", text[max(0, len(text)-300):])
	}
}

func TestOutputLines(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7, 1 << 20} {
		var lines []string
		o := &output{emit: func(l string) { lines = append(lines, l) }}
		text := "one\n\n  \r\ntwo\r\n" + strings.Repeat("x", maxLine) + "\n" + strings.Repeat("y", maxLine+3) + "\nbad \xff byte\nrest"
		for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			part := rest[:min(size, len(rest))]
			if n, err := o.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		last, lost := o.close()
		want := []string{"one", "two", strings.Repeat("x", maxLine), strings.Repeat("y", maxLine), "yyy", "bad \uFFFD byte", "rest"}
		if d := cmp.Diff(want, lines); d != "" || last != "rest" || lost != 0 {
			t.Fatalf("in pieces of %d: last %q, lost %d, (-want +got)\n%s", size, last, lost, d)
		}
		if n, err := o.Write([]byte("late\n")); n != 5 || err != nil || len(lines) != len(want) {
			t.Fatal("a late write was taken")
		}
	}
}
