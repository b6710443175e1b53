package ring

import (
	"sync/atomic"
	"time"
)

// abiVersion and recordABI count incompatible changes of the layouts of delta
// rings and record rings.
const (
	abiVersion = 1
	recordABI  = 2
)

// headerSize is the room before the first record: one page of 4 KiB, also
// where the system's pages are larger.
const headerSize = 4096

// MaxCapacity is the largest number of records in a ring.
const MaxCapacity = 1 << 22

// lineSize is the unit that keeps words of different writers apart.
const lineSize = 64

const (
	mapClosed = 1 << 32 // no new users
	mapGone   = 1 << 33 // unmapped
)

// mapping is shared memory that is unmapped when it has been closed and its
// last user has left: a Close never pulls memory from under a running call.
type mapping struct {
	mem   []byte
	state atomic.Int64 // users, plus mapClosed and mapGone
	words []*wakeWord  // on which this side may sleep
}

// enter takes a use of the memory, or reports that it was closed.
func (m *mapping) enter() bool {
	if m.state.Add(1)&mapClosed != 0 {
		m.leave()
		return false
	}
	return true
}

// leave gives a use back.
func (m *mapping) leave() {
	if m.state.Add(-1) == mapClosed {
		m.unmap()
	}
}

// unmap frees the memory if nobody uses it and nobody has freed it.
func (m *mapping) unmap() {
	if m.state.CompareAndSwap(mapClosed, mapClosed|mapGone) {
		unmapMemory(m.mem)
	}
}

// close turns new users away and wakes those that wait.
func (m *mapping) close() {
	if !m.enter() {
		return
	}
	m.state.Or(mapClosed)
	for _, w := range m.words {
		w.force()
	}
	m.leave()
}

// closed reports whether the mapping was closed.
func (m *mapping) closed() bool { return m.state.Load()&mapClosed != 0 }

// wakeWord lets one waiter in one process sleep until a peer in another has
// something. The peer pays one load while nobody waits.
//
//	off size field
//	  0    4 waiting: 1 while the waiter sleeps or is about to
//	  4    4 futex: counts the calls that woke it
//
// Neither is trusted: a peer that scribbles here can make the waiter wake for
// nothing or sleep for its slice, no more.
type wakeWord struct {
	waiting atomic.Uint32
	futex   atomic.Uint32
}

// waitSlice bounds one sleep, whatever a peer does to the futex word.
const waitSlice = 100 * time.Millisecond

// wake wakes the waiter if it says that it waits. The caller has stored what
// the waiter looks for before; both stores and loads are sequentially
// consistent, so either the waiter sees the news or the caller sees the flag.
func (w *wakeWord) wake() {
	if w.waiting.Load() != 0 {
		w.waiting.Store(0)
		w.force()
	}
}

// force wakes the waiter whatever it says.
func (w *wakeWord) force() {
	w.futex.Add(1)
	futexWake(&w.futex)
}

// sleep waits at most for the smaller of d and waitSlice. The caller has
// called arm, looked again for news and found none since.
func (w *wakeWord) sleep(seen uint32, d time.Duration) {
	futexWait(&w.futex, seen, min(d, waitSlice))
	w.waiting.Store(0)
}

// arm announces a wait and returns what to give to sleep.
func (w *wakeWord) arm() uint32 {
	seen := w.futex.Load()
	w.waiting.Store(1)
	return seen
}

// disarm takes the announcement back.
func (w *wakeWord) disarm() { w.waiting.Store(0) }

// validCapacity reports whether n records may form a ring.
func validCapacity(n uint64) bool { return n >= 2 && n <= MaxCapacity && n&(n-1) == 0 }
