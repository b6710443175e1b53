package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// action keeps in ExaBGP what is asked of it. Sync says what that is; a
// goroutine of its own (see keep.go) sees to it.
type action struct {
	set   *settings
	log   hclog.Logger
	board hold.Board
	file  *hold.File

	stop context.CancelFunc
	done chan struct{}
	wake chan struct{} // holds a token when something has changed

	mu      sync.Mutex
	asked   *hold.Set[string, *route]
	told    map[string]told // by route key: what ExaBGP may have of us
	fault   string          // why it cannot be reached; "" it can
	refused map[string]bool // commands that ExaBGP does not take
	view    *view           // what it has; nil: it is not asked
	unsaved error
}

// held is a mitigation and what it comes to.
type held = hold.Held[*route]

// told is a route that was handed to ExaBGP.
type told struct {
	Announce string `json:"announce"`
	Withdraw string `json:"withdraw"`
}

// kept is what is known after a restart.
type kept struct {
	Routes map[string]told     `json:"routes"`
	IDs    map[string][]string `json:"ids"` // mitigations and the keys of their routes
}

func newAction(c config, env sdk.Env) (*action, error) {
	set, err := read(c)
	if err != nil {
		return nil, err
	}
	return &action{
		set: set, log: env.Logger, file: hold.NewFile(env.StateDir, "announced.json"), wake: make(chan struct{}, 1),
		asked: hold.NewSet[string, *route](), told: map[string]told{}, refused: map[string]bool{},
	}, nil
}

// Start reads what ExaBGP was told before. Nothing is written before the first
// Sync.
func (a *action) Start(context.Context) error {
	var k kept
	if err := a.file.Load(&k); err != nil {
		a.log.Error("what was announced before is not known: withdraw by hand what is left of it", "error", err)
	}
	maps.Copy(a.told, k.Routes)
	for id, keys := range k.IDs {
		a.asked.Releasing[id] = keys // unless it is wanted: the first Sync says
		a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationSent, Cause: "ExaBGP was told before the plugin was started again"})
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop, a.done = cancel, make(chan struct{})
	go func() {
		defer close(a.done)
		a.keep(ctx)
	}()
	return nil
}

// Close writes nothing: what is announced stays so.
func (a *action) Close(context.Context) error {
	a.stop()
	<-a.done
	return nil
}

// Watch tells what becomes of mitigations.
func (a *action) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	return a.board.Watch(ctx, report)
}

// Health complains where ExaBGP is not reached.
func (a *action) Health(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.fault != "":
		return fmt.Errorf("%s", a.fault)
	case a.unsaved != nil:
		return fmt.Errorf("what is announced cannot be written down, and is not known after a restart: %w", a.unsaved)
	case len(a.refused) > 0:
		return fmt.Errorf("ExaBGP refuses %d commands (its log says why), such as %q", len(a.refused), slices.Min(slices.Collect(maps.Keys(a.refused))))
	case a.view != nil && !slices.ContainsFunc(a.view.peers, func(p *peer) bool { return p.established }):
		return fmt.Errorf("no session of ExaBGP's %d neighbours is established", len(a.view.peers))
	}
	return nil
}

// Protected are the addresses that must stay reachable for announcements to
// work at all.
func (a *action) Protected() []netip.Prefix {
	var out []netip.Prefix
	for _, n := range a.set.Neighbors {
		out = add(out, n.Unmap())
	}
	for _, name := range slices.Sorted(maps.Keys(a.set.profiles)) {
		for _, addr := range a.set.profiles[name].Addresses() {
			out = add(out, addr)
		}
	}
	return out
}

// Override checks what hostgroups set instead of a profile's attributes.
func (a *action) Override(name string, values map[string][]string) error {
	p, err := a.set.profile(name)
	if err != nil {
		return err
	}
	return p.fits(values)
}

// plan finds out what a mitigation comes to.
func (a *action) plan(m sdk.Mitigation) *held {
	h := &held{Mitigation: m}
	p, err := a.set.profile(m.Profile)
	if err == nil {
		h.Routes, err = p.plan(&h.Mitigation)
	}
	h.Err = err
	return h
}

// Preview tells what a mitigation would come to.
func (a *action) Preview(_ context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	h := a.plan(m)
	if h.Err != nil {
		return nil, h.Err
	}
	var out []sdk.Announcement
	for _, r := range h.Routes {
		out = append(out, r.announcement())
	}
	return out, nil
}

// Sync says what is to be announced. It does not wait for ExaBGP.
func (a *action) Sync(_ context.Context, desired []sdk.Mitigation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked.Sync(desired, a.plan)
	clear(a.refused) // each Sync is another try
	a.publish()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

// desired is all that is to be announced. The widest prefixes come first, as in the
// original.
func (a *action) desired() []*route {
	out := a.asked.Routes()
	slices.SortStableFunc(out, func(x, y *route) int { return cmp.Compare(x.prefix.Bits(), y.prefix.Bits()) })
	return out
}

// save writes down what ExaBGP may have. It is called with the lock held.
func (a *action) save() {
	k := kept{Routes: a.told, IDs: map[string][]string{}}
	for id, keys := range a.asked.Known() {
		for _, key := range keys {
			if _, there := a.told[key]; there {
				k.IDs[id] = append(k.IDs[id], key)
			}
		}
	}
	err := a.file.Save(k)
	if err != nil && a.unsaved == nil {
		a.log.Error("what is announced cannot be written down: what ends while the plugin does not run stays announced", "error", err)
	}
	a.unsaved = err
}
