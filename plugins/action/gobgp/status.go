package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// Watch reports every mitigation's status, and again whenever it changes.
func (a *action) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	return a.board.Watch(ctx, report)
}

// follow keeps the board until Close.
func (a *action) follow() {
	tick := time.NewTicker(time.Second) // for what changes as time goes by
	defer tick.Stop()
	for {
		a.refresh()
		select {
		case <-a.kick:
		case <-tick.C:
		case <-a.life.Done():
			return
		}
	}
}

// refresh brings the board up to date.
func (a *action) refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.asked.Synced {
		return
	}
	for _, h := range a.asked.Held {
		a.board.Set(a.statusOf(h))
	}
	for id, keys := range a.asked.Releasing {
		st, gone := a.leaving(id, keys)
		if gone {
			delete(a.asked.Releasing, id)
			st = sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased}
		}
		a.board.Set(st)
	}
	a.notes.keep(a.asked.Known())
}

// statusOf a mitigation that is held: active once one neighbour has all of it.
func (a *action) statusOf(h *held) sdk.MitigationStatus {
	st := sdk.MitigationStatus{ID: h.Mitigation.ID, State: sdk.MitigationPending}
	if h.Err != nil {
		if st.Cause = h.Err.Error(); !errors.Is(h.Err, announce.ErrWaits) {
			st.State = sdk.MitigationFailed
		}
		return st
	}
	index := map[string]int{}
	for _, r := range h.Routes {
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
func (a *action) leaving(id string, keys []routeKey) (st sdk.MitigationStatus, gone bool) {
	for _, k := range keys {
		if a.routes[k] != nil {
			continue // another mitigation holds it
		}
		if cause := a.told.left(k); cause != "" {
			return sdk.MitigationStatus{ID: id, State: sdk.MitigationActive, Cause: "withdrawn, but " + cause}, false
		}
	}
	return st, true
}
