package feed

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	// judgeBatch is how many records a filter sees at once.
	judgeBatch = 512
	// idleWait bounds one wait for records.
	idleWait = time.Second
)

// Judge is what a filter's worker does; sdk.Judge has the same method.
type Judge interface {
	Judge(batch []traffic.Record) error
}

// PartialError is an error of Judge about the records with
// traffic.VerdictUnjudged only.
type PartialError struct{ Err error }

func (e *PartialError) Error() string { return e.Err.Error() }
func (e *PartialError) Unwrap() error { return e.Err }

// JudgeRunner runs one filter worker on one record ring: it waits for records,
// has them judged and lets them go on. A judge that fails or panics does not
// end it, unless the filter's on_failure is stop.
type JudgeRunner struct {
	stage     *ring.Stage
	judge     Judge
	onFailure ring.OnFailure

	stopping atomic.Bool
	done     chan struct{}
	judged   atomic.Uint64
	failed   atomic.Uint64
	errors   atomic.Uint64
	passed   atomic.Uint64

	mu   sync.Mutex
	last error // of the judge
	end  error // why the runner ended
}

// JudgeStats is what a runner has done so far, in records but for Errors.
type JudgeStats struct {
	Judged     uint64
	Failed     uint64 // in batches whose Judge failed
	PassedOver uint64 // taken by the capture without waiting
	Errors     uint64 // calls of Judge that failed
}

// StartJudge starts a runner, which owns stage from now on.
func StartJudge(stage *ring.Stage, judge Judge, onFailure ring.OnFailure) *JudgeRunner {
	r := &JudgeRunner{stage: stage, judge: judge, onFailure: onFailure, done: make(chan struct{})}
	go r.run()
	return r
}

// Stop ends the runner after the batch at hand and closes the stage. It
// returns why the runner had ended before, if it had.
func (r *JudgeRunner) Stop() error {
	r.stopping.Store(true)
	r.stage.Wake()
	<-r.done
	return r.Err()
}

// Done is closed when the runner has ended.
func (r *JudgeRunner) Done() <-chan struct{} { return r.done }

// Err is why the runner ended: a corrupt ring, or a judge that failed where
// on_failure is stop. It is nil while it runs and after Stop.
func (r *JudgeRunner) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end
}

// LastError is the newest error of the judge.
func (r *JudgeRunner) LastError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Stats tells what the runner has done.
func (r *JudgeRunner) Stats() JudgeStats {
	return JudgeStats{
		Judged: r.judged.Load(), Failed: r.failed.Load(),
		PassedOver: r.passed.Load(), Errors: r.errors.Load(),
	}
}

func (r *JudgeRunner) run() {
	defer close(r.done)
	var err error
	for err == nil && !r.stopping.Load() {
		err = r.step()
	}
	err = errors.Join(err, CloseJudge(r.judge), r.stage.Close())
	r.mu.Lock()
	r.end = err
	r.mu.Unlock()
}

// step judges one batch, or waits for one.
func (r *JudgeRunner) step() error {
	batch, err := r.stage.Next(judgeBatch)
	r.passed.Store(r.stage.PassedOver())
	if err != nil {
		return err
	}
	if len(batch) == 0 {
		_, err := r.stage.Wait(idleWait)
		return err
	}
	if err := r.call(batch); err != nil {
		r.errors.Add(1)
		r.mu.Lock()
		r.last = err
		r.mu.Unlock()
		if r.onFailure == ring.Stop {
			return fmt.Errorf("filter failed, and its on_failure is stop: %w", err)
		}
		failed := r.forget(batch, err)
		r.failed.Add(uint64(failed))
		r.judged.Add(uint64(len(batch) - failed))
	} else {
		r.judged.Add(uint64(len(batch)))
	}
	r.stage.Done(len(batch))
	return nil
}

// forget takes back what a judge wrote before it failed, into the whole batch
// or into records that it names, and returns how many these are. The ring keeps
// what earlier filters wrote.
func (r *JudgeRunner) forget(batch []traffic.Record, err error) int {
	verdict := traffic.VerdictNone
	if r.onFailure == ring.Drop {
		verdict = ring.VerdictFailed
	}
	var partial *PartialError
	if !errors.As(err, &partial) {
		r.stage.Forget(0, len(batch), verdict)
		return len(batch)
	}
	n := 0
	for i := range batch {
		if batch[i].Verdict == traffic.VerdictUnjudged {
			r.stage.Forget(i, i+1, verdict)
			n++
		}
	}
	return n
}

// CloseJudge gives back what a judge holds, if it holds anything.
func CloseJudge(j Judge) error {
	if c, ok := j.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// call turns a panic of the judge into an error.
func (r *JudgeRunner) call(batch []traffic.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("judge panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return r.judge.Judge(batch)
}
