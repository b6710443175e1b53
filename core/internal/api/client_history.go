package api

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

var _ Archive = (*Client)(nil)

// History asks for a page of attacks of past and present.
func (c *Client) History(ctx context.Context, q store.Query) (store.Page, error) {
	if err := CheckHistory(&q); err != nil {
		return store.Page{}, err
	}
	resp, err := ask(ctx, c, callTime, historyOut(&q), c.rpc.History)
	return store.Page{Attacks: each(resp.GetAttacks(), pastIn), Next: resp.GetNext(), Damaged: int(resp.GetDamaged())}, err
}

// Attack asks for one attack, by its id or what it begins with.
func (c *Client) Attack(ctx context.Context, id string) (store.Attack, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.AttackRequest{Id: text(id)}, c.rpc.Attack)
	return pastIn(resp.GetAttack()), err
}

// HistorySummary asks what a period had.
func (c *Client) HistorySummary(ctx context.Context, since, until time.Time) (store.Summary, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.HistorySummaryRequest{SinceUnixNano: nanos(since), UntilUnixNano: nanos(until)}, c.rpc.HistorySummary)
	return summaryIn(resp), err
}

// AttackFile asks for a file of an attack. It returns once its first piece is
// there.
func (c *Client) AttackFile(ctx context.Context, id, kind string) (AttackFile, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.rpc.AttackFile(ctx, &apiv1.AttackFileRequest{Id: text(id), Kind: kind})
	if err != nil {
		cancel()
		return AttackFile{}, c.explain(err)
	}
	first, err := stream.Recv()
	if err != nil {
		cancel()
		return AttackFile{}, c.explain(err)
	}
	r := &pieces{left: first.GetContent(), cancel: cancel, more: func() ([]byte, error) {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		return resp.GetContent(), c.explain(err)
	}}
	return AttackFile{Name: first.GetName(), Size: int64(first.GetSizeBytes()), Content: r}, nil
}

// pieces reads a stream of messages as one file.
type pieces struct {
	left   []byte
	more   func() ([]byte, error)
	cancel context.CancelFunc
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		var err error
		if p.left, err = p.more(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *pieces) Close() error {
	p.cancel()
	return nil
}
