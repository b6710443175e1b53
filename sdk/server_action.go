package sdk

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
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

func (m mitigatorServer) Preview(ctx context.Context, req *pb.PreviewRequest) (*pb.PreviewResponse, error) {
	inst, done, err := m.s.useConfigured("Preview")
	if err != nil {
		return nil, err
	}
	defer done()
	v, ok := inst.value.(Previewer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the plugin previews nothing")
	}
	mitigation, err := mitigationOf(req.GetMitigation())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	announcements, err := v.Preview(ctx, mitigation)
	resp := &pb.PreviewResponse{Outcome: outcomeOf(err)}
	for _, a := range announcements {
		resp.Announcements = append(resp.Announcements, &pb.Announcement{
			Prefix: a.Prefix.String(), Text: a.Text, FlowSpec: a.FlowSpec, Discard: a.Discard, Matches: uint32(max(0, a.Matches)),
		})
	}
	return resp, nil
}

func (m mitigatorServer) Sync(ctx context.Context, req *pb.SyncRequest) (*pb.SyncResponse, error) {
	inst, done, err := m.s.use("Sync")
	if err != nil {
		return nil, err
	}
	defer done()
	desired, err := inst.desire(req.GetDesired())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &pb.SyncResponse{Outcome: outcomeOf(inst.value.(Mitigator).Sync(ctx, desired))}, nil
}

// desire is the whole set of a Sync, of which only what is new has come.
func (inst *instance) desire(told []*pb.Mitigation) ([]Mitigation, error) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	desired, known := make([]Mitigation, 0, len(told)), make(map[string]Mitigation, len(told))
	for _, d := range told {
		m, ok := inst.desired[d.GetId()]
		switch {
		case !d.GetUnchanged():
			var err error
			if m, err = mitigationOf(d); err != nil {
				return nil, err
			}
		case !ok:
			return nil, fmt.Errorf("mitigation %s: it is said to be as before, and was not there before", d.GetId())
		}
		desired, known[m.ID] = append(desired, m), m
	}
	inst.desired = known
	return desired, nil
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
		told := &pb.MitigationStatus{Id: st.ID, State: string(st.State), Cause: st.Cause, TimeUnixNano: nanos(st.Time)}
		for _, p := range st.Peers {
			told.Peers = append(told.Peers, &pb.PeerStatus{Peer: p.Peer, State: string(p.State), Cause: p.Cause})
		}
		if err := stream.Send(told); err != nil {
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

// mitigates has a mitigator say what it protects, and judge what hostgroups
// set instead of its profiles' attributes.
func (inst *instance) mitigates(overrides []*pb.Override, resp *pb.ConfigureResponse) {
	if _, ok := inst.value.(Mitigator); !ok {
		return
	}
	if v, ok := inst.value.(Protector); ok {
		for _, p := range v.Protected() {
			resp.Protected = append(resp.Protected, p.String())
		}
	}
	v, ok := inst.value.(Overrider)
	for _, o := range overrides {
		said := "the plugin accepts no attributes of hostgroups"
		if ok {
			said = ""
			if err := v.Override(o.GetProfile(), wire.ValuesFromProto(o.GetAttributes())); err != nil {
				said = cmp.Or(err.Error(), "not accepted")
			}
		}
		resp.OverrideErrors = append(resp.OverrideErrors, said)
	}
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
