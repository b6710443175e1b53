package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Errors of a client, beside those of context. Others are what the daemon said.
var (
	ErrNotRunning  = errors.New("no daemon answers") // or it stopped while it was asked
	ErrSilent      = errors.New("a daemon is there, but does not answer")
	ErrOtherDaemon = errors.New("the daemon is of another version: it does not know this call")
)

// grace is how much longer than the daemon a client waits: it is the daemon that
// can say what took so long.
const grace = 5 * time.Second

// connectTime is how long a daemon may take to greet.
const connectTime = 10 * time.Second

// Client asks a running daemon. All calls may be made at the same time; each
// has a deadline of its own beside its context's.
type Client struct {
	conn *grpc.ClientConn
	rpc  apiv1.ControlClient

	mu   sync.Mutex
	dial error // of the newest attempt to connect
}

// Connect gives a client for a daemon's control socket. The connection is made
// with the first call.
func Connect(path string) (*Client, error) { return connectWithin(path, connectTime) }

func connectWithin(path string, most time.Duration) (*Client, error) {
	c := &Client{}
	conn, err := grpc.NewClient("passthrough:///control",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.connect(ctx, path) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: most}),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, err
	}
	c.conn, c.rpc = conn, apiv1.NewControlClient(conn)
	return c, nil
}

// Close ends all calls.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) connect(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	c.mu.Lock()
	c.dial = err
	c.mu.Unlock()
	return conn, err
}

// explain makes an error of gRPC one for people. A socket that may not be used
// is an fs.ErrPermission.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	c.mu.Lock()
	dial := c.dial
	c.mu.Unlock()
	switch s.Code() {
	case codes.Unavailable:
		switch {
		case errors.Is(dial, fs.ErrNotExist), errors.Is(dial, syscall.ECONNREFUSED):
			return ErrNotRunning
		case dial != nil:
			return dial
		case strings.Contains(s.Message(), "server preface"): // gRPC's word for the greeting
			return ErrSilent
		}
		return fmt.Errorf("%w any more: %s", ErrNotRunning, s.Message())
	case codes.Unimplemented:
		return ErrOtherDaemon
	case codes.InvalidArgument:
		return &badQuery{s.Message()}
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, errors.New(s.Message()))
	case codes.Canceled:
		return context.Canceled
	}
	return errors.New(s.Message())
}

// badQuery is ErrBadQuery in the daemon's words.
type badQuery struct{ text string }

func (e *badQuery) Error() string { return e.text }
func (e *badQuery) Unwrap() error { return ErrBadQuery }

// ask makes one call.
func ask[Req, Resp any](ctx context.Context, c *Client, most time.Duration, req Req,
	rpc func(context.Context, Req, ...grpc.CallOption) (Resp, error),
) (Resp, error) {
	bound, cancel := context.WithTimeout(ctx, most+grace)
	defer cancel()
	resp, err := rpc(bound, req)
	if ctx.Err() != nil {
		return resp, ctx.Err()
	}
	if err != nil && bound.Err() != nil { // ours: the daemon's own would have come before
		return resp, ErrSilent
	}
	return resp, c.explain(err)
}

// Status asks what runs.
func (c *Client) Status(ctx context.Context) (Status, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.StatusRequest{}, c.rpc.Status)
	return statusIn(resp), err
}

// Totals asks for the rates of all traffic.
func (c *Client) Totals(ctx context.Context) ([]sdk.TotalRate, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.TotalsRequest{}, c.rpc.Totals)
	return each(resp.GetTotals(), totalIn), err
}

// Hosts asks for the hosts with the highest rates. ErrBadQuery: the query is at
// fault.
func (c *Client) Hosts(ctx context.Context, q HostQuery) ([]sdk.HostRate, error) {
	q, err := q.complete()
	if err != nil {
		return nil, err
	}
	resp, err := ask(ctx, c, callTime, queryOut(q), c.rpc.Hosts)
	return each(resp.GetHosts(), hostIn), err
}

// Plugins asks for each block's process.
func (c *Client) Plugins(ctx context.Context) ([]PluginStatus, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.PluginsRequest{}, c.rpc.Plugins)
	return each(resp.GetPlugins(), pluginIn), err
}

// Tables asks each capture for a table.
func (c *Client) Tables(ctx context.Context, name string) ([]PluginTable, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.TableRequest{Name: name}, c.rpc.Table)
	return each(resp.GetTables(), tableIn), err
}

// Doctor asks what may keep traffic from being seen.
func (c *Client) Doctor(ctx context.Context) ([]Check, error) {
	resp, err := ask(ctx, c, doctorTime, &apiv1.DoctorRequest{}, c.rpc.Doctor)
	return each(resp.GetChecks(), checkIn), err
}

// Explain asks how an address is watched, and how it stands.
func (c *Client) Explain(ctx context.Context, addr netip.Addr) (Explanation, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.ExplainRequest{Address: addr.String()}, c.rpc.Explain)
	return explanationIn(resp), err
}

// Suggest asks for limits from how rates were; group "" is all hostgroups.
func (c *Client) Suggest(ctx context.Context, group string) (Suggested, error) {
	resp, err := ask(ctx, c, suggestTime, &apiv1.SuggestRequest{Hostgroup: group}, c.rpc.Suggest)
	return Suggested{HCL: resp.GetHcl(), Report: resp.GetReport()}, err
}

// Ledger asks what became of all that each input received.
func (c *Client) Ledger(ctx context.Context) ([]sdk.LedgerRow, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.LedgerRequest{}, c.rpc.Ledger)
	return each(resp.GetRows(), ledgerIn), err
}

// Attacks asks for the attacks in progress, each as its newest event.
func (c *Client) Attacks(ctx context.Context) ([]sdk.Event, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.AttacksRequest{}, c.rpc.Attacks)
	return each(resp.GetAttacks(), eventIn), err
}

// Reload has the daemon read its configuration again. With acceptLists lists of
// prefixes are put in force though they have lost much.
func (c *Client) Reload(ctx context.Context, acceptLists bool) (ReloadResult, error) {
	resp, err := ask(ctx, c, reloadTime, &apiv1.ReloadRequest{AcceptLists: acceptLists}, c.rpc.Reload)
	return ReloadResult{
		Changed: resp.GetChanged(), Refused: resp.GetRefused(), Revision: resp.GetRevision(),
		Differences: each(resp.GetDifferences(), func(s string) string { return s }), Diagnostics: resp.GetDiagnostics(),
	}, err
}

// Events follows the events until ctx is done. It returns once none can be
// missed any more.
func (c *Client) Events(ctx context.Context) (*EventStream, error) {
	stream, err := c.rpc.Events(ctx, &apiv1.EventsRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err == nil {
		return &EventStream{c, stream}, nil
	}
	return nil, c.explain(err)
}

// EventStream is a subscription. The daemon does not wait for it.
type EventStream struct {
	client *Client
	stream grpc.ServerStreamingClient[apiv1.EventsResponse]
}

// Next waits for an event. lost is how many events were lost right before it,
// since they were not taken in time. ErrNotRunning: the daemon has stopped.
func (s *EventStream) Next() (e sdk.Event, lost uint64, err error) {
	resp, err := s.stream.Recv()
	if err != nil {
		return sdk.Event{}, 0, s.client.explain(err)
	}
	return eventIn(resp.GetEvent()), resp.GetLost(), nil
}
