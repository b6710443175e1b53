package sdk_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The set of rings of a filter.

// dropper drops everything; its workers can be made to fail.
type dropper struct {
	made atomic.Int32
	fail atomic.Bool
}

func (d *dropper) NewWorker() (sdk.Judge, error) {
	d.made.Add(1)
	if d.fail.Load() {
		return nil, errors.New("no room for a worker")
	}
	time.Sleep(2 * time.Millisecond) // the filter's other rings go on meanwhile
	return d, nil
}

func (d *dropper) Judge(batch []traffic.Record) error {
	for i := range batch {
		batch[i].Verdict = traffic.VerdictDrop
	}
	return nil
}

// filterUnderTest is a started filter with what the core needs to attach rings.
type filterUnderTest struct {
	testPipe
	*dropper
	token uint64
}

func newFilterUnderTest(t *testing.T) *filterUnderTest {
	d := &dropper{}
	p := open(t, sdk.Plugin{
		Name: "dropper", Version: "1",
		Filter: sdk.NewFilter(struct{}{}, func(struct{}, sdk.Env) (*dropper, error) { return d, nil }),
	}, "run", nil)
	p.start()
	return &filterUnderTest{testPipe: p, dropper: d}
}

// captureRing is a record ring with the capture's end, which waits for the
// filter.
type captureRing struct {
	host.Ring
	core *ring.RecordRing
	w    *ring.RecordWriter
}

func newCaptureRing(t *testing.T, id uint64, worker, generation uint32) *captureRing {
	t.Helper()
	core, err := ring.CreateRecord(fmt.Sprintf("records-%d", id), 1<<10, 1, 0, generation)
	must(t, err)
	w, err := ring.OpenRecord(core.File(), []ring.OnFailure{ring.Stop}, ring.Patience)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(w.Close(), core.Close())) })
	return &captureRing{
		host.Ring{Kind: host.RecordRing, ID: id, Worker: worker, Generation: generation, Stages: 1, OnFailure: host.OnFailureStop}, core, w,
	}
}

func (f *filterUnderTest) give(rings ...*captureRing) error {
	f.token++
	req := host.AttachRequest{Token: f.token}
	var files []*os.File
	for _, r := range rings {
		req.Rings, files = append(req.Rings, r.Ring), append(files, r.core.File())
	}
	if len(files) > 0 {
		must(f.t, ring.SendFiles(f.core, req.Token, files))
	}
	return f.AttachRings(f.t.Context(), req)
}

// pass sends n records through the filter and returns how many came out
// dropped within the time.
func (r *captureRing) pass(t *testing.T, n int, within time.Duration) int {
	t.Helper()
	if got := len(r.w.Reserve(n)); got != n {
		t.Fatalf("room for %d records of %d", got, n)
	}
	r.w.Commit(n)
	dropped := 0
	for end := time.Now().Add(within); dropped < n && time.Now().Before(end); {
		batch := r.w.Judged(n)
		for i := range batch {
			if batch[i].Verdict == traffic.VerdictDrop {
				dropped++
			}
		}
		r.w.Advance(len(batch))
		if len(batch) == 0 {
			r.w.Wait(5 * time.Millisecond)
		}
		must(t, r.w.Err())
	}
	return dropped
}

const soon, notAtAll = 10 * time.Second, 150 * time.Millisecond

func TestFilterServesEveryRing(t *testing.T) {
	f := newFilterUnderTest(t)
	var rings []*captureRing
	for id := range uint64(4) { // two captures with workers 0 and 1 each
		rings = append(rings, newCaptureRing(t, id, uint32(id%2), 1))
	}
	must(t, f.give(rings...))
	for round := range 3 {
		for i, r := range rings {
			if n := r.pass(t, 100, soon); n != 100 {
				t.Fatalf("round %d: ring %d: the filter dropped %d of 100 records", round, i, n)
			}
		}
	}
	h := f.next(func(h host.Health) bool { return len(h.Workers) == 4 && h.Workers[3].Counted == 300 })
	for i, w := range h.Workers {
		if w.Counted != 300 {
			t.Errorf("ring %d: the filter says it judged %d records, want 300", i, w.Counted)
		}
	}
}

func TestFilterGivesUpRingsThatAreNotNamed(t *testing.T) {
	f := newFilterUnderTest(t)
	must(t, f.give()) // no capture runs yet
	a, b := newCaptureRing(t, 1, 0, 1), newCaptureRing(t, 2, 0, 1)
	must(t, f.give(a, b))
	must(t, f.give(b))
	if n := a.pass(t, 10, notAtAll); n != 0 {
		t.Errorf("the filter judged %d records in a ring that was taken from it", n)
	}
	if n := b.pass(t, 10, soon); n != 10 {
		t.Errorf("the filter judged %d of 10 records in the ring that it kept", n)
	}
	must(t, f.give())
	f.next(func(h host.Health) bool { return len(h.Workers) == 0 })
	if n := b.pass(t, 10, notAtAll); n != 0 {
		t.Errorf("the filter judged %d records after an empty set", n)
	}
	must(t, f.give(a, b))
	for _, r := range []*captureRing{a, b} {
		if n := r.pass(t, 10, soon); n < 10 {
			t.Errorf("the filter judged %d records in a ring that it got back", n)
		}
	}
}

// Giving rings again does not disturb the work in them: no worker is made
// anew, no record is judged twice, the ring stays whole.
func TestFilterGoesOnWithTheSameRings(t *testing.T) {
	f := newFilterUnderTest(t)
	r := newCaptureRing(t, 1, 0, 1)
	must(t, f.give(r))
	stop, gave := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				gave <- nil
				return
			default:
			}
			if err := f.give(r); err != nil {
				gave <- err
				return
			}
		}
	}()
	for range 500 {
		if n := r.pass(t, 512, soon); n != 512 {
			t.Errorf("the filter dropped %d of 512 records: %v", n, r.w.Stage(0).Corrupt)
			break
		}
	}
	close(stop)
	must(t, <-gave)
	if f.made.Load() != 1 {
		t.Errorf("%d workers were made for one ring", f.made.Load())
	}
	r.Generation++ // the same place, to be opened anew
	must(t, f.give(r))
	if n := r.pass(t, 512, soon); n != 512 || f.made.Load() != 2 {
		t.Errorf("of the next generation the filter dropped %d of 512 records, with %d workers made", n, f.made.Load())
	}
}

func TestFilterKeepsItsRingsWhenAWorkerFails(t *testing.T) {
	f := newFilterUnderTest(t)
	a, b := newCaptureRing(t, 1, 0, 1), newCaptureRing(t, 2, 0, 1)
	must(t, f.give(a))
	f.fail.Store(true)
	if err := f.give(a, b); err == nil || !strings.Contains(err.Error(), "no room for a worker") {
		t.Errorf("a worker could not be made: %v", err)
	}
	if n := a.pass(t, 100, soon); n != 100 {
		t.Errorf("the filter dropped %d of 100 records in the ring that it had", n)
	}
	if err := f.give(a, a); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a ring was named twice: %v", err)
	}
	f.fail.Store(false)
	f.token = 0
	if err := f.give(a); err == nil {
		t.Error("an old set of rings was taken for a new one")
	}
}
