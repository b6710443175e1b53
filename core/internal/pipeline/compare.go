package pipeline

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Attack is what one configuration told of one attack in a replay.
type Attack struct {
	First sdk.Event // attack.started
	Last  sdk.Event // attack.ended: all limits crossed, the peak
}

// Attacks gathers the attacks of a replay: Add is what Replay emits to.
type Attacks struct {
	All      []Attack // in order of their start
	Finished *Summary

	open map[string]int // by id
}

// Add takes one output of a replay.
func (a *Attacks) Add(o Output) error {
	switch {
	case o.Finished != nil:
		a.Finished = o.Finished
	case o.Event.Type == sdk.AttackStarted:
		if a.open == nil {
			a.open = map[string]int{}
		}
		a.open[o.Event.ID] = len(a.All)
		a.All = append(a.All, Attack{First: *o.Event, Last: *o.Event})
	default:
		if i, ok := a.open[o.Event.ID]; ok {
			a.All[i].Last = *o.Event
		}
	}
	return nil
}

// Difference is what two configurations say about one target and direction for
// as long as the attacks of either follow each other without a pause. One of
// the lists may be empty: then only the other configuration fires.
type Difference struct {
	Target    netip.Prefix // zero where a hostgroup or network has several prefixes
	Direction string
	Config    []Attack // of the first configuration
	Against   []Attack // of the second one
	// Within is where only one configuration fires: the wider targets of which
	// the other one tells at the same time, as a prefix for its hosts: the
	// prefix, or "hostgroup" or "network" and its name.
	Within []string
}

// Start is the first moment at which either configuration fires.
func (d *Difference) Start() time.Time {
	switch {
	case len(d.Config) == 0:
		return d.Against[0].First.Time
	case len(d.Against) == 0 || d.Config[0].First.Time.Before(d.Against[0].First.Time):
		return d.Config[0].First.Time
	}
	return d.Against[0].First.Time
}

// Compare lays the attacks of two replays of the same input side by side, in
// order of time, target and direction.
func Compare(config, against []Attack) []Difference {
	type key struct {
		target    netip.Prefix
		name      string // where there is no target
		direction string
	}
	type side struct {
		Attack
		against bool
	}
	of := map[key][]side{}
	for i, list := range [][]Attack{config, against} {
		for _, a := range list {
			k := key{a.First.Target, a.First.TargetName(), a.First.Direction}
			of[k] = append(of[k], side{a, i == 1})
		}
	}
	var out []Difference
	for k, list := range of {
		slices.SortStableFunc(list, func(a, b side) int { return a.First.Time.Compare(b.First.Time) })
		var end time.Time // of what is in the newest difference
		for i, s := range list {
			if i == 0 || s.First.Time.After(end) {
				out = append(out, Difference{Target: k.target, Direction: k.direction})
				end = s.Last.Time
			}
			d := &out[len(out)-1]
			if s.against {
				d.Against = append(d.Against, s.Attack)
			} else {
				d.Config = append(d.Config, s.Attack)
			}
			end = maxTime(end, s.Last.Time)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(a.Start().Compare(b.Start()), comparePrefixes(a.Target, b.Target), strings.Compare(a.Direction, b.Direction),
			strings.Compare(a.Name(), b.Name()))
	})
	for i := range out {
		d := &out[i]
		switch {
		case len(d.Against) == 0:
			d.Within = wider(d.Config, against)
		case len(d.Config) == 0:
			d.Within = wider(d.Against, config)
		}
	}
	return out
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Name is the target, or "hostgroup" or "network" and its name where that has
// several prefixes; a single address stands without its length.
func (d *Difference) Name() string { return d.first().TargetName() }

// first is the event that began any of the attacks.
func (d *Difference) first() *sdk.Event {
	if len(d.Config) > 0 {
		return &d.Config[0].First
	}
	return &d.Against[0].First
}

// wider lists the targets of other attacks that hold the target of some and
// overlap them in time.
func wider(some, others []Attack) (out []string) {
	e := &some[0].First
	start, end := e.Time, some[len(some)-1].Last.Time
	for i := range others {
		o := &others[i]
		if !holds(&o.First, e) || o.First.Direction != e.Direction || o.First.Time.After(end) || o.Last.Time.Before(start) {
			continue
		}
		name := logTarget(&o.First)
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// holds tells whether an attack's target lies inside a wider one's.
func holds(w, e *sdk.Event) bool {
	switch {
	case w.Target.IsValid():
		return e.Target.IsValid() && w.Target.Bits() < e.Target.Bits() && w.Target.Contains(e.Target.Addr())
	case w.Scope == "network":
		return w.Network == e.Network && e.Scope != "network"
	}
	return w.HostGroup == e.HostGroup && e.Scope != "network" && e.Scope != "hostgroup"
}
