package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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

// opener maps a ring for which everything else is ready. The ring has one
// place for its user, so nobody else may hold that any more.
type opener func(f *os.File) (opened, error)

// ringKey tells rings apart, and what is to be done in them.
type ringKey struct {
	id               uint64
	generation       uint32
	stage, onFailure uint32
}

func keyOf(r *pb.Ring) ringKey {
	return ringKey{r.GetId(), r.GetGeneration(), r.GetStage(), r.GetOnFailure()}
}

func compareKeys(a, b ringKey) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.generation, b.generation))
}

// ringWork is one ring in use: opened until Start, then worked on.
type ringWork struct {
	opened
	worker ringWorker // nil before Start
	errors seenErrors
}

func (w *ringWork) stop() error {
	if w.worker == nil {
		return w.close()
	}
	return w.worker.Stop()
}

// seenErrors remembers how many calls of the author's method had failed, and
// when that number grew.
type seenErrors struct {
	count uint64
	at    time.Time
}

// unhealthyFor is how long a failed call is shown in the state.
const unhealthyFor = 10 * time.Second

// ringWorkers runs one worker for each record ring of a filter or a tap.
type ringWorkers struct {
	prepare func(r *pb.Ring) (opener, error)

	attaching sync.Mutex // one Attach at a time, as long as the author's code takes

	mu      sync.Mutex // never held for long: the state must always be told
	started bool
	stopped bool
	token   uint64 // of the last set
	rings   map[ringKey]*ringWork
	past    feed.TapStats // of taps in rings that were given up
}

func newRingWorkers(prepare func(r *pb.Ring) (opener, error)) *ringWorkers {
	return &ringWorkers{prepare: prepare, rings: map[ringKey]*ringWork{}}
}

func filterRings(v Filter) *ringWorkers {
	return newRingWorkers(func(r *pb.Ring) (opener, error) {
		if r.GetOnFailure() > uint32(ring.Stop) {
			return nil, fmt.Errorf("on_failure %d is unknown", r.GetOnFailure())
		}
		judge, err := v.NewWorker()
		if err != nil {
			return nil, err
		}
		return func(f *os.File) (opened, error) {
			stage, err := ring.OpenStage(f, int(min(r.GetStage(), 1<<16)))
			if err != nil {
				return opened{}, errors.Join(err, feed.CloseJudge(judge))
			}
			if u, ok := judge.(ExporterUser); ok {
				u.Exporters(stage.Exporter)
			}
			unused := func() error { return errors.Join(stage.Close(), feed.CloseJudge(judge)) }
			begin := func() ringWorker { return feed.StartJudge(stage, judge, ring.OnFailure(r.GetOnFailure())) }
			return opened{begin, unused}, nil
		}, nil
	})
}

// tapsOf gives the Tap for a ring; nil for a value that takes no records.
func tapsOf(value any) func(*ring.Tap) Tap {
	switch v := value.(type) {
	case TapMaker:
		return func(t *ring.Tap) Tap { return v.NewTap(t.Exporter) }
	case Tap:
		return func(*ring.Tap) Tap { return v }
	}
	return nil
}

func tapRings(inst *instance, of func(*ring.Tap) Tap) *ringWorkers {
	return newRingWorkers(func(r *pb.Ring) (opener, error) {
		return func(f *os.File) (opened, error) {
			tap, err := ring.OpenTap(f, int(min(r.GetStage(), 1<<16)))
			if err != nil {
				return opened{}, err
			}
			begin := func() ringWorker { return feed.StartTap(inst.streams, tap, of(tap)) }
			return opened{begin, tap.Close}, nil
		}, nil
	})
}

// Attach makes the rings that are named the ones that are in use. What can
// fail in the author's hands comes first, when nothing has changed yet; a ring
// is let go before another takes its place.
func (w *ringWorkers) Attach(req *pb.AttachRequest, files []*os.File) error {
	defer closeAll(files) // a mapping outlives its descriptor
	w.attaching.Lock()
	defer w.attaching.Unlock()
	named, err := w.named(req)
	if err != nil {
		return err
	}
	openers := map[ringKey]opener{}
	for key, i := range named {
		if w.has(key) {
			continue
		}
		if openers[key], err = w.prepare(req.GetRings()[i]); err != nil {
			return ringError(req.GetRings()[i], err)
		}
	}
	w.giveUp(named)
	for key, open := range openers {
		o, err := open(files[named[key]])
		if err == nil {
			err = w.take(key, o)
		}
		if err != nil {
			return ringError(req.GetRings()[named[key]], err)
		}
	}
	return nil
}

func ringError(r *pb.Ring, err error) error {
	return fmt.Errorf("ring %d of worker %d: %w", r.GetId(), r.GetWorker(), err)
}

// named checks a set of rings and gives their places in it.
func (w *ringWorkers) named(req *pb.AttachRequest) (map[ringKey]int, error) {
	named := map[ringKey]int{}
	for i, r := range req.GetRings() {
		if r.GetKind() != pb.Ring_KIND_RECORD {
			return nil, fmt.Errorf("ring %d is no record ring", i)
		}
		if _, twice := named[keyOf(r)]; twice {
			return nil, ringError(r, errors.New("it is named twice"))
		}
		named[keyOf(r)] = i
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
		return nil, errDraining
	case req.GetToken() < w.token:
		return nil, fmt.Errorf("the set of rings under token %d is older than the one in use", req.GetToken())
	}
	w.token = req.GetToken()
	return named, nil
}

var errDraining = errors.New("the plugin is draining")

func (w *ringWorkers) has(key ringKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rings[key] != nil
}

// giveUp stops the work on rings that are not named.
func (w *ringWorkers) giveUp(named map[ringKey]int) {
	var old []*ringWork
	w.mu.Lock()
	for key, r := range w.rings {
		if _, ok := named[key]; !ok {
			old = append(old, r)
			delete(w.rings, key)
		}
	}
	w.mu.Unlock()
	for _, r := range old {
		_ = r.stop() // why it ended concerns nobody any more
		if tap, ok := r.worker.(*feed.TapRunner); ok {
			w.mu.Lock()
			w.past.Add(tap.Stats())
			w.mu.Unlock()
		}
	}
}

// figures tells what became of the records of taps, nothing where there was
// never a ring.
func (w *ringWorkers) figures() []Metric {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum, taps := w.past, w.past != feed.TapStats{}
	for _, r := range w.rings {
		if tap, ok := r.worker.(*feed.TapRunner); ok {
			taps = true
			sum.Add(tap.Stats())
		}
	}
	if !taps {
		return nil
	}
	return []Metric{
		{Name: "tap_records_total:result=given", Value: float64(sum.Given)},
		{Name: "tap_records_total:result=failed", Value: float64(sum.Failed)},
		{Name: "tap_records_total:result=passed_over", Value: float64(sum.Lost)},
	}
}

// take takes a ring into use.
func (w *ringWorkers) take(key ringKey, o opened) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return errors.Join(errDraining, o.close())
	}
	r := &ringWork{opened: o}
	if w.started {
		r.worker = r.begin()
	}
	w.rings[key] = r
	return nil
}

// Ready is at once: rings may also come later.
func (w *ringWorkers) Ready() error { return nil }

func (w *ringWorkers) Start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = true
	for _, r := range w.rings {
		r.worker = r.begin()
	}
	return nil
}

func (w *ringWorkers) Stop(ctx context.Context) error {
	w.mu.Lock()
	w.stopped = true
	rings := w.rings
	w.rings = map[ringKey]*ringWork{}
	w.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, r := range rings {
			errs = append(errs, r.stop())
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
	if !w.started {
		return m
	}
	for _, key := range slices.SortedFunc(maps.Keys(w.rings), compareKeys) {
		r := w.rings[key]
		ledger, failures := workerLedger(r.worker)
		m.Workers = append(m.Workers, ledger)
		if failures > r.errors.count {
			r.errors = seenErrors{failures, time.Now()}
		}
		switch err := r.worker.Err(); {
		case err != nil:
			m.State, m.Message = pb.WatchResponse_STATE_FAILED, err.Error()
		case time.Since(r.errors.at) < unhealthyFor && m.State == pb.WatchResponse_STATE_RUNNING:
			m.State = pb.WatchResponse_STATE_UNHEALTHY
			if err := r.worker.LastError(); err != nil {
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
