package plugin

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

func loggedLines(t *testing.T, input string) []map[string]any {
	t.Helper()
	var b logBuffer
	out := newOutput(hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &b, JSONFormat: true}), newLimiter())
	s := out.stream()
	if n, err := s.Write([]byte(input)); n != len(input) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	s.end()
	out.end()
	var lines []map[string]any
	for line := range strings.Lines(b.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	return lines
}

func TestStderrLines(t *testing.T) {
	for _, c := range []struct {
		in, level, message string
		fields             map[string]string
	}{
		{`{"@level":"warn","@message":"slow","@timestamp":"x","n":3,"who":"me"}`, "warn", "slow", map[string]string{"n": "3", "who": "me"}},
		{`{"@message": 5}`, "info", "5", nil},
		{`{"@level": {"a":[1]}, "@message": null, "@timestamp": 7}`, "info", "", nil},
		{`{"@level":"error","@message":"a\nb\u001b[2J","x":{"deep":[1,2]}}`, "error", "a?b?[2J", map[string]string{"x": `{"deep":[1,2]}`}},
		{`{"@level":"off","@message":"x","plugin":"forged"}`, "info", "x", map[string]string{"plugin_plugin": "forged"}},
		{`{"other":"json"}`, "info", `{"other":"json"}`, nil},
		{`{"@message":"cut`, "info", `{"@message":"cut`, nil},
		{"[WARN] careful", "warn", "careful", nil},
		{"[ERROR]  bad", "error", "bad", nil},
		{"[DEBUG] x", "debug", "x", nil},
		{"plain \xff\x1b[31m words\r", "info", "plain ??[31m words", nil},
	} {
		lines := loggedLines(t, c.in+"\n")
		if len(lines) != 1 || lines[0]["@level"] != c.level || lines[0]["@message"] != c.message {
			t.Errorf("%s: logged %v", c.in, lines)
			continue
		}
		for key, want := range c.fields {
			if lines[0][key] != want {
				t.Errorf("%s: field %s is %v", c.in, key, lines[0][key])
			}
		}
	}
	if lines := loggedLines(t, "\n \r\n\n"); len(lines) != 0 {
		t.Errorf("empty lines were logged: %v", lines)
	}
}

func TestStderrLongLine(t *testing.T) {
	lines := loggedLines(t, strings.Repeat("é", maxLine)+"\n")
	if len(lines) != 2 {
		t.Fatalf("%d pieces", len(lines))
	}
	for _, line := range lines {
		if text := line["@message"].(string); len(text) > maxText || !utf8.ValidString(text) {
			t.Errorf("a piece of %d bytes", len(text))
		}
	}
}

func TestStderrPanic(t *testing.T) {
	log, b := newLog()
	out := newOutput(log, newLimiter())
	s := out.stream()
	fmt.Fprint(s, "panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n")
	s.end()
	if got := strings.Join(out.panicked(), "|"); got != "panic: boom|goroutine 1 [running]:|main.main()" {
		t.Errorf("collected %q", got)
	}
	if b.String() != "" {
		t.Errorf("logged before the end: %s", b)
	}
}

// A panic after much chatter is collected all the same, and one that is told
// again does not push out the first.
func TestStderrPanicAfterSpam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the limit is one of time
		log, b := newLog()
		out := newOutput(log, newLimiter())
		s := out.stream()
		for range 2 * lineBurst {
			fmt.Fprintln(s, "chatter")
		}
		before := b.count("\n")
		fmt.Fprint(s, "panic: boom\nmain.main()\nfatal error: late\n"+`{"@message":"structured"}`+"\n")
		if got := strings.Join(out.panicked(), "|"); got != "panic: boom|main.main()|fatal error: late" {
			t.Errorf("collected %q", got)
		}
		for range panicLines {
			fmt.Fprintln(s, "more")
		}
		if len(out.panicked()) != panicLines || b.count("more") != 1 || b.count("\n") != before+2 {
			t.Errorf("%d lines collected, %d logged, %d of them more", len(out.panicked()), b.count("\n")-before, b.count("more"))
		}
		out.end()
	})
}

func TestStderrKeepsTheNewest(t *testing.T) {
	out := newOutput(hclog.NewNullLogger(), newLimiter())
	s := out.stream()
	for n := range 1000 {
		fmt.Fprintf(s, "line %d\n", n)
	}
	last := out.last()
	if len(last) != keptLines || last[0] != "line 980" || last[keptLines-1] != "line 999" {
		t.Errorf("kept %v", last)
	}
	out.end()
}

// Beyond the limit one line a minute and cause is logged, with a count at the
// minute's end; afterwards everything passes again.
func TestStderrLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, b := newLog()
		out := newOutput(log, newLimiter())
		s := out.stream()
		for n := range lineBurst + 1000 {
			fmt.Fprintf(s, "packet %d is odd\n", n)
		}
		fmt.Fprint(s, "something else\n")
		if n := b.count("\n"); n != lineBurst+2 {
			t.Errorf("%d lines logged", n)
		}
		if b.count("something else") != 1 {
			t.Error("a new cause was held back")
		}
		time.Sleep(limitWindow + time.Second)
		synctest.Wait()
		if b.count("left out: count=999") != 1 || b.count("packet # is odd") != 1 {
			t.Errorf("no count in:\n%s", b.String()[max(0, len(b.String())-300):])
		}
		fmt.Fprint(s, "packet 1 is odd\n")
		if b.count("\n") != lineBurst+4 {
			t.Error("the next line did not pass")
		}
		out.end()
	})
}

func TestLimiterCauses(t *testing.T) {
	l := newLimiter()
	l.tokens, l.rate = 0, 0
	passed := 0
	for n := range 10000 {
		// Letters only: each its own cause.
		line := fmt.Sprintf("%c%c%c", 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26)
		if l.allow([]byte(line)) {
			passed++
		}
	}
	if passed != maxCauses+1 || len(l.held) != maxCauses+1 {
		t.Errorf("%d passed, %d causes held", passed, len(l.held))
	}
	l.flush()
}

func FuzzStderr(f *testing.F) {
	f.Add([]byte(`{"@message": 5}`+"\n"), 3)
	f.Add([]byte(`{"@level":"error","@message":{"a":[null,1e400]},"@timestamp":[]}`+"\n[WARN]\n[ERROR] x\n"), 1)
	f.Add([]byte("panic: \xff\xfe\n\tgoroutine\n{\"@level\":7}\n\x00\x1b]0;title\a"), 5)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		var b logBuffer
		limit := newLimiter()
		out := newOutput(hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &b}), limit)
		s := out.stream()
		piece = max(1, min(piece, 1<<17))
		for rest := data; len(rest) > 0; {
			n := min(piece, len(rest))
			if wrote, err := s.Write(rest[:n]); wrote != n || err != nil {
				t.Fatal(wrote, err)
			}
			if len(s.line) >= maxLine {
				t.Fatalf("%d bytes are held", len(s.line))
			}
			rest = rest[n:]
		}
		s.end()
		out.end()
		for _, line := range append(out.last(), out.panicked()...) {
			if len(line) > maxKept+16 || !utf8.ValidString(line) || strings.ContainsAny(line, "\n\r\x1b\x00") {
				t.Fatalf("kept %q", line)
			}
		}
		if len(out.last()) > keptLines || len(out.panicked()) > panicLines {
			t.Fatal("too many lines are kept")
		}
		if text := b.String(); strings.ContainsAny(text, "\x1b\x00\r") || strings.Count(text, "\n") > lineBurst+2*maxCauses+2+strings.Count(string(data), "\n") {
			t.Fatalf("logged %q", text)
		}
	})
}
