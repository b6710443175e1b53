// Package feed runs the plugin's end of the rings.
package feed

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	lastTime    = 1 << 62 // of a recording; later times are taken for this
	tick        = count.FlushTick * int64(time.Millisecond)
	batchSize   = 512 // records that Reserve hands out at most without a record ring
	judgedBatch = 1024
	adoptTries  = 20 // boundaries for which a plan waits until every row is flushed
)

// Writer is a capture worker's way out. One goroutine uses a Writer at a
// time: Reserve records, fill every field, Commit them.
type Writer struct {
	worker int
	rt     *Runtime
	replay bool
	buf    []traffic.Record

	// Of the goroutine that writes, between Reserve and Commit.
	from     *ring.RecordWriter // what the reservation lies in; nil: buf
	overflow bool               // the record ring was full: Commit ledgers the batch
	reserve  []traffic.Record   // the reservation
	info     func(i int) (link, wire int)
	exporter uint32       // of the last record
	named    [1024]uint32 // exporters that the record ring knows, by index modulo their number

	mu       sync.Mutex // held for a batch or a flush at a time
	reserved bool
	table    *count.Table
	sink     sink
	record   *ring.RecordWriter
	left     []leftRing         // record rings that were replaced and still hold records
	next     *ring.RecordWriter // replaces record when no reservation is open
	swap     bool
	plan     *count.Compiled // to be adopted at a boundary
	tries    int
	started  bool
	finished bool
	boundary int64 // end of the last window, nanoseconds on the stream's clock
	stalled  int64 // live: since when filters have judged none of the records that wait; 0: they are at work
	waited   int64 // for how long they did so before what was counted since the last flush
	now      int64 // replay: the largest record time seen
}

// Worker is the number of the worker, from 0.
func (w *Writer) Worker() int { return w.worker }

// Replay reports whether a recording is read as fast as it can be: then the
// clock is the records' Time, which must be set, and writes wait for room.
func (w *Writer) Replay() bool { return w.replay }

// Reserve returns at least one and at most n records that lie side by side.
// They hold old bytes: set every field. The next Commit or Reserve ends the
// reservation.
func (w *Writer) Reserve(n int) []traffic.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from != nil {
		w.from.Commit(0)
	}
	w.reserved, w.from, w.overflow = false, nil, false
	w.swapRecord()
	if w.record != nil {
		if batch := w.reserveRing(n); len(batch) > 0 {
			w.reserved, w.reserve = true, batch
			return batch
		}
		w.overflow = true
	}
	w.reserve = w.buf[:max(1, min(n, len(w.buf)))]
	return w.reserve
}

// reserveRing reserves in the record ring. When it is full a live capture
// goes on without; in replay it waits.
func (w *Writer) reserveRing(n int) []traffic.Record {
	for {
		if batch := w.record.Reserve(n); len(batch) > 0 {
			w.from = w.record
			return batch
		}
		w.pump()
		if batch := w.record.Reserve(n); len(batch) > 0 {
			w.from = w.record
			return batch
		}
		if !w.replay || w.record.Err() != nil || w.rt.stopping.Load() {
			return nil
		}
		w.record.Wait(waitStep)
	}
}

// Commit hands over the first n records of the last Reserve. frame gives the
// frame behind a record, or nothing where there is none; it may be nil, is only
// called before Commit returns, and only for hosts whose packets somebody wants
// to see. FrameInfo says what kind of frames they are.
func (w *Writer) Commit(n int, frame func(i int) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved = false
	if watching := w.rt.watching.Load(); watching != nil && !w.overflow {
		w.sample(w.reserve[:n], frame, watching)
	}
	switch {
	case w.from != nil:
		if w.rt.opts.Exporter != nil {
			w.nameExporters(w.reserve[:n])
		}
		w.from.Commit(n)
		w.from = nil
		w.pump()
	case w.overflow:
		w.table.Drop(count.CauseRingFull, uint64(n), uint64(n))
	default:
		w.count(w.buf[:n])
	}
}

// nameExporters tells the ring of exporters that it has not heard of. Records
// of one come together.
func (w *Writer) nameExporters(batch []traffic.Record) {
	for i := range batch {
		index := batch[i].Exporter
		if index == w.exporter || index == 0 {
			continue
		}
		w.exporter = index
		if known := &w.named[index%uint32(len(w.named))]; *known != index {
			if a := w.rt.opts.Exporter(index); a.IsValid() {
				w.from.SetExporter(index, a)
				*known = index
			}
		}
	}
}

// Dropped accounts for n records (packets, samples) that were received and
// cannot be counted. cause is an index into what Causes declares.
func (w *Writer) Dropped(cause int, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cause < 0 || cause >= min(len(w.rt.opts.Causes), count.MaxCauses) {
		cause = int(count.CauseUndeclared)
	}
	w.table.Drop(uint8(cause), n, n)
}

// pump counts what the last filter has passed.
func (w *Writer) pump() {
	if len(w.left) > 0 {
		w.pumpLeft()
	}
	if w.record == nil {
		return
	}
	for {
		n := w.take(w.record)
		w.watchFilters(n > 0)
		if n == 0 {
			return
		}
	}
}

// take counts a batch that has passed a ring's filters and returns its size.
func (w *Writer) take(r *ring.RecordWriter) int {
	batch := r.Judged(judgedBatch)
	if len(batch) > 0 {
		w.count(w.sift(batch))
		r.Advance(len(batch))
	}
	return len(batch)
}

// leftRing is a record ring that nothing is written to any more.
type leftRing struct {
	*ring.RecordWriter
	until int64 // when what it still holds is given up, on the live clock
}

// leaveTime bounds how long filters may take over what lies in a ring that was
// replaced: those with on_failure = "stop" might be gone for good.
const leaveTime = time.Second

// pumpLeft counts what filters still pass of rings that were replaced.
func (w *Writer) pumpLeft() {
	w.left = slices.DeleteFunc(w.left, func(r leftRing) bool {
		for w.take(r.RecordWriter) > 0 {
		}
		left := uint64(r.InFlight())
		if left > 0 && r.Err() == nil && w.rt.clock() < r.until && !w.rt.stopping.Load() {
			return false
		}
		w.table.Drop(count.CauseRingReplaced, left, left)
		_ = r.Close() // only frees memory
		return true
	})
}

// watchFilters notes for how long records have waited for filters that were
// stopped: they then count all at once, of which the next flush tells.
func (w *Writer) watchFilters(judged bool) {
	switch {
	case w.replay:
	case judged && w.stalled != 0:
		w.waited = max(w.waited, w.rt.clock()-w.stalled)
		w.stalled = 0
	case !judged && w.stalled == 0 && w.record.InFlight() > 0:
		w.stalled = w.rt.clock()
	}
}

// sift ledgers what filters dropped and returns the others. The batch is a
// copy of ours, so they are moved together in place.
func (w *Writer) sift(batch []traffic.Record) []traffic.Record {
	n := 0
	for i := range batch {
		switch batch[i].Verdict {
		case traffic.VerdictDrop:
			w.table.Drop(count.CauseFiltered, 1, batch[i].Packets)
		case ring.VerdictFailed:
			w.table.Drop(count.CauseFilterFailed, 1, batch[i].Packets)
		default:
			if n != i {
				batch[n] = batch[i]
			}
			n++
		}
	}
	return batch[:n]
}

// count adds a batch to the table, after flushing the windows that ended.
func (w *Writer) count(batch []traffic.Record) {
	if w.replay {
		w.countReplay(batch)
		return
	}
	now := w.rt.clock()
	w.roll(now)
	w.table.Add(batch, now)
	w.sink.tell(w.table, now)
}

// countReplay counts records at their own times, clamped to the largest seen,
// and ends every window that they leave. How the records are cut into batches
// decides nothing: what is added at once is of one window and of one phase.
func (w *Writer) countReplay(batch []traffic.Record) {
	for len(batch) > 0 {
		now := min(max(w.now, batch[0].Time), lastTime)
		if !w.started || now/tick != w.now/tick {
			w.leave(now)
		}
		w.now = now
		n := 1
		for n < len(batch) {
			next := max(w.now, batch[n].Time)
			if next/tick != w.now/tick || next/count.FlowPhase != w.now/count.FlowPhase {
				break
			}
			w.now = next
			n++
		}
		w.table.Add(batch[:n], w.now)
		batch = batch[n:]
	}
}

// leave ends the window of the last record, and, where the next one is not in
// the window that follows, all windows up to it at once: after those, one by
// one, in which flow records still count.
func (w *Writer) leave(now int64) {
	start := now / tick * tick
	if !w.started {
		w.started, w.boundary = true, start
		w.adopt()
		return
	}
	end := w.smear((w.now/tick+1)*tick, start)
	w.flush(end, end, count.Window{All: start > end})
	if start > end {
		w.flush(start, start, count.Window{})
	}
}

// smear ends the windows from one on in which flow records still count, in
// replay, and returns the end of the first that is left: limit at most.
func (w *Writer) smear(end, limit int64) int64 {
	for ; end < limit && w.table.Smearing() && !w.rt.stopping.Load(); end += tick {
		w.flush(end, end, count.Window{})
	}
	return end
}

// roll ends the windows that are over by a time of the live clock.
func (w *Writer) roll(now int64) {
	end := now / tick * tick
	if !w.started {
		w.started, w.boundary = true, end
		w.adopt()
		return
	}
	if end > w.boundary {
		w.flush(end, now, count.Window{})
	}
}

// flush ends a window and adopts a waiting plan.
func (w *Writer) flush(end, now int64, window count.Window) {
	w.boundary = end
	if !w.replay {
		w.table.SetWall(time.Now().Unix())
	}
	window.End, window.Lag = end, uint64(max(now-end, w.waited, 0))
	window.Generation = w.sink.generation()
	window.All = window.All || w.plan != nil
	if w.sink.ready() {
		w.table.Flush(&w.sink, window)
		w.waited = 0
		w.sink.tell(w.table, now)
	}
	w.adopt()
}

// adopt takes over a waiting plan once nothing is left of the old one, or
// when the reader has been too slow for that for a second.
func (w *Writer) adopt() {
	if w.plan == nil {
		return
	}
	if w.tries++; w.table.Dirty() == 0 || w.tries >= adoptTries {
		w.table.Adopt(w.plan)
		w.plan, w.tries = nil, 0
	}
}

// swapRecord changes the record ring when no reservation lies in the old one.
func (w *Writer) swapRecord() {
	if !w.swap || w.reserved {
		return
	}
	if w.record != nil {
		w.left = append(w.left, leftRing{w.record, w.rt.clock() + int64(leaveTime)})
		w.pumpLeft()
	}
	w.record, w.next, w.swap = w.next, nil, false
	w.exporter, w.named = 0, [1024]uint32{}
	w.stalled = 0
}

// poll does what an idle or blocked Run does not.
func (w *Writer) poll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return
	}
	w.swapRecord()
	w.pump()
	w.roll(w.rt.clock())
}

// finish empties filters and table when Run has returned. ended says that the
// input has, too.
func (w *Writer) finish(ctx context.Context, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from != nil {
		w.from.Commit(0)
	}
	w.reserved, w.from = false, nil
	filters, cancel := context.WithTimeout(ctx, finishTime)
	w.drainFilters(filters)
	cancel()
	if w.replay && w.started {
		// A recording's flow records count to their end: its totals are whole.
		w.now = w.smear((w.now/tick+1)*tick, math.MaxInt64-tick) - tick
	} else {
		w.table.EndSmear()
	}
	for {
		now := w.now
		if !w.replay {
			now = w.rt.clock()
			w.roll(now)
		}
		w.flush(max(now/tick*tick+tick, w.boundary), now, count.Window{All: true, Finished: ended && w.replay})
		if w.replay || w.table.Dirty() == 0 && w.sink.free() > 0 || ctx.Err() != nil || !w.sink.ready() {
			break
		}
		w.sleep(ctx)
	}
	if ended && !w.replay {
		w.flush(w.boundary, w.boundary, count.Window{Finished: true})
	}
	w.finished = true
	if w.sink.stream != nil {
		w.sink.stream.close()
	}
}

// drainFilters counts what filters still hold.
func (w *Writer) drainFilters(ctx context.Context) {
	w.swapRecord()
	over := func() bool { return ctx.Err() != nil }
	if w.replay { // which waits for filters as long as they take
		over = w.rt.stopping.Load
	}
	for w.pumpLeft(); len(w.left) > 0 && !over(); w.pumpLeft() {
		w.left[0].Wait(waitStep)
	}
	for w.record != nil && w.record.InFlight() > 0 && w.record.Err() == nil && !over() {
		w.pump()
		if w.record.InFlight() > 0 {
			w.record.Wait(waitStep)
		}
	}
}

// sleep waits a little for the reader, without holding others up.
func (w *Writer) sleep(ctx context.Context) {
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-ctx.Done():
	case <-time.After(waitStep):
	}
}
