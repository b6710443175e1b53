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
// fit its queue is dropped, oldest first, and counted.
const (
	deliveryQueue   = 1024 // events of a lane
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

	delivered atomic.Uint64
	failed    atomic.Uint64
	dropped   atomic.Uint64
}

// lane is a queue with one goroutine behind it.
type lane struct {
	mu     sync.Mutex
	queue  []sdk.Event
	wake   chan struct{} // holds one token while the queue may be non-empty
	closed bool
}

// newDelivery makes a delivery of so many lanes; timeout bounds one call, 0
// meaning the default.
func newDelivery(name string, lanes int, timeout time.Duration, log hclog.Logger, notify notifyFunc) *delivery {
	if timeout <= 0 {
		timeout = deliveryTimeout
	}
	d := &delivery{name: name, notify: notify, timeout: timeout, log: log}
	for range lanes {
		d.lanes = append(d.lanes, &lane{wake: make(chan struct{}, 1)})
	}
	return d
}

// offer queues an event; it never blocks.
func (d *delivery) offer(e sdk.Event) {
	at := e.Target.Addr().As16()
	h := fnv.New32a()
	_, _ = h.Write(at[:]) // never fails
	if d.lanes[h.Sum32()%uint32(len(d.lanes))].push(e) {
		return
	}
	if d.dropped.Add(1) == 1 {
		d.log.Error("events are dropped: the plugin does not keep up", "plugin", d.name, "queue", deliveryQueue)
	}
}

// push queues an event; false means that the oldest one had to go for it.
func (l *lane) push(e sdk.Event) bool {
	l.mu.Lock()
	full := len(l.queue) >= deliveryQueue
	if full {
		l.queue = l.queue[1:]
	}
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	l.nudge()
	return !full
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

func (l *lane) next() (e sdk.Event, ok, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return sdk.Event{}, false, l.closed
	}
	e = l.queue[0]
	l.queue = l.queue[1:]
	return e, true, l.closed
}

// run delivers until ctx is done, or until all is delivered after finish.
func (d *delivery) run(ctx context.Context) {
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
		d.log.Error("an event was not delivered", "plugin", d.name, "event", e.Type, "attack", e.ID, "target", e.Target, "tries", try, "error", err)
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
