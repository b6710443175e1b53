package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The test binary is also the plugins: what STUB names.
func TestMain(m *testing.M) {
	switch os.Getenv("STUB") {
	case host.KindCapture:
		sdk.Serve(sdk.Plugin{Name: "stub", Version: "1", Capture: sdk.NewCapture(struct{}{},
			func(struct{}, sdk.Env) (stubCapture, error) { return stubCapture{}, nil })})
	case host.KindFilter:
		sdk.Serve(sdk.Plugin{Name: "stub", Version: "1", Filter: sdk.NewFilter(struct{}{},
			func(struct{}, sdk.Env) (stubFilter, error) { return stubFilter{}, nil })})
	case host.KindExport:
		sdk.Serve(sdk.Plugin{Name: "stub", Version: "1", Exporter: sdk.NewExporter(struct{}{},
			func(struct{}, sdk.Env) (*stubTap, error) { return &stubTap{}, nil })})
	}
	os.Exit(m.Run())
}

// stubTap counts the records that it is given, and says so as its state.
type stubTap struct{ given, dropped atomic.Uint64 }

func (s *stubTap) Export(context.Context, sdk.Snapshot) error { return nil }

func (s *stubTap) Events(context.Context, []sdk.Event) error { return nil }

func (s *stubTap) Tap(_ context.Context, batch []traffic.Record) error {
	for i := range batch {
		if batch[i].Verdict == traffic.VerdictDrop {
			s.dropped.Add(1)
		}
	}
	s.given.Add(uint64(len(batch)))
	return nil
}

func (s *stubTap) Health(context.Context) error {
	return fmt.Errorf("given=%d dropped=%d", s.given.Load(), s.dropped.Load())
}

// stubCapture writes PACKETS packets in each of WORKERS workers, every second
// one to port 53; STAY in the environment keeps it from finishing. With MIX it
// writes that mix without an end.
type stubCapture struct{}

func (stubCapture) Workers() int { return number("WORKERS") }

func (stubCapture) Run(ctx context.Context, w *sdk.Writer) error {
	if mix := os.Getenv("MIX"); mix != "" {
		return writeMix(ctx, w, mix)
	}
	source := netip.MustParseAddr("198.51.100.1").As16()
	packets := number("PACKETS")
	for i := 0; i < packets && ctx.Err() == nil; {
		batch := w.Reserve(min(256, packets-i))
		for j := range batch {
			batch[j] = traffic.Record{
				Src: source, Dst: netip.AddrFrom4([4]byte{10, byte(w.Worker()), byte(i>>8) & 15, byte(i)}).As16(),
				Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, Sampling: 1, DstPort: 53 + uint16(i%2), Time: int64(i+1) * 1e5,
			}
			i++
		}
		w.Commit(len(batch), nil)
		if !w.Replay() && number("EVERY_US") > 0 {
			time.Sleep(time.Duration(number("EVERY_US")) * time.Microsecond)
		}
	}
	if os.Getenv("STAY") != "" {
		<-ctx.Done()
	}
	return nil
}

// stubFilter drops what goes to port 53, or to PORT, unless FAIL makes it
// fail.
type stubFilter struct{}

func (stubFilter) NewWorker() (sdk.Judge, error) {
	switch os.Getenv("FAIL") {
	case "worker":
		return nil, errors.New("no room for a worker")
	case "hang":
		select {}
	}
	return stubFilter{}, nil
}

func (stubFilter) Judge(batch []traffic.Record) error {
	if os.Getenv("EMPTY") != "" {
		return nil
	}
	for i := range batch {
		if int(batch[i].DstPort) == cmp.Or(number("PORT"), 53) {
			batch[i].Verdict = traffic.VerdictDrop
		}
	}
	return nil
}

func number(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

// stubs is a pipeline of stubs, with what a daemon gives it.
type stubs struct {
	t        testing.TB
	sys      *system
	wiring   *wiring
	captures []*capture
}

func newStubs(t testing.TB, live bool, filters ...*prepared) *stubs {
	t.Helper()
	dir, remove, err := temporaryRuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{MemoryLimit: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ours := netip.MustParsePrefix("10.0.0.0/8")
	if err := e.SetPlan(&engine.Plan{
		Revision: 1, Groups: []engine.Group{{ID: 1}}, Prefixes: []engine.Prefix{{Prefix: ours, Network: 1, Group: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	sys := &system{opt: Options{Config: &config.Config{}}, log: hclog.NewNullLogger(), runtimeDir: dir, names: newIDSets()}
	sys.plan.Store(&count.Plan{
		Revision: 1, Seed: 1, Groups: []count.Group{{ID: 1}}, Prefixes: []count.Prefix{{Prefix: ours, Network: 1, Group: 1}},
	})
	var clock func() int64
	if live {
		clock = count.Monotonic
	}
	sys.loop = newLoop(e, detect.New(e, detect.Config{}), sys.log, clock, func([]detect.Event) {})
	s := &stubs{t: t, sys: sys, wiring: newWiring(sys, filters)}
	t.Cleanup(func() {
		s.stop()
		e.Close()
		remove()
	})
	return s
}

// run drives the loop until the test ends.
func (s *stubs) run() {
	ctx, end := context.WithCancel(context.Background())
	go s.sys.loop.run(ctx)
	s.t.Cleanup(func() { s.stop(); end(); <-s.sys.loop.stopped })
}

// stub is a block whose program is the test binary.
func stub(kind, instance string, process config.Process, env ...string) *prepared {
	// A program built to find races would sleep for a second before it ends.
	process.Env = map[string]string{"STUB": kind, "GORACE": "atexit_sleep_ms=0"}
	for i := 0; i < len(env); i += 2 {
		process.Env[env[i]] = env[i+1]
	}
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return &prepared{
		cfg:   &config.Config{},
		block: &config.Plugin{Kind: kind, Name: "stub", Instance: instance, Value: cty.EmptyObjectVal, Process: process},
		found: plugin.Found{Kind: kind, Name: "stub", Path: program},
	}
}

func (s *stubs) capture(instance string, replay bool, env ...string) *capture {
	c := newCapture(s.sys, stub(host.KindCapture, instance, config.Process{Backoff: 10 * time.Millisecond, MaxBackoff: 20 * time.Millisecond}, env...), s.wiring, replay)
	s.captures = append(s.captures, c)
	return c
}

// startFilters starts them and waits until they run.
func (s *stubs) startFilters() {
	s.t.Helper()
	for _, f := range s.wiring.filters {
		f.inst.Start()
		s.await("the filter runs", func() bool { return f.inst.Status().State == plugin.Running })
	}
}

// stop stops captures, then filters, within the time that a daemon takes.
func (s *stubs) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var all sync.WaitGroup
	for _, c := range s.captures {
		all.Go(func() { c.inst.Stop(ctx) })
	}
	all.Wait()
	for _, f := range s.wiring.filters {
		all.Go(func() { f.inst.Stop(ctx) })
	}
	all.Wait()
}

func (s *stubs) await(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("it did not come to this: %s; captures %v", what, s.states())
		}
	}
}

func (s *stubs) states() (out []string) {
	for _, c := range s.captures {
		out = append(out, string(c.inst.Status().State)+": "+c.inst.Status().Message)
	}
	for _, f := range s.wiring.filters {
		out = append(out, string(f.inst.Status().State)+": "+f.inst.Status().Message)
	}
	return out
}

// finished waits until the captures have finished and returns their rows of
// the ledger and how many packets the engine has.
func (s *stubs) finished() ([]sdk.LedgerRow, uint64) {
	s.t.Helper()
	for _, c := range s.captures {
		s.await("the capture finished", func() bool { return c.inst.Status().State == plugin.Finished })
	}
	return s.counted()
}

func (s *stubs) counted() (rows []sdk.LedgerRow, packets uint64) {
	s.sys.loop.do(func() {
		rows = s.sys.loop.ledger(s.captures)
		for _, t := range s.sys.loop.engine.Totals() {
			packets += t.Packets[engine.CounterTotal]
		}
	})
	return rows, packets
}
