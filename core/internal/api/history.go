package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

// Archive is the history of attacks, of a running daemon or not.
type Archive interface {
	// History gives a page of attacks.
	History(ctx context.Context, q store.Query) (store.Page, error)

	// Attack finds one by its id or what it begins with. store.ErrNoAttack,
	// store.ErrAmbiguous.
	Attack(ctx context.Context, id string) (store.Attack, error)

	// AttackFile opens a file of an attack. ErrNoFile says why there is none.
	AttackFile(ctx context.Context, id, kind string) (AttackFile, error)

	// HistorySummary sums up a period. since and until are set.
	HistorySummary(ctx context.Context, since, until time.Time) (store.Summary, error)
}

// Kinds of an attack's files.
const (
	FilePackets = "packets"
	FileReport  = "report"
)

// AttackFile is a file of an attack. The reader closes Content.
type AttackFile struct {
	Name    string // without folder
	Size    int64  // octets
	Content io.ReadCloser
}

// ErrNoFile marks the reason why an attack has no such file, or not any more.
var ErrNoFile = errors.New("there is no file")

// Week is the period that a summary is about unless another one is asked for.
const Week = 7 * 24 * time.Hour

// Period fills in what is left out of a period.
func Period(since, until, now time.Time) (time.Time, time.Time, error) {
	if until.IsZero() {
		until = now
	}
	if since.IsZero() {
		since = until.Add(-Week)
	}
	switch length := until.Sub(since); {
	case length <= 0:
		return since, until, fmt.Errorf("%w: the period ends before it begins", ErrBadQuery)
	case length > store.MaxPeriod:
		return since, until, fmt.Errorf("%w: the period is longer than 366 days", ErrBadQuery)
	}
	return since, until, nil
}

// maxPageBytes is where a page ends early: attacks with much evidence are some
// 20 kB each.
const maxPageBytes = maxResponse / 2

// CheckHistory tells what is wrong with a query.
func CheckHistory(q *store.Query) error {
	if q.Limit < 0 || q.Limit > store.MaxPage {
		return fmt.Errorf("%w: %d attacks: ask for 1 to %d, and for the next page", ErrBadQuery, q.Limit, store.MaxPage)
	}
	if !(q.MinPeak >= 0) || math.IsInf(q.MinPeak, 0) {
		return fmt.Errorf("%w: the smallest peak is no number of packets", ErrBadQuery)
	}
	if q.Target.IsValid() {
		q.Target = q.Target.Masked()
	}
	return nil
}

// asked makes an error of the history one of this contract.
func asked(err error) error {
	switch {
	case errors.Is(err, store.ErrNoAttack), errors.Is(err, ErrNoFile):
		return status.Error(codes.NotFound, text(err.Error()))
	case errors.Is(err, store.ErrBadCursor), errors.Is(err, store.ErrAmbiguous):
		return fmt.Errorf("%w: %w", ErrBadQuery, err)
	case errors.Is(err, store.ErrNotOpen), errors.Is(err, store.ErrCorrupt):
		return status.Error(codes.FailedPrecondition, text(err.Error()))
	}
	return err
}

// History is apiv1.ControlServer's.
func (s *server) History(ctx context.Context, req *apiv1.HistoryRequest) (*apiv1.HistoryResponse, error) {
	q, err := historyIn(req)
	if err != nil {
		return nil, failure(err)
	}
	page, err := call(ctx, s, callTime, func(ctx context.Context) (store.Page, error) {
		p, err := s.backend.History(ctx, q)
		return p, asked(err)
	})
	if err != nil {
		return nil, err
	}
	return pageOut(&page), nil
}

// Attack is apiv1.ControlServer's.
func (s *server) Attack(ctx context.Context, req *apiv1.AttackRequest) (*apiv1.AttackResponse, error) {
	a, err := call(ctx, s, callTime, func(ctx context.Context) (store.Attack, error) {
		a, err := s.backend.Attack(ctx, req.GetId())
		return a, asked(err)
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.AttackResponse{Attack: pastOut(a)}, nil
}

// piece is how many octets of a file one message carries.
const piece = 64 << 10

// AttackFile is apiv1.ControlServer's.
func (s *server) AttackFile(req *apiv1.AttackFileRequest, stream grpc.ServerStreamingServer[apiv1.AttackFileResponse]) error {
	if kind := req.GetKind(); kind != FilePackets && kind != FileReport {
		return failure(fmt.Errorf("%w: no kind of file %.60q: use %s or %s", ErrBadQuery, kind, FilePackets, FileReport))
	}
	f, err := call(stream.Context(), s, callTime, func(ctx context.Context) (AttackFile, error) {
		f, err := s.backend.AttackFile(ctx, req.GetId(), req.GetKind())
		return f, asked(err)
	})
	if err != nil {
		return err
	}
	defer f.Content.Close()
	first := &apiv1.AttackFileResponse{Name: text(f.Name), SizeBytes: uint64(max(0, f.Size))}
	buf := make([]byte, piece)
	for {
		n, err := io.ReadFull(f.Content, buf)
		first.Content = buf[:n]
		if n > 0 || first.Name != "" {
			if err := stream.Send(first); err != nil {
				return err
			}
		}
		first = &apiv1.AttackFileResponse{}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return failure(err)
		}
	}
}

// HistorySummary is apiv1.ControlServer's.
func (s *server) HistorySummary(ctx context.Context, req *apiv1.HistorySummaryRequest) (*apiv1.HistorySummaryResponse, error) {
	since, until, err := Period(timeOf(req.GetSinceUnixNano()), timeOf(req.GetUntilUnixNano()), time.Now())
	if err != nil {
		return nil, failure(err)
	}
	got, err := call(ctx, s, callTime, func(ctx context.Context) (store.Summary, error) {
		sum, err := s.backend.HistorySummary(ctx, since, until)
		return sum, asked(err)
	})
	if err != nil {
		return nil, err
	}
	return summaryOut(&got), nil
}

// historyIn reads a query, which anybody may have written.
func historyIn(req *apiv1.HistoryRequest) (q store.Query, err error) {
	q = store.Query{
		Since: timeOf(req.GetSinceUnixNano()), Until: timeOf(req.GetUntilUnixNano()), Label: req.GetLabel(), Group: req.GetHostgroup(), Threshold: req.GetThreshold(),
		MinPeak: req.GetMinPeakPps(), Limit: int(min(req.GetLimit(), store.MaxPage+1)), After: req.GetAfter(),
	}
	if text := req.GetTarget(); text != "" {
		if q.Target, err = ParsePrefix(text); err != nil {
			return q, fmt.Errorf("%w: %w", ErrBadQuery, err)
		}
	}
	if name := req.GetState(); name != "" {
		if q.State = store.ParseState(name); q.State == 0 {
			return q, fmt.Errorf("%w: no state %.60q: use one of %v", ErrBadQuery, name, store.StateNames)
		}
	}
	return q, CheckHistory(&q)
}

// pageOut ends a page early where it would be too large a message. What is left
// out begins the next page.
func pageOut(p *store.Page) *apiv1.HistoryResponse {
	out := &apiv1.HistoryResponse{Next: p.Next, Damaged: uint32(p.Damaged)}
	size := 0
	for i, a := range p.Attacks {
		past := pastOut(a)
		if size += proto.Size(past); size > maxPageBytes && i > 0 {
			out.Next = p.Attacks[i-1].Cursor
			break
		}
		out.Attacks = append(out.Attacks, past)
	}
	return out
}
