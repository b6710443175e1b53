package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// backend is the running daemon as the control socket sees it.
type backend struct{ *running }

var _ api.Backend = backend{}

// subscribers are those who want every event.
type subscribers struct {
	mu   sync.Mutex
	next int
	give map[int]func(sdk.Event)
}

// publish hands an event to all; none of them waits.
func (s *subscribers) publish(e sdk.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, give := range s.give {
		give(e)
	}
}

// Subscribe implements api.Backend.
func (b backend) Subscribe(ctx context.Context, give func(sdk.Event)) {
	s := &b.subscribers
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.give == nil {
		s.give = map[int]func(sdk.Event){}
	}
	id := s.next
	s.next++
	s.give[id] = give
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.give, id)
	})
}

// Status implements api.Backend.
func (b backend) Status(context.Context) (api.Status, error) {
	s, err := b.daemon.Status()
	if err != nil {
		return api.Status{}, err
	}
	plugins, err := b.daemon.Plugins()
	if err != nil {
		return api.Status{}, err
	}
	out := api.Status{
		Version: version, Revision: s.Revision, Mode: string(s.Mode), Started: b.started, Uptime: time.Since(b.started),
		Hosts: s.Hosts, Deltas: s.Deltas, Attacks: s.Attacks, LossRatio: s.LossRatio, Suspended: s.Suspended, Memory: s.Memory, MemoryLimit: s.MemoryLimit,
		Held: b.held(), Troubles: b.daemon.Troubles(),
	}
	for _, t := range s.Totals {
		if n := len(out.Rates); n == 0 || out.Rates[n-1].Direction != t.Direction {
			out.Rates = append(out.Rates, api.DirectionRate{Direction: t.Direction})
		}
		r := &out.Rates[len(out.Rates)-1]
		r.PPS += t.Counters[0].PPS
		r.BPS += t.Counters[0].BPS
	}
	counts := map[string]*api.Count{"capture": &out.Captures, "filter": &out.Filters, "action": &out.Actions, "export": &out.Exports}
	for _, p := range plugins {
		switch c := counts[p.Block.Kind]; p.Status.State {
		case plugin.Running, plugin.Unhealthy:
			c.Running++
		case plugin.Finished:
			c.Finished++
		default:
			c.NotRunning++
		}
	}
	return out, nil
}

// Snapshot implements api.Backend.
func (b backend) Snapshot(_ context.Context, hosts int) (sdk.Snapshot, error) {
	s, ok := b.daemon.Snapshot(hosts, time.Second)
	if !ok {
		return s, pipeline.ErrEnded
	}
	return s, nil
}

// Hosts implements api.Backend.
func (b backend) Hosts(ctx context.Context, q api.HostQuery) ([]sdk.HostRate, error) {
	hosts, err := b.daemon.Hosts(ctx, pipeline.Query{
		Top: q.Top, Counter: q.Counter, Unit: config.Unit(q.Unit), Direction: q.Direction, Group: q.Group, Network: q.Network, Prefix: q.Prefix,
	})
	if errors.Is(err, pipeline.ErrUnknown) {
		return nil, fmt.Errorf("%w: %w", api.ErrBadQuery, err)
	}
	return hosts, err
}

// Plugins implements api.Backend.
func (b backend) Plugins(context.Context) ([]api.PluginStatus, error) {
	plugins, err := b.daemon.Plugins()
	if err != nil {
		return nil, err
	}
	var out []api.PluginStatus
	for _, p := range plugins {
		out = append(out, api.PluginStatus{
			Kind: p.Block.Kind, Name: p.Block.Name, Instance: p.Block.Instance, Version: p.Version,
			State: string(p.Status.State), Since: p.Status.Since, Message: p.Status.Message, PID: p.Status.PID,
			Launches: p.Status.Launches, Retry: p.Status.Retry,
			Delivered: p.Delivered, Failed: p.Failed, Dropped: p.Dropped, Queued: p.Queued, Pipeline: p.Pipeline, Rights: p.Status.Rights,
			Failures: p.Status.Failures.Count, LastFailure: p.Status.Failures.Last, LastFailureAt: p.Status.Failures.At,
			Figures: p.Status.Health.Metrics,
		})
	}
	return out, nil
}

// Reload implements api.Backend.
func (b backend) Reload(_ context.Context, acceptLists bool) (api.ReloadResult, error) {
	cfg, changes, diags, err := b.reload(acceptLists)
	if err != nil {
		return api.ReloadResult{}, err
	}
	var text strings.Builder
	if err := config.Render(&text, diags, cfg.Files, false, 0); err != nil {
		return api.ReloadResult{}, err
	}
	inForce, err := b.daemon.Status()
	if err != nil {
		return api.ReloadResult{}, err
	}
	return api.ReloadResult{
		Changed: len(changes) > 0 && !diags.HasErrors(), Refused: diags.HasErrors(), Revision: inForce.Revision,
		Differences: changes, Diagnostics: text.String(),
	}, nil
}

// controlRetry is between two tries to open the control socket.
const controlRetry = 5 * time.Second

// serveControl serves the control socket until ctx is done.
func (r *running) serveControl(ctx context.Context) {
	path := filepath.Join(r.daemon.RuntimeDir(), api.SocketName)
	for {
		err := api.Serve(ctx, path, api.SocketMode, backend{r}, r.log)
		if ctx.Err() != nil {
			return
		}
		r.log.Error("the control socket cannot be served: status, hosts and the like do not work until it can", "path", path, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(controlRetry):
		}
	}
}
