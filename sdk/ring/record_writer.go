package ring

import (
	"fmt"
	"os"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// judgedBatch is how many records Judged hands out at most.
const judgedBatch = 1024

// RecordWriter is the capture's end of a record ring: it writes records at
// head, and takes them back, judged, behind the last stage. One goroutine uses
// it; Close may be called from another.
type RecordWriter struct {
	recordMap
	head     uint64
	gate     uint64 // records before it are judged
	tail     uint64 // slots of records before it are free
	reserved uint64 // slots of records before it may be being written
	stages   []gateStage
	taps     int
	patience time.Duration
	now      func() time.Duration
	failed   []uint64 // a bit for each slot: a stage with Drop did not judge it
	out      []traffic.Record
	given    int
	view     bool // a Reserve that has not been committed
}

// OpenRecord maps a record ring for the capture. onFailure has one entry for
// each stage. patience is how long a record waits for a stage before the
// stage's on_failure decides: Patience in live work; 0 for ever, as in replay,
// where a count must not depend on how fast a filter is.
// The file stays the caller's and may be closed at once. Writing starts behind
// what the last capture on this ring wrote: records that it had not counted are
// gone, as those in its table are.
func OpenRecord(f *os.File, onFailure []OnFailure, patience time.Duration) (*RecordWriter, error) {
	r, err := openRecordMap(f)
	if err != nil {
		return nil, err
	}
	stages, taps := r.h.stages, r.h.taps
	if stages > MaxStages || taps > MaxTaps || int(stages) != len(onFailure) {
		r.m.close()
		return nil, fmt.Errorf("open record ring: it has %d stages and %d taps, but on_failure was given for %d filters", stages, taps, len(onFailure))
	}
	r.m.words = []*wakeWord{&r.h.verdicts}
	start := time.Now()
	w := &RecordWriter{
		recordMap: r, taps: int(taps), patience: patience,
		now:    func() time.Duration { return time.Since(start) },
		failed: make([]uint64, (r.capacity+63)/64),
		out:    make([]traffic.Record, min(judgedBatch, r.capacity)),
	}
	// Head is the word of a capture that may have died: it only has to be one
	// from which positions can be counted on, past everything it reserved.
	w.head = max(r.h.head.Load(), r.h.reserved.Load())
	if w.head > 1<<62 {
		r.m.close()
		return nil, &CorruptError{What: "head is beyond what can ever be written", Value: w.head, Bound: 1 << 62}
	}
	w.gate, w.tail, w.reserved = w.head, w.head, w.head
	for i, mode := range onFailure {
		w.stages = append(w.stages, gateStage{h: &r.h.stage[i], mode: mode, passed: w.head, floor: w.head, arrived: w.head, detached: true})
		r.h.stage[i].floor.Store(w.head)
	}
	r.h.reserved.Store(w.head)
	r.h.head.Store(w.head)
	r.h.judged.Store(w.head)
	return w, nil
}

// Reserve returns up to n free slots that lie side by side; fewer at the end
// of the ring or when it is almost full, none when it is full or closed: then
// live captures ledger what they could not write, and replay waits. The slots
// hold old bytes: write every field.
func (w *RecordWriter) Reserve(n int) []traffic.Record {
	if n <= 0 || !w.view && !w.m.enter() {
		return nil
	}
	at := w.head & (w.capacity - 1)
	n = int(min(w.capacity-(w.head-w.tail), uint64(n), w.capacity-at))
	w.view = n > 0
	if !w.view {
		w.m.leave()
		return nil
	}
	if end := w.head + uint64(n); w.taps > 0 && end > w.reserved {
		w.reserved = end
		// A swap, since the slots' writes must not be seen before it.
		w.h.reserved.Swap(end)
	}
	return w.slots[at : at+uint64(n)]
}

// Commit hands the first n records of the last Reserve to the first stage;
// their class and verdict are cleared. It panics when n is more than was
// reserved.
func (w *RecordWriter) Commit(n int) {
	if !w.view {
		if n == 0 {
			return
		}
		panic("ring: Commit without Reserve")
	}
	if n < 0 || uint64(n) > w.capacity-(w.head-w.tail) {
		panic("ring: Commit of more than was reserved")
	}
	for range n {
		r := w.slot(w.head)
		r.Class = 0
		word := tagWord(r)
		*word = *word&(dataMask&^verdictMask) | tagOf(w.head)
		w.head++
	}
	w.h.head.Store(w.head)
	if len(w.stages) > 0 {
		w.stages[0].h.records.wake()
	}
	w.view = false
	w.m.leave()
}

// Judged returns up to max records that have passed the last stage, oldest
// first, as copies that no other process can change; their verdict is
// VerdictNone or VerdictPass (count it), VerdictDrop (a filter dropped it) or
// VerdictFailed (a filter with Drop did not judge it). The slice is valid until
// the next call. Without Advance the next call returns them again.
func (w *RecordWriter) Judged(max int) []traffic.Record {
	if !w.m.enter() {
		return nil
	}
	defer w.m.leave()
	w.advanceGate()
	n := int(min(w.gate-w.tail, uint64(max), uint64(len(w.out))))
	out := w.out[:n]
	w.copyOut(out, w.tail)
	for i := range out {
		w.settle(&out[i], w.tail+uint64(i))
	}
	w.given = n
	return out
}

// settle makes a verdict that the caller can trust out of what filters wrote.
func (w *RecordWriter) settle(r *traffic.Record, pos uint64) {
	*tagWord(r) &= dataMask
	if isSampled(r.Verdict) {
		w.settleRate(r, pos)
	}
	slot := pos & (w.capacity - 1)
	switch {
	case w.failed[slot/64]&(1<<(slot%64)) != 0:
		r.Verdict = VerdictFailed
	case r.Verdict != traffic.VerdictPass && r.Verdict != traffic.VerdictDrop && r.Verdict != VerdictFailed:
		r.Verdict = traffic.VerdictNone
	}
}

// Advance frees the slots of the first n records that Judged returned. It
// panics when n is more than it returned.
func (w *RecordWriter) Advance(n int) {
	if n < 0 || n > w.given {
		panic("ring: Advance by more than Judged returned")
	}
	for range n {
		slot := w.tail & (w.capacity - 1)
		w.failed[slot/64] &^= 1 << (slot % 64)
		w.tail++
	}
	w.given = 0
}

// InFlight is the number of records committed and not yet advanced over.
func (w *RecordWriter) InFlight() int { return int(w.head - w.tail) }

// Wait returns true as soon as Judged has something to return, and false
// after the timeout, after Close, or early for no reason.
func (w *RecordWriter) Wait(timeout time.Duration) bool {
	if !w.m.enter() {
		return false
	}
	defer w.m.leave()
	seen := w.h.verdicts.arm()
	w.advanceGate()
	if w.gate > w.tail || w.m.closed() {
		w.h.verdicts.disarm()
		return w.gate > w.tail
	}
	w.h.verdicts.sleep(seen, w.untilOverdue(timeout))
	w.advanceGate()
	return w.gate > w.tail
}

// Close ends the ring on this side. The memory goes when the last call has
// left it and a reservation was committed.
func (w *RecordWriter) Close() error {
	w.m.close()
	return nil
}

// StageStats is how a stage fares, as the capture sees it.
type StageStats struct {
	Passed   uint64 // records judged or passed over
	Overrun  uint64 // of these, records passed over
	Detached bool   // being passed over now
	Corrupt  error  // a *CorruptError after an impossible cursor
}

// Stage tells how stage i fares; call it from the goroutine that writes.
func (w *RecordWriter) Stage(i int) StageStats {
	s := &w.stages[i]
	st := StageStats{Passed: s.passed, Overrun: s.overrun, Detached: s.detached}
	if s.corrupt != nil {
		st.Corrupt = s.corrupt
	}
	return st
}

// Err tells why nothing will be judged any more: a stage with Stop whose
// cursor was impossible, or ErrClosed; else nil.
func (w *RecordWriter) Err() error {
	for i := range w.stages {
		if s := &w.stages[i]; s.corrupt != nil && s.mode == Stop {
			return s.corrupt
		}
	}
	if w.m.closed() {
		return ErrClosed
	}
	return nil
}
