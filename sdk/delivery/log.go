package delivery

import (
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Bounds of what is logged.
const (
	sayEvery  = time.Minute
	maxCauses = 32
)

// teller logs one line for each cause and minute, with how often it was.
type teller struct {
	log   hclog.Logger
	mu    sync.Mutex
	known map[string]*cause
}

type cause struct {
	said  time.Time
	quiet int // times since then
}

func newTeller(log hclog.Logger) *teller {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &teller{log: log, known: map[string]*cause{}}
}

func (t *teller) failure(what string, err error) {
	if n, ok := t.may(what + ": " + class(err.Error())); ok {
		t.log.Warn("the store did not take "+what, "error", err, "times", n)
	}
}

func (t *teller) mended(what string) {
	if n, ok := t.may(what); ok {
		t.log.Info("the store takes "+what+" again", "times", n)
	}
}

// may tells whether a cause may be logged now, and how often it was since it
// last could, this time included.
func (t *teller) may(name string) (times int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.known[name]
	if c == nil {
		if len(t.known) >= maxCauses {
			t.forget()
		}
		if len(t.known) >= maxCauses {
			name = "other"
			c = t.known[name]
		}
		if c == nil {
			c = &cause{}
			t.known[name] = c
		}
	}
	c.quiet++
	if time.Since(c.said) < sayEvery {
		return 0, false
	}
	times, c.quiet, c.said = c.quiet, 0, time.Now()
	return times, true
}

// forget makes room: causes that have not come up for a minute.
func (t *teller) forget() {
	for name, c := range t.known {
		if time.Since(c.said) >= sayEvery {
			delete(t.known, name)
		}
	}
}

// class is an error's text without its numbers, which differ from time to time:
// our own port is one of them.
func class(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}
