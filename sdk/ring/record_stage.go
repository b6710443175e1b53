package ring

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// fence orders plain reads of records before a later look at a cursor: an
// atomic read-modify-write does, where an atomic load alone would not on
// arm64.
type fence struct{ word atomic.Uint32 }

func (f *fence) order() { f.word.Add(1) }

// Stage is a filter's end of a record ring. One goroutine uses it; Wake and
// Close may be called from others.
type Stage struct {
	recordMap
	fence
	index   int
	own     *stageHeader
	next    *wakeWord // of whoever waits for us
	pos     uint64
	out     []traffic.Record
	before  []judgement // of what was given
	given   int
	passed  uint64
	woken   atomic.Bool
	corrupt *CorruptError
}

// OpenStage maps a record ring for filter number stage, from 0. It goes on
// where the last holder of this stage stopped, or where the capture has gone
// on without it. The file stays the caller's and may be closed at once.
func OpenStage(f *os.File, stage int) (*Stage, error) {
	r, err := openRecordMap(f)
	if err != nil {
		return nil, err
	}
	if n := r.h.stages; n > MaxStages || stage < 0 || stage >= int(n) {
		r.m.close()
		return nil, fmt.Errorf("open record ring: there is no stage %d among %d", stage, n)
	}
	s := &Stage{recordMap: r, index: stage, own: &r.h.stage[stage]}
	r.m.words = []*wakeWord{&s.own.records}
	s.next = &r.h.verdicts
	if next := stage + 1; next < int(r.h.stages) && next < MaxStages {
		s.next = &r.h.stage[next].records
	}
	s.pos = s.own.passed()
	if head := r.h.head.Load(); s.pos > head {
		r.m.close()
		return nil, &CorruptError{What: "a filter's cursor is beyond head", Value: s.pos, Bound: head}
	}
	s.own.cursor.Store(s.pos)
	s.out = make([]traffic.Record, min(judgedBatch, r.capacity))
	s.before = make([]judgement, len(s.out))
	return s, nil
}

// judgement is what a stage may change of a record.
type judgement struct {
	class   uint64
	rate    uint32
	verdict traffic.Verdict
}

// changed tells whether there is anything to write of a record: most that
// pass need no look at their slot.
func (j *judgement) changed(r *traffic.Record) bool {
	return r.Verdict != j.verdict || r.Class&^j.class != 0 || r.Sampling != j.rate
}

// Next returns up to max records to judge, oldest first; none when there are
// none. They are copies: fields other than Class, Verdict and Sampling may be
// changed without effect, and a Sampling other than 0 changes the packets and octets that
// the record counts for in proportion. They carry what the filters before wrote. Done ends
// the batch; without it the next call returns the same records again.
func (s *Stage) Next(max int) ([]traffic.Record, error) {
	if !s.m.enter() {
		return nil, ErrClosed
	}
	defer s.m.leave()
	s.given = 0
	if s.corrupt != nil {
		return nil, s.corrupt
	}
	for range cursorTries {
		limit, ok := s.limit()
		if !ok {
			return nil, s.corrupt
		}
		n := int(min(limit-s.pos, uint64(max), uint64(len(s.out))))
		if n == 0 {
			return nil, nil
		}
		out := s.out[:n]
		s.copyOut(out, s.pos)
		s.order()
		if s.own.floor.Load() > s.pos {
			continue // passed over meanwhile: what was copied may be torn
		}
		if !s.checkTags(out) {
			return nil, s.corrupt
		}
		s.given = n
		return out, nil
	}
	return nil, nil
}

// cursorTries bounds how often a call starts again because it was passed over
// meanwhile. Honest captures do that once in a Patience.
const cursorTries = 8

// limit follows the floor and returns how far the stage may go; not ok after
// an impossible word.
func (s *Stage) limit() (uint64, bool) {
	for range cursorTries {
		floor := s.own.floor.Load()
		head := s.h.head.Load()
		switch {
		case floor > head:
			return 0, s.fail("a filter's floor is beyond head", floor, head)
		case head < s.pos:
			return 0, s.fail("head is behind a filter's cursor", head, s.pos)
		case floor > s.pos:
			s.passed += floor - s.pos
			s.pos = floor
			s.own.cursor.Store(floor)
		}
		if head-s.pos > s.capacity {
			if s.own.floor.Load() > s.pos {
				continue // passed over between the two loads
			}
			return 0, s.fail("head is more than the capacity ahead of a filter's cursor", head, s.pos)
		}
		limit := head
		for i := range s.index {
			limit = min(limit, s.h.stage[i].passed())
		}
		// A stage before us may step back only if it lies: the gate sees it.
		return max(limit, s.pos), true
	}
	return s.pos, true
}

// checkTags holds the copies against their positions and clears the tags.
func (s *Stage) checkTags(out []traffic.Record) bool {
	for i := range out {
		word := tagWord(&out[i])
		if *word&^dataMask != tagOf(s.pos+uint64(i)) {
			return s.fail("a record does not carry its position", *word>>tagShift, tagOf(s.pos+uint64(i))>>tagShift)
		}
		*word &= dataMask
		if isSampled(out[i].Verdict) {
			s.settleRate(&out[i], s.pos+uint64(i))
		}
		s.before[i] = judgement{out[i].Class, out[i].Sampling, out[i].Verdict}
	}
	return true
}

func (s *Stage) fail(what string, value, bound uint64) bool {
	s.corrupt = &CorruptError{What: what, Value: value, Bound: bound}
	return false
}

// Done writes the verdicts and classes of the first n records of the batch
// into the ring and lets them go on. Verdicts only add up: what one filter
// dropped stays dropped, classes are united. It panics when n is more than
// Next returned.
func (s *Stage) Done(n int) {
	if n < 0 || n > s.given {
		panic("ring: Done of more than Next returned")
	}
	s.given = 0
	if n == 0 || !s.m.enter() {
		return
	}
	defer s.m.leave()
	floor := s.own.floor.Load()
	for i := range n {
		pos := s.pos + uint64(i)
		if pos < floor || !s.before[i].changed(&s.out[i]) {
			continue // counted without us, or nothing to write
		}
		if !s.write(&s.out[i], s.before[i].rate, pos) {
			break // passed over meanwhile: so is the rest
		}
	}
	s.pos += uint64(n)
	s.own.cursor.Store(s.pos)
	s.next.wake()
}

// Forget takes back what was written into the records from … to-1 of the
// batch: each gets the verdict instead.
func (s *Stage) Forget(from, to int, verdict traffic.Verdict) {
	for i := max(from, 0); i < min(to, s.given); i++ {
		s.out[i].Class, s.out[i].Verdict, s.out[i].Sampling = 0, verdict, s.before[i].rate
	}
}

// write puts verdict, class and a changed sampling rate of r into the slot of
// pos, if the slot still holds that record.
func (s *Stage) write(r *traffic.Record, rate uint32, pos uint64) bool {
	slot := s.slot(pos)
	tag := atomicTag(slot)
	for range cursorTries { // a late verdict of a filter before may come between
		word := tag.Load()
		if word&^dataMask != tagOf(pos) {
			return false
		}
		if next := s.judge(slot, r, rate, pos, word); next == word || tag.CompareAndSwap(word, next) {
			return true
		}
	}
	return true
}

// judge writes class and sampling rate and returns the tag word that is to
// take the place of word.
func (s *Stage) judge(slot, r *traffic.Record, rate uint32, pos, word uint64) uint64 {
	if class := r.Class | slot.Class; class != slot.Class {
		slot.Class = class
	}
	verdict := r.Verdict
	if verdict > traffic.VerdictDrop && verdict != VerdictFailed {
		verdict = traffic.VerdictNone
	}
	have := traffic.Verdict(word >> verdictShift)
	mark := have & verdictSampled
	if have == VerdictFailed {
		mark = 0
	}
	if r.Sampling != rate && r.Sampling != 0 && have != VerdictFailed && verdict != VerdictFailed {
		s.recordMap.rates[pos&(s.capacity-1)].Store(tagOf(pos) | uint64(r.Sampling))
		mark = verdictSampled
	}
	verdict = max(verdict, have&^mark) | mark
	return word&^verdictMask | uint64(verdict)<<verdictShift
}

// PassedOver is the number of records that the capture took without this
// stage.
func (s *Stage) PassedOver() uint64 { return s.passed }

// Wait returns true as soon as Next has something, and false after the
// timeout, after Wake, or early for no reason.
func (s *Stage) Wait(timeout time.Duration) (bool, error) {
	if !s.m.enter() {
		return false, ErrClosed
	}
	defer s.m.leave()
	if s.corrupt != nil {
		return false, s.corrupt
	}
	seen := s.own.records.arm()
	limit, ok := s.limit()
	if !ok || limit > s.pos || s.woken.Swap(false) || s.m.closed() {
		s.own.records.disarm()
		if !ok {
			return false, s.corrupt
		}
		return limit > s.pos, nil
	}
	s.own.records.sleep(seen, timeout)
	s.woken.Store(false)
	limit, ok = s.limit()
	if !ok {
		return false, s.corrupt
	}
	return limit > s.pos, nil
}

// Wake makes the current Wait return, or else the next one.
func (s *Stage) Wake() {
	s.woken.Store(true)
	if s.m.enter() {
		s.own.records.force()
		s.m.leave()
	}
}

// Close ends the ring on this side: a running Wait returns, and the memory
// goes when the last call has left it.
func (s *Stage) Close() error {
	s.m.close()
	return nil
}
