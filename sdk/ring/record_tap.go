package ring

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Tap is the end of a record ring for an exporter of raw records. It holds
// nothing up: when it lags, records are lost to it, and counted. One goroutine
// uses it; Wake and Close may be called from others.
type Tap struct {
	recordMap
	fence
	own     *tapHeader
	pos     uint64
	judged  uint64
	lost    uint64
	woken   atomic.Bool
	corrupt *CorruptError
}

// OpenTap maps a record ring for tap number tap, from 0. It starts with the
// records judged from now on. The file stays the caller's and may be closed at
// once.
func OpenTap(f *os.File, tap int) (*Tap, error) {
	r, err := openRecordMap(f)
	if err != nil {
		return nil, err
	}
	if n := r.h.taps; n > MaxTaps || tap < 0 || tap >= int(n) {
		r.m.close()
		return nil, fmt.Errorf("open record ring: there is no tap %d among %d", tap, n)
	}
	t := &Tap{recordMap: r, own: &r.h.tap[tap], pos: r.h.judged.Load()}
	r.m.words = []*wakeWord{&t.own.records}
	t.judged = t.pos
	t.own.cursor.Store(t.pos)
	return t, nil
}

// Next copies up to len(dst) judged records, whatever their verdict, into dst.
// It returns how many, and how many before these were lost since the last
// call.
func (t *Tap) Next(dst []traffic.Record) (n int, lost uint64, err error) {
	if !t.m.enter() {
		return 0, 0, ErrClosed
	}
	defer t.m.leave()
	avail, lost, err := t.available()
	if err != nil {
		return 0, lost, err
	}
	n = int(min(avail, t.capacity, uint64(len(dst))))
	t.copyOut(dst[:n], t.pos)
	for i := range dst[:n] {
		if isSampled(dst[i].Verdict) {
			t.settleRate(&dst[i], t.pos+uint64(i))
		}
	}
	t.order()
	// What the capture may have begun to write over since is not to be used.
	over := t.overrun(n)
	copy(dst, dst[over:n])
	t.pos += uint64(over)
	lost += uint64(over)
	n -= over
	for i := range n {
		word := tagWord(&dst[i])
		if *word&^dataMask != tagOf(t.pos+uint64(i)) {
			t.corrupt = &CorruptError{What: "a record does not carry its position", Value: *word >> tagShift, Bound: tagOf(t.pos+uint64(i)) >> tagShift}
			return 0, lost, t.corrupt
		}
		*word &= dataMask
	}
	t.pos += uint64(n)
	t.lost += lost
	t.own.cursor.Store(t.pos)
	t.own.lost.Store(t.lost)
	return n, lost, nil
}

// overrun returns how many of the n records from pos on may be torn.
func (t *Tap) overrun(n int) int {
	ahead := t.h.reserved.Load() - t.pos
	if ahead <= t.capacity {
		return 0
	}
	return int(min(ahead-t.capacity, uint64(n)))
}

// available moves the tap on if it was lapped, and returns how many records
// are there to copy and how many were lost.
func (t *Tap) available() (avail, lost uint64, err error) {
	if t.corrupt != nil {
		return 0, 0, t.corrupt
	}
	judged := t.h.judged.Load()
	reserved := t.h.reserved.Load()
	switch {
	case judged < t.judged:
		t.corrupt = &CorruptError{What: "the judged position went backwards", Value: judged, Bound: t.judged}
	case judged > reserved:
		t.corrupt = &CorruptError{What: "the judged position is beyond what was written", Value: judged, Bound: reserved}
	}
	if t.corrupt != nil {
		return 0, 0, t.corrupt
	}
	t.judged = judged
	if reserved-t.pos > t.capacity {
		// To the middle of what is left, or it would be lapped again at once.
		to := max(t.pos, min(judged, reserved-t.capacity/2))
		lost = to - t.pos
		t.pos = to
	}
	return judged - t.pos, lost, nil
}

// Lost is the number of records lost to this tap so far.
func (t *Tap) Lost() uint64 { return t.lost }

// Wait returns true as soon as Next has something, and false after the
// timeout, after Wake, or early for no reason.
func (t *Tap) Wait(timeout time.Duration) (bool, error) {
	if !t.m.enter() {
		return false, ErrClosed
	}
	defer t.m.leave()
	if t.corrupt != nil {
		return false, t.corrupt
	}
	seen := t.own.records.arm()
	if t.h.judged.Load() != t.pos || t.woken.Swap(false) || t.m.closed() {
		t.own.records.disarm()
		return t.h.judged.Load() != t.pos, nil
	}
	t.own.records.sleep(seen, timeout)
	t.woken.Store(false)
	return t.h.judged.Load() != t.pos, nil
}

// Wake makes the current Wait return, or else the next one.
func (t *Tap) Wake() {
	t.woken.Store(true)
	if t.m.enter() {
		t.own.records.force()
		t.m.leave()
	}
}

// Close ends the ring on this side: a running Wait returns, and the memory
// goes when the last call has left it.
func (t *Tap) Close() error {
	t.m.close()
	return nil
}
