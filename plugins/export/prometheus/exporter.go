package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// exporter keeps the newest snapshot and shows it to whoever scrapes.
type exporter struct {
	cfg    config
	log    hclog.Logger
	only   map[string]bool // counters shown for hosts; nil: all
	server *server         // from Start to Close

	started   time.Time
	newest    atomic.Pointer[view]
	snapshots atomic.Uint64
	scrapes   atomic.Uint64
	errors    atomic.Uint64 // scrapes that were not answered in full

	mu            sync.Mutex // guards what follows
	begun, closed *attackCounts
}

// view is a snapshot with what a scrape needs of it.
type view struct {
	sdk.Snapshot           // Hosts and Attacks are cut to the largest
	received     time.Time // by this process's clock
	open         *attackCounts
	cut          int // rows left out because they could never be shown
}

// cut bounds a list, so that neither memory nor the work of a scrape depends
// on how much there was.
func cut[T any](v *view, rows []T, n int) []T {
	if len(rows) <= n {
		return rows
	}
	v.cut += len(rows) - n
	return slices.Clone(rows[:n])
}

func newExporter(c config, log hclog.Logger) *exporter {
	e := &exporter{cfg: c, log: log, started: time.Now()}
	e.begun, e.closed = e.newCounts(), e.newCounts()
	if c.HostCounters != nil {
		e.only = map[string]bool{}
		for _, name := range c.HostCounters {
			e.only[name] = true
		}
	}
	return e
}

// newCounts may hold a tenth of all series: attacks must not push out all else.
func (e *exporter) newCounts() *attackCounts {
	return &attackCounts{n: map[attackKey]uint64{}, limit: e.cfg.MaxSeries / 10}
}

// Start opens the listener.
func (e *exporter) Start(ctx context.Context) error {
	var err error
	e.started = time.Now()
	e.server, err = listen(ctx, e)
	return err
}

// Close lets scrapes under way end.
func (e *exporter) Close(ctx context.Context) error { return e.server.close(ctx) }

// Health fails when the HTTP server has ended by itself.
func (e *exporter) Health(context.Context) error { return e.server.failure() }

// Export replaces the snapshot that scrapes see: what is not in the new one is
// not shown any longer.
func (e *exporter) Export(_ context.Context, s sdk.Snapshot) error {
	v := &view{Snapshot: s, received: time.Now(), open: e.newCounts()}
	for i := range s.Attacks {
		v.open.add(&s.Attacks[i])
	}
	v.Totals = cut(v, s.Totals, e.cfg.MaxSeries)
	v.Networks = cut(v, s.Networks, e.cfg.MaxSeries)
	v.Groups = cut(v, s.Groups, e.cfg.MaxSeries)
	v.Ledger = cut(v, s.Ledger, e.cfg.MaxSeries)
	v.System = cut(v, s.System, e.cfg.MaxSeries)
	v.Hosts = largestHosts(s.Hosts, e.cfg.TopHosts)
	v.Attacks = largestAttacks(s.Attacks, e.cfg.TopHosts)
	e.newest.Store(v)
	e.snapshots.Add(1)
	return nil
}

// Events counts attacks.
func (e *exporter) Events(_ context.Context, events []sdk.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range events {
		switch events[i].Type {
		case sdk.AttackStarted:
			e.begun.add(&events[i])
		case sdk.AttackEnded:
			e.closed.add(&events[i])
		}
	}
	return nil
}

// largestHosts returns the rows of the n hosts with the most packets per second
// in both directions together.
func largestHosts(rows []sdk.HostRate, n int) []sdk.HostRate {
	sum := map[netip.Prefix]float64{}
	for i := range rows {
		sum[rows[i].Host] += totalPackets(rows[i].Counters)
	}
	if len(sum) <= n {
		return rows
	}
	type hostSum struct {
		host netip.Prefix
		pps  float64
	}
	hosts := make([]hostSum, 0, len(sum))
	for host, pps := range sum {
		hosts = append(hosts, hostSum{host, pps})
	}
	slices.SortFunc(hosts, func(a, b hostSum) int {
		if a.pps != b.pps {
			return cmp.Compare(b.pps, a.pps)
		}
		return a.host.Compare(b.host)
	})
	keep := make(map[netip.Prefix]bool, n)
	for _, h := range hosts[:n] {
		keep[h.host] = true
	}
	var out []sdk.HostRate
	for i := range rows {
		if keep[rows[i].Host] {
			out = append(out, rows[i])
		}
	}
	return out
}

func totalPackets(counters []sdk.CounterRate) float64 {
	for _, c := range counters {
		if c.Counter == "total" {
			return c.PPS
		}
	}
	return 0
}

// largestAttacks returns a copy of the n attacks with the highest peaks.
func largestAttacks(attacks []sdk.Event, n int) []sdk.Event {
	out := slices.Clone(attacks)
	slices.SortFunc(out, func(a, b sdk.Event) int {
		return cmp.Or(cmp.Compare(b.PeakPPS, a.PeakPPS), cmp.Compare(a.ID, b.ID))
	})
	return slices.Clone(out[:min(n, len(out))])
}

// attackKey is what attacks are counted by.
type attackKey struct{ hostgroup, direction, attackType string }

// other gathers what there is no room for.
var other = attackKey{"other", "other", "other"}

// attackCounts counts attacks, by no more than limit keys, other included.
type attackCounts struct {
	n     map[attackKey]uint64
	limit int
}

func (c *attackCounts) add(e *sdk.Event) {
	key := attackKey{e.HostGroup, e.Direction, e.AttackType}
	if _, known := c.n[key]; !known && len(c.n) >= c.limit-1 {
		key = other
	}
	c.n[key]++
}

// rows returns the counts in a fixed order.
func (c *attackCounts) rows() []attackRow {
	out := make([]attackRow, 0, len(c.n))
	for key, n := range c.n {
		out = append(out, attackRow{key, n})
	}
	slices.SortFunc(out, func(a, b attackRow) int {
		return cmp.Or(cmp.Compare(a.hostgroup, b.hostgroup), cmp.Compare(a.direction, b.direction), cmp.Compare(a.attackType, b.attackType))
	})
	return out
}

type attackRow struct {
	attackKey
	n uint64
}
