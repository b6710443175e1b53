package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// safeBuffer is an output that is looked at while it is written to.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines returns what was written since the last call, without times.
func (b *safeBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for text := range strings.Lines(b.buf.String()) {
		if i := strings.IndexByte(text, '['); i > 0 && text[0] == '2' {
			text = text[i:]
		}
		out = append(out, strings.TrimSuffix(text, "\n"))
	}
	b.buf.Reset()
	return out
}

func newLogger(t *testing.T, opt Options) *Logger {
	t.Helper()
	l, err := NewLogger(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLoggerStderr(t *testing.T) {
	var out safeBuffer
	l := newLogger(t, Options{Level: hclog.Info, Stderr: &out})
	l.Debug("not shown")
	l.Named("engine").With("shard", 3).Warn("slow tick", "took", 7*time.Second)
	l.Error("two\nlines", "trace", "first\nsecond", "tail\x1b[31m\n[ERROR] forged", 1)
	l.Flush()
	got := out.lines()
	want := []string{
		"[WARN]  fastnetmon.engine: slow tick: shard=3 took=7s",
		"[ERROR] fastnetmon: two",
		"  lines:",
		"  trace=",
		"  | first",
		"  | second",
		"   tail?[31m",
		"  [ERROR] forged=1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	l.SetLevel(hclog.Debug)
	l.Debug("shown now")
	l.Flush()
	if got := out.lines(); len(got) != 1 {
		t.Errorf("after SetLevel: %q", got)
	}
}

func TestLoggerJSON(t *testing.T) {
	var out safeBuffer
	l := newLogger(t, Options{Name: "program", Level: hclog.Info, JSON: true, Stderr: &out})
	l.Info("hello", "n", 1)
	l.Info("long", "text", strings.Repeat("x", 2*maxLine))
	l.Flush()
	var got []map[string]any
	for _, text := range strings.Split(strings.TrimSpace(out.buf.String()), "\n") {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		got = append(got, o)
	}
	if len(got) != 2 || got[0]["@message"] != "hello" || got[0]["@module"] != "program" || got[0]["@timestamp"] == nil || got[1]["bytes"].(float64) < maxLine {
		t.Errorf("got %v", got)
	}
}

func TestLongLine(t *testing.T) {
	var out safeBuffer
	l := newLogger(t, Options{Level: hclog.Info, Stderr: &out})
	l.Info(strings.Repeat("ä", maxLine))
	l.Flush()
	got := out.lines()
	if len(got) != 1 || len(got[0]) > maxLine+10 || !strings.HasSuffix(got[0], "ä …") {
		t.Errorf("%d lines, the first of %d bytes, ending in %q", len(got), len(got[0]), got[0][len(got[0])-10:])
	}
}

// stuck is an output that takes nothing until it is let go.
type stuck struct {
	safeBuffer
	gate chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.gate
	return s.safeBuffer.Write(p)
}

func TestStuckOutput(t *testing.T) {
	out := &stuck{gate: make(chan struct{})}
	l, err := NewLogger(Options{Level: hclog.Info, Stderr: out, Unlimited: []string{"flood"}})
	if err != nil {
		t.Fatal(err)
	}
	const total = 3 * maxQueuedLines
	start := time.Now()
	for i := range total {
		l.Info("flood", "i", i)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("logging into a stuck output took %v", took)
	}
	lost := l.Lost()
	if lost < total-2*maxQueuedLines {
		t.Errorf("%d of %d lines lost: the rest cannot fit", lost, total)
	}
	start = time.Now()
	l.Close()
	if took := time.Since(start); took < closeTime || took > closeTime+5*time.Second {
		t.Errorf("closing a stuck output took %v", took)
	}
	close(out.gate)
	<-l.done
	got := out.lines()
	if n := count(got, "flood"); uint64(n)+lost != total {
		t.Errorf("%d lines written, %d lost, of %d", n, lost, total)
	}
	if count(got, fmt.Sprintf("log lines were lost: the output was too slow, or failed: lost=%d", lost)) != 1 {
		t.Errorf("the loss is not told; the last line is %q", got[len(got)-1])
	}
	l.Info("too late") // and no harm
	l.Flush()
	l.Close()
}

// Large lines are bounded by their bytes.
func TestStuckOutputBytes(t *testing.T) {
	q := newQueue()
	n := 0
	for q.push(line{text: make([]byte, maxLine)}) {
		n++
	}
	if n != maxQueuedBytes/maxLine {
		t.Errorf("%d lines of %d bytes are held", n, maxLine)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestFailingOutput(t *testing.T) {
	l := newLogger(t, Options{Level: hclog.Info, Stderr: failing{}})
	for range 5 {
		l.Info("lost")
	}
	l.Flush()
	if l.Lost() < 5 {
		t.Errorf("%d lines lost", l.Lost())
	}
}

func TestLoggerFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "fastnetmon.log")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l := newLogger(t, Options{Level: hclog.Info, Output: "file:" + path})
	l.Info("one")
	l.Flush()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Info("two")
	l.Flush()
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Info("three")
	l.Flush()
	for file, want := range map[string]string{path + ".1": "one two", path: "three"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for row := range strings.Lines(string(text)) {
			words = append(words, strings.TrimSpace(row[strings.LastIndex(row, ":")+1:]))
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%s holds %q, want %q", file, got, want)
		}
	}
	// Where nothing can be opened, the old file goes on.
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reopening in a directory that is gone: %v", err)
	}
	l.Info("four")
	l.Flush()
	if text, _ := os.ReadFile(filepath.Join(dir, "moved", "fastnetmon.log")); !strings.Contains(string(text), "four") {
		t.Errorf("the line after a failed reopening is missing in %q", text)
	}
}

// Reopening while lines are written loses none.
func TestLoggerFileReopenUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := newLogger(t, Options{Level: hclog.Info, Output: "file:" + path, Unlimited: []string{"line"}})
	const writers, each, rotations = 4, 300, 20
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range each {
				l.Info("line")
				if i%50 == 0 {
					l.Flush()
				}
			}
		})
	}
	for i := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	l.Flush()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != rotations+1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(text), "fastnetmon: line\n")
	}
	if n != writers*each || l.Lost() != 0 {
		t.Errorf("%d lines of %d, %d lost", n, writers*each, l.Lost())
	}
}

// The trace of a crash is in the log file: nobody may read standard error.
func TestLoggerFileHasCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := helper(t, "crash", path).Run(); err == nil {
		t.Fatal("the helper did not crash")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "panic: the end of the helper") || !strings.Contains(string(text), "helperCrash") {
		t.Errorf("the log file holds %q", text)
	}
}

func TestLoggerRefuses(t *testing.T) {
	for _, output := range []string{"file:", "journal", "/var/log/x", "file:" + filepath.Join(t.TempDir(), "no", "dir", "log")} {
		if l, err := NewLogger(Options{Level: hclog.Info, Output: output}); err == nil {
			l.Close()
			t.Errorf("output %q is taken", output)
		}
	}
	if l, err := NewLogger(Options{Level: hclog.Info, Output: OutputStderr, Detached: true}); err == nil {
		l.Close()
		t.Error("standard error is taken in the background")
	}
}
