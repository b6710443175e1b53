package main

import (
	"bytes"
	"strings"
	"sync"
)

// Bounds of what a script may say. Beyond them its output is read, so that
// it does not block, and thrown away.
const (
	maxOutput = 64 << 10 // octets of one run and stream
	maxLine   = 4 << 10  // octets of one line in the log
)

// output takes one of a script's streams and gives it on line by line.
type output struct {
	emit func(line string)

	mu      sync.Mutex // a grandchild's output may still come when the run is over
	closed  bool
	partial []byte
	taken   int
	lost    int
	last    string // last line that was not blank
}

// Write never fails and never blocks for longer than emit does.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(p)
	if o.closed {
		return n, nil
	}
	keep := min(n, maxOutput-o.taken)
	o.taken += keep
	o.lost += n - keep
	for p = p[:keep]; len(p) > 0; {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			i = len(p)
		}
		part := p[:min(i, maxLine-len(o.partial))]
		o.partial = append(o.partial, part...)
		if len(part) < len(p) && p[len(part)] == '\n' {
			p = p[1:]
			o.flush()
		} else if len(o.partial) == maxLine {
			o.flush()
		}
		p = p[len(part):]
	}
	return n, nil
}

// flush gives the collected line on.
func (o *output) flush() {
	line := strings.TrimRight(strings.ToValidUTF8(string(o.partial), "\uFFFD"), "\r ")
	o.partial = o.partial[:0]
	if line == "" {
		return
	}
	o.last = line
	o.emit(line)
}

// close gives the rest on and reports how many octets were thrown away.
func (o *output) close() (last string, lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.flush()
		o.closed = true
	}
	return o.last, o.lost
}
