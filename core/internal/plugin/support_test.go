package plugin

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// patience is how long tests wait for what takes milliseconds on an idle
// machine: only what never happens takes longer.
const patience = time.Minute

// runtimeDir is short, since a socket's path is.
func runtimeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fnm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left in the runtime directory: %v", left)
		}
		os.RemoveAll(dir)
	})
	return dir
}

// logBuffer collects log lines.
type logBuffer struct{ sdktest.Output }

func (b *logBuffer) count(part string) int { return strings.Count(b.String(), part) }

func newLog() (hclog.Logger, *logBuffer) {
	b := &logBuffer{}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: b}), b
}

func stubSpec(t testing.TB, behaviour string) (Spec, *logBuffer) {
	t.Helper()
	log, b := newLog()
	return Spec{
		Kind: "capture", Name: behaviour, Instance: "test", Path: stubProgram(t, behaviour),
		RuntimeDir: runtimeDir(t), Logger: log, StartTimeout: patience,
	}, b
}

// noTrace checks after the test that no descriptor is left open. Goroutines are
// checked once, at the end of all tests.
func noTrace(t *testing.T) {
	t.Helper()
	before := descriptors()
	t.Cleanup(func() {
		eventually(t, "descriptors are back to what they were", func() bool { return descriptors() <= before })
	})
}

func descriptors() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func groupGone(pid int) bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) }

func processGone(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "Z") // only its parent can do the rest
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within %s: %s", patience, what)
}

// within checks that a step comes to an end.
func within(t testing.TB, what string, step func()) {
	t.Helper()
	start := time.Now()
	step()
	if took := time.Since(start); took > patience/3 {
		t.Errorf("%s took %s", what, took)
	}
}
