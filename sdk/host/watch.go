package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// State is how a plugin is.
type State int

// The states.
const (
	Running   State = iota + 1
	Unhealthy       // it works, but its Health complains: see Message
	Finished        // a capture whose Run returned nil: its input has ended
	Failed          // a capture whose Run failed: see Message
)

func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Unhealthy:
		return "unhealthy"
	case Finished:
		return "finished"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Health is one message of Watch.
type Health struct {
	State   State
	Message string
	Workers []WorkerLedger // captures: one for each worker
	Metrics []sdk.Metric   // the plugin's own figures, with names as sdk.Metrics has them
}

// WorkerLedger accounts for one worker of a capture, in records since the
// process started: Received = Counted + Σ Dropped + InFlight.
type WorkerLedger struct {
	Received uint64
	Counted  uint64
	Dropped  map[string]uint64 // by cause
	InFlight uint64            // in a record ring, not judged yet
	Folded   uint64            // rows folded into their prefix for want of room
}

const (
	// maxWord bounds a word of health, in bytes: the ledgers of maxWorkers.
	maxWord = 1 << 20
	// wordPause is between two of them: one who talks without end talks to
	// itself, and is held up by the connection.
	wordPause = 20 * time.Millisecond
)

// Watch reports the plugin's health at least every interval, and at once when
// its state changes, until ctx is done or the plugin is drained (nil) or the
// connection breaks (an error). It hears at most fifty words a second, of 1 MiB
// each.
func (p *Plugin) Watch(ctx context.Context, interval time.Duration, report func(Health)) error {
	stream, err := p.base.Watch(ctx, &pb.WatchRequest{IntervalMs: uint32(max(1, interval.Milliseconds()))}, grpc.MaxCallRecvMsgSize(maxWord))
	if err != nil {
		return callError(ctx, "Watch", err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if s := status.Convert(err); s.Code() == codes.ResourceExhausted {
				return fmt.Errorf("Watch: a word of health is larger than %d bytes, or the plugin has run out of something: %s",
					maxWord, wire.Clean(s.Message(), maxText))
			}
			return callError(ctx, "Watch", err)
		}
		report(healthFromProto(m))
		if !pause(ctx, wordPause) {
			return nil
		}
	}
}

// pause waits; false means that ctx has ended it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func healthFromProto(m *pb.WatchResponse) Health {
	h := Health{State: Failed, Message: wire.Clean(m.GetMessage(), maxText)}
	switch m.GetState() {
	case pb.WatchResponse_STATE_RUNNING:
		h.State = Running
	case pb.WatchResponse_STATE_UNHEALTHY:
		h.State = Unhealthy
	case pb.WatchResponse_STATE_FINISHED:
		h.State = Finished
	}
	for _, w := range m.GetWorkers()[:min(len(m.GetWorkers()), maxWorkers)] {
		l := WorkerLedger{Received: w.GetReceived(), Counted: w.GetCounted(), InFlight: w.GetInFlight(), Folded: w.GetFolded()}
		for cause, n := range w.GetDropped() {
			if l.Dropped == nil {
				l.Dropped = map[string]uint64{}
			}
			if len(l.Dropped) < 256 {
				l.Dropped[wire.Clean(cause, 128)] += n
			}
		}
		h.Workers = append(h.Workers, l)
	}
	h.Metrics = metricsFromProto(m.GetMetrics())
	return h
}

// Table asks for rows for people.
func (p *Plugin) Table(ctx context.Context, name string) (sdk.Rows, error) {
	resp, err := p.base.Table(ctx, &pb.TableRequest{Name: name})
	if err != nil {
		return sdk.Rows{}, callError(ctx, "Table", err)
	}
	var t sdk.Rows
	for _, c := range resp.GetColumns() {
		t.Columns = append(t.Columns, wire.Clean(c, maxText))
	}
	for _, row := range resp.GetRows() {
		cells := make([]string, 0, len(row.GetCells()))
		for _, c := range row.GetCells() {
			cells = append(cells, wire.Clean(c, maxText))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t, said(resp.GetError())
}

// Inspect asks for findings about an attack's evidence.
func (p *Plugin) Inspect(ctx context.Context, e sdk.Evidence) ([]sdk.Finding, error) {
	req := &pb.InspectRequest{Event: eventToProto(&e.Event)}
	for i := range e.Frames {
		req.Samples = append(req.Samples, sampleToProto(&e.Frames[i]))
	}
	resp, err := p.base.Inspect(ctx, req)
	if err != nil {
		return nil, callError(ctx, "Inspect", err)
	}
	var out []sdk.Finding
	for _, f := range resp.GetFindings() {
		out = append(out, sdk.Finding{
			Label: wire.Clean(f.GetLabel(), maxText), Confidence: f.GetConfidence(), Detail: wire.Clean(f.GetDetail(), maxText),
		})
	}
	return out, said(resp.GetError())
}
