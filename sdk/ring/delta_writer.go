package ring

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// DeltaWriter is the producer's end of a delta ring. One goroutine writes;
// Close may be called from another. The tail that the consumer writes is held
// against our own head, so that a corrupted page never leads out of the ring;
// a writer that found one writes nothing more (see Err).
type DeltaWriter struct {
	m          *mapping
	h          *deltaHeader
	slots      []Delta
	capacity   uint64
	generation uint32
	head       uint64
	tail       uint64 // the consumer's, as last read
	view       bool   // a Reserve that has not been published
	corrupt    atomic.Pointer[CorruptError]
}

// OpenDelta maps a delta ring that was received with ReceiveFiles. It checks
// seals, size, magic, ABI version, record size and cursors. The file stays the
// caller's and may be closed at once. Writing goes on where the last producer
// of this ring stopped publishing.
func OpenDelta(f *os.File) (*DeltaWriter, error) {
	m, err := openMemory(f)
	if err != nil {
		return nil, err
	}
	h := (*deltaHeader)(unsafe.Pointer(&m.mem[0]))
	w := &DeltaWriter{m: m, h: h, capacity: h.capacity, generation: h.generation}
	if err := checkHeader("delta", deltaMagic, h.magic, h.abi, abiVersion, h.recordSize, w.capacity, DeltaSize, len(m.mem)); err != nil {
		m.close()
		return nil, err
	}
	m.words = []*wakeWord{&h.room}
	w.slots = unsafe.Slice((*Delta)(unsafe.Pointer(&m.mem[headerSize])), w.capacity)
	w.head = h.head.Load()
	w.tail = h.tail.Load()
	if w.head-w.tail > w.capacity {
		m.close()
		return nil, &CorruptError{What: "tail is not within the capacity behind head", Value: w.tail, Bound: w.head}
	}
	return w, nil
}

// checkHeader holds the fixed fields of a header against what this code
// speaks.
func checkHeader(kind string, wantMagic, magic uint64, abi, wantABI, recordSize uint32, capacity, each uint64, size int) error {
	switch {
	case magic != wantMagic:
		return fmt.Errorf("open %s ring: the memory file is not one (magic %#x, want %#x)", kind, magic, wantMagic)
	case abi != wantABI:
		return fmt.Errorf("open %s ring: ABI version %d, this plugin speaks %d: build plugin and core from matching versions", kind, abi, wantABI)
	case recordSize != DeltaSize:
		return fmt.Errorf("open %s ring: records of %d bytes, want %d", kind, recordSize, DeltaSize)
	case !validCapacity(capacity):
		return fmt.Errorf("open %s ring: capacity %d is not a power of two from 2 to %d", kind, capacity, MaxCapacity)
	case uint64(size) != headerSize+capacity*each:
		return fmt.Errorf("open %s ring: %d bytes, but a capacity of %d makes %d", kind, size, capacity, headerSize+capacity*each)
	}
	return nil
}

// Generation is the ring's number, which every Flush carries.
func (w *DeltaWriter) Generation() uint32 { return w.generation }

// Capacity is the number of records that the ring holds.
func (w *DeltaWriter) Capacity() int { return int(w.capacity) }

// Err tells why nothing can be written any more: an error that matches
// ErrCorrupt or ErrClosed, or nil.
func (w *DeltaWriter) Err() error {
	if c := w.corrupt.Load(); c != nil {
		return c
	}
	if w.m.closed() {
		return ErrClosed
	}
	return nil
}

// Free returns how many records can be written now.
func (w *DeltaWriter) Free() int {
	if !w.m.enter() {
		return 0
	}
	defer w.m.leave()
	return w.free(int(w.capacity))
}

// free returns how many slots are free. It reads the consumer's cache line
// only when the tail it knows leaves fewer than want.
func (w *DeltaWriter) free(want int) int {
	if w.corrupt.Load() != nil {
		return 0
	}
	n := w.capacity - (w.head - w.tail)
	if n >= uint64(want) {
		return int(n)
	}
	tail := w.h.tail.Load()
	if tail-w.tail > w.head-w.tail { // not within [tail we know, head]
		w.corrupt.Store(&CorruptError{What: "tail is not between its last value and head", Value: tail, Bound: w.head})
		return 0
	}
	w.tail = tail
	return int(w.capacity - (w.head - tail))
}

// Write copies as many records of the batch as fit into the ring, publishes
// them at once and returns how many; 0 when the ring is full or Err.
func (w *DeltaWriter) Write(batch []Delta) int {
	if len(batch) == 0 || !w.m.enter() {
		return 0
	}
	defer w.m.leave()
	n := min(w.free(len(batch)), len(batch))
	if n == 0 {
		return 0
	}
	first := copy(w.slots[w.head&(w.capacity-1):], batch[:n])
	copy(w.slots, batch[first:n])
	w.publish(n)
	return n
}

func (w *DeltaWriter) publish(n int) {
	w.head += uint64(n)
	w.h.head.Store(w.head)
	w.h.data.wake()
}

// Reserve returns up to n free slots that lie side by side, to be filled in
// place; fewer at the end of the ring or when it is almost full, none when it
// is full or Err. They hold old bytes: write every field. Publish ends the
// reservation; until then Close keeps the memory.
func (w *DeltaWriter) Reserve(n int) []Delta {
	if n <= 0 || !w.view && !w.m.enter() {
		return nil
	}
	at := w.head & (w.capacity - 1)
	n = min(w.free(n), n, int(w.capacity-at))
	w.view = n > 0
	if !w.view {
		w.m.leave()
		return nil
	}
	return w.slots[at : at+uint64(n)]
}

// Publish makes the first n slots of the last Reserve readable. It panics
// when n is more than was reserved.
func (w *DeltaWriter) Publish(n int) {
	if !w.view {
		if n == 0 {
			return
		}
		panic("ring: Publish without Reserve")
	}
	if n < 0 || uint64(n) > w.capacity-(w.head-w.tail) {
		panic("ring: Publish of more than was reserved")
	}
	if n > 0 {
		w.publish(n)
	}
	w.view = false
	w.m.leave()
}

// stopPoll is how often a blocked WriteBlocking asks whether it should stop.
const stopPoll = 20 * time.Millisecond

// WriteBlocking writes the whole batch, waiting for room as long as it takes:
// replay's way. It returns how many were written: fewer than the batch, with a
// nil error, when stop returned true, or with an error when the ring was closed
// or is corrupt. stop is asked before every wait, each of 20 ms at most.
func (w *DeltaWriter) WriteBlocking(stop func() bool, batch []Delta) (int, error) {
	done := 0
	for {
		done += w.Write(batch[done:])
		if done == len(batch) {
			return done, nil
		}
		if err := w.Err(); err != nil {
			return done, err
		}
		if stop() {
			return done, nil
		}
		w.waitRoom(stopPoll)
	}
}

// waitRoom sleeps until there is room, or for d.
func (w *DeltaWriter) waitRoom(d time.Duration) {
	if !w.m.enter() {
		return
	}
	defer w.m.leave()
	seen := w.h.room.arm()
	if w.free(1) > 0 || w.Err() != nil {
		w.h.room.disarm()
		return
	}
	w.h.room.sleep(seen, d)
}

// SetStats publishes what the producer says about itself.
func (w *DeltaWriter) SetStats(s Stats) {
	if !w.m.enter() {
		return
	}
	defer w.m.leave()
	for i, v := range [...]uint64{s.Received, s.Counted, s.Dropped, s.Rows, s.Folded, s.Heartbeat} {
		w.h.stats[i].Store(v)
	}
}

// Close ends the ring on this side. The memory goes when the last call has
// left it and a reservation was published.
func (w *DeltaWriter) Close() error {
	w.m.close()
	return nil
}
