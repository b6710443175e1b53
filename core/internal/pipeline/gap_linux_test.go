package pipeline

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// What a dead capture had not handed on is told once, with its numbers and its
// time; one that lost nothing is not spoken of.
func TestGapIsReported(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	for _, received := range []uint64{120, 100} {
		r, err := ring.CreateDelta("test", 64, 1)
		if err != nil {
			t.Fatal(err)
		}
		w, err := ring.OpenDelta(r.File())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		in := b.add(r)
		in.close = func() { r.Close() }
		f := ring.Flush{Kind: ring.KindFlush, Generation: 1, Revision: 1, Number: 1, WindowEnd: b.now, Received: 100, Counted: 100}
		w.Write([]ring.Delta{*f.AsDelta()})
		w.SetStats(ring.Stats{Received: received, Counted: received})
		b.loop.turn()
		b.now += int64(150 * time.Millisecond)
		b.loop.finish(in)
	}
	text := b.log.String()
	if strings.Count(text, "records are lost with a capture's ring") != 1 ||
		!strings.Contains(text, "capture=a plugin=test worker=0 generation=1 lost=20 received=120 used=100 flushes=1 since_last_flush=150ms") {
		t.Errorf("log:\n%s", text)
	}
}

// Records that waited for a filter are in the account when their capture dies,
// unless the cursors say what cannot be.
func TestRecordsInRingsAreAccountedFor(t *testing.T) {
	for lied, want := range map[bool]uint64{false: 70, true: 0} {
		s := newStubs(t, true)
		s.run()
		c := s.capture("a", false)
		r, err := ring.CreateRecord("test", 256, 1, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		w, err := ring.OpenRecord(r.File(), []ring.OnFailure{ring.Stop}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		w.Reserve(70)
		w.Commit(70)
		if lied {
			moved(t, r, 1<<40)
		}
		c.settleRecords([]*wired{{RecordRing: r}})
		rows, _ := s.counted()
		if rows[0].Received != want || rows[0].Dropped[lostWithProcess] != want {
			t.Errorf("lied %t: the ledger says %+v, want %d", lied, rows[0], want)
		}
	}
}

// moved writes the head of a record ring as a liar would.
func moved(t *testing.T, r *ring.RecordRing, head uint64) {
	t.Helper()
	if _, err := r.File().WriteAt(binary.LittleEndian.AppendUint64(nil, head), 64); err != nil {
		t.Fatal(err)
	}
}
