package sdk

import (
	"context"
	"errors"
	"unsafe"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/feed"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type filterServer struct {
	pb.UnimplementedFilterServer
	s *server
}

func (f filterServer) Attach(ctx context.Context, req *pb.AttachRequest) (*pb.AttachResponse, error) {
	return f.s.attach(ctx, req)
}

// Judge has a worker of its own judge records that were given by value.
func (f filterServer) Judge(_ context.Context, req *pb.JudgeRequest) (*pb.JudgeResponse, error) {
	inst, done, err := f.s.use("Judge")
	if err != nil {
		return nil, err
	}
	defer done()
	if len(req.GetRecords())%traffic.RecordSize != 0 {
		return nil, status.Errorf(codes.InvalidArgument, "Judge: %d bytes are no whole number of records", len(req.GetRecords()))
	}
	batch := make([]traffic.Record, len(req.GetRecords())/traffic.RecordSize)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(batch))), len(req.GetRecords()))
	copy(memory, req.GetRecords())
	judge, err := inst.value.(Filter).NewWorker()
	if err == nil {
		err = errors.Join(judge.Judge(batch), feed.CloseJudge(judge))
	}
	for i := range batch {
		if batch[i].Verdict == traffic.VerdictUnjudged {
			batch[i].Verdict = traffic.VerdictNone
		}
	}
	resp := &pb.JudgeResponse{Records: memory}
	if err != nil {
		resp.Error = err.Error()
	}
	return resp, nil
}
