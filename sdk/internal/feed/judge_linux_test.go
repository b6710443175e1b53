package feed

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type judgeFunc func(batch []traffic.Record) error

func (f judgeFunc) Judge(batch []traffic.Record) error { return f(batch) }

type tapFunc func(ctx context.Context, batch []traffic.Record) error

func (f tapFunc) Tap(ctx context.Context, batch []traffic.Record) error { return f(ctx, batch) }

// recordRing is a record ring with one filter and one tap, and its capture,
// which waits for the filter for ever.
type recordRing struct {
	*ring.RecordRing
	w *ring.RecordWriter
	n uint64
}

func newRecordRing(t *testing.T) *recordRing {
	t.Helper()
	r, err := ring.CreateRecord("test", 1<<12, 1, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ring.OpenRecord(r.File(), []ring.OnFailure{ring.Drop}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(); _ = r.Close() })
	return &recordRing{RecordRing: r, w: w}
}

func (r *recordRing) stage(t *testing.T) *ring.Stage {
	t.Helper()
	s, err := ring.OpenStage(r.File(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pass sends n records and returns them judged.
func (r *recordRing) pass(t *testing.T, n int) []traffic.Record {
	t.Helper()
	view := r.w.Reserve(n)
	for i := range view {
		view[i] = traffic.Record{Packets: r.n}
		r.n++
	}
	r.w.Commit(len(view))
	var out []traffic.Record
	deadline := time.Now().Add(20 * time.Second)
	for len(out) < len(view) {
		recs := r.w.Judged(n)
		out = append(out, recs...)
		r.w.Advance(len(recs))
		if len(recs) == 0 && !r.w.Wait(time.Second) && time.Now().After(deadline) {
			t.Fatalf("%d of %d records came back", len(out), len(view))
		}
	}
	return out
}

func TestJudgeRunner(t *testing.T) {
	r := newRecordRing(t)
	j := StartJudge(r.stage(t), judgeFunc(func(batch []traffic.Record) error {
		for i := range batch {
			if batch[i].Packets%2 == 0 {
				batch[i].Verdict = traffic.VerdictDrop
			}
			batch[i].Class = 4
		}
		return nil
	}), ring.Drop)
	for i, rec := range r.pass(t, 2000) {
		want := traffic.VerdictNone
		if i%2 == 0 {
			want = traffic.VerdictDrop
		}
		if rec.Packets != uint64(i) || rec.Verdict != want || rec.Class != 4 {
			t.Fatalf("record %d reads %+v", i, rec)
		}
	}
	if err := j.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if s := j.Stats(); s != (JudgeStats{Judged: 2000}) {
		t.Errorf("Stats = %+v", s)
	}
}

// TestJudgeFails: what a judge wrote before it failed does not count.
func TestJudgeFails(t *testing.T) {
	for _, c := range []struct {
		name      string
		onFailure ring.OnFailure
		fail      func() error
		want      traffic.Verdict
		message   string
	}{
		{"error, bypass", ring.Bypass, func() error { return errors.New("no script") }, traffic.VerdictNone, "no script"},
		{"error, drop", ring.Drop, func() error { return errors.New("no script") }, ring.VerdictFailed, "no script"},
		{"panic, bypass", ring.Bypass, func() error { panic("nil map") }, traffic.VerdictNone, "judge panicked: nil map"},
		{"panic, drop", ring.Drop, func() error { panic("nil map") }, ring.VerdictFailed, "judge panicked: nil map"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecordRing(t)
			j := StartJudge(r.stage(t), judgeFunc(func(batch []traffic.Record) error {
				for i := range batch {
					batch[i].Verdict, batch[i].Class = traffic.VerdictDrop, 1
				}
				return c.fail()
			}), c.onFailure)
			for i, rec := range r.pass(t, 10) {
				if rec.Verdict != c.want || rec.Class != 0 {
					t.Errorf("record %d reads %+v, want verdict %d", i, rec, c.want)
				}
			}
			if err := j.Stop(); err != nil {
				t.Errorf("the runner ended: %v", err)
			}
			if s := j.Stats(); s.Failed != 10 || s.Judged != 0 || s.Errors == 0 {
				t.Errorf("Stats = %+v", s)
			}
			if err := j.LastError(); err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("LastError = %v", err)
			}
		})
	}
}

// TestJudgeStops: where on_failure is stop, the batch waits for the next
// filter process.
func TestJudgeStops(t *testing.T) {
	r := newRecordRing(t)
	bad := errors.New("no script")
	j := StartJudge(r.stage(t), judgeFunc(func([]traffic.Record) error { return bad }), ring.Stop)
	r.w.Commit(len(r.w.Reserve(5)))
	<-j.Done()
	if err := j.Stop(); !errors.Is(err, bad) {
		t.Errorf("Stop = %v, want the judge's error", err)
	}
	if got := r.w.Judged(10); len(got) != 0 {
		t.Errorf("%d records went on", len(got))
	}
	good := StartJudge(r.stage(t), judgeFunc(func([]traffic.Record) error { return nil }), ring.Stop)
	if got := r.pass(t, 1); len(got) == 0 {
		t.Error("nothing came back")
	}
	if err := good.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTapRunner(t *testing.T) {
	r := newRecordRing(t)
	j := StartJudge(r.stage(t), judgeFunc(func([]traffic.Record) error { return nil }), ring.Bypass)
	defer func() { _ = j.Stop() }()
	tap, err := ring.OpenTap(r.File(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen uint64
	all := make(chan bool)
	runner := StartTap(t.Context(), tap, tapFunc(func(ctx context.Context, batch []traffic.Record) error {
		mu.Lock()
		defer mu.Unlock()
		for i := range batch {
			if batch[i].Packets != seen {
				t.Errorf("record %d came where %d was due", batch[i].Packets, seen)
			}
			seen++
		}
		if seen == 3000 {
			close(all)
		}
		if batch[0].Packets == 0 {
			panic("first batch")
		}
		return ctx.Err()
	}))
	for range 3 {
		r.pass(t, 1000)
	}
	<-all
	if err := runner.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	s := runner.Stats()
	if s.Given+s.Failed != 3000 || s.Failed == 0 || s.Errors != 1 || s.Lost != 0 {
		t.Errorf("Stats = %+v", s)
	}
	if err := runner.LastError(); err == nil || !strings.Contains(err.Error(), "tap panicked: first batch") {
		t.Errorf("LastError = %v", err)
	}
}

func TestRunnersEndOnCorruptRing(t *testing.T) {
	r := newRecordRing(t)
	s := r.stage(t)
	tap, err := ring.OpenTap(r.File(), 0)
	if err != nil {
		t.Fatal(err)
	}
	// A head that jumps is a lie of the capture's.
	if _, err := r.File().WriteAt([]byte{255, 255, 255}, 64); err != nil {
		t.Fatal(err)
	}
	j := StartJudge(s, judgeFunc(func([]traffic.Record) error { return nil }), ring.Bypass)
	<-j.Done()
	if err := j.Err(); !errors.Is(err, ring.ErrCorrupt) {
		t.Errorf("judge runner: %v", err)
	}
	if _, err := r.File().WriteAt([]byte{255, 255, 255}, 72); err != nil {
		t.Fatal(err)
	}
	taps := StartTap(t.Context(), tap, tapFunc(func(context.Context, []traffic.Record) error { return nil }))
	<-taps.Done()
	if err := taps.Err(); !errors.Is(err, ring.ErrCorrupt) {
		t.Errorf("tap runner: %v", err)
	}
}
