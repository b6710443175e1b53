package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// failures is how the calls go, for those who look at the plugin's state.
type failures struct {
	mu    sync.Mutex
	last  error // of the newest call; nil: it went well
	row   int   // calls that failed one after the other
	saved error // why the bans in force cannot be written down
}

func (f *failures) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last = err; err == nil {
		f.row = 0
		return
	}
	f.row++
}

// unsaved notes whether the bans in force could be written down; it tells
// whether that has changed.
func (f *failures) unsaved(err error) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = (err == nil) != (f.saved == nil)
	f.saved = err
	return changed
}

// Health complains while the newest call has failed.
func (s *script) Health(context.Context) error {
	f := &s.failures
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	switch {
	case f.row == 1:
		errs = append(errs, fmt.Errorf("the last call failed: %w", f.last))
	case f.row > 1:
		errs = append(errs, fmt.Errorf("the last %d calls failed: %w", f.row, f.last))
	}
	if f.saved != nil {
		errs = append(errs, fmt.Errorf("the bans in force cannot be written down, and are not known after a restart: %w", f.saved))
	}
	return errors.Join(errs...)
}
