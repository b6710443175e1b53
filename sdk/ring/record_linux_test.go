package ring

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// recordRing is a record ring with its capture and a clock that tests move.
type recordRing struct {
	*RecordRing
	w     *RecordWriter
	clock time.Duration
	n     uint64 // committed
}

func newRecord(tb testing.TB, capacity, taps int, onFailure ...OnFailure) *recordRing {
	tb.Helper()
	r, err := CreateRecord("test", capacity, len(onFailure), taps, 3)
	if err != nil {
		tb.Fatal(err)
	}
	w, err := OpenRecord(r.File(), onFailure, Patience)
	if err != nil {
		tb.Fatal(err)
	}
	t := &recordRing{RecordRing: r, w: w}
	w.now = func() time.Duration { return t.clock }
	tb.Cleanup(func() { _ = w.Close(); _ = r.Close() })
	return t
}

// commit writes up to n numbered records.
func (r *recordRing) commit(n int) int {
	done := 0
	for done < n {
		view := r.w.Reserve(n - done)
		if len(view) == 0 {
			break
		}
		for i := range view {
			view[i] = numbered(r.n)
			r.n++
		}
		r.w.Commit(len(view))
		done += len(view)
	}
	return done
}

func numbered(n uint64) traffic.Record {
	return traffic.Record{
		Packets: n, Bytes: ^n, Time: int64(n), Class: 1 << 63, ICMPType: uint8(n), ICMPCode: uint8(n >> 8),
		Verdict: traffic.VerdictDrop, // what a capture leaves there counts for nothing
	}
}

func isNumbered(r *traffic.Record, n uint64) bool {
	return r.Packets == n && r.Bytes == ^n && r.Time == int64(n) && r.ICMPType == uint8(n) && r.ICMPCode == uint8(n>>8)
}

func openStage(tb testing.TB, r *recordRing, i int) *Stage {
	tb.Helper()
	s, err := OpenStage(r.File(), i)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func openTap(tb testing.TB, r *recordRing, i int) *Tap {
	tb.Helper()
	tap, err := OpenTap(r.File(), i)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tap.Close() })
	return tap
}

// next takes a batch from a stage that must have n records.
func next(t *testing.T, s *Stage, n int) []traffic.Record {
	t.Helper()
	batch, err := s.Next(n + 1)
	if err != nil || len(batch) != n {
		t.Fatalf("Next = %d records, %v; want %d", len(batch), err, n)
	}
	return batch
}

// verdicts takes back what has been judged.
func verdicts(t *testing.T, r *recordRing, from uint64) []traffic.Verdict {
	t.Helper()
	var out []traffic.Verdict
	recs := r.w.Judged(1000)
	for i := range recs {
		if !isNumbered(&recs[i], from+uint64(i)) {
			t.Fatalf("record %d reads %+v", from+uint64(i), recs[i])
		}
		out = append(out, recs[i].Verdict)
	}
	r.w.Advance(len(recs))
	return out
}

func wantVerdicts(t *testing.T, got []traffic.Verdict, want ...traffic.Verdict) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("verdicts %v, want %v", got, want)
	}
}

const (
	none   = traffic.VerdictNone
	pass   = traffic.VerdictPass
	drop   = traffic.VerdictDrop
	failed = VerdictFailed
)

func TestRecordStagesInOrder(t *testing.T) {
	r := newRecord(t, 8, 1, Bypass, Drop)
	first, second, tap := openStage(t, r, 0), openStage(t, r, 1), openTap(t, r, 0)
	if n := r.commit(9); n != 8 {
		t.Fatalf("%d records fit into a ring of 8", n)
	}
	if got, _ := second.Next(8); len(got) != 0 {
		t.Fatalf("the second filter saw %d records before the first", len(got))
	}
	batch := next(t, first, 8)
	batch = batch[:4]
	batch[0].Verdict, batch[1].Verdict, batch[2].Verdict, batch[3].Verdict = pass, drop, drop, 77
	batch[0].Class = 1
	batch[3].Packets = 1 << 40 // filters judge, they do not count
	first.Done(4)
	if got := r.w.Judged(8); len(got) != 0 {
		t.Fatalf("%d records counted behind one filter of two", len(got))
	}
	batch = next(t, second, 4)
	if batch[0].Verdict != pass || batch[1].Verdict != drop || batch[0].Class != 1 {
		t.Fatalf("the second filter does not see what the first wrote: %+v", batch[:2])
	}
	for i := range batch {
		batch[i].Verdict, batch[i].Class = pass, 2
	}
	second.Done(4)
	recs := r.w.Judged(2)
	if len(recs) != 2 || recs[0].Class != 3 || recs[1].Class != 2 {
		t.Fatalf("classes do not unite: %+v", recs)
	}
	wantVerdicts(t, verdicts(t, r, 0), pass, drop, drop, pass)
	buf := make([]traffic.Record, 8)
	if n, lost, err := tap.Next(buf); n != 4 || lost != 0 || err != nil || !isNumbered(&buf[3], 3) || buf[1].Verdict != drop {
		t.Fatalf("tap: %d records, %d lost, %v", n, lost, err)
	}
	if n := r.commit(9); n != 4 {
		t.Fatalf("%d records fit after 4 were freed", n)
	}
	if s := r.Stats(); s.Head != 12 || s.Judged != 4 || s.Stages[0] != 4 || s.Taps[0].Cursor != 4 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestRecordWithoutFilters(t *testing.T) {
	r := newRecord(t, 8, 0)
	for from := uint64(0); from < 80; from += 5 {
		if n := r.commit(5); n != 5 {
			t.Fatalf("%d of 5 fit", n)
		}
		wantVerdicts(t, verdicts(t, r, from), none, none, none, none, none)
	}
}

func TestSilentStage(t *testing.T) {
	for _, c := range []struct {
		mode OnFailure
		want []traffic.Verdict
	}{
		{Bypass, []traffic.Verdict{none, none, none}},
		{Drop, []traffic.Verdict{failed, failed, failed}},
		{Stop, nil},
	} {
		t.Run(fmt.Sprint(c.mode), func(t *testing.T) {
			r := newRecord(t, 8, 0, c.mode)
			s := openStage(t, r, 0)
			r.commit(3)
			wantVerdicts(t, verdicts(t, r, 0))
			r.clock = Patience - time.Millisecond
			wantVerdicts(t, verdicts(t, r, 0))
			r.clock = Patience * 11 / 10
			wantVerdicts(t, verdicts(t, r, 0), c.want...)
			if c.mode == Stop {
				next(t, s, 3)
				s.Done(3)
				wantVerdicts(t, verdicts(t, r, 0), none, none, none)
				return
			}
			// While it is silent nothing waits for it; when it is back it gates again.
			r.commit(2)
			wantVerdicts(t, verdicts(t, r, 3), c.want[:2]...)
			next(t, s, 0)
			if s.PassedOver() != 5 || r.w.Stage(0).Overrun != 5 {
				t.Errorf("passed over %d by its own count, %+v by the capture's", s.PassedOver(), r.w.Stage(0))
			}
			r.commit(2)
			wantVerdicts(t, verdicts(t, r, 5))
			next(t, s, 2)[0].Verdict = drop
			s.Done(2)
			wantVerdicts(t, verdicts(t, r, 5), drop, none)
		})
	}
}

// TestSlowStageIsNotSilent: the patience is for each record, not for the ring.
func TestSlowStageIsNotSilent(t *testing.T) {
	r := newRecord(t, 256, 0, Bypass)
	s := openStage(t, r, 0)
	for range 200 {
		r.commit(1)
		r.w.Judged(0)
		r.clock += time.Millisecond
		if r.n > 90 { // lags by 90 ms
			next(t, s, int(r.n-s.pos))[0].Verdict = drop
			s.Done(1)
		}
	}
	if st := r.w.Stage(0); st.Overrun != 0 || st.Detached || st.Passed == 0 {
		t.Errorf("a filter that lags by 90 ms: %+v", st)
	}
}

// TestLateVerdict: a filter that was passed over in the middle of a batch
// writes on no other record.
func TestLateVerdict(t *testing.T) {
	r := newRecord(t, 4, 0, Bypass)
	s := openStage(t, r, 0)
	r.commit(4)
	batch := next(t, s, 4)
	for i := range batch {
		batch[i].Verdict, batch[i].Class = drop, 1
	}
	r.w.Judged(0)
	r.clock = 2 * Patience
	wantVerdicts(t, verdicts(t, r, 0), none, none, none, none)
	r.commit(3)
	s.Done(4)
	// It has caught up by this, so the next records are its own to judge.
	wantVerdicts(t, verdicts(t, r, 4))
	for i, rec := range next(t, s, 3) {
		if !isNumbered(&rec, uint64(4+i)) || rec.Class != 0 || rec.Verdict != none {
			t.Errorf("record %d got what was meant for another: %+v", 4+i, rec)
		}
	}
	s.Done(3)
	wantVerdicts(t, verdicts(t, r, 4), none, none, none)
}

func TestReplayWaitsForFilters(t *testing.T) {
	r, err := CreateRecord("replay", 8, 1, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := OpenRecord(r.File(), []OnFailure{Drop}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	rr := &recordRing{RecordRing: r, w: w}
	rr.commit(8)
	if w.Wait(5*time.Millisecond) || w.Reserve(1) != nil || w.InFlight() != 8 {
		t.Error("replay did not wait for its filter")
	}
	s := openStage(t, rr, 0)
	next(t, s, 8)
	s.Done(8)
	if !w.Wait(time.Second) {
		t.Error("nothing judged")
	}
}

func TestHostileStageCursor(t *testing.T) {
	for _, c := range []struct {
		name   string
		cursor uint64
	}{{"beyond head", 9}, {"huge", 1<<64 - 1}, {"backwards", 1}} {
		for _, mode := range []OnFailure{Bypass, Drop, Stop} {
			t.Run(fmt.Sprint(c.name, mode), func(t *testing.T) {
				r := newRecord(t, 8, 0, mode, Stop)
				bad, good := openStage(t, r, 0), openStage(t, r, 1)
				r.commit(8)
				next(t, bad, 8)
				bad.Done(2)
				next(t, good, 2)
				good.Done(2)
				wantVerdicts(t, verdicts(t, r, 0), none, none)
				bad.own.cursor.Store(c.cursor)
				r.w.Judged(0)
				if err := r.w.Stage(0).Corrupt; !errors.Is(err, ErrCorrupt) {
					t.Fatalf("Corrupt = %v", err)
				}
				if err := r.w.Err(); (mode == Stop) != errors.Is(err, ErrCorrupt) {
					t.Errorf("Err = %v", err)
				}
				if mode == Stop {
					return
				}
				next(t, good, 6)
				good.Done(6)
				want := map[OnFailure]traffic.Verdict{Bypass: none, Drop: failed}[mode]
				wantVerdicts(t, verdicts(t, r, 2), want, want, want, want, want, want)
				if st := r.w.Stage(1); st.Corrupt != nil {
					t.Errorf("the honest filter is blamed: %v", st.Corrupt)
				}
			})
		}
	}
}

func TestHostileCapture(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(r *recordRing)
	}{
		{"head too far", func(r *recordRing) { r.h.head.Store(13) }},
		{"head behind", func(r *recordRing) { r.h.head.Store(1) }},
		{"floor beyond head", func(r *recordRing) { r.h.stage[0].floor.Store(99) }},
		{"head without records", func(r *recordRing) { r.h.head.Store(8) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecord(t, 8, 0, Bypass)
			s := openStage(t, r, 0)
			r.commit(4)
			next(t, s, 4)
			s.Done(4)
			c.spoil(r)
			if batch, err := s.Next(8); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Next = %d records, %v", len(batch), err)
			}
			if _, err := s.Wait(time.Minute); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Wait: %v", err)
			}
		})
	}
}

func TestOpenRecordRefuses(t *testing.T) {
	r := newRecord(t, 8, 1, Bypass)
	if _, err := OpenRecord(r.File(), nil, 0); err == nil {
		t.Error("OpenRecord took on_failure for no filter of one")
	}
	for _, i := range []int{-1, 1, 99} {
		if _, err := OpenStage(r.File(), i); err == nil {
			t.Errorf("OpenStage took stage %d of 1", i)
		}
		if _, err := OpenTap(r.File(), i); err == nil {
			t.Errorf("OpenTap took tap %d of 1", i)
		}
	}
	if _, err := OpenDelta(r.File()); err == nil {
		t.Error("OpenDelta took a record ring")
	}
	r.h.stage[0].cursor.Store(1)
	if _, err := OpenStage(r.File(), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("OpenStage with a cursor beyond head: %v", err)
	}
	for _, c := range [][3]int{{6, 0, 0}, {-4, 0, 0}, {8, 17, 0}, {8, -1, 0}, {8, 0, 17}, {8, 0, -1}} {
		if _, err := CreateRecord("bad", c[0], c[1], c[2], 1); err == nil {
			t.Errorf("CreateRecord took capacity %d, %d stages, %d taps", c[0], c[1], c[2])
		}
	}
}

// TestSpreadStays: the ring carries every field of a record that counts.
func TestSpreadStays(t *testing.T) {
	r := newRecord(t, 4, 1, Bypass)
	s, tap := openStage(t, r, 0), openTap(t, r, 0)
	view := r.w.Reserve(1)
	view[0] = traffic.Record{Packets: 9, DurationMs: 60_000, Spread: 60, ICMPType: 8, ICMPCode: 1, Verdict: drop}
	want := view[0]
	want.Verdict = pass
	r.w.Commit(1)
	batch := next(t, s, 1)
	if batch[0].Spread != 60 || batch[0].Verdict != none {
		t.Errorf("the filter sees %+v", batch[0])
	}
	batch[0].Verdict = pass
	s.Done(1)
	if got := r.w.Judged(1); len(got) != 1 || got[0] != want {
		t.Errorf("the capture counts %+v, want %+v", got, want)
	}
	buf := make([]traffic.Record, 1)
	if n, _, err := tap.Next(buf); n != 1 || err != nil || buf[0] != want {
		t.Errorf("the tap sees %+v, %v", buf[0], err)
	}
}

// TestSamplingChanged: a filter's sampling rate reaches the filters behind it,
// taps and the capture, and no other record.
func TestSamplingChanged(t *testing.T) {
	r := newRecord(t, 8, 1, Bypass, Bypass)
	first, second, tap := openStage(t, r, 0), openStage(t, r, 1), openTap(t, r, 0)
	for lap := range 3 {
		view := r.w.Reserve(8)
		for i := range view {
			view[i] = traffic.Record{Packets: 100, Bytes: 6000, Sampling: 100}
		}
		n := len(view)
		r.w.Commit(n)
		batch := next(t, first, n)
		batch[0].Sampling, batch[0].Verdict = 1000, drop
		batch[1].Sampling = 50
		batch[2].Sampling = 0 // says nothing
		batch[3].Sampling = 7
		first.Forget(0, n, none)
		batch[0].Sampling, batch[0].Verdict = 1000, drop
		batch[1].Sampling = 50
		batch[2].Sampling = 0
		first.Done(n)
		batch = next(t, second, n)
		if batch[0].Packets != 1000 || batch[0].Bytes != 60000 || batch[0].Verdict != drop || batch[1].Packets != 50 {
			t.Fatalf("the second filter sees %+v", batch[:2])
		}
		batch[1].Sampling = 10
		batch[4].Sampling, batch[4].Class = 200, 1
		second.Done(n)
		judged := r.w.Judged(n)
		for i, want := range []uint64{1000, 10, 100, 100, 200, 100, 100, 100} {
			verdict := none
			if i == 0 {
				verdict = drop
			}
			if judged[i].Packets != want || judged[i].Bytes != want*60 || judged[i].Verdict != verdict {
				t.Fatalf("lap %d, record %d: %+v, want %d packets", lap, i, judged[i], want)
			}
		}
		buf := make([]traffic.Record, 8)
		if got, _, err := tap.Next(buf); got != n || err != nil || buf[1].Packets != 10 || buf[1].Verdict != none || buf[0].Packets != 1000 {
			t.Fatalf("the tap sees %d, %v, %+v", got, err, buf[:2])
		}
		r.w.Advance(n)
	}
}

// BenchmarkStage is what a ring and a filter that does nothing cost a record,
// from the capture and back, with all ends on one processor.
func BenchmarkStage(b *testing.B) {
	for _, stages := range []int{0, 1, 3} {
		b.Run(fmt.Sprint(stages, " filters"), func(b *testing.B) {
			modes := make([]OnFailure, stages)
			r := newRecord(b, 1<<15, 0, modes...)
			var filters []*Stage
			for i := range stages {
				filters = append(filters, openStage(b, r, i))
			}
			var sum uint64
			b.ReportAllocs()
			for n := 0; n < b.N; n += 512 {
				view := r.w.Reserve(512)
				for i := range view {
					view[i].Packets, view[i].Verdict = 1, none
				}
				r.w.Commit(len(view))
				for _, s := range filters {
					batch, err := s.Next(512)
					if err != nil {
						b.Fatal(err)
					}
					s.Done(len(batch))
				}
				judged := r.w.Judged(512)
				for i := range judged {
					sum += judged[i].Packets
				}
				r.w.Advance(len(judged))
			}
			if sum < uint64(b.N) {
				b.Fatalf("%d of %d records came back", sum, b.N)
			}
		})
	}
}
