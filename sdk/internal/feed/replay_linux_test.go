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
