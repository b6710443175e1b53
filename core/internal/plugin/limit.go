package plugin

import (
	"sync"
	"time"
)

// limiter lets lines pass while there are few. Beyond that it lets one line a
// window pass for each cause and reports how many it held back.
type limiter struct {
	rate   float64 // lines a second
	burst  float64
	window time.Duration
	now    func() time.Time
	report func(cause string, n int) // called without the lock

	mu     sync.Mutex
	tokens float64
	last   time.Time
	held   map[string]int
	timer  *time.Timer // ends the window; nil outside one
}

func newLimiter() *limiter {
	return &limiter{
		rate: linesPerSecond, burst: lineBurst, window: limitWindow, now: time.Now,
		report: func(string, int) {}, tokens: lineBurst,
	}
}

func (l *limiter) allow(line []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if !l.last.IsZero() {
		l.tokens = min(l.burst, l.tokens+now.Sub(l.last).Seconds()*l.rate)
	}
	l.last = now
	if l.tokens >= 1 {
		l.tokens--
		return true
	}
	cause := causeOf(line)
	n, seen := l.held[cause]
	if !seen && len(l.held) >= maxCauses {
		cause = "other lines"
		n, seen = l.held[cause]
	}
	if l.held == nil {
		l.held = map[string]int{}
		l.timer = time.AfterFunc(l.window, l.flush)
	}
	if !seen {
		l.held[cause] = 0
		return true
	}
	l.held[cause] = n + 1
	return false
}

// flush ends the window and reports what it held back.
func (l *limiter) flush() {
	l.mu.Lock()
	held := l.held
	l.held = nil
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	for cause, n := range held {
		if n > 0 {
			l.report(cause, n)
		}
	}
}

// causeOf is the line's beginning with every number replaced: lines that
// differ in numbers only have one cause. It does not parse, since it is asked
// when there is too much to parse.
func causeOf(line []byte) string {
	var text [96]byte
	n := 0
	digits := false
	for _, b := range line {
		if n == len(text) {
			break
		}
		if b >= '0' && b <= '9' {
			if !digits {
				text[n] = '#'
				n++
			}
			digits = true
			continue
		}
		digits = false
		text[n] = b
		n++
	}
	return clean(text[:n], len(text))
}
