package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Pauses of the goroutine that keeps ExaBGP up to date.
const (
	aliveEvery  = 100 * time.Millisecond // how often it is looked whether somebody still reads
	reopenEvery = 500 * time.Millisecond
	lookEvery   = time.Second // how often ExaBGP is asked while something is not as it should be
)

// keep makes ExaBGP have what is desired, until ctx is done.
func (a *action) keep(ctx context.Context) {
	var d device = &pipe{path: a.set.Pipe, fd: -1}
	if a.set.CLI != "" {
		d = newCLI(a.set.CLI, a.set.Timeout)
	}
	k := &keeper{action: a, device: d}
	defer d.close()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			k.changed = true
		case <-tick.C:
		}
		k.step(time.Now())
	}
}

// keeper is what that goroutine knows.
type keeper struct {
	*action
	device  device
	reached bool
	changed bool      // what is desired may have
	again   time.Time // when to try to open the device again
	due     time.Time // when to write everything once more
	lookDue time.Time // when to ask ExaBGP what it has
}

// step does what is due now.
func (k *keeper) step(now time.Time) {
	k.mu.Lock()
	synced := k.asked.Synced
	k.mu.Unlock()
	if !synced {
		return
	}
	if k.reached && !k.device.alive() {
		k.lost(errGone)
	}
	if !k.reached {
		if now.Before(k.again) {
			return
		}
		k.again = now.Add(reopenEvery)
		if err := k.device.open(); err != nil {
			k.lost(err)
			return
		}
		// Whoever reads now may know nothing: everything is written again.
		k.reached, k.changed, k.due = true, true, time.Time{}
	}
	full := !now.Before(k.due)
	var err error
	if full || k.changed {
		k.changed, k.lookDue = false, now
		err = k.write(full)
	}
	if err == nil && full {
		k.due = now.Add(k.set.Refresh)
	}
	if err == nil && !now.Before(k.lookDue) {
		err = k.look(now)
	}
	if err != nil {
		k.lost(err)
	}
}

// lost notes that ExaBGP is not reached.
func (k *keeper) lost(err error) {
	if k.reached {
		k.device.close()
	}
	k.reached = false
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fault == "" {
		k.log.Warn("ExaBGP is not reached", "error", err)
	}
	k.fault, k.view = err.Error(), nil
	k.publish()
}

// write hands over what ExaBGP does not know yet, or everything.
func (k *keeper) write(full bool) error {
	k.mu.Lock()
	want := k.desired()
	wanted := map[string]bool{}
	var add []*route
	for _, r := range want {
		wanted[r.key] = true
		if full || k.told[r.key].Announce != r.announce {
			add = append(add, r)
			k.told[r.key] = told{k.told[r.key].Announce, r.withdraw}
		}
	}
	drop := map[string]told{}
	for key, t := range k.told {
		if !wanted[key] {
			drop[key] = t
		}
	}
	k.save() // before it is announced: what is not known cannot be withdrawn
	k.mu.Unlock()

	for _, r := range add {
		err := k.hand(r.announce)
		k.mu.Lock()
		k.told[r.key] = told{r.announce, r.withdraw}
		if err != nil { // a part of it may have arrived
			k.told[r.key] = told{"", r.withdraw}
		}
		k.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for key, t := range drop {
		if err := k.hand(t.Withdraw); err != nil {
			return err
		}
		k.mu.Lock()
		if !k.refused[t.Withdraw] {
			delete(k.told, key)
		}
		k.mu.Unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = ""
	if len(add)+len(drop) > 0 {
		k.save()
	}
	k.publish()
	return nil
}

// hand hands a command over; that ExaBGP refuses it is noted and no error.
func (k *keeper) hand(line string) error {
	err := k.device.command(line)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.refused, line)
	if errors.Is(err, errRefused) {
		k.log.Error("ExaBGP refuses a command", "command", line)
		k.refused[line] = true
		return nil
	}
	return err
}

// look asks ExaBGP what it has, and has written again what it should have.
func (k *keeper) look(now time.Time) error {
	v, err := k.device.look()
	if err != nil {
		return err
	}
	k.lookDue = now.Add(k.set.Refresh)
	if v == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.view = v
	want := k.counts()
	for _, r := range k.desired() {
		for _, p := range v.peers {
			if !p.has(r, want) {
				// Sessions come and go without a word: soon it is looked again.
				k.lookDue = now.Add(lookEvery)
			}
			if key := at(r.family, r.prefix); p.local[r.family] && p.routes[key] < want[key] {
				k.due = now.Add(lookEvery)
			}
		}
	}
	k.publish()
	return nil
}

// counts is how many routes of ours there should be, by family and destination.
func (a *action) counts() map[string]int {
	out := map[string]int{}
	for _, r := range a.desired() {
		out[at(r.family, r.prefix)]++
	}
	return out
}

// has reports whether a neighbour has a route: it is in the Adj-RIB-Out of an
// established session that speaks its family. Of several rules for a destination
// all must be there: ExaBGP does not show them as it is told them.
func (p *peer) has(r *route, want map[string]int) bool {
	key := at(r.family, r.prefix)
	return p.established && p.both[r.family] && p.routes[key] >= want[key]
}

// publish tells how all mitigations stand. It is called with the lock held.
func (a *action) publish() {
	want := a.counts()
	for id, h := range a.asked.Held {
		s := a.status(h, want)
		s.ID = id
		a.board.Set(s)
	}
	wanted := map[string]bool{}
	for _, r := range a.desired() {
		wanted[r.key] = true
	}
	for id, keys := range a.asked.Releasing {
		if !a.asked.Synced {
			continue
		}
		left := slices.ContainsFunc(keys, func(key string) bool {
			_, there := a.told[key]
			return there && !wanted[key]
		})
		switch {
		case !left:
			delete(a.asked.Releasing, id)
			a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased})
		case a.fault != "":
			a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationPending, Cause: "cannot be withdrawn: " + a.fault})
		case slices.ContainsFunc(keys, func(key string) bool { return a.refused[a.told[key].Withdraw] }):
			a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationFailed, Cause: "cannot be withdrawn: " + errRefused.Error()})
		default:
			a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationPending, Cause: "is being withdrawn"})
		}
	}
}

// status is how one mitigation stands.
func (a *action) status(h *held, want map[string]int) sdk.MitigationStatus {
	pending := func(cause string) sdk.MitigationStatus {
		return sdk.MitigationStatus{State: sdk.MitigationPending, Cause: cause}
	}
	switch {
	case h.Err != nil:
		return pending(h.Err.Error())
	case a.fault != "":
		return pending(a.fault)
	}
	for _, r := range h.Routes {
		if a.refused[r.announce] {
			return sdk.MitigationStatus{State: sdk.MitigationFailed, Cause: errRefused.Error() + ": " + r.announce}
		}
		if a.told[r.key].Announce == "" {
			return pending("is being written")
		}
	}
	switch {
	case a.set.CLI == "":
		return sdk.MitigationStatus{State: sdk.MitigationSent}
	case a.view == nil:
		return pending("ExaBGP is being asked what it has")
	}
	return a.view.status(h, want)
}

// status is what the neighbours have of a mitigation.
func (v *view) status(h *held, want map[string]int) sdk.MitigationStatus {
	s := sdk.MitigationStatus{State: sdk.MitigationPending, Cause: "no neighbour of ExaBGP's speaks " + h.Routes[0].family}
	for _, p := range v.peers {
		if !slices.ContainsFunc(h.Routes, func(r *route) bool { return p.local[r.family] }) {
			continue
		}
		at := sdk.PeerStatus{Peer: p.address, State: sdk.MitigationActive}
		for _, r := range h.Routes {
			if !p.has(r, want) {
				at.State = sdk.MitigationPending
				at.Cause = map[bool]string{false: "the session is down", true: "has not got it"}[p.established]
				if p.established && !p.both[r.family] {
					at.Cause = "does not speak " + r.family
				}
			}
		}
		s.Peers = append(s.Peers, at)
	}
	for _, p := range s.Peers {
		if p.State == sdk.MitigationActive {
			s.State, s.Cause = sdk.MitigationActive, ""
			return s
		}
		s.Cause = fmt.Sprintf("no neighbour has it: %s %s", p.Peer, p.Cause)
	}
	return s
}
