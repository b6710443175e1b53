package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// patience bounds what takes no time when all is well.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a backend that answers what a test has set.
type fake struct {
	status   func(context.Context) (Status, error)
	snapshot sdk.Snapshot
	hosts    func(HostQuery) ([]sdk.HostRate, error)
	plugins  []PluginStatus
	reload   func(context.Context) (ReloadResult, error)

	mu   sync.Mutex
	give func(sdk.Event)
	past past
}

// past is a history as a test has set it.
type past struct {
	asked   store.Query
	page    store.Page
	err     error
	file    []byte
	summary store.Summary
}

func (f *fake) History(_ context.Context, q store.Query) (store.Page, error) {
	f.past.asked = q
	return f.past.page, f.past.err
}

func (f *fake) Attack(_ context.Context, id string) (store.Attack, error) {
	if id != "a1" {
		return store.Attack{}, store.ErrNoAttack
	}
	return f.past.page.Attacks[0], f.past.err
}

func (f *fake) AttackFile(_ context.Context, id, kind string) (AttackFile, error) {
	if kind == FileReport {
		return AttackFile{}, fmt.Errorf("%w of %s: it was removed", ErrNoFile, id)
	}
	return AttackFile{Name: id + ".pcap", Size: int64(len(f.past.file)), Content: io.NopCloser(bytes.NewReader(f.past.file))}, f.past.err
}

func (f *fake) HistorySummary(_ context.Context, since, until time.Time) (store.Summary, error) {
	f.past.summary.Since, f.past.summary.Until = since.UTC(), until.UTC()
	return f.past.summary, f.past.err
}

func (f *fake) Status(ctx context.Context) (Status, error) { return f.status(ctx) }
func (f *fake) Snapshot(_ context.Context, hosts int) (sdk.Snapshot, error) {
	if hosts != 0 {
		panic("the calls want no hosts")
	}
	return f.snapshot, nil
}

func (f *fake) Hosts(_ context.Context, q HostQuery) ([]sdk.HostRate, error) { return f.hosts(q) }
func (f *fake) Plugins(context.Context) ([]PluginStatus, error)              { return f.plugins, nil }

func (f *fake) Tables(_ context.Context, name string) ([]PluginTable, error) {
	return []PluginTable{
		{Plugin: "sflow.routers", Rows: sdk.Rows{Columns: []string{"exporter", "site"}, Rows: [][]string{{name, "fra"}, {"r2", ""}}}},
		{Plugin: "netflow.routers", Error: "it does not answer"},
	}, nil
}

func (f *fake) Doctor(context.Context) ([]Check, error) {
	return []Check{{"sflow.routers", "listen", "ok", "listening"}, {"", "direction", "fault", "\xff none"}}, nil
}

func (f *fake) Suggest(_ context.Context, group string) (Suggested, error) {
	if group == "unknown" {
		return Suggested{}, fmt.Errorf("%w: unknown hostgroup", ErrBadQuery)
	}
	return Suggested{HCL: "hostgroup " + group, Report: []byte("{}")}, nil
}

func (f *fake) Explain(_ context.Context, addr netip.Addr) (Explanation, error) {
	return Explanation{
		Address: addr, Host: netip.PrefixFrom(addr, 24).Masked(), Known: true, Network: "n", NetworkPrefix: netip.MustParsePrefix("10.0.0.0/8"),
		Group: "g", GroupPrefix: netip.MustParsePrefix("10.0.0.0/9"), Chain: []string{"g", "base"}, Mode: "enforce", ModeReason: "why", Suspended: "s", Revision: "r1",
		Limits:     []LimitState{{"flood", "host", "incoming", "total", "pps", 10, 5, 0.5, []string{"average", "7x1.5"}, "monitor", []string{"action.a.b"}, "below"}},
		Exemptions: []ExemptionState{{"x", "all", 2e9, moment}, {Name: "y"}},
		Attacks:    []sdk.Event{event(1)}, Would: []string{"nothing"}, Mitigations: []sdk.MitigationReport{told("m")},
	}, nil
}

func (f *fake) Reload(ctx context.Context, acceptLists bool) (ReloadResult, error) {
	got, err := f.reload(ctx)
	if acceptLists {
		got.Revision = "accepted"
	}
	return got, err
}

func (f *fake) Subscribe(_ context.Context, give func(sdk.Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.give = give
}

func (f *fake) publish(e sdk.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.give(e)
}

// moment is a time with nanoseconds, as the wire must keep it.
var moment = time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)

func rates(pps float64) []sdk.CounterRate {
	return []sdk.CounterRate{{Counter: "total", PPS: pps, BPS: 8000 * pps}, {Counter: "udp", PPS: pps / 2, BPS: 4000 * pps}}
}

func event(seq uint32) sdk.Event {
	crossing := sdk.Crossing{
		Threshold: "flood", Scope: "host", Counter: "udp", Unit: "pps", Value: 123.5, Limit: 100,
		Window: 700 * time.Millisecond, Rule: "7x1.5", At: moment,
	}
	return sdk.Event{
		Type: sdk.AttackUpdated, ID: "a1", Seq: seq, Time: moment.Add(time.Second), Started: moment,
		Target: netip.MustParsePrefix("203.0.113.7/32"), Direction: "incoming", HostGroup: "default", Network: "customers",
		Pipeline: "main", Mode: "monitor", WouldHave: true, Revision: "r1",
		Crossing: crossing, Label: "l", AttackType: "udp_flood", Protocol: "udp", Crossed: []sdk.Crossing{crossing, crossing},
		PeakPPS: 200, InitialPPS: 150, Incoming: rates(123), Outgoing: rates(4), Flows: [2]float64{5, 6}, LossRatio: 0.25, Suspended: "input x.y has just started", Lifted: true,
		Mitigation: &sdk.MitigationReport{ID: "m", Target: netip.MustParsePrefix("203.0.113.7/32"), State: sdk.MitigationHeld, Time: moment},
	}
}

func healthy() *fake {
	return &fake{
		status: func(context.Context) (Status, error) {
			return Status{
				Version: "v1", Revision: "r1", Mode: "monitor", Started: moment, Uptime: 90 * time.Minute,
				Captures: Count{1, 2, 3}, Filters: Count{4, 5, 6}, Actions: Count{7, 8, 9}, Exports: Count{10, 11, 12},
				Hosts: 1 << 33, Deltas: 1234.5, Rates: []DirectionRate{{"incoming", 1, 2}, {"outgoing", 3, 4}},
				Attacks: 2, LossRatio: 0.125, Suspended: "this program was stopped for 10s", Memory: 1 << 34, MemoryLimit: 1 << 35, Held: []string{"/etc/networks_list: gone"}, Troubles: []string{"the log cannot be written"},
			}, nil
		},
		snapshot: sdk.Snapshot{
			Time:    moment,
			Totals:  []sdk.TotalRate{{Direction: "incoming", Family: 4, Counters: rates(10), Flows: 3}, {Direction: "other", Family: 6, Counters: rates(1)}},
			Attacks: []sdk.Event{event(3), event(4)},
			Ledger: []sdk.LedgerRow{
				{Input: "pcap.mirror", Received: 10, Used: 7, InFlight: 1, Dropped: map[string]uint64{"not_ip": 2}},
				{Input: "pcap.idle", Dropped: map[string]uint64{}},
			},
		},
		hosts: func(HostQuery) ([]sdk.HostRate, error) {
			return []sdk.HostRate{{
				Host: netip.MustParsePrefix("2001:db8::/64"), Group: "g", Network: "n", Direction: "outgoing", Counters: rates(9), Flows: 8,
			}}, nil
		},
		plugins: []PluginStatus{
			{Kind: "capture", Name: "pcap", Instance: "mirror", Version: "v1", State: "running", Since: moment, PID: 42, Launches: 1},
			{
				Kind: "action", Name: "script", Instance: "notify", Version: "v2", State: "backing-off", Since: moment, Message: "exit status 1",
				Launches: 3, Retry: moment.Add(time.Minute), Delivered: 4, Failed: 5, Dropped: 6, Queued: 7, Pipeline: "p", Rights: "r", Failures: 2, LastFailure: "exit status 3", LastFailureAt: moment,
			},
		},
		reload: func(context.Context) (ReloadResult, error) {
			return ReloadResult{Changed: true, Revision: "r2", Differences: []string{"network customers: 1 prefix more"}, Diagnostics: "warning"}, nil
		},
	}
}

// socketPath is in a directory of the test's own, short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fnmapi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, SocketName)
}

// running serves a backend until the test ends, or until stop is called.
type running struct {
	path string
	stop func() error // cancels, and waits for Serve
}

func start(t testing.TB, backend Backend) *running {
	t.Helper()
	path := socketPath(t)
	l, err := listen(path, SocketMode)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveSocket(ctx, l, SocketMode, backend, hclog.NewNullLogger()) }()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Error("Serve does not return")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &running{path, stop}
}

func client(t testing.TB, r *running) *Client {
	t.Helper()
	c, err := Connect(r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
