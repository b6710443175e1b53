package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// RingKind tells delta rings from record rings.
type RingKind int

// The kinds of ring.
const (
	DeltaRing RingKind = iota + 1
	RecordRing
)

// What becomes of records that a filter does not judge in time.
const (
	OnFailureBypass uint32 = iota
	OnFailureDrop
	OnFailureStop
)

// AttachRequest names all rings that a plugin is to use from now on. Their
// descriptors were sent beforehand, in the same order, over the ring channel.
//
// A filter or tap goes on with the rings it has, takes up new ones and gives
// up those that are not named; no ring at all is a set too. Rings are the same
// when ID and Generation are. A set whose Token is smaller than the last one's
// is refused. A capture's rings replace those it has; without rings its deltas
// are read with StreamDeltas.
type AttachRequest struct {
	Rings  []Ring
	Replay bool   // block instead of merging; the clock is the records' time
	Token  uint64 // of the batch of descriptors; it grows
	// Records says that a capture's rings are record rings, one for each worker
	// or none, which replace those it has; its delta rings stay. What lies in
	// those before is still judged and counted.
	Records bool
}

// Ring is one ring of an AttachRequest.
type Ring struct {
	Kind         RingKind
	ID           uint64 // record rings, for filters and taps: names the ring among all that they get
	Worker       uint32 // of the capture
	Generation   uint32
	Stage        uint32   // record rings: cursor of the callee; 0 is the first filter
	Stages       uint32   // record rings: number of gating filters
	OnFailure    uint32   // record rings, for a filter
	StageFailure []uint32 // record rings, for the capture: OnFailure by stage
}

// AttachRings hands the whole set of its rings to a capture, a filter or a
// tapping export. After an error it is not known which of them are in use.
func (p *Plugin) AttachRings(ctx context.Context, req AttachRequest) error {
	d, err := p.Describe(ctx)
	if err != nil {
		return err
	}
	out := &pb.AttachRequest{Replay: req.Replay, Token: req.Token, Records: req.Records}
	for _, r := range req.Rings {
		out.Rings = append(out.Rings, &pb.Ring{
			Kind: pb.Ring_Kind(r.Kind), Id: r.ID, Worker: r.Worker, Generation: r.Generation, Stage: r.Stage, Stages: r.Stages,
			OnFailure: r.OnFailure, StageFailure: r.StageFailure,
		})
	}
	var resp *pb.AttachResponse
	switch d.Kind {
	case KindCapture:
		resp, err = p.capture.Attach(ctx, out)
	case KindFilter:
		resp, err = p.filter.Attach(ctx, out)
	case KindExport:
		resp, err = p.export.Attach(ctx, out)
	default:
		return fmt.Errorf("a plugin of kind %q takes no rings", d.Kind)
	}
	if err != nil {
		return callError(ctx, "Attach", err)
	}
	return said(resp.GetError())
}

// ApplyPlan gives a capture a counting plan, which it adopts between flushes.
func (p *Plugin) ApplyPlan(ctx context.Context, plan *count.Plan) error {
	resp, err := p.capture.ApplyPlan(ctx, &pb.ApplyPlanRequest{Plan: wire.PlanToProto(plan)})
	if err != nil {
		return callError(ctx, "ApplyPlan", err)
	}
	return said(resp.GetError())
}

// StreamDeltas reads a worker's deltas where shared memory cannot be had:
// give is called with the bytes of whole ring records, which it may keep,
// until the worker has sent its last flush (nil), ctx is done or give returns
// an error. Drain waits for it.
func (p *Plugin) StreamDeltas(ctx context.Context, worker, generation uint32, give func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer p.streams.enter()()
	stream, err := p.capture.Stream(ctx, &pb.StreamRequest{Worker: worker, Generation: generation})
	if err != nil {
		return callError(ctx, "Stream", err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return callError(ctx, "Stream", err)
		}
		if len(m.GetDeltas())%128 != 0 {
			return fmt.Errorf("stream of deltas: the plugin sent %d bytes, which is no whole number of deltas", len(m.GetDeltas()))
		}
		if err := give(m.GetDeltas()); err != nil {
			return err
		}
	}
}

// Sample asks a capture for packets or flow records of a target: give gets the
// recent ones that it still has, and then the next ones, until there are
// req.Limit, req.For is over (nil), ctx is done or give returns an error.
func (p *Plugin) Sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	receive, err := p.OpenSample(ctx, req)
	if err != nil {
		return err
	}
	return receive(give)
}

// maxSamples is how many samples may come for one that was asked for: flow
// records.
const maxSamples = 8

// OpenSample returns as soon as the capture watches for a target: receive then
// does what is left of Sample. It may be called from Configure on, so that
// nothing of a replay is missed. ctx bounds both.
func (p *Plugin) OpenSample(ctx context.Context, req sdk.SampleRequest) (receive func(give func(sdk.Sample) error) error, err error) {
	stream, err := p.capture.Sample(ctx, &pb.SampleRequest{
		Target: prefixToProto(req.Target), Limit: uint32(max(0, req.Limit)), ForMs: uint32(max(0, req.For.Milliseconds())),
		Direction: req.Direction, SinceUnixNano: nanos(req.Since),
	})
	if err != nil {
		return nil, callError(ctx, "Sample", err)
	}
	header, err := stream.Header()
	if err == nil && header == nil { // it was refused: Recv knows why
		_, err = stream.Recv()
	}
	if err != nil {
		return nil, callError(ctx, "Sample", err)
	}
	return func(give func(sdk.Sample) error) error {
		for n := 0; ; n++ {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return callError(ctx, "Sample", err)
			}
			if n == maxSamples*max(1, req.Limit) {
				return fmt.Errorf("Sample: the plugin gives more than the %d samples that it was asked for", req.Limit)
			}
			if err := give(sampleFromProto(m.GetSample())); err != nil {
				return err
			}
		}
	}, nil
}

// Judge has a filter judge records by value, for tests and tools; it returns
// them as judged. At most 100,000 fit.
func (p *Plugin) Judge(ctx context.Context, records []traffic.Record) ([]traffic.Record, error) {
	resp, err := p.filter.Judge(ctx, &pb.JudgeRequest{Records: traffic.Bytes(records)})
	if err != nil {
		return nil, callError(ctx, "Judge", err)
	}
	if len(resp.GetRecords()) != len(records)*traffic.RecordSize {
		return nil, fmt.Errorf("Judge: the plugin returned %d bytes for %d records", len(resp.GetRecords()), len(records))
	}
	out := make([]traffic.Record, len(records))
	copy(traffic.Bytes(out), resp.GetRecords())
	return out, said(resp.GetError())
}

func sampleToProto(s *sdk.Sample) *pb.Sample {
	return &pb.Sample{
		TimeUnixNano: nanos(s.Time), Link: int32(s.Link), Data: s.Data, WireLen: uint32(s.WireLen), Record: s.Record,
		Exporter: s.Exporter, Before: s.Before,
	}
}

func sampleFromProto(m *pb.Sample) sdk.Sample {
	return sdk.Sample{
		Time: instant(m.GetTimeUnixNano()), Link: int(m.GetLink()), Data: m.GetData(), Record: m.GetRecord(),
		WireLen: int(min(m.GetWireLen(), 1<<30)), Exporter: wire.Clean(m.GetExporter(), 256), Before: m.GetBefore(),
	}
}

// nanos and instant carry times as nanoseconds since the Unix epoch; the zero
// time is 0. Times come back in UTC.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func prefixToProto(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
