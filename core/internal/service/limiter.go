package service

import (
	"container/list"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	minute = time.Minute
	burst  = 10 // lines of a cause that are shown before it is limited
	// What does not fit in these bounds shares one cause of its level: a logger
	// that says something else each time is limited too, and leaves room for
	// the others.
	maxCauses      = 1000
	maxCausesOfOne = 250
	maxText        = 256 // bytes of a message that tell causes apart
	otherCauses    = "other messages"
)

// cause is what lines are counted under.
type cause struct {
	level hclog.Level
	name  string // of the logger
	text  string
}

// window is a cause's current minute.
type window struct {
	cause
	start time.Time
	shown int
	held  int
}

// heldBack is the outcome of a window.
type heldBack struct {
	cause
	count int
}

// limiter decides which lines are shown. All windows are equally long, so the
// order of their starts is that of their ends.
type limiter struct {
	mu     sync.Mutex
	causes map[cause]*window
	order  *list.List // of *window, oldest first
	ofName map[string]int
}

func newLimiter() *limiter {
	return &limiter{causes: map[cause]*window{}, order: list.New(), ofName: map[string]int{}}
}

// allow tells whether a line of cause c is shown; if not, it is counted.
func (l *limiter) allow(c cause, now time.Time) bool {
	c.text, c.name = short(c.text), short(c.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.window(c, now)
	if w.shown < burst {
		w.shown++
		return true
	}
	w.held++
	return false
}

// window returns the window of c, or the one it has to share.
func (l *limiter) window(c cause, now time.Time) *window {
	if w := l.causes[c]; w != nil {
		return w
	}
	if l.ofName[c.name] >= maxCausesOfOne {
		c.text = otherCauses
	}
	if len(l.causes) >= maxCauses {
		c.name, c.text = "", otherCauses
	}
	if w := l.causes[c]; w != nil {
		return w
	}
	c.name, c.text = strings.Clone(c.name), strings.Clone(c.text)
	w := &window{cause: c, start: now}
	l.causes[c] = w
	l.ofName[c.name]++
	l.order.PushBack(w)
	return w
}

// expire ends windows whose minute is over, and returns what they held back.
// A cause that held lines back stays limited: it gets a line a minute until it
// has been quiet for one.
func (l *limiter) expire(now time.Time) []heldBack {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []heldBack
	for e := l.order.Front(); e != nil; e = l.order.Front() {
		w := e.Value.(*window)
		if now.Sub(w.start) < minute {
			break
		}
		if w.held > 0 {
			out = append(out, heldBack{w.cause, w.held})
			w.held, w.start = 0, now
			l.order.MoveToBack(e)
			continue
		}
		l.order.Remove(e)
		delete(l.causes, w.cause)
		if l.ofName[w.name]--; l.ofName[w.name] == 0 {
			delete(l.ofName, w.name)
		}
	}
	return out
}

// next is when the next window ends.
func (l *limiter) next() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.order.Front(); e != nil {
		return e.Value.(*window).start.Add(minute), true
	}
	return time.Time{}, false
}

func short(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}
