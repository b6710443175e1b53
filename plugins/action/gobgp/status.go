package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// keptReleased is how many mitigations that are gone are remembered, for those
// who ask anew what there is.
const keptReleased = 1000

// Watch reports every mitigation's status, and again whenever it changes.
func (a *action) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	told := map[string]string{}
	tick := time.NewTicker(time.Second) // for what changes as time goes by
	defer tick.Stop()
	for {
		all, change := a.statuses()
		now := map[string]string{}
		for _, st := range all {
			text := fmt.Sprint(st.State, st.Cause, st.Peers)
			now[st.ID] = text
			if told[st.ID] != text {
				st.Time = time.Now()
				report(st)
			}
		}
		told = now
		select {
		case <-change:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// statuses is what is known of each mitigation now, and what will be closed
// when that may have changed.
func (a *action) statuses() ([]sdk.MitigationStatus, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []sdk.MitigationStatus
	for _, h := range a.held {
		out = append(out, a.statusOf(h))
	}
	for id, h := range a.releasing {
		st, gone := a.leaving(h)
		if gone {
			delete(a.releasing, id)
			a.released = append(a.released, id)
			if len(a.released) > keptReleased {
				a.released = slices.Delete(a.released, 0, len(a.released)-keptReleased)
			}
			continue
		}
		out = append(out, st)
	}
	for _, id := range a.released {
		out = append(out, sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased})
	}
	slices.SortFunc(out, func(x, y sdk.MitigationStatus) int { return cmp.Compare(x.ID, y.ID) })
	return out, a.change
}

// statusOf a mitigation that is held: active once one neighbour has all of it.
func (a *action) statusOf(h *held) sdk.MitigationStatus {
	st := sdk.MitigationStatus{ID: h.m.ID, State: sdk.MitigationPending}
	if h.err != nil {
		st.State, st.Cause = sdk.MitigationFailed, h.err.Error()
		return st
	}
	index := map[string]int{}
	for _, r := range h.routes {
		for _, p := range a.told.where(r) {
			i, ok := index[p.Peer]
			switch {
			case !ok:
				index[p.Peer] = len(st.Peers)
				st.Peers = append(st.Peers, p)
			case st.Peers[i].State == sdk.MitigationActive: // as much as the least of its routes
				st.Peers[i] = p
			}
		}
	}
	var waiting []string
	for _, p := range st.Peers {
		if p.State == sdk.MitigationActive {
			st.State = sdk.MitigationActive
		} else {
			waiting = append(waiting, p.Peer+": "+p.Cause)
		}
	}
	st.Cause = strings.Join(waiting, "; ")
	return st
}

// leaving is the status of a mitigation that is asked for no more.
func (a *action) leaving(h *held) (st sdk.MitigationStatus, gone bool) {
	for _, r := range h.routes {
		if a.routes[r.key] != nil {
			continue // another mitigation holds it
		}
		if cause := a.told.left(r.key); cause != "" {
			return sdk.MitigationStatus{ID: h.m.ID, State: sdk.MitigationActive, Cause: "withdrawn, but " + cause}, false
		}
	}
	return st, true
}
