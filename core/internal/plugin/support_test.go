package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func signalIgnore() { signal.Ignore(syscall.SIGTERM, syscall.SIGINT) }

// program returns the path of a stub with this behaviour.
func stubProgram(t testing.TB, behaviour string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "capture-"+behaviour)
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

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
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

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
		RuntimeDir: runtimeDir(t), Logger: log,
		Env: map[string]string{"GORACE": "atexit_sleep_ms=0"}, // a race-enabled stub would exit a second late
	}, b
}

// noTrace checks after the test that no descriptor and no process of the
// group is left. Goroutines are checked once, at the end of all tests.
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
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within ten seconds: %s", what)
}

// within returns a context and checks that the test's step keeps to a bound
// of its own: limit and what scheduling on a busy machine adds.
func within(t testing.TB, limit time.Duration, what string, step func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	step(ctx)
	if took := time.Since(start); took > limit {
		t.Errorf("%s took %s, more than %s", what, took, limit)
	}
}
