package baseline

import (
	"sync"
	"time"
)

// generations is how many profiles a window is kept in: the oldest is forgotten
// as a whole.
const generations = 4

// Recorder keeps how rates were over a window of time. Its methods may be
// called from any goroutine.
type Recorder struct {
	mu     sync.Mutex
	window time.Duration
	gens   []*Profile // the newest last
	began  time.Time  // of the newest
}

// NewRecorder makes an empty one.
func NewRecorder(window time.Duration) *Recorder { return &Recorder{window: window} }

// SetWindow changes for how long rates are kept.
func (r *Recorder) SetWindow(window time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.window = window
}

// Record has f add to the newest profile, which begins with these counters.
func (r *Recorder) Record(now time.Time, counters []string, f func(*Profile)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if n := len(r.gens); n == 0 || now.Sub(r.began) >= r.window/generations || now.Before(r.began) {
		r.gens = append(r.gens, NewProfile(counters))
		r.began = now
	}
	f(r.gens[len(r.gens)-1])
}

// forget drops what is older than the window.
func (r *Recorder) forget(now time.Time) {
	for len(r.gens) > 0 {
		p := r.gens[0]
		if len(r.gens) <= generations+1 && (p.To.IsZero() || now.Sub(p.To) < r.window) {
			return
		}
		r.gens = r.gens[1:]
	}
}

// Merged is all that is kept.
func (r *Recorder) Merged(now time.Time) *Profile {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	out := NewProfile(nil)
	for _, p := range r.gens {
		out.Merge(p)
	}
	return out
}
