package engine

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// RingID names a ring that feeds the engine.
type RingID uint32

// ErrLie is wrapped by every error of Apply: the ring said what cannot be, and
// nothing more is taken from it.
var ErrLie = errors.New("ring is not believed")

// Refusal is a cause for which a single delta is not believed.
type Refusal uint8

// The refusals.
const (
	RefusedShape   Refusal = iota // direction, family, span, prefix length or address bits that no delta has
	RefusedOutside                // address outside our networks
	RefusedID                     // network, group or counter id that is not the address's, or not in the plan
	Refusals
)

func (r Refusal) String() string {
	return [...]string{"shape", "outside", "id"}[r]
}

// Ledger is the account of one ring: what the capture says (as of its newest
// flush, records) and what the engine did with its deltas.
type Ledger struct {
	Received, Counted uint64      // records
	Dropped           uint64      // records, all causes
	DroppedBy         [256]uint64 // records by cause of the plugin
	Used              uint64      // of the counted ones, those whose deltas have come
	InFlight          uint64      // records received, neither used nor dropped yet
	Packets           uint64      // received, scaled
	Folded            uint64      // rows folded into their prefix
	DirtyRows         uint32      // rows still in the capture's table
	LagNanos          uint64      // by which counts were late: see ring.Flush
	WindowEnd         int64       // of the newest flush, stream's clock
	Flush             uint64      // number of the newest flush
	Revision          uint64      // of the plan it counts by
	Deltas            uint64      // applied
	Late              uint64      // of them, too late for the open ticks
	Refused           [Refusals]uint64
	Finished          bool // the input has ended
}

type ringState struct {
	ledger     Ledger
	generation uint32
	left       uint32 // deltas of the flush still to come
	announced  uint64 // raw samples in the deltas of the flush
	came       uint64 // of them, so far
	held       uint64 // raw samples that the flush left in the capture's table
	settled    uint64 // records counted when it held none the last time
	plan       *plan
	revision   uint64 // of plan; before the first flush that of the plan at AddRing
	end        uint32 // window end in steps
	tick       uint32 // tickOf(end)
	doubt      DoubtID
	doubtful   uint32 // step until which what it tells is in doubt
	muted      bool   // its deltas are accounted for and change no rate
	counted    func() // is called when it tells of records counted, before their deltas; may be nil
	err        error
}

// AddRing announces a ring of the given generation.
func (e *Engine) AddRing(generation uint32) RingID {
	e.ringSeq++
	r := &ringState{generation: generation}
	if e.cur != nil {
		r.revision = e.cur.revision
	}
	e.rings[e.ringSeq] = r
	return e.ringSeq
}

// RemoveRing forgets a ring; what it gave stays counted.
func (e *Engine) RemoveRing(id RingID) {
	e.foldWider()
	delete(e.rings, id)
	if e.cur != nil {
		e.prunePlans()
	}
}

// Mute says whether a ring's deltas count. Those of a muted ring are checked for
// what the ledger needs, and no more.
func (e *Engine) Mute(id RingID, muted bool) {
	if r := e.rings[id]; r != nil {
		r.muted = muted
	}
}

// OnCounted has f called whenever a ring tells that its capture has counted
// records, before what it has counted: so that f may unmute it.
func (e *Engine) OnCounted(id RingID, f func()) {
	if r := e.rings[id]; r != nil {
		r.counted = f
	}
}

// Ledger returns the account of a ring, false if there is none.
func (e *Engine) Ledger(id RingID) (Ledger, bool) {
	r := e.rings[id]
	if r == nil {
		return Ledger{}, false
	}
	l := r.ledger
	l.Used = l.Counted - r.undelivered()
	if away := l.Used + l.Dropped; away >= l.Used && away < l.Received {
		l.InFlight = l.Received - away
	}
	return l, true
}

// undelivered is how many of the records that the capture says it has counted
// have not come. It counts raw samples, which for packets are records, but two
// for one that counts for both of its ends; for flow records they are more, but
// never more than what was counted since the table was last empty.
func (r *ringState) undelivered() uint64 {
	n := r.held
	if r.left > 0 && r.came < r.announced {
		n += r.announced - r.came
	}
	if n < r.held {
		n = math.MaxUint64 // absurd numbers: the bound below holds
	}
	return min(n, r.ledger.Counted-r.settled)
}

func (r *ringState) lie(format string, args ...any) error {
	r.err = fmt.Errorf("%w: %s", ErrLie, fmt.Sprintf(format, args...))
	return r.err
}

// flush opens a batch.
func (e *Engine) flush(id RingID, r *ringState, f *ring.Flush) error {
	l := &r.ledger
	switch {
	case f.Kind != ring.KindFlush:
		return r.lie("record of kind %d where a flush must stand", f.Kind)
	case f.Generation != r.generation:
		return r.lie("flush of generation %d in a ring of generation %d", f.Generation, r.generation)
	case f.Number <= l.Flush:
		return r.lie("flush number %d after %d", f.Number, l.Flush)
	case f.WindowEnd <= 0 || f.WindowEnd%step != 0:
		return r.lie("window end %d is not a positive multiple of 50 ms", f.WindowEnd)
	case f.WindowEnd < l.WindowEnd:
		return r.lie("window end went back from %d to %d", l.WindowEnd, f.WindowEnd)
	case e.opt.MaxAhead > 0 && f.WindowEnd > e.now+int64(e.opt.MaxAhead):
		return r.lie("window end %d lies more than %v ahead of the time %d", f.WindowEnd, e.opt.MaxAhead, e.now)
	case f.Received < l.Received || f.Counted < l.Counted || f.DroppedTotal < l.Dropped || f.Folded < l.Folded:
		return r.lie("a running total went back in flush %d", f.Number)
	case l.Finished:
		return r.lie("flush %d after the finished one", f.Number)
	}
	end, err := e.steps(f.WindowEnd)
	if err != nil {
		return r.lie("window end %d: %v", f.WindowEnd, err)
	}
	if r.plan == nil || r.plan.revision != f.Revision {
		if f.Revision < r.revision && r.plan != nil {
			return r.lie("plan revision went back from %d to %d", r.revision, f.Revision)
		}
		r.plan = e.planOf(f.Revision)
		if r.plan == nil {
			return r.lie("plan revision %d is unknown", f.Revision)
		}
		r.revision = f.Revision
		e.prunePlans()
	}
	if r.counted != nil && f.Counted > l.Counted {
		r.counted()
	}
	gap := time.Duration(f.WindowEnd - l.WindowEnd)
	isNew := l.Flush == 0
	r.end, r.tick, r.left = end, tickOf(end), f.Deltas
	if r.held == 0 {
		r.settled = l.Counted
	}
	r.announced, r.came, r.held = f.Samples, 0, f.Held
	l.Received, l.Counted, l.Dropped = f.Received, f.Counted, f.DroppedTotal
	l.Packets, l.Folded, l.DirtyRows, l.LagNanos = f.Packets, f.Folded, f.DirtyRows, f.LagNanos
	l.WindowEnd, l.Flush, l.Revision = f.WindowEnd, f.Number, f.Revision
	l.Finished = f.Flags&ring.FlushFinished != 0
	if end > e.clock {
		e.setClock(end)
	}
	switch live := e.opt.MaxAhead > 0; {
	case live && isNew:
		e.suspect(Disturbance{Ring: id, New: true}, r)
	case live && gap > maxGap:
		e.suspect(Disturbance{Ring: id, Gap: gap}, r)
	case live && f.LagNanos > uint64(maxGap):
		e.suspect(Disturbance{Ring: id, Gap: time.Duration(min(f.LagNanos, uint64(maxLag))), Held: true}, r)
	}
	return nil
}

func (e *Engine) planOf(revision uint64) *plan {
	for _, p := range e.plans {
		if p.revision == revision {
			return p
		}
	}
	return nil
}

func (e *Engine) refuse(r *ringState, why Refusal) {
	r.ledger.Refused[why]++
	e.stats.Refused++
}
