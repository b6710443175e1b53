package sdk_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/inprocess"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// A capture, a filter and a tap around one record ring, as the core wires them.

type testPipe struct {
	*host.Plugin
	t    *testing.T
	core *os.File
}

func open(t *testing.T, p sdk.Plugin, mode string, config map[string]cty.Value) testPipe {
	t.Helper()
	core, end, err := ring.Pair()
	must(t, err)
	served, err := inprocess.Open(p, hclog.NewNullLogger(), end)
	must(t, err)
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	must(t, err)
	server := grpc.NewServer(served.Options...)
	served.Register(server)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() {
		must(t, errors.Join(served.Drain(context.Background()), conn.Close(), core.Close(), end.Close()))
		server.Stop()
	})
	plugin := host.New(conn)
	_, diags, err := plugin.Configure(t.Context(), host.ConfigureRequest{Value: cty.ObjectVal(config), Instance: "x", Mode: mode})
	must(t, err)
	must(t, diags.Err())
	return testPipe{plugin, t, core}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p testPipe) attach(req host.AttachRequest, files ...*os.File) {
	p.t.Helper()
	must(p.t, ring.SendFiles(p.core, req.Token, files))
	must(p.t, p.AttachRings(p.t.Context(), req))
}

func (p testPipe) start() {
	p.t.Helper()
	diags, err := p.Start(p.t.Context())
	must(p.t, err)
	must(p.t, diags.Err())
}

// next is the first health that want accepts.
func (p testPipe) next(want func(host.Health) bool) host.Health {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	var got host.Health
	must(p.t, p.Watch(ctx, 10*time.Millisecond, func(h host.Health) {
		if ctx.Err() == nil {
			got = h
		}
		if want(h) {
			cancel()
		}
	}))
	if !want(got) {
		p.t.Fatalf("the last health is %+v", got)
	}
	return got
}

type tapped struct {
	mu    sync.Mutex
	ports map[uint16]int // of records that have passed
}

func (x *tapped) Export(context.Context, sdk.Snapshot) error { return nil }
func (x *tapped) Events(context.Context, []sdk.Event) error  { return nil }

// NewTap makes it a TapMaker.
func (x *tapped) NewTap(address func(uint32) netip.Addr) sdk.Tap { return ofRing{x, address} }

// ofRing is the tap of one ring.
type ofRing struct {
	*tapped
	address func(uint32) netip.Addr
}

func (x ofRing) Tap(_ context.Context, batch []traffic.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range batch {
		if batch[i].Verdict != traffic.VerdictDrop && x.address(batch[i].Exporter) == teller(batch[i].Exporter) {
			x.ports[batch[i].DstPort]++
		}
	}
	return nil
}

type alternating struct{}

func (alternating) ExporterAddr(index uint32) netip.Addr { return teller(index) }

// teller is the address of an exporter.
func teller(index uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(index)})
}

func (alternating) Run(_ context.Context, w *sdk.Writer) error {
	for i := range 1000 {
		w.Reserve(1)[0] = traffic.Record{
			Src: netip.MustParseAddr("198.51.100.1").As16(), Dst: netip.MustParseAddr("10.0.0.1").As16(),
			Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, Sampling: 1, DstPort: 53 + uint16(i%2), Exporter: 1 + uint32(i/100), Time: int64(i+1) * 1e6,
		}
		w.Commit(1, nil)
	}
	return nil
}

func TestRecordRingThroughFilterAndTap(t *testing.T) {
	tap := &tapped{ports: map[uint16]int{}}
	capture := open(t, sdk.Plugin{
		Name: "alternating", Version: "1",
		Capture: sdk.NewCapture(struct{}{}, func(struct{}, sdk.Env) (alternating, error) { return alternating{}, nil }),
	}, "replay", nil)
	filter := open(t, portFilter, "replay", map[string]cty.Value{"drop": cty.NumberIntVal(53)})
	export := open(t, sdk.Plugin{
		Name: "tap", Version: "1",
		Exporter: sdk.NewExporter(struct{}{}, func(struct{}, sdk.Env) (*tapped, error) { return tap, nil }),
	}, "replay", nil)

	deltas, err := ring.CreateDelta("deltas", 1<<12, 7)
	must(t, err)
	defer deltas.Close()
	records, err := ring.CreateRecord("records", 1<<12, 1, 1, 7)
	must(t, err)
	defer records.Close()

	record := host.Ring{Kind: host.RecordRing, Generation: 7, Stages: 1, StageFailure: []uint32{host.OnFailureBypass}}
	export.attach(host.AttachRequest{Rings: []host.Ring{record}, Replay: true, Token: 1}, records.File())
	export.start()
	filter.attach(host.AttachRequest{Rings: []host.Ring{record}, Replay: true, Token: 5}, records.File())
	filter.start()
	must(t, capture.ApplyPlan(t.Context(), sdktest.Plan("10.0.0.0/8")))
	capture.attach(host.AttachRequest{
		Rings: []host.Ring{{Kind: host.DeltaRing, Generation: 7}, record}, Replay: true, Token: 1,
	}, deltas.File(), records.File())
	capture.start()

	health := capture.next(func(h host.Health) bool { return h.State == host.Finished })
	if l := health.Workers[0]; l.Received != 1000 || l.Counted != 500 || l.InFlight != 0 || len(l.Dropped) != 1 {
		t.Errorf("the capture's ledger is %+v", l)
	}
	filter.next(func(h host.Health) bool { return len(h.Workers) == 1 && h.Workers[0].Counted == 1000 })
	export.next(func(h host.Health) bool { return len(h.Workers) == 1 && h.Workers[0].Received == 1000 })
	export.next(func(h host.Health) bool {
		return slices.Contains(h.Metrics, sdk.Metric{Name: "tap_records_total:result=given", Value: 1000})
	})
	var sum uint64
	buf := make([]ring.Delta, 1<<12)
	n, err := deltas.Read(buf)
	must(t, err)
	for _, d := range buf[:n] {
		if d.Kind == ring.KindHost {
			sum += d.Packets
		}
	}
	if sum != 500 {
		t.Errorf("%d packets were counted, want the 500 that the filter let pass", sum)
	}
	tap.mu.Lock()
	defer tap.mu.Unlock()
	if tap.ports[53] != 0 || tap.ports[54] != 500 {
		t.Errorf("the tap saw %v, want 500 of port 54 and none of port 53", tap.ports)
	}
}

func TestRingsThatAreRefused(t *testing.T) {
	capture := open(t, countingCapture, "run", map[string]cty.Value{
		"packets": cty.NullVal(cty.Number), "workers": cty.NullVal(cty.Number),
		"endless": cty.NullVal(cty.Bool), "fail": cty.NullVal(cty.String),
	})
	deltas, err := ring.CreateDelta("deltas", 16, 3)
	must(t, err)
	defer deltas.Close()
	token := uint64(0)
	try := func(req host.AttachRequest, files ...*os.File) error {
		token++
		req.Token = token
		must(t, ring.SendFiles(capture.core, token, files))
		return capture.AttachRings(t.Context(), req)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	good := host.Ring{Kind: host.DeltaRing, Generation: 3}
	for name, err := range map[string]error{
		"replay":          try(host.AttachRequest{Replay: true}),
		"no such worker":  try(host.AttachRequest{Rings: []host.Ring{{Kind: host.DeltaRing, Generation: 3, Worker: 5}}}, deltas.File()),
		"generation":      try(host.AttachRequest{Rings: []host.Ring{{Kind: host.DeltaRing, Generation: 4}}}, deltas.File()),
		"kind":            try(host.AttachRequest{Rings: []host.Ring{{Generation: 3}}}, deltas.File()),
		"twice":           try(host.AttachRequest{Rings: []host.Ring{good, good}}, deltas.File(), deltas.File()),
		"no ring at all":  try(host.AttachRequest{Rings: []host.Ring{good}}, file),
		"too few of them": try(host.AttachRequest{Rings: []host.Ring{good, good}}, deltas.File()),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	must(t, try(host.AttachRequest{Rings: []host.Ring{good}}, deltas.File()))
	if _, err := capture.Start(t.Context()); err == nil {
		t.Error("a capture was started without a plan")
	}
	must(t, capture.ApplyPlan(t.Context(), sdktest.Plan("10.0.0.0/8")))
	capture.start()
}

type blocked struct{ entered, release chan struct{} }

func (b *blocked) Notify(context.Context, sdk.Event) error {
	close(b.entered)
	<-b.release
	return nil
}

func TestDrainWaitsForCallsButNotForEver(t *testing.T) {
	b := &blocked{make(chan struct{}), make(chan struct{})}
	p := open(t, sdk.Plugin{
		Name: "blocked", Version: "1",
		Notifier: sdk.NewNotifier(struct{}{}, func(struct{}, sdk.Env) (*blocked, error) { return b, nil }),
	}, "run", nil)
	p.start()
	notified := make(chan error, 1)
	go func() { notified <- p.Notify(context.Background(), sdktest.Event()) }()
	<-b.entered
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a tenth of it is left for the answer
	defer cancel()
	if err := p.Drain(ctx); err == nil || !strings.Contains(err.Error(), "has not returned in time") {
		t.Errorf("Drain: %v", err)
	}
	close(b.release)
	must(t, <-notified)
	if err := p.Notify(t.Context(), sdktest.Event()); err == nil || sdk.IsRetry(err) {
		t.Errorf("a call after Drain: %v", err)
	}
}
