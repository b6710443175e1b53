package feed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// reader is the core's end of a worker: it reads until the last flush.
type reader struct {
	mu     sync.Mutex
	deltas []ring.Delta
	open   int  // deltas announced and not yet read
	last   bool // the flush says that it is
	ended  chan struct{}
	once   sync.Once
}

func newReader() *reader { return &reader{ended: make(chan struct{})} }

func (r *reader) take(t *testing.T, batch []ring.Delta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range batch {
		if err := batch[i].Check(); err != nil {
			t.Errorf("%v: %+v", err, batch[i])
		}
		if batch[i].Kind == ring.KindFlush {
			if r.open != 0 {
				t.Errorf("%d deltas of a flush are missing", r.open)
			}
			f := batch[i].AsFlush()
			r.open = int(f.Deltas)
			r.last = f.Flags&ring.FlushFinished != 0
		} else {
			r.open--
		}
		r.deltas = append(r.deltas, batch[i])
		if r.last && r.open == 0 {
			r.once.Do(func() { close(r.ended) })
		}
	}
}

// rings makes a delta ring and reads it until the test ends.
func rings(t *testing.T, capacity int, slow bool) (*ring.DeltaWriter, *reader) {
	t.Helper()
	core, err := ring.CreateDelta("test", capacity, 7)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ring.OpenDelta(core.File())
	if err != nil {
		t.Fatal(err)
	}
	r, stop, done := newReader(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]ring.Delta, 64)
		for {
			n, err := core.Read(buf)
			if err != nil {
				t.Error(err)
				return
			}
			r.take(t, buf[:n])
			if n == 0 {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := core.Wait(5 * time.Millisecond); err != nil {
					t.Error(err)
					return
				}
			}
			if slow {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		if err := core.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, r
}

func (r *reader) wait(t *testing.T) []ring.Delta {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("no flush says that the input has finished")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.deltas)
}

// hostPackets sums the packets of host deltas.
func hostPackets(deltas []ring.Delta) (n uint64) {
	for i := range deltas {
		if deltas[i].Kind == ring.KindHost {
			n += deltas[i].Packets
		}
	}
	return n
}

func plan(revision uint64, network uint32) *count.Plan {
	return &count.Plan{
		Revision: revision, Seed: 5, MaxRows: 4096,
		Prefixes: []count.Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: network}},
	}
}

func packet(i int, at int64) traffic.Record {
	return traffic.Record{
		Packets: 1, Bytes: 100, Sampling: 1, Protocol: 17, Time: at,
		Src: netip.MustParseAddr("8.8.8.8").As16(),
		Dst: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).As16(),
	}
}

// write commits n records through w, batch by batch.
func write(w *Writer, n int, make func(i int) traffic.Record) {
	for i := 0; i < n; {
		batch := w.Reserve(min(n-i, 100))
		for j := range batch {
			batch[j] = make(i)
			i++
		}
		w.Commit(len(batch), nil)
	}
}

func start(t *testing.T, rt *Runtime, p *count.Plan, workers ...WorkerRings) {
	t.Helper()
	if err := rt.ApplyPlan(p); err != nil {
		t.Fatal(err)
	}
	if workers != nil {
		if err := rt.Attach(workers); err != nil {
			t.Fatal(err)
		}
	}
	if err := rt.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestPlansUnderLoad changes the plan all the time: every delta must carry
// the ids of the revision that its flush names, and nothing may get lost.
func TestPlansUnderLoad(t *testing.T) {
	const total, revisions = 200000, 6
	var changed atomic.Bool
	rt := New(func(_ context.Context, w *Writer) error {
		n := 0
		for ; n < total || !changed.Load(); n += 100 {
			write(w, 100, func(i int) traffic.Record { return packet(n%7000+i, 0) })
		}
		w.Dropped(0, uint64(n))
		return nil
	}, Options{Causes: []string{"sum"}})
	w, r := rings(t, 4096, true)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	for rev := uint64(2); rev <= revisions; rev++ {
		if err := rt.ApplyPlan(plan(rev, uint32(rev))); err != nil {
			t.Fatal(err)
		}
		for settled := false; !settled; time.Sleep(time.Millisecond) {
			wr := rt.writers[0]
			wr.mu.Lock()
			settled = wr.plan == nil
			wr.mu.Unlock()
		}
	}
	changed.Store(true)
	deltas := r.wait(t)
	<-rt.Done()
	var revision, last, lost uint64
	for i := range deltas {
		switch d := &deltas[i]; d.Kind {
		case ring.KindFlush:
			if revision = d.AsFlush().Revision; revision < last {
				t.Fatalf("revision %d after %d", revision, last)
			}
			last = revision
		case ring.KindHost, ring.KindPrefix:
			if uint64(d.Network) != revision {
				t.Fatalf("network %d under revision %d", d.Network, revision)
			}
		case ring.KindLoss:
			lost += d.Packets
		}
	}
	var got uint64
	for i := range deltas {
		if k := deltas[i].Kind; k == ring.KindHost || k == ring.KindPrefix {
			got += deltas[i].Packets
		}
	}
	if got != lost || last != revisions {
		t.Errorf("%d packets of %d came through, last revision %d", got, lost, last)
	}
}

// TestIdleFlushes: the engine learns an idle ring's time from empty flushes.
func TestIdleFlushes(t *testing.T) {
	rt := New(func(ctx context.Context, _ *Writer) error { <-ctx.Done(); return ctx.Err() }, Options{})
	w, r := rings(t, 1024, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	var ends []int64
	for len(ends) < 4 {
		time.Sleep(10 * time.Millisecond)
		ends = ends[:0]
		r.mu.Lock()
		for i := range r.deltas {
			ends = append(ends, r.deltas[i].AsFlush().WindowEnd)
		}
		r.mu.Unlock()
	}
	for i := range ends[1:] {
		if ends[i+1] <= ends[i] || ends[i]%tick != 0 {
			t.Errorf("window ends %v", ends)
		}
	}
	if late := count.Monotonic() - ends[0]; late < 0 || late > int64(time.Minute) {
		t.Errorf("the first window ended %v ago", time.Duration(late))
	}
	if err := rt.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if s := rt.Status(); s.State != Stopped || s.Err != nil {
		t.Errorf("status %+v", s)
	}
}

// TestNewRings swaps a live capture's rings; both together have everything.
func TestNewRings(t *testing.T) {
	const total = 50000
	swapped := make(chan struct{})
	half := make(chan struct{})
	rt := New(func(_ context.Context, w *Writer) error {
		write(w, total/2, func(i int) traffic.Record { return packet(i%900, 0) })
		close(half)
		<-swapped
		write(w, total/2, func(i int) traffic.Record { return packet(i%900, 0) })
		return nil
	}, Options{})
	w1, r1 := rings(t, 8192, false)
	w2, r2 := rings(t, 8192, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w1})
	<-half
	if err := rt.Attach([]WorkerRings{{Delta: w2}}); err != nil {
		t.Fatal(err)
	}
	close(swapped)
	second := r2.wait(t)
	r1.mu.Lock()
	defer r1.mu.Unlock()
	if n := hostPackets(r1.deltas) + hostPackets(second); n != total {
		t.Errorf("%d packets of %d", n, total)
	}
}

func TestFailuresAndPanics(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(context.Context, *Writer) error
		want string
	}{
		{"error", func(context.Context, *Writer) error { return errors.New("socket gone") }, "socket gone"},
		{"panic", func(context.Context, *Writer) error { panic("boom") }, "capture worker 0 panicked: boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			rt := New(c.run, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
			w, r := rings(t, 64, false)
			start(t, rt, plan(1, 1), WorkerRings{Delta: w})
			<-rt.Done()
			s := rt.Status()
			if s.State != Failed || s.Err == nil || s.Err.Error() != c.want {
				t.Errorf("status %+v", s)
			}
			if c.name == "panic" && !strings.Contains(log.String(), "TestFailuresAndPanics") {
				t.Errorf("no stack in the log: %s", log.String())
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for i := range r.deltas {
				if f := r.deltas[i].AsFlush(); f.Kind == ring.KindFlush && f.Flags != 0 {
					t.Error("a failed capture says that its input has ended")
				}
			}
		})
	}
}

func TestStopIsBounded(t *testing.T) {
	hang := make(chan struct{})
	rt := New(func(context.Context, *Writer) error { <-hang; return nil }, Options{})
	w, _ := rings(t, 64, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := rt.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(hang)
}

func TestStartNeedsPlan(t *testing.T) {
	rt := New(nil, Options{})
	if err := rt.Start(t.Context()); err == nil {
		t.Error("started without a plan")
	}
	if err := rt.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDroppedByCause(t *testing.T) {
	rt := New(func(_ context.Context, w *Writer) error {
		w.Dropped(1, 3)
		w.Dropped(99, 1)
		w.Dropped(-1, 1)
		write(w, 5, func(i int) traffic.Record { return packet(i, 0) })
		return nil
	}, Options{Causes: []string{"a", "b"}})
	w, r := rings(t, 64, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	r.wait(t)
	<-rt.Done()
	l := rt.Status().Workers[0]
	if fmt.Sprint(l.Dropped) != "map[b:3 undeclared:2]" || l.Received != 10 || l.Counted != 5 {
		t.Errorf("ledger %+v", l)
	}
}

func TestStream(t *testing.T) {
	for _, mode := range []bool{false, true} {
		t.Run(fmt.Sprintf("replay=%v", mode), func(t *testing.T) {
			const total = 100000
			rt := New(func(_ context.Context, w *Writer) error {
				write(w, total, func(i int) traffic.Record { return packet(i%5000, int64(i)*1e6) })
				return nil
			}, Options{Replay: mode})
			start(t, rt, plan(1, 1))
			r := newReader()
			err := rt.Stream(t.Context(), 0, 3, func(b []byte) error {
				deltas, err := ring.DecodeDeltas(b, nil)
				r.take(t, deltas)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			var n uint64
			for _, d := range r.wait(t) {
				if d.Kind == ring.KindHost || d.Kind == ring.KindPrefix {
					n += d.Packets
				}
			}
			if n != total {
				t.Errorf("%d packets of %d", n, total)
			}
		})
	}
	rt := New(nil, Options{})
	if err := rt.Stream(t.Context(), 1, 0, nil); err == nil {
		t.Error("streams a worker that does not exist")
	}
}
