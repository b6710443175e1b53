package sdk

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// ringUser is what an instance does with rings: a capture fills them, a
// filter judges in them, a tap reads them.
type ringUser interface {
	// Attach takes rings into use; it owns the files. May be called before
	// and after Start.
	Attach(req *pb.AttachRequest, files []*os.File) error
	// Ready tells what must still come before Start.
	Ready() error
	// Start begins the work.
	Start() error
	// Stop ends it, after a last flush; also if it was never started.
	Stop(ctx context.Context) error
	// Status is the state and the ledger.
	Status() *pb.WatchResponse
}

// attach answers the Attach of captures, filters and exports.
func (s *server) attach(ctx context.Context, req *pb.AttachRequest) (*pb.AttachResponse, error) {
	inst, err := s.configured("Attach")
	if err != nil {
		return nil, err
	}
	if inst.rings == nil {
		return &pb.AttachResponse{Error: "this plugin takes no rings"}, nil
	}
	var files []*os.File
	if len(req.GetRings()) > 0 {
		if files, err = s.rings.take(ctx, req.GetToken(), len(req.GetRings())); err != nil {
			return &pb.AttachResponse{Error: err.Error()}, nil
		}
	}
	if err := inst.rings.Attach(req, files); err != nil {
		return &pb.AttachResponse{Error: err.Error()}, nil
	}
	return &pb.AttachResponse{}, nil
}

// ringChannel is the inherited socket over which rings' descriptors arrive.
type ringChannel struct {
	mu   sync.Mutex // batches arrive in the order in which they are asked for
	conn *os.File
}

// receiveTime bounds the wait for descriptors, which were sent before they
// are asked for.
const receiveTime = 5 * time.Second

// take receives the n descriptors sent under token.
func (c *ringChannel) take(ctx context.Context, token uint64, n int) ([]*os.File, error) {
	if c == nil {
		return nil, errors.New("this plugin was started without a ring channel; its deltas can only be streamed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(receiveTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return ring.ReceiveFiles(c.conn, token, n, deadline)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// inherited opens the descriptor whose number the environment variable holds;
// nil if it holds none. The plugin's own children do not inherit it.
func inherited(env string) *os.File {
	fd, err := strconv.Atoi(os.Getenv(env))
	if err != nil || fd < 3 {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), env)
}

// openRings opens the ring channel; nil if there is none.
func openRings() *ringChannel {
	conn := inherited(wire.EnvRingFD)
	if conn == nil {
		return nil
	}
	return &ringChannel{conn: conn}
}
