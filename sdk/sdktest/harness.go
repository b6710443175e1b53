// Package sdktest tests plugins without the core: a harness that serves a
// plugin inside the test and speaks to it over a real gRPC socket and real
// rings, and a conformance suite that every plugin should pass.
package sdktest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/inprocess"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// callTimeout bounds each call of the harness.
const callTimeout = 10 * time.Second

// Harness is a plugin under test. Its methods fail the test when the contract
// is broken and return what the plugin itself says.
type Harness struct {
	Mode     sdk.Mode // ModeRun unless set before Configure
	StateDir string   // a directory that outlives the plugin; "" unless set before Configure: there is none

	t       testing.TB
	log     *testWriter
	plugin  *host.Plugin
	config  string
	channel *ringChannel
	drain   func(context.Context) error
	conn    *grpc.ClientConn
	server  *grpc.Server
	closed  bool

	mu      sync.Mutex // one of Start and Drain at a time
	planned bool
	started bool
}

// New serves p. config is the body of its block in HCL, as it would stand
// between the braces. Nothing is configured yet. When the test ends the plugin
// is drained.
func New(t testing.TB, p sdk.Plugin, config string) *Harness {
	t.Helper()
	channel, err := newRingChannel()
	if err != nil {
		t.Fatalf("making the ring channel: %v", err)
	}
	log := &testWriter{t: t}
	logger := hclog.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Debug, Output: log})
	served, err := inprocess.Open(p, logger, channel.pluginEnd())
	if err != nil {
		t.Fatalf("the plugin cannot be served: %v", err)
	}
	h := &Harness{Mode: sdk.ModeRun, t: t, log: log, config: config, channel: channel, drain: served.Drain}
	h.listen(served)
	t.Cleanup(h.Close)
	return h
}

// listen serves the plugin on a socket with a short name and connects to it.
func (h *Harness) listen(served *inprocess.Plugin) {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "fnm")
	if err != nil {
		h.t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.server = grpc.NewServer(served.Options...)
	served.Register(h.server)
	go func() { _ = h.server.Serve(listener) }()
	h.conn, err = grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.plugin = host.New(h.conn)
	_ = h.Describe() // connects, after which the socket's name is not needed
	if err := os.RemoveAll(dir); err != nil {
		h.t.Fatal(err)
	}
}

// Close drains the plugin and ends serving it; the end of the test does so too.
func (h *Harness) Close() {
	h.t.Helper()
	if h.closed {
		return
	}
	h.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := h.drain(ctx); err != nil {
		h.t.Errorf("draining the plugin: %v", err)
	}
	if err := h.conn.Close(); err != nil {
		h.t.Errorf("closing the connection: %v", err)
	}
	h.server.Stop()
	h.channel.close()
	h.log.close()
}

func (h *Harness) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTimeout)
}

// Describe is what the plugin says of itself.
func (h *Harness) Describe() *host.Description {
	h.t.Helper()
	ctx, cancel := h.call()
	defer cancel()
	d, err := h.plugin.Describe(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// decode checks config against the plugin's schema, as the core does.
func (h *Harness) decode(config string) (cty.Value, hcl.Diagnostics) {
	h.t.Helper()
	file, diags := hclparse.NewParser().ParseHCL([]byte(config), "plugin.hcl")
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	value, more := hcldec.Decode(file.Body, h.Describe().Schema.DecoderSpec(), nil)
	return value, append(diags, more...)
}

// Configure configures the plugin and returns what it complains of. What
// HCL itself or the schema finds wrong is returned as diagnostics without a
// path.
func (h *Harness) Configure() diag.Diagnostics { return h.configure(false) }

// Validate is Configure, but the plugin keeps nothing.
func (h *Harness) Validate() diag.Diagnostics { return h.configure(true) }

func (h *Harness) configure(validateOnly bool) diag.Diagnostics {
	h.t.Helper()
	_, diags, err := h.tryConfigure(validateOnly)
	if err != nil {
		h.t.Fatal(err)
	}
	return diags
}

// Override configures a mitigator as Configure does, with attributes that
// hostgroups set instead of its profiles' own.
func (h *Harness) Override(overrides ...host.Override) (host.ConfigureResult, diag.Diagnostics) {
	h.t.Helper()
	result, diags, err := h.tryConfigure(false, overrides...)
	if err != nil {
		h.t.Fatal(err)
	}
	return result, diags
}

func (h *Harness) tryConfigure(validateOnly bool, overrides ...host.Override) (host.ConfigureResult, diag.Diagnostics, error) {
	h.t.Helper()
	value, problems := h.decode(h.config)
	if problems.HasErrors() {
		var out diag.Diagnostics
		for _, p := range problems {
			out = append(out, diag.Errorf(nil, p.Summary, "%s", p.Detail))
		}
		return host.ConfigureResult{}, out, nil
	}
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Configure(ctx, host.ConfigureRequest{
		Value: value, Instance: "test", Mode: string(h.Mode), ValidateOnly: validateOnly, Overrides: overrides, StateDir: h.StateDir,
	})
}

// Start configures and starts the plugin; the test fails if it complains.
func (h *Harness) Start() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started {
		return
	}
	if diags := h.Configure(); diags.HasErrors() {
		h.t.Fatalf("the plugin refuses its configuration:\n%v", diags)
	}
	h.begin()
}

// begin starts the plugin, a capture with a plan that counts nothing unless it
// has one.
func (h *Harness) begin() {
	h.t.Helper()
	if h.Describe().Kind == host.KindCapture && !h.planned {
		h.applyPlan(Plan())
	}
	ctx, cancel := h.call()
	defer cancel()
	diags, err := h.plugin.Start(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if diags.HasErrors() {
		h.t.Fatalf("the plugin does not start:\n%v", diags)
	}
	h.started = true
}

func (h *Harness) applyPlan(plan *count.Plan) {
	h.t.Helper()
	ctx, cancel := h.call()
	defer cancel()
	if err := h.plugin.ApplyPlan(ctx, plan); err != nil {
		h.t.Fatalf("the capture refuses the plan: %v", err)
	}
	h.planned = true
}

// Drain stops the plugin: it flushes and closes. It may be started again.
func (h *Harness) Drain() error {
	h.t.Helper()
	ctx, cancel := h.call()
	defer cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started, h.planned = false, false
	return h.plugin.Drain(ctx)
}

// Notify tells a notifier of e, having started it if need be.
func (h *Harness) Notify(e sdk.Event) error {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Notify(ctx, e)
}

// Sync hands a mitigator its desired set, having started it if need be.
func (h *Harness) Sync(desired []sdk.Mitigation) error {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Sync(ctx, desired)
}

// Preview asks a mitigator what m would come to, having started it if need be.
func (h *Harness) Preview(m sdk.Mitigation) ([]sdk.Announcement, error) {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Preview(ctx, m)
}

// WatchMitigations reports what a mitigator says is there, until ctx is done.
func (h *Harness) WatchMitigations(ctx context.Context, report func(sdk.MitigationStatus)) error {
	h.t.Helper()
	h.Start()
	return h.plugin.WatchMitigations(ctx, report)
}

// Inspect asks for findings, having started the plugin if need be.
func (h *Harness) Inspect(e sdk.Evidence) ([]sdk.Finding, error) {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Inspect(ctx, e)
}

// Export hands an exporter a snapshot, having started it if need be.
func (h *Harness) Export(s sdk.Snapshot) error {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Export(ctx, s)
}

// Events tells an exporter of events, having started it if need be.
func (h *Harness) Events(e []sdk.Event) error {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Events(ctx, e)
}

// Judge has a filter judge records, having started it if need be, and returns
// them as judged.
func (h *Harness) Judge(records []traffic.Record) ([]traffic.Record, error) {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Judge(ctx, records)
}

// Table asks for rows for people, having started the plugin if need be.
func (h *Harness) Table(name string) (sdk.Rows, error) {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	return h.plugin.Table(ctx, name)
}

// Sample asks a capture for frames of a target, having started it if need be.
func (h *Harness) Sample(req sdk.SampleRequest) ([]sdk.Sample, error) {
	h.t.Helper()
	h.Start()
	ctx, cancel := h.call()
	defer cancel()
	var out []sdk.Sample
	err := h.plugin.Sample(ctx, req, func(s sdk.Sample) error {
		out = append(out, s)
		return nil
	})
	return out, err
}

// Sampling is a call of Sample under way, of a capture that Start has not
// begun yet: so nothing of a replay is missed.
type Sampling struct {
	h       *Harness
	cancel  context.CancelFunc
	workers int
	receive func(func(sdk.Sample) error) error
}

// ConfigureSampling configures a capture and asks it for frames of a target.
func (h *Harness) ConfigureSampling(req sdk.SampleRequest) *Sampling {
	h.t.Helper()
	result, diags, err := h.tryConfigure(false)
	if err != nil || diags.HasErrors() {
		h.t.Fatalf("the plugin refuses its configuration: %v, %v", err, diags)
	}
	ctx, cancel := h.call()
	receive, err := h.plugin.OpenSample(ctx, req)
	if err != nil {
		h.t.Fatal(err)
	}
	return &Sampling{h, cancel, result.Workers, receive}
}

// Run starts the capture and returns what it gives.
func (s *Sampling) Run(plan *count.Plan) ([]sdk.Sample, error) {
	s.h.t.Helper()
	defer s.cancel()
	s.h.collect(plan, s.workers)
	var out []sdk.Sample
	err := s.receive(func(x sdk.Sample) error {
		out = append(out, x)
		return nil
	})
	return out, err
}

// Health is the next state the plugin reports.
func (h *Harness) Health() host.Health {
	h.t.Helper()
	ctx, cancel := h.call()
	defer cancel()
	var got host.Health
	seen := false
	err := h.plugin.Watch(ctx, time.Second, func(x host.Health) {
		if !seen {
			got, seen = x, true
		}
		cancel()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		h.t.Fatal(err)
	}
	if !seen {
		h.t.Fatal("the plugin reports no state")
	}
	return got
}

// Figure is one of those that the plugin tells of itself, 0 where it is not there.
func (h *Harness) Figure(name string) float64 {
	for _, m := range h.Health().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return 0
}

// testWriter sends log lines to the test's log while the harness is open.
type testWriter struct {
	mu sync.Mutex
	t  testing.TB // nil once closed: a test that has ended takes no more lines
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(strings.TrimSuffix(string(b), "\n"))
	}
	return len(b), nil
}

func (w *testWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}
