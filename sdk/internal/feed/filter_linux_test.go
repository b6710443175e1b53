package feed

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// filtered makes a record ring with one filter that drops every third host.
// A filter without a judge never comes.
func filtered(t *testing.T, capacity int, mode ring.OnFailure, patience time.Duration, judge bool) *ring.RecordWriter {
	t.Helper()
	core, err := ring.CreateRecord("test", capacity, 1, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ring.OpenRecord(core.File(), []ring.OnFailure{mode}, patience)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	stage, err := ring.OpenStage(core.File(), 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for judge {
			batch, err := stage.Next(64)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range batch {
				if batch[i].Dst[15]%3 == 0 {
					batch[i].Verdict = traffic.VerdictDrop
				}
			}
			stage.Done(len(batch))
			select {
			case <-stop:
				return
			default:
			}
			if len(batch) == 0 {
				if _, err := stage.Wait(5 * time.Millisecond); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		for _, c := range []interface{ Close() error }{stage, core} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func TestFilteredReplay(t *testing.T) {
	const total = 30000
	rt := New(func(_ context.Context, w *Writer) error {
		write(w, total, func(i int) traffic.Record { return packet(i%30, int64(1e18)+int64(i)*1e5) })
		return nil
	}, Options{Replay: true})
	delta, r := rings(t, 64, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: delta, Record: filtered(t, 256, ring.Drop, 0, true)})
	deltas := r.wait(t)
	<-rt.Done()
	if n := hostPackets(deltas); n != total/3*2 {
		t.Errorf("%d packets counted, want %d", n, total/3*2)
	}
	l := rt.Status().Workers[0]
	if l.Received != total || l.Counted != total/3*2 || fmt.Sprint(l.Dropped) != "map[filtered:10000]" || l.InFlight != 0 {
		t.Errorf("ledger %+v", l)
	}
	var lost uint64
	for i := range deltas {
		if deltas[i].Kind == ring.KindLoss {
			lost += deltas[i].Packets
		}
	}
	if lost != total/3 {
		t.Errorf("losses told: %d", lost)
	}
}

// TestFilterNeverComes: live, what a filter does not judge in time follows
// on_failure, and a full ring is ledgered; nothing blocks.
func TestFilterNeverComes(t *testing.T) {
	const total = 1000
	for _, c := range []struct {
		mode    ring.OnFailure
		counted uint64
	}{{ring.Bypass, total}, {ring.Drop, 0}, {ring.Stop, 0}} {
		t.Run(fmt.Sprint(c.mode), func(t *testing.T) {
			rt := New(func(_ context.Context, w *Writer) error {
				write(w, total, func(i int) traffic.Record { return packet(i%30, 0) })
				return nil
			}, Options{})
			delta, r := rings(t, 4096, false)
			record := filtered(t, 256, c.mode, 20*time.Millisecond, false)
			start(t, rt, plan(1, 1), WorkerRings{Delta: delta, Record: record})
			deltas := r.wait(t)
			<-rt.Done()
			l := rt.Status().Workers[0]
			var dropped uint64
			for _, n := range l.Dropped {
				dropped += n
			}
			if l.Received != total || l.Counted+dropped+l.InFlight != total {
				t.Errorf("the ledger does not add up: %+v", l)
			}
			if hostPackets(deltas) != l.Counted || l.Counted > c.counted {
				t.Errorf("%d packets in deltas, ledger %+v", hostPackets(deltas), l)
			}
			if c.mode == ring.Bypass && l.Counted == 0 || c.mode == ring.Drop && l.Dropped["filter_failed"] == 0 ||
				c.mode == ring.Stop && l.Dropped["record_ring_full"] == 0 {
				t.Errorf("ledger %+v", l)
			}
		})
	}
}

func TestRecordRingReplaced(t *testing.T) {
	const total = 6000
	ready, swapped := make(chan struct{}), make(chan struct{})
	rt := New(func(_ context.Context, w *Writer) error {
		write(w, total/2, func(i int) traffic.Record { return packet(1, 0) })
		batch := w.Reserve(1) // lies in the old ring
		batch[0] = packet(1, 0)
		close(ready)
		<-swapped
		w.Commit(1, nil)
		write(w, total/2-1, func(i int) traffic.Record { return packet(1, 0) })
		return nil
	}, Options{})
	delta, r := rings(t, 4096, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: delta, Record: filtered(t, 8192, ring.Bypass, time.Second, true)})
	<-ready
	next, last := rings(t, 4096, false)
	if err := rt.Attach([]WorkerRings{{Delta: next}}); err != nil {
		t.Fatal(err)
	}
	close(swapped)
	n := hostPackets(last.wait(t))
	<-rt.Done()
	r.mu.Lock()
	n += hostPackets(r.deltas)
	r.mu.Unlock()
	l := rt.Status().Workers[0]
	if n != l.Counted || l.Counted+l.Dropped["record_ring_replaced"] != total || l.InFlight != 0 {
		t.Errorf("%d packets in deltas, ledger %+v", n, l)
	}
}

// TestFilterStops: what waited for a filter that was stopped counts in a
// moment; the flush says for how long it waited.
func TestFilterStops(t *testing.T) {
	core, err := ring.CreateRecord("test", 256, 1, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	record, err := ring.OpenRecord(core.File(), []ring.OnFailure{ring.Stop}, 0)
	if err != nil {
		t.Fatal(err)
	}
	stage, err := ring.OpenStage(core.File(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stage.Close(); _ = core.Close() })
	const stopped = 3 * time.Second
	var ahead atomic.Int64
	written, judged := make(chan struct{}), make(chan struct{})
	rt := New(func(_ context.Context, w *Writer) error {
		for range 2 {
			batch := w.Reserve(1)
			batch[0] = packet(1, 0)
			w.Commit(1, nil)
			written <- struct{}{}
			<-judged
		}
		return nil
	}, Options{})
	rt.clock = func() int64 { return count.Monotonic() + ahead.Load() }
	delta, r := rings(t, 4096, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: delta, Record: record})
	for _, wait := range []time.Duration{stopped, 0} {
		<-written
		before := r.packets()
		ahead.Add(int64(wait))
		for n := 0; n == 0; {
			batch, err := stage.Next(1)
			if err != nil {
				t.Fatal(err)
			}
			n = len(batch)
			stage.Done(n)
		}
		// The next flush is the one that has it.
		for wait > 0 && r.packets() == before {
			time.Sleep(time.Millisecond)
		}
		judged <- struct{}{}
	}
	deltas := r.wait(t)
	<-rt.Done()
	var lags []time.Duration
	for i := range deltas {
		if f := deltas[i].AsFlush(); f.Kind == ring.KindFlush && f.Deltas > 0 {
			lags = append(lags, time.Duration(f.LagNanos))
		}
	}
	if len(lags) != 2 || lags[0] < stopped || lags[1] >= stopped {
		t.Errorf("the flushes with records say that they waited %v", lags)
	}
}

func (r *reader) packets() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hostPackets(r.deltas)
}

// TestRecordRingsChange: filters come and go without a loss, and without a new
// delta ring.
func TestRecordRingsChange(t *testing.T) {
	const total, changes = 12000, 6
	next, changed := make(chan struct{}), make(chan struct{})
	rt := New(func(_ context.Context, w *Writer) error {
		for i := range total {
			if i%(total/changes) == total/changes/2 {
				next <- struct{}{}
				<-changed
			}
			write(w, 1, func(int) traffic.Record { return packet(i%30, 0) })
		}
		return nil
	}, Options{})
	delta, r := rings(t, 1<<14, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: delta})
	for i := range changes {
		<-next
		var record *ring.RecordWriter
		if i%2 == 0 {
			record = filtered(t, 8192, ring.Stop, 0, true)
		}
		if err := rt.AttachRecords([]WorkerRings{{Record: record}}); err != nil {
			t.Fatal(err)
		}
		changed <- struct{}{}
	}
	deltas := r.wait(t)
	<-rt.Done()
	l := rt.Status().Workers[0]
	if l.Received != total || l.Counted+l.Dropped["filtered"] != total || l.Dropped["filtered"] != total/6 || hostPackets(deltas) != l.Counted {
		t.Errorf("%d packets in deltas, ledger %+v", hostPackets(deltas), l)
	}
}
