package pipeline

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Bounds of a delivery. Detection never waits for an action: what does not
// fit its queue is dropped and counted.
const (
	laneQueue       = 8192
	actionLanes     = 8
	deliveryTimeout = 30 * time.Second // of one call, unless the block sets its own
	deliveryTries   = 4                // of one event, when the plugin asks for another try
	retryPause      = 500 * time.Millisecond
	breakerPause    = time.Second // after a failed event; doubles up to breakerMax
	breakerMax      = 30 * time.Second
)

// notifyFunc hands an event to a plugin; it fails with errNotRunning while the
// plugin is down.
type notifyFunc func(ctx context.Context, e sdk.Event) error

var errNotRunning = errors.New("the plugin is not running")

// delivery carries events to one plugin. What concerns one target keeps its
// order; targets do not wait for one another, lanes permitting.
type delivery struct {
	name    string
	notify  notifyFunc
	timeout time.Duration
	log     hclog.Logger
	lanes   []*lane
	done    chan struct{} // closed when run has ended

	delivered atomic.Uint64
	failed    atomic.Uint64
	dropped   atomic.Uint64
	warned    atomic.Int64 // when drops were last logged, Unix nanoseconds
}

// lane is a queue with one goroutine behind it.
type lane struct {
	mu     sync.Mutex
	queue  []sdk.Event
	wake   chan struct{} // holds one token while the queue may be non-empty
	known  map[string]*waiting
	closed bool
}

// waiting is what a lane knows of an attack: of those with events in the queue,
// and of those of which nothing is told.
type waiting struct {
	queued int
	start  bool // its start is among them
	untold bool // its start found no room, or it was over before it was told
}

// newDelivery makes a delivery of so many lanes; timeout bounds one call, 0
// meaning the default.
func newDelivery(name string, lanes int, timeout time.Duration, log hclog.Logger, notify notifyFunc) *delivery {
	if timeout <= 0 {
		timeout = deliveryTimeout
	}
	d := &delivery{name: name, notify: notify, timeout: timeout, log: log, done: make(chan struct{})}
	for range lanes {
		d.lanes = append(d.lanes, &lane{wake: make(chan struct{}, 1), known: map[string]*waiting{}})
	}
	return d
}

// offer queues an event; it never blocks.
func (d *delivery) offer(e sdk.Event) {
	at := e.Target.Addr().As16()
	h := fnv.New32a()
	_, _ = h.Write(at[:]) // never fails
	dropped := d.lanes[h.Sum32()%uint32(len(d.lanes))].push(e)
	if dropped == 0 {
		return
	}
	d.dropped.Add(uint64(dropped))
	if last := d.warned.Load(); time.Since(time.Unix(0, last)) > time.Minute && d.warned.CompareAndSwap(last, time.Now().UnixNano()) {
		d.log.Error("events are dropped: the plugin does not keep up", "plugin", d.name, "dropped_so_far", d.dropped.Load())
	}
}

// push queues an event and returns how many events had to go for it. Without
// room a new attack is not told at all, rather than its end without its start.
func (l *lane) push(e sdk.Event) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.known[e.ID]
	if w == nil {
		w = &waiting{}
		l.known[e.ID] = w
	}
	full := len(l.queue) >= laneQueue
	switch {
	case w.untold:
		dropped = 1
	case full && e.Type == sdk.AttackStarted:
		w.untold, dropped = true, 1
	case full && (e.Type == sdk.AttackUpdated || e.Type == sdk.MitigationChanged):
		dropped = 1
	case full && w.start:
		// Over before it was told: what is queued of it is passed over.
		w.untold, dropped = true, 1+w.queued
	default:
		l.queue = append(l.queue, e)
		w.queued++
		w.start = w.start || e.Type == sdk.AttackStarted
		l.nudge()
	}
	if w.queued == 0 && (!w.untold || e.Type == sdk.AttackEnded) {
		delete(l.known, e.ID)
	}
	return dropped
}

// queued is how many events wait.
func (d *delivery) queued() uint64 {
	n := 0
	for _, l := range d.lanes {
		l.mu.Lock()
		n += len(l.queue)
		l.mu.Unlock()
	}
	return uint64(n)
}

// finish lets run return once everything queued has been tried.
func (d *delivery) finish() {
	for _, l := range d.lanes {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.nudge()
	}
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next takes the first event that is to be told.
func (l *lane) next() (e sdk.Event, ok, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		e = l.queue[0]
		l.queue = l.queue[1:]
		w := l.known[e.ID]
		w.queued--
		w.start = w.start && e.Type != sdk.AttackStarted
		if w.queued == 0 {
			delete(l.known, e.ID)
		}
		if !w.untold {
			return e, true, l.closed
		}
	}
	return sdk.Event{}, false, l.closed
}

// run delivers until ctx is done, or until all is delivered after finish.
func (d *delivery) run(ctx context.Context) {
	defer close(d.done)
	var lanes sync.WaitGroup
	for _, l := range d.lanes {
		lanes.Go(func() { d.runLane(ctx, l) })
	}
	lanes.Wait()
}

func (d *delivery) runLane(ctx context.Context, l *lane) {
	pause := breakerPause
	for ctx.Err() == nil {
		e, ok, closed := l.next()
		if !ok {
			if closed {
				return
			}
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		if d.deliver(ctx, e) {
			pause = breakerPause
			continue
		}
		// The breaker: what does not answer gets a rest, and its events wait.
		if !closed && sleep(ctx, pause) {
			pause = min(2*pause, breakerMax)
		}
	}
}

// deliver tries one event until it is taken, refused for good, or out of tries.
// While the plugin is down the event waits. False means that the plugin did not
// answer; an answer, were it a refusal, is true.
func (d *delivery) deliver(ctx context.Context, e sdk.Event) (answered bool) {
	wait := retryPause
	for try := 1; ; {
		call, cancel := context.WithTimeout(ctx, d.timeout)
		err := d.notify(call, e)
		late := call.Err() != nil
		cancel()
		switch {
		case err == nil:
			d.delivered.Add(1)
			return true
		case errors.Is(err, errNotRunning) && sleep(ctx, retryPause):
			continue
		case sdk.IsRetry(err) && try < deliveryTries && sleep(ctx, wait):
			try, wait = try+1, 2*wait
			continue
		}
		d.failed.Add(1)
		d.log.Error("an event was not delivered", "plugin", d.name, "event", e.Type, "attack", e.ID, "target", logTarget(&e), "tries", try, "error", err)
		return !late && !sdk.IsRetry(err)
	}
}

// sleep waits for a duration; false means that ctx ended it.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
