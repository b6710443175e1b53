package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// action holds the mitigations that are asked of it.
type action struct {
	set    *settings
	warned diag.Diagnostics
	log    hclog.Logger
	told   backend

	board hold.Board
	kick  chan struct{} // a status may have changed
	life  context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu     sync.Mutex
	asked  *hold.Set[routeKey, *route]
	routes map[routeKey]*route
	notes  notes
}

// held is a mitigation and what it comes to.
type held = hold.Held[*route]

// backend makes neighbours have routes.
type backend interface {
	// start is told what somebody may have from before the plugin was started.
	start(ctx context.Context, before map[routeKey]bool) error
	// hold makes routes all that is announced.
	hold(routes map[routeKey]*route)
	// where tells of each neighbour that is to have a route whether it has.
	where(r *route) []sdk.PeerStatus
	// left tells why a neighbour may still have a route that is held no more;
	// "" none has.
	left(k routeKey) string
	// table is a row for each neighbour, figures the same for machines; health
	// is what is wrong with them.
	table() sdk.Rows
	figures() []peerFigures
	health() error
	close()
}

func newAction(c config, env sdk.Env) (*action, error) {
	set, ds := read(c)
	if ds.HasErrors() {
		return nil, ds
	}
	a := &action{
		set: set, warned: ds, log: env.Logger,
		asked: hold.NewSet[routeKey, *route](), routes: map[routeKey]*route{}, kick: make(chan struct{}, 1),
		notes: notes{file: hold.NewFile(env.StateDir, "mitigations.json")},
	}
	a.life, a.stop = context.WithCancel(context.Background())
	if set.API != "" {
		a.told = newRemote(set, env, a.changed)
	} else {
		a.told = newSpeaker(set, env.Logger, a.changed)
	}
	return a, nil
}

// Validate passes on what is odd without being wrong.
func (a *action) Validate(context.Context) error { return a.warned.Err() }

// Start opens what the neighbours need. Sessions begin with the first Sync, so
// that a neighbour that kept our routes over a restart gets all of them
// before it is told that there are no more.
func (a *action) Start(ctx context.Context) error {
	if err := a.told.start(ctx, a.recall()); err != nil {
		return err
	}
	a.work.Go(a.follow)
	return nil
}

// recall takes up what the plugin held when it was last there: that is to be
// taken back, unless the first Sync wants it. It gives the keys of the routes.
func (a *action) recall() map[routeKey]bool {
	known, err := a.notes.recall()
	if err != nil {
		a.log.Error("what was announced before is not known: it counts as released", "error", err)
	}
	keys := map[routeKey]bool{}
	for id, list := range known {
		for _, k := range list {
			keys[k] = true
		}
		a.asked.Releasing[id] = list
		a.board.Set(sdk.MitigationStatus{ID: id, State: sdk.MitigationPending, Cause: "was announced before the plugin was started again"})
	}
	return keys
}

// Close ends the sessions without a word: a neighbour that knows graceful
// restart keeps our routes for a while, any other drops them.
func (a *action) Close(context.Context) error {
	a.stop()
	a.told.close()
	a.work.Wait()
	return nil
}

// Health is well while all neighbours are there and what is held is on disk.
func (a *action) Health(context.Context) error {
	a.mu.Lock()
	unsaved := a.notes.err
	a.mu.Unlock()
	return errors.Join(unsaved, a.told.health())
}

// Table has the neighbours.
func (a *action) Table(_ context.Context, name string) (sdk.Rows, error) {
	if name != "neighbors" {
		return sdk.Rows{}, fmt.Errorf("there is no table %q: the only one is neighbors", name)
	}
	return a.told.table(), nil
}

// Protected are the addresses that must stay reachable for announcements to
// work at all.
func (a *action) Protected() []netip.Prefix {
	var out []netip.Prefix
	add := func(addr netip.Addr) {
		if addr.IsValid() && !addr.IsUnspecified() {
			p := netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	add(a.set.RouterID)
	for _, l := range a.set.Listen {
		add(l.Addr())
	}
	for _, p := range a.set.peers {
		add(p.address)
		add(p.near())
	}
	for _, name := range slices.Sorted(maps.Keys(a.set.profiles)) {
		for _, addr := range a.set.profiles[name].Addresses() {
			add(addr)
		}
	}
	if host, _, err := net.SplitHostPort(a.set.API); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil {
			add(addr)
		}
	}
	return out
}

// Override checks what hostgroups set instead of a profile's attributes.
func (a *action) Override(name string, values map[string][]string) error {
	p, err := a.set.profiles.Find("gobgp", name)
	if err == nil {
		_, err = p.Override(values)
	}
	return err
}

// Preview tells what a mitigation would come to.
func (a *action) Preview(_ context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	h := a.plan(m)
	if h.Err != nil {
		return nil, h.Err
	}
	var out []sdk.Announcement
	for _, r := range h.Routes {
		out = append(out, sdk.Announcement{Prefix: r.prefix, Text: r.text, FlowSpec: r.flowSpec, Discard: r.discard, Matches: r.matches})
	}
	return out, nil
}

// plan finds out what a mitigation comes to, and that somebody can be told.
func (a *action) plan(m sdk.Mitigation) *held {
	h := &held{Mitigation: m}
	p, err := a.set.profiles.Find("gobgp", m.Profile)
	if err != nil {
		h.Err = err
		return h
	}
	if h.Routes, h.Err = (profile{p}).plan(&h.Mitigation); h.Err != nil {
		return h
	}
	for _, r := range h.Routes {
		if len(a.told.where(r)) == 0 {
			h.Routes, h.Err = nil, fmt.Errorf("no neighbour is configured for %s", familyName(r.key.family))
			return h
		}
	}
	return h
}

// Sync makes desired all that is announced.
func (a *action) Sync(_ context.Context, desired []sdk.Mitigation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked.Sync(desired, a.plan)
	a.routes = byKey(a.asked.Routes())
	a.notes.keep(a.asked.Known()) // before anybody is told
	a.told.hold(a.routes)
	a.changed()
	return nil
}

func byKey(routes []*route) map[routeKey]*route {
	out := make(map[routeKey]*route, len(routes))
	for _, r := range routes {
		out[r.key] = r
	}
	return out
}

// changed says that a status may have changed.
func (a *action) changed() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}
