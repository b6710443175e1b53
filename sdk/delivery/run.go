package delivery

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/spool"
)

// unwellAfter is how long a store may fail before the plugin says that it is
// unwell.
const unwellAfter = 10 * time.Second

// lane is what is to be delivered of one kind, and how that goes. Its atomic
// fields are read from outside; the rest belongs to run.
type lane struct {
	name      string
	min, max  time.Duration
	next      time.Time // of the next try; zero: at once
	pause     time.Duration
	again     bool // the oldest was tried before
	delivered atomic.Uint64
	retried   atomic.Uint64
	refused   atomic.Uint64 // by the store
	full      atomic.Uint64 // pushed out by newer ones
	failing   atomic.Int64  // since when, Unix nanoseconds; 0 it is not
	why       atomic.Pointer[string]
}

func newLane(name string, c *Config) *lane {
	return &lane{name: name, min: c.MinBackoff, max: c.MaxBackoff}
}

// failed sets when the next try is.
func (l *lane) failed(err error) {
	l.retried.Add(1)
	l.again = true
	l.pause = min(max(2*l.pause, l.min), l.max)
	l.next = time.Now().Add(time.Duration(float64(l.pause) * (0.8 + 0.4*rand.Float64())))
	text := err.Error()
	l.why.Store(&text)
	l.failing.CompareAndSwap(0, time.Now().UnixNano())
}

// went notes a success, or a refusal, which is an answer too.
func (l *lane) went() {
	l.next, l.pause, l.again = time.Time{}, 0, false
	l.failing.Store(0)
}

// due tells whether a try may be made, and else in what time.
func (l *lane) due() (time.Duration, bool) {
	wait := time.Until(l.next)
	return wait, wait <= 0
}

// run delivers until ending is done, and then once more whatever waits; writes
// bounds every write.
func (q *Queue) run(ending, writes context.Context) {
	defer close(q.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ending.Err() == nil {
		wait := time.Hour
		for _, l := range []*lane{q.events, q.rates} {
			if !q.waits(l) {
				continue
			}
			if left, ok := l.due(); !ok {
				wait = min(wait, left)
				continue
			}
			q.try(writes, l)
			wait = 0
		}
		if wait == 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ending.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
	for _, l := range []*lane{q.events, q.rates} {
		for q.waits(l) && writes.Err() == nil && q.try(writes, l) {
		}
	}
}

// waits tells whether a lane has something to deliver.
func (q *Queue) waits(l *lane) bool {
	if l == q.events {
		return q.spool.Stats().Waiting > 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.snapshots) > 0
}

// try makes one write; false means that the store did not take it and that
// another try is to be made later.
func (q *Queue) try(ctx context.Context, l *lane) bool {
	ctx, cancel := context.WithTimeout(ctx, q.conf.Timeout)
	defer cancel()
	var err error
	if !q.connected {
		err = q.store.Connect(ctx)
		q.connected = err == nil
	}
	switch {
	case err != nil:
	case l == q.events:
		err = q.writeEvents(ctx)
	default:
		err = q.writeSnapshot(ctx)
	}
	if err == nil {
		if l.failing.Load() != 0 {
			q.say.mended(l.name)
		}
		l.went()
		return true
	}
	l.failed(err)
	q.connected = false
	if !errors.Is(err, context.Canceled) {
		q.say.failure(l.name, err)
	}
	return false
}

// writeEvents writes the oldest events that wait. If the store refuses several
// together, each is tried by itself, so that only those go that it means.
func (q *Queue) writeEvents(ctx context.Context) error {
	b := Batch{Again: q.events.again}
	var records []spool.Record
	for _, r := range q.spool.Next(batchEvents, batchBytes) {
		e, err := decode(r.Data)
		if err != nil {
			q.events.refused.Add(1)
			q.say.failure(q.events.name, errors.Join(errors.New("an event in the spool cannot be read"), err))
			if len(records) == 0 {
				return q.spool.Done(r.Number)
			}
			break
		}
		b.Events, b.Numbers, b.Again = append(b.Events, e), append(b.Numbers, r.Number), b.Again || r.Again
		records = append(records, r)
	}
	if len(records) == 0 {
		return nil
	}
	err := q.store.Events(ctx, b)
	if err == nil {
		q.events.delivered.Add(uint64(len(records)))
		return q.spool.Done(records[len(records)-1].Number)
	}
	if !IsRefused(err) {
		return err
	}
	return q.single(ctx, b)
}

// single writes events one by one and passes over what the store refuses.
func (q *Queue) single(ctx context.Context, b Batch) error {
	for i := range b.Events {
		err := q.store.Events(ctx, Batch{Events: b.Events[i : i+1], Numbers: b.Numbers[i : i+1], Again: true})
		switch {
		case err == nil:
			q.events.delivered.Add(1)
		case IsRefused(err):
			q.events.refused.Add(1)
			q.say.failure(q.events.name, err)
		default:
			return err
		}
		if err := q.spool.Done(b.Numbers[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeSnapshot writes the oldest snapshot that waits.
func (q *Queue) writeSnapshot(ctx context.Context) error {
	q.mu.Lock()
	var s *sdk.Snapshot
	if len(q.snapshots) > 0 {
		s = q.snapshots[0]
	}
	q.mu.Unlock()
	if s == nil {
		return nil
	}
	err := q.store.Snapshot(ctx, s)
	switch {
	case err == nil:
		q.rates.delivered.Add(1)
	case IsRefused(err):
		q.rates.refused.Add(1)
		q.say.failure(q.rates.name, err)
	default:
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.snapshots) > 0 && q.snapshots[0] == s { // else newer ones have pushed it out meanwhile
		q.snapshots[0] = nil
		q.snapshots = q.snapshots[1:]
	}
	return nil
}

// Health fails while the store does.
func (q *Queue) Health(context.Context) error {
	for _, l := range []*lane{q.events, q.rates} {
		since, why := l.failing.Load(), l.why.Load()
		if since != 0 && why != nil && time.Since(time.Unix(0, since)) > unwellAfter {
			return errors.New(l.name + " cannot be delivered: " + *why)
		}
	}
	return nil
}

// Metrics tells how the delivery goes.
func (q *Queue) Metrics() []sdk.Metric {
	st := q.spool.Stats()
	q.mu.Lock()
	waiting, age := len(q.snapshots), time.Duration(0)
	if waiting > 0 {
		age = max(0, time.Since(q.snapshots[0].Time))
	}
	q.mu.Unlock()
	out := []sdk.Metric{
		{Name: "waiting:of=events", Value: float64(st.Waiting)},
		{Name: "waiting:of=snapshots", Value: float64(waiting)},
		{Name: "lag_seconds:of=events", Value: st.Age.Seconds()},
		{Name: "lag_seconds:of=snapshots", Value: age.Seconds()},
		{Name: "spool_bytes", Value: float64(st.Bytes)},
		{Name: "dropped_total:of=events,reason=full", Value: float64(st.Dropped)},
		{Name: "dropped_total:of=events,reason=damaged", Value: float64(st.Damaged)},
		{Name: "dropped_total:of=snapshots,reason=full", Value: float64(q.rates.full.Load())},
	}
	for _, l := range []*lane{q.events, q.rates} {
		out = append(out,
			sdk.Metric{Name: "delivered_total:of=" + l.name, Value: float64(l.delivered.Load())},
			sdk.Metric{Name: "retried_total:of=" + l.name, Value: float64(l.retried.Load())},
			sdk.Metric{Name: "dropped_total:of=" + l.name + ",reason=refused", Value: float64(l.refused.Load())})
	}
	return out
}
