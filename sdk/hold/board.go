// Package hold is what mitigators have in common: a board with the status of
// each mitigation, from which Watch reports, the set of what is asked for and
// taken back, and a file for what must be known after a restart.
package hold

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// forget is how long a released mitigation is remembered for those who begin to
// watch later.
const forget = time.Minute

// Board holds the newest status of each mitigation and tells watchers of
// changes. The zero value is ready. Its methods may be called at any time.
type Board struct {
	mu       sync.Mutex
	statuses map[string]sdk.MitigationStatus
	watchers map[*watcher]struct{}
}

// watcher has what one call of Watch has not reported yet: the newest status of
// each mitigation, so that a slow one costs no memory.
type watcher struct {
	due   map[string]sdk.MitigationStatus
	order []string
	wake  chan struct{}
}

// Set records a status and tells the watchers, unless it says nothing new. A
// zero time is now.
func (b *Board) Set(s sdk.MitigationStatus) {
	if s.Time.IsZero() {
		s.Time = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.statuses[s.ID]; ok && old.State == s.State && old.Cause == s.Cause && slices.Equal(old.Peers, s.Peers) {
		return
	}
	if b.statuses == nil {
		b.statuses = map[string]sdk.MitigationStatus{}
	}
	maps.DeleteFunc(b.statuses, func(_ string, old sdk.MitigationStatus) bool {
		return old.State == sdk.MitigationReleased && s.Time.Sub(old.Time) > forget
	})
	b.statuses[s.ID] = s
	for w := range b.watchers {
		w.add(s)
	}
}

// Get returns the newest status of a mitigation.
func (b *Board) Get(id string) (sdk.MitigationStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.statuses[id]
	return s, ok
}

// Watch is a mitigator's Watch: it reports all statuses, then each change, until
// ctx is done. It returns nil then.
func (b *Board) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	w := &watcher{due: map[string]sdk.MitigationStatus{}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(b.statuses)) {
		w.add(b.statuses[id])
	}
	if b.watchers == nil {
		b.watchers = map[*watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
	}()
	for {
		for {
			s, ok := b.next(w)
			if !ok || ctx.Err() != nil {
				break
			}
			report(s)
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// add is called with the board's lock held.
func (w *watcher) add(s sdk.MitigationStatus) {
	if _, waits := w.due[s.ID]; !waits {
		w.order = append(w.order, s.ID)
	}
	w.due[s.ID] = s
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (b *Board) next(w *watcher) (sdk.MitigationStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(w.order) == 0 {
		return sdk.MitigationStatus{}, false
	}
	s := w.due[w.order[0]]
	delete(w.due, s.ID)
	w.order = w.order[1:]
	return s, true
}
