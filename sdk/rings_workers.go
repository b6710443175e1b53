package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/feed"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// ringWorker is a filter's or tap's end of one record ring.
type ringWorker interface {
	Stop() error
	Err() error
	LastError() error
}

// opened is a ring that is mapped but not worked on yet.
type opened struct {
	begin func() ringWorker
	close func() error
}

// ringWorkers runs one worker for each record ring of a filter or a tap. A
// ring that comes for a worker which has one replaces it.
type ringWorkers struct {
	open func(r *pb.Ring, f *os.File) (opened, error)

	mu      sync.Mutex
	started bool
	stopped bool
	waiting map[uint32]opened
	running map[uint32]ringWorker
	errors  map[uint32]seenErrors
}

// seenErrors remembers how many calls of the author's method had failed, and
// when that number grew.
type seenErrors struct {
	count uint64
	at    time.Time
}

// unhealthyFor is how long a failed call is shown in the state.
const unhealthyFor = 10 * time.Second

func newRingWorkers(open func(*pb.Ring, *os.File) (opened, error)) *ringWorkers {
	return &ringWorkers{
		open: open, waiting: map[uint32]opened{}, running: map[uint32]ringWorker{}, errors: map[uint32]seenErrors{},
	}
}

func filterRings(v Filter) *ringWorkers {
	return newRingWorkers(func(r *pb.Ring, f *os.File) (opened, error) {
		if r.GetOnFailure() > uint32(ring.Stop) {
			return opened{}, fmt.Errorf("on_failure %d is unknown", r.GetOnFailure())
		}
		stage, err := ring.OpenStage(f, int(min(r.GetStage(), 1<<16)))
		if err != nil {
			return opened{}, err
		}
		judge, err := v.NewWorker()
		if err != nil {
			return opened{}, errors.Join(err, stage.Close())
		}
		begin := func() ringWorker { return feed.StartJudge(stage, judge, ring.OnFailure(r.GetOnFailure())) }
		return opened{begin, stage.Close}, nil
	})
}

func tapRings(inst *instance, v Tap) *ringWorkers {
	return newRingWorkers(func(r *pb.Ring, f *os.File) (opened, error) {
		tap, err := ring.OpenTap(f, int(min(r.GetStage(), 1<<16)))
		if err != nil {
			return opened{}, err
		}
		begin := func() ringWorker { return feed.StartTap(inst.streams, tap, v) }
		return opened{begin, tap.Close}, nil
	})
}

func (w *ringWorkers) Attach(req *pb.AttachRequest, files []*os.File) error {
	defer closeAll(files) // a mapping outlives its descriptor
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return errors.New("the plugin is draining")
	}
	for i, r := range req.GetRings() {
		if r.GetKind() != pb.Ring_KIND_RECORD {
			return fmt.Errorf("ring %d is no record ring", i)
		}
		o, err := w.open(r, files[i])
		if err != nil {
			return fmt.Errorf("ring of worker %d: %w", r.GetWorker(), err)
		}
		if err := w.replace(r.GetWorker(), o); err != nil {
			return err
		}
	}
	return nil
}

func (w *ringWorkers) replace(worker uint32, o opened) error {
	if old, ok := w.waiting[worker]; ok {
		if err := old.close(); err != nil {
			return err
		}
	}
	if !w.started {
		w.waiting[worker] = o
		return nil
	}
	if old, ok := w.running[worker]; ok {
		_ = old.Stop() // why it ended concerns the old ring
	}
	w.running[worker] = o.begin()
	delete(w.errors, worker)
	return nil
}

// Ready is at once: rings may also come later.
func (w *ringWorkers) Ready() error { return nil }

func (w *ringWorkers) Start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = true
	for worker, o := range w.waiting {
		w.running[worker] = o.begin()
	}
	clear(w.waiting)
	return nil
}

func (w *ringWorkers) Stop(ctx context.Context) error {
	w.mu.Lock()
	w.stopped = true
	running, waiting := w.running, w.waiting
	w.running, w.waiting = map[uint32]ringWorker{}, map[uint32]opened{}
	w.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, r := range running {
			errs = append(errs, r.Stop())
		}
		for _, o := range waiting {
			errs = append(errs, o.close())
		}
		done <- errors.Join(errs...)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("a batch that was under way has not returned in time")
	}
}

func (w *ringWorkers) Status() *pb.WatchResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &pb.WatchResponse{State: pb.WatchResponse_STATE_RUNNING}
	var workers []uint32
	for worker := range w.running {
		workers = append(workers, worker)
	}
	slices.Sort(workers)
	for _, worker := range workers {
		r := w.running[worker]
		ledger, failures := workerLedger(r)
		m.Workers = append(m.Workers, ledger)
		if seen := w.errors[worker]; failures > seen.count {
			w.errors[worker] = seenErrors{failures, time.Now()}
		}
		switch err := r.Err(); {
		case err != nil:
			m.State, m.Message = pb.WatchResponse_STATE_FAILED, err.Error()
		case time.Since(w.errors[worker].at) < unhealthyFor && m.State == pb.WatchResponse_STATE_RUNNING:
			m.State = pb.WatchResponse_STATE_UNHEALTHY
			if err := r.LastError(); err != nil {
				m.Message = err.Error()
			}
		}
	}
	return m
}

// workerLedger gives the ledger of one worker, its losses being the records of
// failed batches and those it was passed over with; and how many calls failed.
func workerLedger(r ringWorker) (ledger *pb.WorkerLedger, failures uint64) {
	var used, failed, passed uint64
	switch r := r.(type) {
	case *feed.JudgeRunner:
		st := r.Stats()
		used, failed, passed, failures = st.Judged, st.Failed, st.PassedOver, st.Errors
	case *feed.TapRunner:
		st := r.Stats()
		used, failed, passed, failures = st.Given, st.Failed, st.Lost, st.Errors
	}
	dropped := map[string]uint64{"failed": failed, "passed over": passed}
	return &pb.WorkerLedger{Received: used + failed + passed, Counted: used, Dropped: dropped}, failures
}
