package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	clock "github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// wallToStream added to a time of day gives the stream's clock. Of many
// readings that with the shortest pause between the two clocks is taken.
var wallToStream = func() int64 {
	offset, shortest := int64(0), int64(math.MaxInt64)
	for range 100 {
		before := clock.Monotonic()
		wall := time.Now().UnixNano()
		after := clock.Monotonic()
		if after-before < shortest {
			shortest, offset = after-before, before+(after-before)/2-wall
		}
	}
	return offset
}()

// logLine is a line of the daemon's log, an attack's event or another.
type logLine struct {
	Message   string       `json:"@message"`
	Stamp     string       `json:"@timestamp"`
	ID        string       `json:"id"`
	Target    netip.Prefix `json:"target"`
	Direction string       `json:"direction"`
	HostGroup string       `json:"hostgroup"`
	Threshold string       `json:"threshold"`
	Counter   string       `json:"counter"`
	Unit      string       `json:"unit"`
	Value     float64      `json:"value"`
	Limit     float64      `json:"limit"`
	Rule      string       `json:"rule"`

	at int64 // when it was written, on the stream's clock
}

// watched is a running daemon whose log is read as it comes.
type watched struct {
	cmd  *exec.Cmd
	done chan error // of the process, its log read to the end

	mu    sync.Mutex
	lines []logLine
	text  []byte
}

// watch starts the daemon.
func watch(tb testing.TB, config string) *watched {
	tb.Helper()
	w := &watched{cmd: exec.Command(program, "run", "--config", config, "--log-json"), done: make(chan error, 1)}
	w.cmd.Dir = repository
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		w.read(stderr)
		w.done <- w.cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it may have ended
		if err := <-w.done; err != nil && !tb.Failed() {
			tb.Log("killed:", err)
		}
	})
	return w
}

func (w *watched) read(r io.Reader) {
	for scan := bufio.NewScanner(r); scan.Scan(); {
		var l logLine
		known := json.Unmarshal(scan.Bytes(), &l) == nil
		if stamp, err := time.Parse(time.RFC3339Nano, l.Stamp); known && err == nil {
			// The log cuts its times to milliseconds: take the latest that it can mean.
			l.at = stamp.Add(time.Millisecond).UnixNano() + wallToStream
		}
		w.mu.Lock()
		w.text = append(append(w.text, scan.Bytes()...), '\n')
		if known {
			w.lines = append(w.lines, l)
		}
		w.mu.Unlock()
	}
}

// log returns the lines with one of the messages, in order.
func (w *watched) log(messages ...string) []logLine {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []logLine
	for _, l := range w.lines {
		for _, m := range messages {
			if l.Message == m {
				out = append(out, l)
			}
		}
	}
	return out
}

// tail is the end of the log, for failures.
func (w *watched) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text[max(0, len(w.text)-4000):])
}

// await polls until a condition holds; it fails when the daemon ends or the
// time is over.
func (w *watched) await(tb testing.TB, limit time.Duration, what string, holds func() bool) {
	tb.Helper()
	deadline := time.After(limit)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case err := <-w.done:
			w.done <- err
			tb.Fatalf("the daemon ended (%v) before %s\n%s", err, what, w.tail())
		case <-deadline:
			tb.Fatalf("after %v not %s\n%s", limit, what, w.tail())
		case <-poll.C:
		}
	}
}

// stop ends the daemon and demands exit status 0.
func (w *watched) stop(tb testing.TB) {
	tb.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	select {
	case err := <-w.done:
		w.done <- err
		if err != nil {
			tb.Errorf("run ended with %v\n%s", err, w.tail())
		}
	case <-time.After(20 * time.Second):
		tb.Fatalf("run did not stop within 20 s of SIGTERM\n%s", w.tail())
	}
}

// buildLatencyCapture builds testdata/latency-capture.
func buildLatencyCapture(tb testing.TB, dir string) string {
	tb.Helper()
	path := filepath.Join(dir, "capture-latency")
	build := exec.Command("go", "build", "-o", path, "./core/cmd/fastnetmon/testdata/latency-capture")
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("building the capture: %v\n%s", err, out)
	}
	return path
}

// latencyConfig watches both networks with one limit, each direction apart.
func latencyConfig(tb testing.TB, dir, plugin, body string) string {
	tb.Helper()
	path := filepath.Join(dir, "latency.hcl")
	text := fmt.Sprintf(`
daemon {
  runtime_dir = %q
  state_dir   = %q
}

network "ours" {
  prefixes = [%q, %q]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "5s"

  threshold "flood" {
    pps = %d
  }
}

capture %q "source" {
  %s
}

pipeline "main" {
  captures = [capture.%s.source]
}
`, filepath.Join(dir, "run"), filepath.Join(dir, "state"), floodNetwork4, floodNetwork6, floodLimit, plugin, body, plugin)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
