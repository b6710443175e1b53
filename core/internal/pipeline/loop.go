package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const (
	// tickEvery drives the clock where no ring does.
	tickEvery = 10 * time.Millisecond
	// readBatch is how many deltas are copied out of a ring at a time.
	readBatch = 512
	// turnBatches bounds what one input gets before the next has its turn: more
	// than a ring holds, and more than half of what a stream may have queued.
	turnBatches = 128
	// finishBatches is what an ended input may have left: more than a ring or
	// a stream's queue holds.
	finishBatches = 2 * streamQueue / readBatch
	// maxAhead is how far the end of a window may lie ahead of our clock, which
	// is the capture's too: the last window ends when its input does, up to
	// 50 ms early. It is what a capture can make the others late by.
	maxAhead = 100 * time.Millisecond
	// complaintEvery is between two lines about the same.
	complaintEvery = time.Minute
)

// source is where an input's deltas come from: shared memory or a stream. It
// never blocks; 0 means that there is nothing now.
type source interface {
	Read(dst []ring.Delta) (int, error)
}

// input is one capture worker's ring, as the loop sees it.
type input struct {
	id      engine.RingID
	source  source
	capture *capture
	worker  int
	causes  []string   // of dropped records, by index
	close   func()     // once nothing more is read from it
	last    ring.Flush // replay: the newest flush
	left    uint32     // replay: deltas of it still to come
	fill    fill
	brought seen          // by the latest look
	seen    chan struct{} // holds a token when the loop has looked since
}

// fill is how many deltas have waited at a time.
type fill struct {
	most int // in the current second
	was  int // in the one before
}

// loop owns engine and detector: one goroutine, which everything else speaks
// to through do.
type loop struct {
	engine   *engine.Engine
	detector *detect.Detector
	log      hclog.Logger
	now      func() int64                // the clock of live streams; nil in replay, where flushes drive it
	deliver  func(events []detect.Event) // must not block
	after    func()                      // each decision; nil: nothing
	inputs   []*input
	calls    chan func()
	kick     chan struct{} // holds one token while some ring may have deltas
	stopped  chan struct{}
	buf      []ring.Delta
	turns    histogram // time of a turn
	applies  histogram // time of adding a batch to the rates
	learner  *learner  // replay: keeps how rates were; may be nil
	frozen   bool      // the daemon is stopping: nothing comes in any more
	before   int64     // when the last turn began
	doubt    doubt     // the one that lasts longest
	reasons  [doubtsKept]doubt
	looked   time.Time
	told     map[string]complaint
	standbys []*standby
}

// complaint is what was last said about something.
type complaint struct {
	at    time.Time
	total uint64
}

func newLoop(e *engine.Engine, d *detect.Detector, log hclog.Logger, now func() int64, deliver func([]detect.Event)) *loop {
	return &loop{
		engine: e, detector: d, log: log, now: now, deliver: deliver,
		calls: make(chan func()), kick: make(chan struct{}, 1), stopped: make(chan struct{}),
		buf: make([]ring.Delta, readBatch), told: map[string]complaint{},
	}
}

// run drives engine and detector until ctx is done.
func (l *loop) run(ctx context.Context) {
	defer close(l.stopped)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-l.calls:
			f()
		case <-l.kick:
		case <-tick.C:
		}
		l.turn()
	}
}

// do runs f between two turns and waits for it; false means that the loop has
// ended.
func (l *loop) do(f func()) bool {
	done := make(chan struct{})
	select {
	case l.calls <- func() { defer close(done); f() }:
		<-done
		return true
	case <-l.stopped:
		return false
	}
}

// wake says that a ring may have deltas; it never blocks.
func (l *loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// freeze takes a last turn and stops the clock.
func (l *loop) freeze() {
	l.turn()
	l.frozen = true
}

// turn reads every ring, moves the clock and lets the detector decide.
func (l *loop) turn() {
	if l.frozen {
		return
	}
	more, start := false, int64(0)
	if l.now != nil {
		start = l.now()
		if gap := time.Duration(start - l.before); l.before != 0 && gap > maxPause {
			l.pause(gap)
		}
	}
	for _, in := range l.inputs {
		more = l.drain(in, turnBatches) || more
	}
	if l.now != nil { // else applyReplay moves the clock and decides
		// The clock must not pass a backlog by. Two turns read more than a
		// source holds: what is left was written after the last one began.
		upTo := start
		if more {
			upTo = l.before
		}
		l.before = start
		l.watchStandbys(start)
		l.engine.Advance(upTo)
		l.decide()
		l.turns.observe(time.Duration(l.now() - start))
	}
	l.complain()
	if more {
		l.wake()
	}
}

func (l *loop) decide() {
	l.doubts("")
	if events := l.detector.Step(l.engine.Clock()); len(events) > 0 {
		l.deliver(events)
	}
	if l.after != nil {
		l.after()
	}
}

// drain applies up to batches batches of one input; true means that there was
// more.
func (l *loop) drain(in *input, batches int) bool {
	defer in.looked()
	waited := 0
	defer func() { in.fill.most = max(in.fill.most, waited) }()
	for range batches {
		n, err := in.source.Read(l.buf)
		waited += n
		if n > 0 {
			if bad := l.apply(in, l.buf[:n]); bad != nil && err == nil {
				err = bad
			}
		}
		switch {
		case errors.Is(err, ring.ErrClosed):
			return false
		case err != nil:
			l.quarantine(in, err)
			return false
		case n < len(l.buf):
			return false
		}
	}
	return true
}

// apply adds deltas to the rates.
func (l *loop) apply(in *input, deltas []ring.Delta) error {
	if l.now != nil {
		began := l.now()
		l.engine.SetNow(began) // after the ring was read: no honest window ends later
		err := l.engine.Apply(in.id, deltas)
		l.applies.observe(time.Duration(l.now() - began))
		return err
	}
	return l.applyReplay(in, deltas)
}

func (in *input) looked() {
	select {
	case in.seen <- struct{}{}:
	default:
	}
}

// quarantine gives up a ring that lies: its process is killed, and the next
// one gets a new ring of the next generation.
func (l *loop) quarantine(in *input, cause error) {
	l.remove(in)
	in.capture.quarantined(in.worker, cause)
}

func (l *loop) add(in *input) {
	in.id = l.engine.AddRing(in.capture.generation)
	l.inputs = append(l.inputs, in)
	l.arrange(in)
}

// remove forgets an input, and keeps its account; it may be called twice, and
// for an input that was never added.
func (l *loop) remove(in *input) {
	if i := slices.Index(l.inputs, in); i >= 0 {
		l.doubts("") // while it is known which input it was
		l.inputs = slices.Delete(slices.Clone(l.inputs), i, i+1)
		if ledger, ok := l.engine.Ledger(in.id); ok {
			in.capture.settle(in, &ledger)
		}
		l.engine.RemoveRing(in.id)
	}
	if in.close != nil {
		in.close()
		in.close = nil
	}
}

// finish reads what an ended input has left, but no more than it can have:
// something that outlived the process may go on writing. Then it forgets it.
func (l *loop) finish(in *input) {
	if slices.Contains(l.inputs, in) {
		l.drain(in, finishBatches)
	}
	l.remove(in)
	if l.now != nil {
		l.decide()
	}
}

// complain tells what the engine could not hold: each cause at most once a
// minute, with its number.
func (l *loop) complain() {
	now := time.Now()
	if now.Sub(l.looked) < time.Second {
		return
	}
	l.looked = now
	s := l.engine.Stats()
	for _, c := range []struct {
		what  string
		total uint64
	}{
		{"attacks are not reported: too many are open; alarms_held counts crossings", s.AlarmsHeld},
		{"no memory for user counters and bursts of some hosts: raise daemon { memory_limit }", s.ExtrasRefused},
		{"prefixes, hostgroups or networks that have limits are without a row: raise daemon { memory_limit }", s.NoScope},
		{"hosts gave way to heavier ones: raise daemon { memory_limit }", s.Displaced},
		{"hosts without a row are counted in their network only: raise daemon { memory_limit }", s.NoRow},
	} {
		last := l.told[c.what]
		if c.total > last.total && now.Sub(last.at) >= complaintEvery {
			l.log.Warn(c.what, "count", c.total-last.total)
			l.told[c.what] = complaint{now, c.total}
		}
	}
}
