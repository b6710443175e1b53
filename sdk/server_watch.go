package sdk

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// watchPoll is how soon a change of state is told.
const watchPoll = 100 * time.Millisecond

// Watch sends the plugin's state each interval, and at once when the state of
// its rings changes, until it drains.
func (s *server) Watch(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	inst, err := s.configured("Watch")
	if err != nil {
		return err
	}
	ctx, cancel := inst.untilDrain(stream.Context())
	defer cancel()
	interval := max(watchPoll, time.Duration(req.GetIntervalMs())*time.Millisecond)
	var last pb.WatchResponse_State
	var sent time.Time
	poll := time.NewTicker(min(watchPoll, interval))
	defer poll.Stop()
	for {
		m := inst.status()
		due := time.Since(sent) >= interval
		if due && m.State == pb.WatchResponse_STATE_RUNNING {
			inst.askHealth(ctx, interval, m)
		}
		if due {
			inst.askMetrics(m)
		}
		if due || changed(last, m.State) {
			if err := stream.Send(m); err != nil {
				return err
			}
			last, sent = m.State, time.Now()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// changed compares states; between two questions to Health, unhealthy and
// running cannot be told apart.
func changed(last, now pb.WatchResponse_State) bool {
	if last == pb.WatchResponse_STATE_UNHEALTHY && now == pb.WatchResponse_STATE_RUNNING {
		return false
	}
	return last != now
}

// status is the state of the instance as its rings know it.
func (inst *instance) status() *pb.WatchResponse {
	if inst.rings == nil {
		return &pb.WatchResponse{State: pb.WatchResponse_STATE_RUNNING}
	}
	return inst.rings.Status()
}

// askHealth lets the author's Health speak, if there is one, for at most as
// long as ctx and interval allow.
func (inst *instance) askHealth(ctx context.Context, interval time.Duration, m *pb.WatchResponse) {
	h, ok := inst.value.(Health)
	inst.mu.Lock()
	ok = ok && inst.started && !inst.draining
	if ok {
		inst.calls.Add(1)
	}
	inst.mu.Unlock()
	if !ok {
		return
	}
	defer inst.calls.Done()
	ctx, cancel := context.WithTimeout(ctx, interval)
	defer cancel()
	if err := h.Health(ctx); err != nil {
		m.State, m.Message = pb.WatchResponse_STATE_UNHEALTHY, err.Error()
	}
}

// askMetrics adds the figures of taps and the author's own, if there are any.
func (inst *instance) askMetrics(m *pb.WatchResponse) {
	if !inst.running() {
		return
	}
	var all []Metric
	if r, ok := inst.rings.(*ringWorkers); ok {
		all = r.figures()
	}
	if v, ok := inst.value.(Metrics); ok {
		all = append(all, v.Metrics()...)
	}
	for _, x := range all {
		m.Metrics = append(m.Metrics, &pb.Metric{Name: wire.Clean(x.Name, wire.MaxMetricName), Value: x.Value})
	}
	m.Metrics = m.Metrics[:min(len(m.Metrics), wire.MaxMetrics)]
}

func (s *server) Table(ctx context.Context, req *pb.TableRequest) (*pb.TableResponse, error) {
	inst, done, err := s.use("Table")
	if err != nil {
		return nil, err
	}
	defer done()
	t, ok := inst.value.(Table)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the plugin has no tables")
	}
	table, err := t.Table(ctx, req.GetName())
	resp := &pb.TableResponse{Columns: table.Columns}
	for _, row := range table.Rows {
		resp.Rows = append(resp.Rows, &pb.TableResponse_Row{Cells: row})
	}
	if err != nil {
		resp.Error = err.Error()
	}
	return resp, nil
}

func (s *server) Inspect(ctx context.Context, req *pb.InspectRequest) (*pb.InspectResponse, error) {
	inst, done, err := s.use("Inspect")
	if err != nil {
		return nil, err
	}
	defer done()
	v, ok := inst.value.(Inspector)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the plugin inspects nothing")
	}
	event, err := eventOf(req.GetEvent())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	e := Evidence{Event: event}
	for _, m := range req.GetSamples() {
		e.Frames = append(e.Frames, sampleOf(m))
	}
	findings, err := v.Inspect(ctx, e)
	resp := &pb.InspectResponse{}
	for _, f := range findings {
		resp.Findings = append(resp.Findings, &pb.Finding{Label: f.Label, Confidence: f.Confidence, Detail: f.Detail})
	}
	if err != nil {
		resp.Error = err.Error()
	}
	return resp, nil
}
