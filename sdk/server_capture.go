package sdk

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

type captureServer struct {
	pb.UnimplementedCaptureServer
	s *server
}

func (c captureServer) Attach(ctx context.Context, req *pb.AttachRequest) (*pb.AttachResponse, error) {
	return c.s.attach(ctx, req)
}

func (c captureServer) ApplyPlan(_ context.Context, req *pb.ApplyPlanRequest) (*pb.ApplyPlanResponse, error) {
	inst, err := c.s.configured("ApplyPlan")
	if err != nil {
		return nil, err
	}
	plan, err := wire.PlanFromProto(req.GetPlan())
	if err == nil {
		err = inst.rings.(*captureRings).ApplyPlan(plan)
	}
	if err != nil {
		return &pb.ApplyPlanResponse{Error: err.Error()}, nil
	}
	return &pb.ApplyPlanResponse{}, nil
}

// Stream sends deltas where there are no rings; it ends when the input has.
func (c captureServer) Stream(req *pb.StreamRequest, stream grpc.ServerStreamingServer[pb.StreamResponse]) error {
	inst, err := c.s.configured("Stream")
	if err != nil {
		return err
	}
	send := func(deltas []byte) error { return stream.Send(&pb.StreamResponse{Deltas: deltas}) }
	err = inst.rings.(*captureRings).Stream(stream.Context(), req.GetWorker(), req.GetGeneration(), send)
	if err != nil && stream.Context().Err() == nil {
		return status.Error(codes.Unknown, err.Error())
	}
	return nil
}
