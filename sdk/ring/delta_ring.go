package ring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// deltaMagic opens the header of a delta ring: "FNMDELTA".
const deltaMagic = 0x41544c45444d4e46

// deltaHeader is the first page of a delta ring. Head and tail count records
// since the ring was made and never wrap; a record's slot is its number modulo
// the capacity. The layout is:
//
//	off size writer   field
//	  0    8 core     magic "FNMDELTA"
//	  8    4 core     ABI version
//	 12    4 core     record size, 128
//	 16    8 core     capacity in records, a power of two
//	 24    4 core     generation
//	 64    8 producer head: records before it may be read
//	128    8 consumer tail: slots before it may be written again
//	192    8 both     wake word of the consumer, which waits for records
//	256    8 both     wake word of the producer, which waits for room (replay)
//	320   48 producer statistics: received, counted, dropped, rows, folded, heartbeat
//	4096   … producer slots, 128 bytes each
type deltaHeader struct {
	magic      uint64
	abi        uint32
	recordSize uint32
	capacity   uint64
	generation uint32
	_          [36]byte

	head atomic.Uint64
	_    [lineSize - 8]byte
	tail atomic.Uint64
	_    [lineSize - 8]byte
	data wakeWord
	_    [lineSize - 8]byte
	room wakeWord
	_    [lineSize - 8]byte
	// Each of its own, not a snapshot of one moment.
	stats [6]atomic.Uint64
}

// Stats is what a producer says about itself in the header, for the time
// between two flushes and for the moment after it was killed. The values are
// read one by one: they are not from one moment, and are the producer's word
// only.
type Stats struct {
	Received  uint64 // records
	Counted   uint64 // records
	Dropped   uint64 // records, all causes
	Rows      uint64 // rows in the table that have not been flushed
	Folded    uint64 // rows folded into their prefix so far
	Heartbeat uint64 // the producer's clock when it last wrote, nanoseconds
}

// DeltaRing is the core's end of a delta ring: it creates the memory and
// reads. One goroutine calls Read at a time; Wait, Wake, Stats and Close may be
// called from others.
type DeltaRing struct {
	name       string
	file       *os.File
	m          *mapping
	h          *deltaHeader
	capacity   uint64
	generation uint32
	tail       atomic.Uint64 // ours; the one in memory is a copy for the producer
	head       atomic.Uint64 // the largest seen
	corrupt    atomic.Pointer[CorruptError]
	woken      atomic.Bool
}

// CreateDelta makes a delta ring of capacity records, a power of two from 2
// to MaxCapacity, in memory that is sealed against resizing. The name shows in
// errors and in /proc. ErrUnsupported says that the system has none.
func CreateDelta(name string, capacity int, generation uint32) (*DeltaRing, error) {
	if capacity < 0 || !validCapacity(uint64(capacity)) {
		return nil, fmt.Errorf("ring %s: capacity %d is not a power of two from 2 to %d", name, capacity, MaxCapacity)
	}
	f, m, err := createMemory(name, headerSize+capacity*DeltaSize)
	if err != nil {
		return nil, err
	}
	h := (*deltaHeader)(unsafe.Pointer(&m.mem[0]))
	h.magic, h.abi, h.recordSize = deltaMagic, abiVersion, DeltaSize
	h.capacity, h.generation = uint64(capacity), generation
	m.words = []*wakeWord{&h.data}
	return &DeltaRing{name: name, file: f, m: m, h: h, capacity: uint64(capacity), generation: generation}, nil
}

// File is the memory, to be sent to the producer with SendFiles. The ring
// owns it.
func (r *DeltaRing) File() *os.File { return r.file }

// Generation is the number given at creation.
func (r *DeltaRing) Generation() uint32 { return r.generation }

// Capacity is the number of records that the ring holds.
func (r *DeltaRing) Capacity() int { return int(r.capacity) }

// Read copies up to len(dst) records out of the ring and returns how many; 0
// when it is empty. The copies are the caller's: nothing that the producer does
// later changes them, but what is in them is unchecked (see Delta.Check). After
// an error that matches ErrCorrupt every call returns it.
func (r *DeltaRing) Read(dst []Delta) (int, error) {
	if !r.m.enter() {
		return 0, ErrClosed
	}
	defer r.m.leave()
	tail := r.tail.Load()
	avail, err := r.available()
	if err != nil {
		return 0, err
	}
	n := int(min(avail, uint64(len(dst))))
	if n == 0 {
		return 0, nil
	}
	slots := r.slots()
	first := copy(dst[:n], slots[tail&(r.capacity-1):])
	copy(dst[first:n], slots)
	tail += uint64(n)
	r.tail.Store(tail)
	r.h.tail.Store(tail)
	r.h.room.wake()
	return n, nil
}

// available reads head once and returns how many records lie before it.
func (r *DeltaRing) available() (uint64, error) {
	for {
		if c := r.corrupt.Load(); c != nil {
			return 0, c
		}
		tail, last := r.tail.Load(), r.head.Load()
		head := r.h.head.Load()
		switch {
		case head < last:
			return 0, r.fail("head went backwards", head, last)
		case head-tail > r.capacity:
			// Wait may run beside Read: a tail that has moved on since it was
			// loaded is not the producer's fault.
			if r.tail.Load() != tail {
				continue
			}
			return 0, r.fail("head is more than the capacity ahead of tail", head, tail)
		}
		for last < head && !r.head.CompareAndSwap(last, head) {
			last = r.head.Load()
		}
		return head - tail, nil
	}
}

func (r *DeltaRing) fail(what string, value, bound uint64) error {
	r.corrupt.CompareAndSwap(nil, &CorruptError{Ring: r.name, What: what, Value: value, Bound: bound})
	return r.corrupt.Load()
}

// Wait returns true as soon as there is something to read, and false after
// the timeout, after Wake, or early for no reason. It sleeps in the kernel.
func (r *DeltaRing) Wait(timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for {
		ready, err := r.waitOnce(time.Until(deadline))
		if ready || err != nil {
			return ready, err
		}
		if r.woken.Swap(false) || !time.Now().Before(deadline) {
			return false, nil
		}
	}
}

// waitOnce sleeps for one slice at most.
func (r *DeltaRing) waitOnce(d time.Duration) (bool, error) {
	if !r.m.enter() {
		return false, ErrClosed
	}
	defer r.m.leave()
	seen := r.h.data.arm()
	n, err := r.available()
	if n > 0 || err != nil || r.m.closed() || r.woken.Load() {
		r.h.data.disarm()
		return n > 0, err
	}
	r.h.data.sleep(seen, d)
	n, err = r.available()
	return n > 0, err
}

// Wake makes the current Wait return, or else the next one.
func (r *DeltaRing) Wake() {
	r.woken.Store(true)
	if r.m.enter() {
		r.h.data.force()
		r.m.leave()
	}
}

// Stats returns what the producer last said about itself.
func (r *DeltaRing) Stats() Stats {
	if !r.m.enter() {
		return Stats{}
	}
	defer r.m.leave()
	s := &r.h.stats
	return Stats{
		Received: s[0].Load(), Counted: s[1].Load(), Dropped: s[2].Load(),
		Rows: s[3].Load(), Folded: s[4].Load(), Heartbeat: s[5].Load(),
	}
}

// Close ends the ring on this side: a running Wait returns, and the memory
// goes when the last call has left it.
func (r *DeltaRing) Close() error {
	r.m.close()
	if err := r.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("ring %s: close: %w", r.name, err)
	}
	return nil
}

func (r *DeltaRing) slots() []Delta {
	return unsafe.Slice((*Delta)(unsafe.Pointer(&r.m.mem[headerSize])), r.capacity)
}

// The offsets in the table are a contract.
const (
	_ = uint(64 - unsafe.Offsetof(deltaHeader{}.head))
	_ = uint(unsafe.Offsetof(deltaHeader{}.head) - 64)
	_ = uint(128 - unsafe.Offsetof(deltaHeader{}.tail))
	_ = uint(unsafe.Offsetof(deltaHeader{}.tail) - 128)
	_ = uint(192 - unsafe.Offsetof(deltaHeader{}.data))
	_ = uint(unsafe.Offsetof(deltaHeader{}.data) - 192)
	_ = uint(256 - unsafe.Offsetof(deltaHeader{}.room))
	_ = uint(unsafe.Offsetof(deltaHeader{}.room) - 256)
	_ = uint(320 - unsafe.Offsetof(deltaHeader{}.stats))
	_ = uint(unsafe.Offsetof(deltaHeader{}.stats) - 320)
	_ = uint(headerSize - unsafe.Sizeof(deltaHeader{}))
)
