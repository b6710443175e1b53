package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// listsEvery is how often lists of prefixes are looked at. A change is read
// once it has been the same for two looks: whoever writes a list may not have
// finished.
const listsEvery = 1500 * time.Millisecond

// listWatch follows the lists of prefixes while they are in force.
type listWatch struct {
	pending map[string]string // by path: how the changed list was recognised at the last look
	refused map[string]string // the same for what was read and could not be put in force

	mu    sync.Mutex
	fault string // why the newest change is not in force, "" where it is
}

// watchLists puts changed lists in force, until ctx is done.
func (r *running) watchLists(ctx context.Context) {
	r.lists.pending, r.lists.refused = map[string]string{}, map[string]string{}
	tick := time.NewTicker(listsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.cmd.Context().Done():
			return
		case <-tick.C:
		}
		if cfg := r.daemon.Config(); cfg != nil && r.lists.changed(cfg) {
			r.relist()
		}
	}
}

// changed tells whether some list has changed, and has stayed as it is since
// the last look.
func (w *listWatch) changed(cfg *config.Config) bool {
	settled, pending := false, map[string]string{}
	for _, list := range cfg.Lists {
		now, changed := list.Changed()
		if !changed || w.refused[list.Path] == now {
			continue
		}
		pending[list.Path] = now
		settled = settled || w.pending[list.Path] == now
	}
	w.pending = pending
	return settled
}

// relist reads all lists again and puts them in force, but for those that are
// held.
func (r *running) relist() {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	now := r.daemon.Config()
	if now == nil {
		return
	}
	next, diags := now.Relist(config.Holding(now.Lists))
	fault := ""
	if diags.HasErrors() {
		fault = "the changed lists of prefixes are not in force: " + diags[0].Summary + ": " + diags[0].Detail
		r.log.Error("reload of the lists of prefixes refused, those before stay in force", "errors", len(diags.Errs()), "first", diags.Error())
	} else {
		r.logHeld(next)
		changes, err := r.daemon.Relist(r.cmd.Context(), next)
		if err != nil {
			fault = "the changed lists of prefixes are not in force: " + err.Error()
			r.log.Error("reload of the lists of prefixes failed, those before stay in force", "error", err)
		}
		for _, change := range changes {
			r.log.Info("reload: "+change, "revision", next.Revision)
		}
	}
	r.lists.settle(fault)
}

// settle notes what a reading came to.
func (w *listWatch) settle(fault string) {
	w.refused = map[string]string{}
	if fault != "" {
		maps.Copy(w.refused, w.pending)
	}
	w.pending = map[string]string{}
	w.report(fault)
}

// report sets what status says of the newest change.
func (w *listWatch) report(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// logHeld tells of the lists that are not in force as they are.
func (r *running) logHeld(cfg *config.Config) {
	for _, list := range cfg.Lists {
		if list.Held != "" {
			r.log.Error("a list of prefixes is held, not applied: if its loss is meant, run fastnetmon reload --accept-lists", "list", list.Path, "why", list.Held)
		}
	}
}

// held lists what of the lists is not in force as it stands, and why.
func (r *running) held() []string {
	var out []string
	if cfg := r.daemon.Config(); cfg != nil {
		for _, list := range cfg.Lists {
			if list.Held != "" {
				out = append(out, list.Path+": "+list.Held)
			}
		}
	}
	r.lists.mu.Lock()
	defer r.lists.mu.Unlock()
	if r.lists.fault != "" {
		out = append(out, r.lists.fault)
	}
	return slices.Clip(out)
}
