package api

import (
	"context"
	"fmt"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Status is apiv1.ControlServer's.
func (s *server) Status(ctx context.Context, _ *apiv1.StatusRequest) (*apiv1.StatusResponse, error) {
	got, err := call(ctx, s, callTime, s.backend.Status)
	if err != nil {
		return nil, err
	}
	return statusOut(&got), nil
}

// snapshot asks for all but hosts.
func (s *server) snapshot(ctx context.Context) (sdk.Snapshot, error) {
	return call(ctx, s, callTime, func(ctx context.Context) (sdk.Snapshot, error) { return s.backend.Snapshot(ctx, 0) })
}

// Totals is apiv1.ControlServer's.
func (s *server) Totals(ctx context.Context, _ *apiv1.TotalsRequest) (*apiv1.TotalsResponse, error) {
	got, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &apiv1.TotalsResponse{TimeUnixNano: nanos(got.Time), Totals: each(got.Totals, totalOut)}, nil
}

// Ledger is apiv1.ControlServer's.
func (s *server) Ledger(ctx context.Context, _ *apiv1.LedgerRequest) (*apiv1.LedgerResponse, error) {
	got, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &apiv1.LedgerResponse{Rows: each(got.Ledger, ledgerOut)}, nil
}

// Attacks is apiv1.ControlServer's.
func (s *server) Attacks(ctx context.Context, _ *apiv1.AttacksRequest) (*apiv1.AttacksResponse, error) {
	got, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &apiv1.AttacksResponse{Attacks: each(got.Attacks, func(e sdk.Event) *apiv1.Event { return eventOut(&e) })}, nil
}

// Hosts is apiv1.ControlServer's.
func (s *server) Hosts(ctx context.Context, req *apiv1.HostsRequest) (*apiv1.HostsResponse, error) {
	q, err := queryIn(req)
	if err != nil {
		return nil, failure(err)
	}
	got, err := call(ctx, s, callTime, func(ctx context.Context) ([]sdk.HostRate, error) { return s.backend.Hosts(ctx, q) })
	if err != nil {
		return nil, err
	}
	return &apiv1.HostsResponse{Hosts: each(got, hostOut)}, nil
}

// queryIn reads a query, which anybody may have written.
func queryIn(req *apiv1.HostsRequest) (HostQuery, error) {
	q := HostQuery{
		Top: int(min(req.GetTop(), MaxHosts+1)), Counter: req.GetCounter(), Unit: req.GetUnit(), Direction: req.GetDirection(),
		Group: req.GetHostgroup(), Network: req.GetNetwork(),
	}
	if asked := req.GetPrefix(); asked != "" {
		prefix, err := ParsePrefix(asked)
		if err != nil {
			return q, fmt.Errorf("%w: %w", ErrBadQuery, err)
		}
		q.Prefix = prefix
	}
	return q.complete()
}

// ParsePrefix reads a prefix, or an address, which means itself alone.
func ParsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%.60q is no prefix: write one as 192.0.2.0/24 or 2001:db8::/32, or an address", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Plugins is apiv1.ControlServer's.
func (s *server) Plugins(ctx context.Context, _ *apiv1.PluginsRequest) (*apiv1.PluginsResponse, error) {
	got, err := call(ctx, s, callTime, s.backend.Plugins)
	if err != nil {
		return nil, err
	}
	return &apiv1.PluginsResponse{Plugins: each(got, pluginOut)}, nil
}

// Table is apiv1.ControlServer's.
func (s *server) Table(ctx context.Context, req *apiv1.TableRequest) (*apiv1.TableResponse, error) {
	got, err := call(ctx, s, callTime, func(ctx context.Context) ([]PluginTable, error) { return s.backend.Tables(ctx, req.GetName()) })
	if err != nil {
		return nil, err
	}
	return &apiv1.TableResponse{Tables: each(got, tableOut)}, nil
}

// Doctor is apiv1.ControlServer's.
func (s *server) Doctor(ctx context.Context, _ *apiv1.DoctorRequest) (*apiv1.DoctorResponse, error) {
	got, err := call(ctx, s, doctorTime, s.backend.Doctor)
	if err != nil {
		return nil, err
	}
	return &apiv1.DoctorResponse{Checks: each(got, checkOut)}, nil
}

// Explain is apiv1.ControlServer's.
func (s *server) Explain(ctx context.Context, req *apiv1.ExplainRequest) (*apiv1.ExplainResponse, error) {
	addr, err := ParseAddress(req.GetAddress())
	if err != nil {
		return nil, failure(fmt.Errorf("%w: %w", ErrBadQuery, err))
	}
	got, err := call(ctx, s, callTime, func(ctx context.Context) (Explanation, error) { return s.backend.Explain(ctx, addr) })
	if err != nil {
		return nil, err
	}
	return explanationOut(&got), nil
}

// Suggest is apiv1.ControlServer's.
func (s *server) Suggest(ctx context.Context, req *apiv1.SuggestRequest) (*apiv1.SuggestResponse, error) {
	got, err := call(ctx, s, suggestTime, func(ctx context.Context) (Suggested, error) { return s.backend.Suggest(ctx, req.GetHostgroup()) })
	if err != nil {
		return nil, err
	}
	return &apiv1.SuggestResponse{Hcl: text(got.HCL), Report: got.Report}, nil
}

// ParseAddress reads an IP address; one of IPv4 inside IPv6 is that of IPv4.
func ParseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%.60q is no address: write one as 192.0.2.1 or 2001:db8::1", s)
	}
	return a.Unmap(), nil
}

// Reload is apiv1.ControlServer's. Once begun it goes on to its end, though the
// client may have gone.
func (s *server) Reload(ctx context.Context, req *apiv1.ReloadRequest) (*apiv1.ReloadResponse, error) {
	got, err := call(ctx, s, reloadTime, func(ctx context.Context) (ReloadResult, error) {
		if !s.reloading.CompareAndSwap(false, true) {
			return ReloadResult{}, status.Error(codes.Aborted, "another reload is under way: try again when it is done")
		}
		defer s.reloading.Store(false)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime)
		defer cancel()
		return s.backend.Reload(ctx, req.GetAcceptLists())
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.ReloadResponse{
		Changed: got.Changed, Refused: got.Refused, Revision: text(got.Revision),
		Differences: each(got.Differences, text), Diagnostics: text(got.Diagnostics),
	}, nil
}

// Events is apiv1.ControlServer's.
func (s *server) Events(_ *apiv1.EventsRequest, stream grpc.ServerStreamingServer[apiv1.EventsResponse]) error {
	sub := s.feed.subscribe()
	if sub == nil {
		return status.Errorf(codes.ResourceExhausted, "%d clients follow the events already: end one", maxSubscribers)
	}
	defer s.feed.unsubscribe(sub)
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		if err := sendAll(sub, stream); err != nil {
			return err
		}
		select {
		case <-sub.wake:
		case <-stream.Context().Done():
			return failure(stream.Context().Err())
		case <-s.live.Done():
			// What was told while stopping still goes out.
			if err := sendAll(sub, stream); err != nil {
				return err
			}
			return errStopping
		}
	}
}

func sendAll(sub *subscriber, stream grpc.ServerStreamingServer[apiv1.EventsResponse]) error {
	for e, lost := sub.take(); e != nil; e, lost = sub.take() {
		if err := stream.Send(&apiv1.EventsResponse{Event: eventOut(e), Lost: lost}); err != nil {
			return err
		}
	}
	return nil
}
