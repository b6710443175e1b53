package feed

import (
	"runtime"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// State of a capture.
type State uint8

// The states.
const (
	Waiting  State = iota // not started
	Running               // some worker runs
	Finished              // every worker's input has ended
	Failed                // a worker failed
	Stopped               // by Stop
)

func (s State) String() string {
	return [...]string{"waiting", "running", "finished", "failed", "stopped"}[s]
}

// Ledger accounts for one worker's records: Received = Counted + Σ Dropped +
// InFlight.
type Ledger struct {
	Received uint64
	Packets  uint64 // packets in them, scaled
	Counted  uint64
	InFlight uint64            // with filters
	Dropped  map[string]uint64 // by cause
	Folded   uint64            // rows folded for want of room
	Dirty    int               // rows not yet flushed
	Short    uint64            // deltas lost because a ring died under them
}

// Status of a capture.
type Status struct {
	State   State
	Err     error // of the first worker that failed
	Workers []Ledger
}

// Status tells how the capture fares. It never waits for a worker: of one
// that is blocked it gives the accounts it last saw.
func (rt *Runtime) Status() Status {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	s := Status{State: rt.state, Err: rt.err, Workers: make([]Ledger, len(rt.writers))}
	for i, w := range rt.writers {
		for deadline := time.Now().Add(statusPatience); ; runtime.Gosched() {
			if w.mu.TryLock() {
				rt.last[i] = w.ledger(rt.opts.Causes)
				w.mu.Unlock()
				break
			}
			if time.Now().After(deadline) {
				break
			}
		}
		s.Workers[i] = rt.last[i]
	}
	return s
}

// statusPatience is how long Status tries for a worker that counts batch after
// batch; each batch takes far less.
const statusPatience = 20 * time.Millisecond

// ledger reads the accounts; w.mu is held.
func (w *Writer) ledger(causes []string) Ledger {
	if w.table == nil {
		return Ledger{}
	}
	t := w.table.Ledger()
	l := Ledger{
		Received: t.Received, Packets: t.Packets, Counted: t.Counted, Folded: t.Folded,
		Dirty: w.table.Dirty(), Short: t.Short, Dropped: make(map[string]uint64),
	}
	for id, n := range t.ByCause {
		if n != 0 {
			l.Dropped[count.CauseName(causes, uint8(id))] += n
		}
	}
	if w.record != nil {
		l.InFlight = uint64(w.record.InFlight())
		l.Received += l.InFlight
	}
	for _, r := range w.left {
		l.InFlight += uint64(r.InFlight())
		l.Received += uint64(r.InFlight())
	}
	return l
}

func newBuffer() []traffic.Record { return make([]traffic.Record, batchSize) }
