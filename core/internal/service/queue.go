package service

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// Bounds of what waits to be written. A line longer than maxLine is cut.
const (
	maxLine        = 16 << 10
	maxQueuedLines = 4096
	maxQueuedBytes = 4 << 20
)

// line is one message as it will be written, without its end of line; text of
// several lines is possible. Or it is a barrier, closed when all before it is
// written.
type line struct {
	level   hclog.Level
	text    []byte
	barrier chan struct{}
}

// queue holds lines for the writing goroutine. Adding never waits.
type queue struct {
	mu     sync.Mutex
	lines  []line
	bytes  int
	closed bool
	ready  chan struct{}
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push tells whether there was room.
func (q *queue) push(next line) bool {
	q.mu.Lock()
	fits := !q.closed && len(q.lines) < maxQueuedLines && q.bytes+len(next.text) <= maxQueuedBytes
	if fits {
		q.lines = append(q.lines, next)
		q.bytes += len(next.text)
	}
	q.mu.Unlock()
	if fits {
		q.wake()
	}
	return fits
}

func (q *queue) take() []line {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := q.lines
	q.lines, q.bytes = nil, 0
	return lines
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// close lets nothing in any more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// lineWriter takes formatted messages from hclog.
type lineWriter struct {
	json bool
	take func(line)
}

func (w *lineWriter) Write(p []byte) (int, error) { return w.LevelWrite(hclog.Info, p) }

func (w *lineWriter) LevelWrite(level hclog.Level, p []byte) (int, error) {
	text := tidyLines
	if w.json {
		text = tidyJSON
	}
	w.take(line{level: level, text: text(p)})
	return len(p), nil
}

// tidyLines returns a copy that is safe to show: valid UTF-8 without control
// characters but ends of lines and tabs, and with no further line that could
// be taken for a message of its own.
func tidyLines(p []byte) []byte {
	p = trimEnd(p)
	cut := len(p) > maxLine
	out := make([]byte, 0, min(len(p), maxLine)+8)
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if len(out)+size > maxLine {
			break
		}
		p = p[size:]
		switch {
		case r == '\n':
			out = append(out, '\n')
			if len(p) > 0 && p[0] != ' ' {
				out = append(out, ' ', ' ')
			}
		case unicode.IsControl(r) && r != '\t', r == utf8.RuneError && size == 1:
			out = append(out, '?')
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	if cut || len(p) > 0 {
		out = append(out, " …"...)
	}
	return out
}

// tidyJSON returns a copy, or a note in the place of what is too long: half an
// object is of no use.
func tidyJSON(p []byte) []byte {
	p = trimEnd(p)
	if len(p) <= maxLine {
		return append([]byte(nil), p...)
	}
	note, err := json.Marshal(map[string]any{
		"@level": "warn", "@message": "a log line was too long", "@timestamp": time.Now().Format(time.RFC3339Nano),
		"bytes": len(p), "limit": maxLine,
	})
	if err != nil {
		return nil
	}
	return note
}

func trimEnd(p []byte) []byte { return bytes.TrimRight(p, " \n") }
