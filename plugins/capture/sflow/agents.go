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
	pool     pool
}

// pool is how many packets samples were chosen among, by the device's own
// count, and how many that would be by the rate it tells.
type pool struct{ samples, packets, told uint64 }

func (p *pool) add(more pool) {
	p.samples += more.samples
	p.packets += more.packets
	p.told += more.told
}

// fewPooled is how many samples say something; of poolMemory and more the older
// half is forgotten.
const (
	fewPooled  = 4 * poolSpan
	poolMemory = 1 << 16
)

// rate is the sampling rate that the pool shows; 0 not known.
func (p *pool) rate() uint64 {
	if p.samples < fewPooled {
		return 0
	}
	return max((p.packets+p.samples/2)/p.samples, 1)
}

// differs reports whether the rate that the device tells is far from that:
// more than twice as high or as low.
func (p *pool) differs() bool {
	return p.rate() != 0 && p.told != 0 && (p.packets > 2*p.told || p.told > 2*p.packets)
}

func (t *tally) add(more *tally) {
	t.missing += more.missing
	t.dropped += more.dropped
	t.counters += more.counters
	t.discards += more.discards
	t.pool.add(more.pool)
	if t.pool.samples >= poolMemory {
		t.pool = pool{t.pool.samples / 2, t.pool.packets / 2, t.pool.told / 2}
	}
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
