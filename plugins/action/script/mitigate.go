package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// Pauses before a call that failed is made again; they double.
const (
	retryFirst = 5 * time.Second
	retryMost  = 5 * time.Minute
)

// bans are the mitigations of role mitigate, by what a script can tell apart:
// of several mitigations for one target and direction the first has ban called,
// the last unban.
type bans struct {
	mu      sync.Mutex
	held    map[subject]*ban
	file    *hold.File
	board   hold.Board
	stopped bool
}

type subject struct {
	target    netip.Prefix
	direction string
}

// ban is what is wanted for a subject, and how far the script has been called.
type ban struct {
	kept
	event sdk.Event     // the newest of those that want it
	wake  chan struct{} // holds a token when something has changed; nil: nobody works on it
}

// kept is what is known of a ban after a restart.
type kept struct {
	Told     told            `json:"told"`
	IDs      map[string]bool `json:"ids"`    // of mitigations; false: it is not wanted any more
	Called   bool            `json:"called"` // ban was called, whatever came of it, so that unban is due
	Banned   bool            `json:"banned"` // ban was called and went well
	Detailed bool            `json:"detailed"`
}

func (h *ban) wanted() bool {
	for _, wanted := range h.IDs {
		if wanted {
			return true
		}
	}
	return false
}

// tell puts a status on the board for all mitigations of a ban.
func (b *bans) tell(h *ban, state sdk.MitigationState, cause string) {
	for id := range h.IDs {
		b.board.Set(sdk.MitigationStatus{ID: id, State: state, Cause: cause})
	}
}

// remember reads what was in force when the plugin ended. Nothing is called
// before the core has said what is wanted.
func (s *script) remember() {
	b := &s.bans
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []kept
	if err := b.file.Load(&found); err != nil {
		s.log.Error("the bans in force are not known", "error", err)
		return
	}
	for _, k := range found {
		h := &ban{kept: k}
		b.held[subject{k.Told.Target, k.Told.Direction}] = h
		if k.Banned {
			b.tell(h, sdk.MitigationSent, "")
		} else {
			b.tell(h, sdk.MitigationPending, "the plugin ended while the script was called")
		}
	}
}

// save writes down what is in force. We act where that fails, and say so.
func (s *script) save() {
	var found []kept
	for _, h := range s.bans.held {
		if h.Called {
			found = append(found, h.kept)
		}
	}
	err := s.bans.file.Save(found)
	if s.failures.unsaved(err) && err != nil {
		s.log.Error("the bans in force cannot be written down: after a restart ban is called again, and unban never for those that have ended meanwhile", "error", err)
	}
}

// Sync has the script called for what is new and for what is not wanted any
// more. It does not wait for that.
func (s *script) Sync(_ context.Context, desired []sdk.Mitigation) error {
	if s.cfg.Role != roleMitigate {
		return fmt.Errorf("this script only notifies: set role = %q for one that mitigates", roleMitigate)
	}
	b := &s.bans
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return errStopped
	}
	for _, h := range b.held {
		for id := range h.IDs {
			h.IDs[id] = false
		}
	}
	var errs []error
	for _, m := range desired {
		errs = append(errs, b.want(m))
	}
	for k, h := range b.held {
		if h.wanted() {
			b.leave(h)
		} else {
			b.leaving(h)
		}
		s.work(k, h)
	}
	s.save()
	return errors.Join(errs...)
}

// want notes that a mitigation is wanted.
func (b *bans) want(m sdk.Mitigation) error {
	t, err := tell(m.Event, &m)
	if err != nil {
		return err
	}
	k := subject{m.Target, m.Direction}
	h := b.held[k]
	if h == nil {
		h = &ban{kept: kept{IDs: map[string]bool{}}}
		b.held[k] = h
	}
	if _, known := h.IDs[m.ID]; !known {
		st := sdk.MitigationStatus{ID: m.ID, State: sdk.MitigationPending, Cause: "the script is being called"}
		if h.Banned {
			st.State, st.Cause = sdk.MitigationSent, "ban was called for another mitigation of this target"
		}
		b.board.Set(st)
	}
	h.IDs[m.ID], h.Told, h.event = true, t, m.Event
	return nil
}

// leave lets those go that are not wanted while others still want the ban.
func (b *bans) leave(h *ban) {
	for id, wanted := range h.IDs {
		if !wanted {
			delete(h.IDs, id)
			b.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased, Cause: "unban is not called: another mitigation of this target goes on"})
		}
	}
}

// leaving says of those that are to go that they have not gone yet.
func (b *bans) leaving(h *ban) {
	for id := range h.IDs {
		if st, _ := b.board.Get(id); h.Called && st.State != sdk.MitigationFailed {
			b.board.Set(sdk.MitigationStatus{ID: id, State: st.State, Cause: "unban is being called"})
		}
	}
}

// Watch tells what the script was called for.
func (s *script) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	return s.bans.board.Watch(ctx, report)
}

// work sees to it that somebody calls the script for a ban, if anything is due.
// It is called with the lock held.
func (s *script) work(k subject, h *ban) {
	switch {
	case h.wake != nil:
		select {
		case h.wake <- struct{}{}:
		default:
		}
	case s.due(k, h) != "":
		h.wake = make(chan struct{}, 1)
		s.runs.Go(func() { s.settle(k, h) })
	}
}

// due says what the script is to be called for next; "" for nothing.
func (s *script) due(k subject, h *ban) (action string) {
	wanted := h.wanted()
	switch {
	case wanted && !h.Banned:
		return "ban"
	case wanted && s.cfg.Details && !h.Detailed && hasDump(&h.event):
		return "attack_details"
	case wanted:
		return ""
	case h.Called:
		return "unban"
	}
	s.bans.tell(h, sdk.MitigationReleased, "")
	delete(s.bans.held, k)
	return ""
}

// settle calls the script until nothing is due any more.
func (s *script) settle(k subject, h *ban) {
	b := &s.bans
	tries, pause := 1, s.retry
	for {
		b.mu.Lock()
		action := s.due(k, h)
		if action == "" || s.life.Err() != nil {
			h.wake = nil
			b.mu.Unlock()
			return
		}
		called := h.Called
		if action == "ban" && !called {
			h.Called = true // before it is: who knows how far a call gets
			s.save()
		}
		t, stdin := h.Told, s.stdin(h.Told, &h.event, action)
		b.mu.Unlock()

		err := s.run(s.life, t, action, stdin)
		if err != nil && s.life.Err() != nil {
			continue
		}
		b.mu.Lock()
		if errors.Is(err, errNotStarted) {
			h.Called = called
		}
		s.settled(h, action, err, tries, pause)
		b.mu.Unlock()
		if err == nil || action == "attack_details" {
			tries, pause = 1, s.retry
			continue
		}
		s.rest(h, action, pause)
		tries, pause = tries+1, min(2*pause, retryMost)
	}
}

// rest waits before a failed call is made again, unless it is not due any more.
func (s *script) rest(h *ban, action string, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-s.life.Done():
			return
		case <-h.wake:
		}
		s.bans.mu.Lock()
		over := h.wanted() == (action == "unban")
		s.bans.mu.Unlock()
		if over {
			return
		}
	}
}

// settled records what came of a call, on disk before it is told: who hears that
// ban was called must not hear of a second one after a restart. That of
// attack_details is made once, and the ban stands whatever came of it.
func (s *script) settled(h *ban, action string, err error, tries int, pause time.Duration) {
	switch {
	case action == "attack_details":
		h.Detailed = true
		s.save()
		if err != nil {
			s.log.Error("the call attack_details failed", "attack", h.Told.Attack, "error", err)
		}
	case err != nil:
		s.save()
		often := cmp.Or(map[int]string{1: "once", 2: "twice"}[tries], fmt.Sprintf("%d times", tries))
		s.bans.tell(h, sdk.MitigationFailed, fmt.Sprintf("%s: %v; tried %s, and again in %s", action, err, often, pause))
		s.log.Error("the script failed", "attack", h.Told.Attack, "target", sdk.TargetText(h.Told.Target), "action", action, "tries", tries, "again_in", pause, "error", err)
	case action == "ban":
		h.Banned = true
		s.save()
		s.bans.tell(h, sdk.MitigationSent, "")
	default: // unban
		h.Called, h.Banned, h.Detailed = false, false, false
		again := s.again(h)
		s.save()
		s.bans.tell(h, sdk.MitigationReleased, "")
		for k, h := range again {
			s.bans.tell(h, sdk.MitigationPending, "ban is called again: unban was called for the other direction")
			s.work(k, h)
		}
	}
}

// again lists the bans for which ban is to be called once more, because the same
// target was let go for its other direction: many scripts do not look at the
// direction.
func (s *script) again(gone *ban) map[subject]*ban {
	out := map[subject]*ban{}
	for k, h := range s.bans.held {
		if h != gone && k.target == gone.Told.Target && h.Banned && h.wanted() {
			h.Banned = false
			out[k] = h
		}
	}
	return out
}
