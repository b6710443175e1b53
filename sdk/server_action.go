package sdk

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// outcomeOf tells the core how an action went and whether to try again.
func outcomeOf(err error) *pb.Outcome {
	if err == nil {
		return &pb.Outcome{Ok: true}
	}
	return &pb.Outcome{Error: err.Error(), Retryable: IsRetry(err)}
}

type notifierServer struct {
	pb.UnimplementedNotifierServer
	s *server
}

func (n notifierServer) Notify(ctx context.Context, req *pb.NotifyRequest) (*pb.NotifyResponse, error) {
	inst, done, err := n.s.use("Notify")
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := eventOf(req.GetEvent())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &pb.NotifyResponse{Outcome: outcomeOf(inst.value.(Notifier).Notify(ctx, e))}, nil
}

type mitigatorServer struct {
	pb.UnimplementedMitigatorServer
	s *server
}

func (m mitigatorServer) Sync(ctx context.Context, req *pb.SyncRequest) (*pb.SyncResponse, error) {
	inst, done, err := m.s.use("Sync")
	if err != nil {
		return nil, err
	}
	defer done()
	desired := make([]Mitigation, 0, len(req.GetDesired()))
	for _, d := range req.GetDesired() {
		mitigation, err := mitigationOf(d)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		desired = append(desired, mitigation)
	}
	return &pb.SyncResponse{Outcome: outcomeOf(inst.value.(Mitigator).Sync(ctx, desired))}, nil
}

// Watch passes on what the plugin reports, until it drains. The author may
// report from several goroutines.
func (m mitigatorServer) Watch(_ *pb.MitigationWatchRequest, stream grpc.ServerStreamingServer[pb.MitigationStatus]) error {
	inst, done, err := m.s.use("Watch")
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := inst.untilDrain(stream.Context())
	defer cancel()
	var mu sync.Mutex
	over := false
	err = inst.value.(Mitigator).Watch(ctx, func(st MitigationStatus) {
		mu.Lock()
		defer mu.Unlock()
		if over { // the stream must not be used once its handler has returned
			return
		}
		if err := stream.Send(&pb.MitigationStatus{
			Id: st.ID, State: string(st.State), Cause: st.Cause, TimeUnixNano: nanos(st.Time),
		}); err != nil {
			cancel()
		}
	})
	mu.Lock()
	over = true
	mu.Unlock()
	if err != nil && ctx.Err() == nil {
		return status.Error(codes.Unknown, err.Error())
	}
	return nil
}

// partialSnapshot gathers the parts of a snapshot.
type partialSnapshot struct {
	mu       sync.Mutex
	snapshot Snapshot
	next     uint32 // number of the part that must come
}

// add takes a part in; it returns the snapshot once it is whole.
func (p *partialSnapshot) add(req *pb.ExportRequest) (*Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if req.GetPart() == 0 {
		p.snapshot, p.next = Snapshot{}, 0
	}
	if req.GetPart() != p.next {
		return nil, status.Errorf(codes.InvalidArgument, "Export: part %d came where part %d was expected", req.GetPart(), p.next)
	}
	p.next++
	if err := addSnapshot(&p.snapshot, req.GetSnapshot()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if !req.GetLast() {
		return nil, nil
	}
	whole := p.snapshot
	p.snapshot, p.next = Snapshot{}, 0
	return &whole, nil
}

type exportServer struct {
	pb.UnimplementedExportServer
	s *server
}

func (x exportServer) Attach(ctx context.Context, req *pb.AttachRequest) (*pb.AttachResponse, error) {
	return x.s.attach(ctx, req)
}

func (x exportServer) Export(ctx context.Context, req *pb.ExportRequest) (*pb.ExportResponse, error) {
	inst, done, err := x.s.use("Export")
	if err != nil {
		return nil, err
	}
	defer done()
	whole, err := inst.partial.add(req)
	if err != nil {
		return nil, err
	}
	if whole == nil {
		return &pb.ExportResponse{Outcome: outcomeOf(nil)}, nil
	}
	return &pb.ExportResponse{Outcome: outcomeOf(inst.value.(Exporter).Export(ctx, *whole))}, nil
}

func (x exportServer) Events(ctx context.Context, req *pb.EventsRequest) (*pb.EventsResponse, error) {
	inst, done, err := x.s.use("Events")
	if err != nil {
		return nil, err
	}
	defer done()
	events, err := eventsOf(req.GetEvents())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &pb.EventsResponse{Outcome: outcomeOf(inst.value.(Exporter).Events(ctx, events))}, nil
}
