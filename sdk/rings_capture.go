package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync/atomic"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/feed"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// ringUser returns what the instance does with rings, nil if nothing.
func (s *server) ringUser(inst *instance) ringUser {
	switch s.factory.kind {
	case wire.KindCapture:
		return newCaptureRings(inst)
	case wire.KindFilter:
		return filterRings(inst.value.(Filter))
	case wire.KindExport:
		if of := tapsOf(inst.value); of != nil {
			return tapRings(inst, of)
		}
	}
	return nil
}

// captureRings runs a capture's workers.
type captureRings struct {
	inst    *instance
	runtime *feed.Runtime
	planned atomic.Bool
}

func newCaptureRings(inst *instance) *captureRings {
	opts := feed.Options{Causes: inst.causes, Logger: inst.env.Logger, Replay: inst.env.Mode == ModeReplay, Workers: inst.workers}
	if a, ok := inst.value.(ExporterAddresses); ok {
		opts.Exporter = a.ExporterAddr
	}
	return &captureRings{inst: inst, runtime: feed.New(inst.value.(Capture).Run, opts)}
}

// Attach maps the rings of all workers: one delta ring each, and a record
// ring where filters or taps ask for records.
func (c *captureRings) Attach(req *pb.AttachRequest, files []*os.File) error {
	defer closeAll(files) // a mapping outlives its descriptor
	if req.GetReplay() != (c.inst.env.Mode == ModeReplay) {
		return fmt.Errorf("rings for replay = %v were sent to a capture that was configured for mode %q", req.GetReplay(), c.inst.env.Mode)
	}
	if len(req.GetRings()) == 0 && !req.GetRecords() {
		return nil // the core will read the deltas' stream
	}
	rings := make([]feed.WorkerRings, c.inst.workers)
	for i, r := range req.GetRings() {
		if err := c.open(r, files[i], rings); err != nil {
			return errors.Join(fmt.Errorf("ring %d: %w", i, err), closeRings(rings))
		}
	}
	if req.GetRecords() {
		return c.runtime.AttachRecords(rings)
	}
	return c.runtime.Attach(rings)
}

func (c *captureRings) open(r *pb.Ring, f *os.File, rings []feed.WorkerRings) error {
	if int64(r.GetWorker()) >= int64(len(rings)) {
		return fmt.Errorf("there is no worker %d; the capture has %d", r.GetWorker(), len(rings))
	}
	w := &rings[r.GetWorker()]
	switch {
	case r.GetKind() == pb.Ring_KIND_DELTA && w.Delta == nil:
		d, err := ring.OpenDelta(f)
		if err != nil {
			return err
		}
		if w.Delta = d; d.Generation() != r.GetGeneration() {
			return fmt.Errorf("its generation is %d, named as %d", d.Generation(), r.GetGeneration())
		}
	case r.GetKind() == pb.Ring_KIND_RECORD && w.Record == nil:
		patience := ring.Patience
		if c.inst.env.Mode == ModeReplay {
			patience = 0 // a replay's count must not depend on how fast a filter is
		}
		onFailure := make([]ring.OnFailure, 0, len(r.GetStageFailure()))
		for _, f := range r.GetStageFailure() {
			onFailure = append(onFailure, ring.OnFailure(min(f, uint32(ring.Stop))))
		}
		rec, err := ring.OpenRecord(f, onFailure, patience)
		if err != nil {
			return err
		}
		w.Record = rec
	default:
		return fmt.Errorf("worker %d has a ring of this kind already, or the kind %v is unknown", r.GetWorker(), r.GetKind())
	}
	return nil
}

func closeRings(rings []feed.WorkerRings) error {
	var errs []error
	for _, r := range rings {
		if r.Delta != nil {
			errs = append(errs, r.Delta.Close())
		}
		if r.Record != nil {
			errs = append(errs, r.Record.Close())
		}
	}
	return errors.Join(errs...)
}

// ApplyPlan takes a counting plan, which the workers adopt between flushes.
func (c *captureRings) ApplyPlan(plan *count.Plan) error {
	if err := c.runtime.ApplyPlan(plan); err != nil {
		return err
	}
	c.planned.Store(true)
	return nil
}

func (c *captureRings) Ready() error {
	if !c.planned.Load() {
		return errors.New("a capture needs a plan first: call ApplyPlan")
	}
	return nil
}

func (c *captureRings) Start() error { return c.runtime.Start(c.inst.streams) }

func (c *captureRings) Stop(ctx context.Context) error { return c.runtime.Stop(ctx) }

func (c *captureRings) Status() *pb.WatchResponse {
	st := c.runtime.Status()
	m := &pb.WatchResponse{State: pb.WatchResponse_STATE_RUNNING}
	switch st.State {
	case feed.Finished:
		m.State = pb.WatchResponse_STATE_FINISHED
	case feed.Failed:
		m.State = pb.WatchResponse_STATE_FAILED
		if st.Err != nil {
			m.Message = st.Err.Error()
		}
	}
	for _, l := range st.Workers {
		m.Workers = append(m.Workers, &pb.WorkerLedger{
			Received: l.Received, Counted: l.Counted, Dropped: maps.Clone(l.Dropped), InFlight: l.InFlight, Folded: l.Folded,
		})
	}
	return m
}

// Stream sends a worker's deltas.
func (c *captureRings) Stream(ctx context.Context, worker, generation uint32, send func([]byte) error) error {
	if int64(worker) >= int64(c.inst.workers) {
		return fmt.Errorf("there is no worker %d; the capture has %d", worker, c.inst.workers)
	}
	return c.runtime.Stream(ctx, int(worker), generation, send)
}
