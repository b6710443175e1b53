package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Bounds of a delivery. Detection never waits for an action: what does not
// fit its queue is dropped, oldest first, and counted.
const (
	deliveryQueue   = 1024
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

// delivery carries events to one action, in order, apart from all others.
type delivery struct {
	name    string
	notify  notifyFunc
	timeout time.Duration
	log     hclog.Logger

	mu        sync.Mutex
	queue     []sdk.Event
	wake      chan struct{} // holds one token while the queue may be non-empty
	closed    bool
	delivered uint64
	failed    uint64
	dropped   uint64
}

func newDelivery(name string, timeout time.Duration, log hclog.Logger, notify notifyFunc) *delivery {
	if timeout <= 0 {
		timeout = deliveryTimeout
	}
	return &delivery{name: name, notify: notify, timeout: timeout, log: log, wake: make(chan struct{}, 1)}
}

// offer queues an event; it never blocks.
func (d *delivery) offer(e sdk.Event) {
	d.mu.Lock()
	if len(d.queue) >= deliveryQueue {
		d.queue = d.queue[1:]
		d.dropped++
		if d.dropped == 1 {
			d.log.Error("events are dropped: the action does not keep up", "action", d.name, "queue", deliveryQueue)
		}
	}
	d.queue = append(d.queue, e)
	d.mu.Unlock()
	d.nudge()
}

// finish lets run return once everything queued has been tried.
func (d *delivery) finish() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.nudge()
}

func (d *delivery) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delivery) next() (e sdk.Event, ok, closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return sdk.Event{}, false, d.closed
	}
	e = d.queue[0]
	d.queue = d.queue[1:]
	return e, true, d.closed
}

// run delivers until ctx is done, or until the queue is empty after finish.
func (d *delivery) run(ctx context.Context) {
	pause := breakerPause
	for ctx.Err() == nil {
		e, ok, closed := d.next()
		if !ok {
			if closed {
				return
			}
			select {
			case <-d.wake:
			case <-ctx.Done():
			}
			continue
		}
		if d.deliver(ctx, e) {
			pause = breakerPause
			continue
		}
		// The breaker: an action that fails gets a rest, and its events wait.
		if !closed && sleep(ctx, pause) {
			pause = min(2*pause, breakerMax)
		}
	}
}

// deliver tries one event until it is taken, refused for good, or out of tries.
func (d *delivery) deliver(ctx context.Context, e sdk.Event) bool {
	wait := retryPause
	for try := 1; ; try++ {
		call, cancel := context.WithTimeout(ctx, d.timeout)
		err := d.notify(call, e)
		cancel()
		if err == nil {
			d.count(&d.delivered)
			return true
		}
		again := sdk.IsRetry(err) || errors.Is(err, errNotRunning)
		if !again || try >= deliveryTries || !sleep(ctx, wait) {
			d.count(&d.failed)
			d.log.Error("the action failed", "action", d.name, "event", e.Type, "attack", e.ID, "target", e.Target, "tries", try, "error", err)
			return false
		}
		wait *= 2
	}
}

func (d *delivery) count(n *uint64) {
	d.mu.Lock()
	*n++
	d.mu.Unlock()
}

// counts returns how many events were delivered, failed and dropped.
func (d *delivery) counts() (delivered, failed, dropped uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.delivered, d.failed, d.dropped
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
