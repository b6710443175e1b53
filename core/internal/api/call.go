package api

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errBusy     = status.Error(codes.ResourceExhausted, "the daemon is busy with other calls: try again")
	errInternal = status.Error(codes.Internal, "the daemon failed in this call: its log tells more")
	errStopping = status.Error(codes.Unavailable, "the daemon stops")
	errLate     = status.Error(codes.DeadlineExceeded, "the daemon did not answer in time")
)

// call asks the backend on behalf of a client: few at a time, and for so long
// at most. A backend that does not come back keeps its place, but not the
// client.
func call[T any](ctx context.Context, s *server, most time.Duration, ask func(context.Context) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, most)
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return none, errBusy
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-s.calls }()
		defer cancel()
		a := answer{err: errInternal}
		defer func() {
			if p := recover(); p != nil {
				s.panic(p)
			}
			answers <- a
		}()
		a.value, a.err = ask(ctx)
	}()
	select {
	case a := <-answers:
		return a.value, failure(a.err)
	case <-ctx.Done():
	}
	select {
	case a := <-answers: // it came first: the context ends with it
		return a.value, failure(a.err)
	default:
		return none, failure(ctx.Err())
	}
}

// failure makes an error one that travels.
func failure(err error) error {
	switch _, known := status.FromError(err); {
	case err == nil || known:
		return err
	case errors.Is(err, ErrBadQuery):
		return status.Error(codes.InvalidArgument, text(err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return errLate
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was given up")
	}
	return status.Error(codes.Unknown, text(err.Error()))
}

func (s *server) panic(p any) {
	s.notice(&s.panicked, "a control call panicked", "panic", p, "stack", string(debug.Stack()))
}

func (s *server) recoverUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panic(p)
			resp, err = nil, errInternal
		}
	}()
	return next(ctx, req)
}

func (s *server) recoverStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panic(p)
			err = errInternal
		}
	}()
	return next(srv, stream)
}
