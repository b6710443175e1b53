package exporter

import (
	"sync"
	"time"
)

// Causes of log lines.
const (
	causeTemplate = iota
	causeMalformed
	causeSpaces
	causeSampling
	causeRate
	causeTimes
	causes
)

// line keeps one cause of one exporter to a line a minute.
type line struct {
	last  int64 // monotonic nanoseconds of the last line; 0 none yet
	count uint64
}

const minute = int64(time.Minute)

// due counts an event and reports whether it is time for a line, and how many
// events that line stands for.
func (l *line) due(now int64) (uint64, bool) {
	l.count++
	if l.last != 0 && now-l.last < minute {
		return 0, false
	}
	n := l.count
	l.last, l.count = now, 0
	return n, true
}

// budget bounds the lines of all exporters together: a flood of spoofed ones
// must not become a flood of lines.
type budget struct {
	mu    sync.Mutex
	start int64
	lines int
}

const linesPerMinute = 100

// spend reports whether one more line may be written, and whether it is the
// last of its minute.
func (b *budget) spend(now int64) (ok, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now-b.start >= minute {
		b.start, b.lines = now, 0
	}
	b.lines++
	return b.lines <= linesPerMinute, b.lines == linesPerMinute
}

// warn logs an event of the exporter, at most a line a minute for each cause.
func (e *Exporter) warn(cause int, msg string, detail any) {
	now := e.set.now()
	e.logMu.Lock()
	n, due := e.logged[cause].due(now)
	e.logMu.Unlock()
	if !due {
		return
	}
	args := []any{"exporter", e.Name(), "source", e.id.Source.String(), "domain", e.id.Domain, "times", n}
	if detail != nil {
		args = append(args, "detail", detail)
	}
	e.set.warn(now, msg, args...)
}

// warn writes a line if the set's budget allows.
func (s *Set) warn(now int64, msg string, args ...any) {
	if s.log == nil {
		return
	}
	ok, last := s.budget.spend(now)
	if ok {
		s.log.Warn(msg, args...)
	}
	if last {
		s.log.Warn("no more lines about exporters this minute; fastnetmon exporters shows all")
	}
}
