package main

import (
	"sync"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// tally is what an exporter's samples say of themselves.
type tally struct {
	missing  int64  // samples whose numbers are missing: lost on the way, or with a datagram
	dropped  int64  // samples that the device says it has dropped
	counters uint64 // counter samples
	discards uint64 // notices of drops
}

func (t *tally) add(more *tally) {
	t.missing += more.missing
	t.dropped += more.dropped
	t.counters += more.counters
	t.discards += more.discards
}

// agents keeps a tally for each exporter, for people. Workers come by only
// with a datagram that adds to one.
type agents struct {
	mu sync.Mutex
	of map[uint32]*agent // by index
	// sweepAt is how many there may be before those go that the set of
	// exporters has let go.
	sweepAt int
}

type agent struct {
	exporter *exporter.Exporter
	tally
}

const sweepAtFirst = 1024

func newAgents() agents { return agents{of: map[uint32]*agent{}, sweepAt: sweepAtFirst} }

func (a *agents) add(e *exporter.Exporter, t *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.of[e.Index()]
	if x == nil {
		a.sweep()
		x = &agent{exporter: e}
		a.of[e.Index()] = x
	}
	x.add(t)
}

// sweep forgets exporters that their set has let go, so that there are never
// many more than it holds.
func (a *agents) sweep() {
	if len(a.of) < a.sweepAt {
		return
	}
	for i, x := range a.of {
		if x.exporter.Gone() {
			delete(a.of, i)
		}
	}
	a.sweepAt = 2*len(a.of) + sweepAtFirst
}

// get returns the tally of an exporter.
func (a *agents) get(e *exporter.Exporter) tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x := a.of[e.Index()]; x != nil {
		return x.tally
	}
	return tally{}
}

// sum adds up all tallies.
func (a *agents) sum() (all tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.of {
		all.add(&x.tally)
	}
	return all
}
