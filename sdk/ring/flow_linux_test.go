package ring

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// TestRecordReopened: a capture that starts again on the same ring goes on
// behind what was written.
func TestRecordReopened(t *testing.T) {
	r := newRecord(t, 8, 0, Stop)
	s := openStage(t, r, 0)
	r.commit(5)
	next(t, s, 5)
	s.Done(2)
	w, err := OpenRecord(r.File(), []OnFailure{Stop}, Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.w, r.n = w, 5
	if n := r.commit(9); n != 8 {
		t.Fatalf("%d records fit", n)
	}
	next(t, s, 8)
	s.Done(8)
	if got := verdicts(t, r, 5); len(got) != 8 {
		t.Fatalf("%d records judged", len(got))
	}
}

func TestTapIsLapped(t *testing.T) {
	r := newRecord(t, 16, 2)
	tap := openTap(t, r, 1)
	var from uint64
	for range 10 {
		n := r.commit(10)
		verdicts(t, r, from)
		from += uint64(n)
	}
	buf := make([]traffic.Record, 100)
	n, lost, err := tap.Next(buf)
	if err != nil || uint64(n)+lost != 100 || n == 0 || !isNumbered(&buf[0], lost) || !isNumbered(&buf[n-1], 99) {
		t.Fatalf("lapped tap: %d records, %d lost, %v", n, lost, err)
	}
	if tap.Lost() != lost || r.Stats().Taps[1].Lost != lost {
		t.Error("the loss is not counted")
	}
	for _, judged := range []uint64{0, 1 << 40} {
		bad := openTap(t, r, 0)
		r.h.judged.Store(judged)
		if n, _, err := bad.Next(buf); !errors.Is(err, ErrCorrupt) {
			t.Errorf("judged %d: %d records, %v", judged, n, err)
		}
		r.h.judged.Store(100)
	}
}

// TestRecordGoroutines runs a capture, two filters and a slow and a fast tap at
// once: every record is judged by both and counted once, in order.
func TestRecordGoroutines(t *testing.T) {
	r := newRecord(t, 256, 2, Stop, Stop)
	const total = 100_000
	var all sync.WaitGroup
	for i := range 2 {
		s := openStage(t, r, i)
		all.Go(func() {
			for seen := uint64(0); seen < total; {
				batch, err := s.Next(64)
				if err != nil {
					t.Error(err)
					return
				}
				for j := range batch {
					if !isNumbered(&batch[j], seen) {
						t.Errorf("filter %d: record %d reads %+v", i, seen, batch[j])
						return
					}
					batch[j].Class = 1 << i
					if seen%uint64(i+2) == 0 {
						batch[j].Verdict = drop
					}
					seen++
				}
				s.Done(len(batch))
				if len(batch) == 0 {
					if _, err := s.Wait(time.Second); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	taps := make([]*Tap, 2)
	for i := range taps {
		tap := openTap(t, r, i)
		taps[i] = tap
		all.Go(func() {
			buf := make([]traffic.Record, 32)
			for seen := uint64(0); seen < total; {
				n, lost, err := tap.Next(buf)
				if err != nil {
					t.Error(err)
					return
				}
				seen += lost
				for j := range n {
					if !isNumbered(&buf[j], seen) || buf[j].Class != 3 {
						t.Errorf("tap %d: record %d reads %+v", i, seen, buf[j])
						return
					}
					seen++
				}
				if i == 1 || n == 0 {
					if _, err := tap.Wait(time.Second); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for counted := uint64(0); counted < total; {
		r.commit(min(100, int(total-r.n)))
		recs := r.w.Judged(500)
		for i := range recs {
			want := none
			if counted%2 == 0 || counted%3 == 0 {
				want = drop
			}
			if !isNumbered(&recs[i], counted) || recs[i].Class != 3 || recs[i].Verdict != want {
				t.Fatalf("record %d reads %+v", counted, recs[i])
			}
			counted++
		}
		r.w.Advance(len(recs))
		if len(recs) == 0 {
			r.w.Wait(time.Second)
		}
	}
	all.Wait()
}

// judgeRole drops every record with an odd number, until it is killed.
func judgeRole(f *os.File) error {
	s, err := OpenStage(f, 0)
	if err != nil {
		return err
	}
	for {
		batch, err := s.Next(100)
		if err != nil {
			return err
		}
		for i := range batch {
			batch[i].Verdict = pass
			if batch[i].Packets%2 == 1 {
				batch[i].Verdict = drop
			}
		}
		s.Done(len(batch))
		if len(batch) == 0 {
			if _, err := s.Wait(time.Second); err != nil {
				return err
			}
		}
	}
}

// TestKilledFilter kills filters at random points while records flow: every
// record is counted once and in order, and none carries another's verdict.
func TestKilledFilter(t *testing.T) {
	r := newRecord(t, 1024, 0, Bypass)
	start := time.Now()
	r.w.now = func() time.Duration { return time.Since(start) }
	r.w.patience = 5 * time.Millisecond
	rng := rand.New(rand.NewPCG(5, 6))
	var counted, judged uint64
	for range 20 {
		cmd := startRole(t, "judge", r.File())
		// The filter lives until it has judged some, then records flow without it.
		until := judged + 1 + rng.Uint64N(20_000)
		for alive, rest := true, 3000; alive || rest > 0; {
			rest -= r.commit(200)
			recs := r.w.Judged(1000)
			for i := range recs {
				if !isNumbered(&recs[i], counted) {
					t.Fatalf("record %d reads %+v", counted, recs[i])
				}
				switch v := recs[i].Verdict; {
				case v == none:
				case (v == drop) != (counted%2 == 1) || v == failed:
					t.Fatalf("record %d carries verdict %d", counted, v)
				default:
					judged++
				}
				counted++
			}
			r.w.Advance(len(recs))
			if alive && judged >= until {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				alive, rest = false, 3000
			}
			if len(recs) == 0 {
				r.w.Wait(time.Second)
			}
		}
	}
	if st := r.w.Stage(0); st.Corrupt != nil || st.Overrun == 0 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d records, %d judged by 20 killed filters", counted, judged)
}

func BenchmarkRecordRing(b *testing.B) {
	r := newRecord(b, 1<<14, 0, Bypass)
	s := openStage(b, r, 0)
	b.ReportAllocs()
	var counted uint64
	for b.Loop() {
		view := r.w.Reserve(1)
		view[0] = numbered(r.n)
		r.n++
		r.w.Commit(1)
		if r.n%256 != 0 {
			continue
		}
		batch, err := s.Next(256)
		if err != nil || len(batch) != 256 {
			b.Fatal(len(batch), err)
		}
		for i := range batch {
			batch[i].Verdict = pass
		}
		s.Done(256)
		recs := r.w.Judged(256)
		for i := range recs {
			if recs[i].Packets != counted || recs[i].Verdict != pass {
				b.Fatalf("record %d reads %+v", counted, recs[i])
			}
			counted++
		}
		r.w.Advance(len(recs))
	}
}
