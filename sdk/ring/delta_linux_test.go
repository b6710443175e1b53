package ring

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func newDelta(tb testing.TB, capacity int) *DeltaRing {
	tb.Helper()
	r, err := CreateDelta("test", capacity, 7)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

func newDeltaPair(tb testing.TB, capacity int) (*DeltaRing, *DeltaWriter) {
	tb.Helper()
	r := newDelta(tb, capacity)
	w, err := OpenDelta(r.File())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.Close() })
	return r, w
}

// stamp fills every word of a delta from its number, so that a torn or stale
// one shows.
func stamp(d *Delta, n uint64) {
	words := (*[DeltaSize / 8]uint64)(unsafe.Pointer(d))
	for i := range words {
		words[i] = (n + 1) * (0x9e3779b97f4a7c15 + uint64(i)*2)
	}
}

func stamped(d *Delta, n uint64) bool {
	words := (*[DeltaSize / 8]uint64)(unsafe.Pointer(d))
	for i := range words {
		if words[i] != (n+1)*(0x9e3779b97f4a7c15+uint64(i)*2) {
			return false
		}
	}
	return true
}

func TestDeltaWrapsAround(t *testing.T) {
	r, w := newDeltaPair(t, 8)
	if w.Generation() != 7 || w.Capacity() != 8 || r.Capacity() != 8 || r.Generation() != 7 {
		t.Fatalf("writer: generation %d, capacity %d", w.Generation(), w.Capacity())
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var written, read uint64
	buf := make([]Delta, 16)
	for read < 10000 {
		n := rng.IntN(12)
		for i := range n {
			stamp(&buf[i], written+uint64(i))
		}
		want := min(n, 8-int(written-read))
		if got := w.Write(buf[:n]); got != want {
			t.Fatalf("Write of %d with %d in the ring = %d, want %d", n, written-read, got, want)
		}
		written += uint64(want)
		if free := w.Free(); free != 8-int(written-read) {
			t.Fatalf("Free = %d with %d in the ring", free, written-read)
		}
		n = rng.IntN(12)
		got, err := r.Read(buf[:n])
		if err != nil || got != min(n, int(written-read)) {
			t.Fatalf("Read into %d with %d in the ring = %d, %v", n, written-read, got, err)
		}
		for i := range got {
			if !stamped(&buf[i], read+uint64(i)) {
				t.Fatalf("delta %d is not what was written", read+uint64(i))
			}
		}
		read += uint64(got)
	}
}

func TestDeltaReserve(t *testing.T) {
	r, w := newDeltaPair(t, 8)
	buf := make([]Delta, 8)
	var n uint64
	for _, want := range []int{5, 3, 5, 3} { // the ring's end cuts the second
		view := w.Reserve(5)
		if len(view) != want {
			t.Fatalf("Reserve(5) = %d slots, want %d", len(view), want)
		}
		if got, err := r.Read(buf); got != 0 || err != nil {
			t.Fatalf("Read before Publish = %d, %v", got, err)
		}
		for i := range view {
			stamp(&view[i], n+uint64(i))
		}
		w.Publish(len(view))
		if got, err := r.Read(buf); got != want || err != nil || !stamped(&buf[0], n) {
			t.Fatalf("Read = %d, %v", got, err)
		}
		n += uint64(want)
	}
	w.Reserve(8)
	w.Publish(0)
	if got, _ := r.Read(buf); got != 0 {
		t.Fatalf("%d deltas after Publish(0)", got)
	}
	// A view outlives Close until it is published.
	view := w.Reserve(8)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	stamp(&view[7], 1)
	w.Publish(8)
	if w.Reserve(1) != nil || w.Write(buf) != 0 || !errors.Is(w.Err(), ErrClosed) {
		t.Error("a closed writer still writes")
	}
	if got, err := r.Read(buf); got != 8 || err != nil {
		t.Errorf("Read after the writer closed = %d, %v", got, err)
	}
}

// TestDeltaTwoGoroutines moves deltas through blocking writes and waits.
func TestDeltaTwoGoroutines(t *testing.T) {
	r, w := newDeltaPair(t, 64)
	const total = 200_000
	var writer sync.WaitGroup
	writer.Go(func() {
		batch := make([]Delta, 50)
		for n := uint64(0); n < total; n += uint64(len(batch)) {
			for i := range batch {
				stamp(&batch[i], n+uint64(i))
			}
			if got, err := w.WriteBlocking(func() bool { return false }, batch); got != len(batch) || err != nil {
				t.Errorf("WriteBlocking = %d, %v", got, err)
				return
			}
		}
	})
	buf := make([]Delta, 100)
	for n := uint64(0); n < total; {
		if _, err := r.Wait(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		got, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !stamped(&buf[i], n) {
				t.Fatalf("delta %d is not what was written", n)
			}
			n++
		}
	}
	writer.Wait()
}

func TestWriteBlockingEnds(t *testing.T) {
	_, w := newDeltaPair(t, 8)
	batch := make([]Delta, 12)
	var asked atomic.Int32
	if n, err := w.WriteBlocking(func() bool { return asked.Add(1) > 2 }, batch); n != 8 || err != nil {
		t.Errorf("stopped WriteBlocking = %d, %v; want 8 written", n, err)
	}
	done := make(chan error)
	started := make(chan bool, 1)
	go func() {
		_, err := w.WriteBlocking(func() bool {
			select {
			case started <- true:
			default:
			}
			return false
		}, batch)
		done <- err
	}()
	<-started
	_ = w.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("WriteBlocking on a closed ring: %v", err)
	}
}

func TestDeltaWaitEnds(t *testing.T) {
	r, w := newDeltaPair(t, 8)
	if ready, err := r.Wait(time.Millisecond); ready || err != nil {
		t.Errorf("Wait on an empty ring = %v, %v", ready, err)
	}
	r.Wake() // before the Wait
	if ready, err := r.Wait(time.Minute); ready || err != nil {
		t.Errorf("Wait after Wake = %v, %v", ready, err)
	}
	type result struct {
		ready bool
		err   error
	}
	results := make(chan result)
	wait := func() {
		ready, err := r.Wait(time.Minute)
		results <- result{ready, err}
	}
	asleep := func() {
		for r.h.data.waiting.Load() == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	go wait()
	asleep()
	w.Write(make([]Delta, 1))
	if got := <-results; !got.ready || got.err != nil {
		t.Errorf("Wait with a delta = %+v", got)
	}
	if _, err := r.Read(make([]Delta, 1)); err != nil {
		t.Fatal(err)
	}
	go wait()
	asleep()
	r.Wake()
	if got := <-results; got.ready || got.err != nil {
		t.Errorf("Wait ended by Wake = %+v", got)
	}
	go wait()
	asleep()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := <-results; !errors.Is(got.err, ErrClosed) {
		t.Errorf("Wait ended by Close = %+v", got)
	}
	if _, err := r.Read(make([]Delta, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	r.Wake()
	if r.Stats() != (Stats{}) || r.Close() != nil || r.m.state.Load() != mapClosed|mapGone {
		t.Error("a closed ring is not gone")
	}
}

func TestDeltaStats(t *testing.T) {
	r, w := newDeltaPair(t, 8)
	want := Stats{Received: 1, Counted: 2, Dropped: 3, Rows: 4, Folded: 5, Heartbeat: 6}
	w.SetStats(want)
	if got := r.Stats(); got != want {
		t.Errorf("Stats = %+v", got)
	}
}

func TestDeltaHostileHead(t *testing.T) {
	for _, c := range []struct {
		name string
		head uint64
	}{
		{"too far", 9}, {"behind tail", 1}, {"backwards", 3}, {"huge", 1 << 63}, {"all ones", 1<<64 - 1}, {"zero", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w := newDeltaPair(t, 4)
			buf := make([]Delta, 2)
			w.Write(make([]Delta, 4))
			if n, err := r.Read(buf); n != 2 || err != nil {
				t.Fatal(n, err)
			}
			r.h.head.Store(c.head)
			if _, err := r.Wait(0); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Wait: %v", err)
			}
			r.h.head.Store(4)
			_, err := r.Read(buf)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Value != c.head || corrupt.Ring != "test" {
				t.Errorf("Read after the head was mended: %v, want the first error for good", err)
			}
		})
	}
}

func TestDeltaHostileTail(t *testing.T) {
	for _, tail := range []uint64{0, 1, 7, 1 << 63, 1<<64 - 1} {
		t.Run(strconv.FormatUint(tail, 10), func(t *testing.T) {
			r, w := newDeltaPair(t, 4)
			w.Write(make([]Delta, 4))
			if _, err := r.Read(make([]Delta, 2)); err != nil {
				t.Fatal(err)
			}
			if w.Write(make([]Delta, 2)) != 2 { // reads tail 2; head is 6
				t.Fatal("no room")
			}
			r.h.tail.Store(tail)
			if n := w.Write(make([]Delta, 1)); n != 0 || !errors.Is(w.Err(), ErrCorrupt) {
				t.Errorf("Write = %d, Err = %v", n, w.Err())
			}
			if n, err := w.WriteBlocking(func() bool { return false }, make([]Delta, 1)); n != 0 || !errors.Is(err, ErrCorrupt) {
				t.Errorf("WriteBlocking = %d, %v", n, err)
			}
			if w.Reserve(1) != nil || w.Free() != 0 {
				t.Error("a corrupt ring has room")
			}
		})
	}
}

func TestOpenDeltaRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(h *deltaHeader)
	}{
		{"magic", func(h *deltaHeader) { h.magic++ }},
		{"abi", func(h *deltaHeader) { h.abi++ }},
		{"record size", func(h *deltaHeader) { h.recordSize = 64 }},
		{"capacity 0", func(h *deltaHeader) { h.capacity = 0 }},
		{"capacity odd", func(h *deltaHeader) { h.capacity = 7 }},
		{"capacity other", func(h *deltaHeader) { h.capacity = 16 }},
		{"capacity huge", func(h *deltaHeader) { h.capacity = 1 << 63 }},
		{"tail", func(h *deltaHeader) { h.tail.Store(1) }},
		{"head", func(h *deltaHeader) { h.head.Store(9) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newDelta(t, 8)
			c.spoil(r.h)
			if w, err := OpenDelta(r.File()); err == nil {
				t.Errorf("OpenDelta = %+v", w)
			}
		})
	}
	unsealed, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(unsealed), "unsealed")
	defer f.Close()
	if err := f.Truncate(headerSize + 8*DeltaSize); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDelta(f); err == nil {
		t.Error("OpenDelta took memory that can shrink")
	}
	for _, capacity := range []int{-8, 0, 1, 6, MaxCapacity * 2} {
		if _, err := CreateDelta("bad", capacity, 1); err == nil {
			t.Errorf("CreateDelta took capacity %d", capacity)
		}
	}
	r := newDelta(t, 8)
	if err := r.File().Truncate(0); err == nil {
		t.Error("a ring can shrink")
	}
}

// TestCloseUnderLoad closes both ends while they are in use from everywhere:
// the memory goes when the last call has left, not before.
func TestCloseUnderLoad(t *testing.T) {
	for range 50 {
		r, w := newDeltaPair(t, 16)
		var all sync.WaitGroup
		started := make(chan bool, 3)
		busy := func(step func() error) {
			all.Go(func() {
				started <- true
				for {
					if err := step(); errors.Is(err, ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		buf, batch := make([]Delta, 7), make([]Delta, 5)
		busy(func() error { _, err := r.Read(buf); return err })
		busy(func() error { _, err := r.Wait(time.Minute); return err })
		busy(func() error { _, err := w.WriteBlocking(func() bool { return false }, batch); return err })
		for range 3 {
			<-started
		}
		all.Go(func() { _ = r.Close() })
		all.Go(func() { _ = w.Close() })
		all.Wait()
		if a, b := r.m.state.Load(), w.m.state.Load(); a != mapClosed|mapGone || b != mapClosed|mapGone {
			t.Fatalf("memory is left: %#x, %#x", a, b)
		}
	}
}
