package feed

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// tapBatch is how many records an exporter sees at once.
const tapBatch = 1024

// Tap is what an exporter of raw records does; sdk.Tap has the same method.
type Tap interface {
	Tap(ctx context.Context, batch []traffic.Record) error
}

// TapRunner feeds an exporter from one record ring. A tap that fails or
// panics loses its batch, no more.
type TapRunner struct {
	tap *ring.Tap
	to  Tap

	cancel context.CancelFunc
	done   chan struct{}
	given  atomic.Uint64
	failed atomic.Uint64
	lost   atomic.Uint64
	errors atomic.Uint64

	mu   sync.Mutex
	last error // of the exporter
	end  error // why the runner ended
}

// TapStats is what a runner has done so far, in records but for Errors.
type TapStats struct {
	Given  uint64
	Failed uint64 // in batches whose Tap failed
	Lost   uint64 // written over before they could be copied
	Errors uint64 // calls of Tap that failed
}

// Add adds what another runner has done.
func (s *TapStats) Add(o TapStats) {
	s.Given, s.Failed, s.Lost, s.Errors = s.Given+o.Given, s.Failed+o.Failed, s.Lost+o.Lost, s.Errors+o.Errors
}

// StartTap starts a runner, which owns tap from now on. The exporter's calls
// get a context that ends with ctx or with Stop.
func StartTap(ctx context.Context, tap *ring.Tap, to Tap) *TapRunner {
	ctx, cancel := context.WithCancel(ctx)
	r := &TapRunner{tap: tap, to: to, cancel: cancel, done: make(chan struct{})}
	stopWake := context.AfterFunc(ctx, tap.Wake)
	go func() {
		defer close(r.done)
		defer stopWake()
		r.run(ctx)
	}()
	return r
}

// Stop ends the runner after the batch at hand and closes the tap. It returns
// why the runner had ended before, if it had.
func (r *TapRunner) Stop() error {
	r.cancel()
	<-r.done
	return r.Err()
}

// Done is closed when the runner has ended.
func (r *TapRunner) Done() <-chan struct{} { return r.done }

// Err is why the runner ended: a corrupt ring. It is nil while it runs and
// after Stop.
func (r *TapRunner) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end
}

// LastError is the newest error of the exporter.
func (r *TapRunner) LastError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Stats tells what the runner has done.
func (r *TapRunner) Stats() TapStats {
	return TapStats{Given: r.given.Load(), Failed: r.failed.Load(), Lost: r.lost.Load(), Errors: r.errors.Load()}
}

func (r *TapRunner) run(ctx context.Context) {
	batch := make([]traffic.Record, tapBatch)
	var err error
	for err == nil && ctx.Err() == nil {
		err = r.step(ctx, batch)
	}
	err = errors.Join(err, r.tap.Close())
	r.mu.Lock()
	r.end = err
	r.mu.Unlock()
}

// step gives one batch, or waits for one.
func (r *TapRunner) step(ctx context.Context, batch []traffic.Record) error {
	n, lost, err := r.tap.Next(batch)
	r.lost.Add(lost)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := r.tap.Wait(idleWait)
		return err
	}
	if err := r.call(ctx, batch[:n]); err != nil {
		r.errors.Add(1)
		r.failed.Add(uint64(n))
		r.mu.Lock()
		r.last = err
		r.mu.Unlock()
		return nil
	}
	r.given.Add(uint64(n))
	return nil
}

// call turns a panic of the exporter into an error.
func (r *TapRunner) call(ctx context.Context, batch []traffic.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("tap panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return r.to.Tap(ctx, batch)
}
