package feed

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// replay runs a recording through a ring and returns what the core reads.
func replay(t *testing.T, capacity int, slow bool, times []int64) []ring.Delta {
	t.Helper()
	rt := New(func(_ context.Context, w *Writer) error {
		if !w.Replay() {
			return errors.New("not a replay")
		}
		write(w, len(times), func(i int) traffic.Record { return packet(i%300, times[i]) })
		return nil
	}, Options{Replay: true})
	w, r := rings(t, capacity, slow)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	got := r.wait(t)
	<-rt.Done()
	if s := rt.Status(); s.State != Finished || s.Workers[0].Counted != uint64(len(times)) || s.Workers[0].Short != 0 {
		t.Errorf("status %+v", s)
	}
	return got
}

func TestReplayIsDeterministic(t *testing.T) {
	var times []int64
	for i := range 20000 {
		at := int64(1700000000e9) + int64(i)*137e3
		if i%50 == 0 {
			at -= 60e6 // out of order: clamped
		}
		times = append(times, at)
	}
	fast := replay(t, 1<<15, false, times)
	slow := replay(t, 16, true, times)
	if !slices.Equal(fast, slow) {
		t.Errorf("a slow reader gets other deltas: %d and %d", len(fast), len(slow))
	}
	if n := hostPackets(fast); n != uint64(len(times)) {
		t.Errorf("%d packets of %d", n, len(times))
	}
}

// However the records come in batches, which with filters is a matter of
// timing, the deltas are the same, new flows included.
func TestReplayCutsDecideNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	recs := make([]traffic.Record, 30000)
	at := int64(1700000000e9)
	for i := range recs {
		at += rng.Int64N(300e3)
		recs[i] = packet(i%40, at-rng.Int64N(2e6))
		recs[i].SrcPort = uint16(rng.IntN(60)) // seen again after about as long as a flow's epoch
	}
	run := func(most int) []ring.Delta {
		cuts := rand.New(rand.NewPCG(3, uint64(most)))
		rt := New(func(_ context.Context, w *Writer) error {
			for left := recs; len(left) > 0; {
				batch := w.Reserve(1 + cuts.IntN(most))
				n := copy(batch, left)
				left = left[n:]
				w.Commit(n, nil)
			}
			return nil
		}, Options{Replay: true})
		w, r := rings(t, 1<<15, false)
		p := plan(1, 1)
		p.CountFlows = true
		start(t, rt, p, WorkerRings{Delta: w})
		return r.wait(t)
	}
	want := run(1)
	flows := 0
	for i := range want {
		flows += int(want[i].Flows)
	}
	if flows < len(recs)/10 || flows > len(recs)*9/10 {
		t.Fatalf("%d new flows of %d records: the input does not tell", flows, len(recs))
	}
	for _, most := range []int{2, 7, 64, 512} {
		if got := run(most); !slices.Equal(got, want) {
			t.Errorf("batches of up to %d records give other deltas", most)
		}
	}
}

func TestReplayBoundaries(t *testing.T) {
	const ms, origin = int64(1e6), int64(1700000000e9)
	deltas := replay(t, 1024, false, []int64{
		origin + 10*ms, origin + 49*ms, origin + 50*ms, // the last is in the second window
		origin + 10050*ms, // after ten silent seconds
	})
	type window struct {
		end    int64
		deltas uint32
		last   bool
	}
	var got []window
	for i := range deltas {
		if d := &deltas[i]; d.Kind == ring.KindFlush {
			f := d.AsFlush()
			got = append(got, window{(f.WindowEnd - origin) / ms, f.Deltas, f.Flags == ring.FlushFinished})
			if f.LagNanos != 0 || f.Generation != 7 {
				t.Errorf("flush %+v", f)
			}
		} else if d.SpanMs != 50 {
			t.Errorf("span %d", d.SpanMs)
		}
	}
	want := []window{{50, 2, false}, {100, 1, false}, {10050, 0, false}, {10100, 1, true}}
	if !slices.Equal(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
}

func TestReplayRefusesNewRings(t *testing.T) {
	rt := New(func(ctx context.Context, _ *Writer) error { <-ctx.Done(); return nil }, Options{Replay: true})
	w, _ := rings(t, 64, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	other, _ := rings(t, 64, false)
	defer other.Close()
	if err := rt.Attach([]WorkerRings{{Delta: other}}); !errors.Is(err, errReplaced) {
		t.Errorf("got %v", err)
	}
}

// A recording's flow records count on where no record follows for long, and
// after the last one: its totals are whole, and no window is missing.
func TestReplayOfFlows(t *testing.T) {
	const origin = int64(1700000000e9)
	recs := []traffic.Record{packet(1, origin), packet(2, origin+3e9), packet(3, origin+500e9), packet(1, origin+501e9)}
	for i, v := range []uint64{60000, 1, 7, 500} {
		recs[i].Packets, recs[i].Bytes = v, v*100
	}
	recs[0].DurationMs, recs[3].DurationMs = 60000, 5000
	for i := range recs {
		recs[i].Marks |= traffic.MarkFlow
		recs[i].Spread = 60
	}
	run := func(most int) []ring.Delta {
		rt := New(func(_ context.Context, w *Writer) error {
			for left := recs; len(left) > 0; {
				batch := w.Reserve(most)
				n := copy(batch, left)
				left = left[n:]
				w.Commit(n, nil)
			}
			return nil
		}, Options{Replay: true})
		w, r := rings(t, 1<<15, false)
		start(t, rt, plan(1, 1), WorkerRings{Delta: w})
		return r.wait(t)
	}
	got := run(1)
	if !slices.Equal(got, run(4)) {
		t.Error("other batches give other deltas")
	}
	var packets, most uint64
	var last *ring.Flush
	windows := 0
	for i := range got {
		d := &got[i]
		if d.Kind == ring.KindFlush {
			f := d.AsFlush()
			if last != nil && last.WindowEnd < origin+60e9 && f.WindowEnd != last.WindowEnd+tick {
				t.Fatalf("a window ends at %d after %d", f.WindowEnd, last.WindowEnd)
			}
			last = f
			windows++
			continue
		}
		packets += d.Packets
		if d.Kind == ring.KindHost {
			most = max(most, d.Packets)
		}
	}
	if packets != 60000+1+7+500 || most > 251 {
		t.Errorf("%d packets, %d in one delta", packets, most)
	}
	if last.Flags != ring.FlushFinished || last.Counted != 4 || last.WindowEnd < origin+506e9 || last.WindowEnd > origin+507e9 || windows > 1500 {
		t.Errorf("%d windows, the last one %+v", windows, last)
	}
}

// A live capture that ends does not wait for what still counts, and says so.
func TestEndOfFlows(t *testing.T) {
	rt := New(func(_ context.Context, w *Writer) error {
		write(w, 2, func(i int) traffic.Record {
			r := packet(i, 0)
			r.Packets, r.DurationMs, r.Spread, r.Marks = 1e6, 60000, 60, traffic.MarkFlow
			return r
		})
		return nil
	}, Options{})
	w, r := rings(t, 1024, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	got := r.wait(t)
	<-rt.Done()
	var last *ring.Flush
	for i := range got {
		if got[i].Kind == ring.KindFlush {
			last = got[i].AsFlush()
		}
	}
	if last == nil || last.Flags != ring.FlushFinished || last.Received != 2 || last.Counted != 2 || last.Held != 0 {
		t.Errorf("%+v", last)
	}
	if l := rt.Status().Workers[0]; l.Received != l.Counted || l.Dirty != 0 {
		t.Errorf("%+v", l)
	}
}
