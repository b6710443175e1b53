package ring

import "time"

// gateStage is what the producer knows of a stage. Nothing in it is taken
// from shared memory unchecked.
type gateStage struct {
	h        *stageHeader
	mode     OnFailure
	read     uint64 // cursor, as read in this pass
	seen     uint64 // cursor, as last accepted
	passed   uint64 // how far the stage has got
	floor    uint64 // how far we went on without it
	arrived  uint64 // how far records have come to it, as last noted
	overrun  uint64
	detached bool // passed over until its cursor reaches floor
	corrupt  *CorruptError
	marks    [64]arrival // records that wait for it, in order, a ring
	first, n int
}

// arrival says that the records before pos are overdue at a time.
type arrival struct {
	pos uint64
	due time.Duration
}

// advanceGate looks at every stage and moves the gate behind the last.
func (w *RecordWriter) advanceGate() {
	// The last stage's cursor is read first: read the other way, it could have
	// followed a stage before it past the value just read of that one.
	for i := len(w.stages) - 1; i >= 0; i-- {
		w.stages[i].read = w.stages[i].h.cursor.Load()
	}
	var now time.Duration
	if w.patience > 0 && len(w.stages) > 0 {
		now = w.now()
	}
	gate := w.head
	for i := range w.stages {
		s := &w.stages[i]
		s.follow(gate, w.head)
		if w.patience > 0 && s.mode != Stop && !s.detached && s.overdue(gate, now, w.patience) {
			s.detached = true
		}
		if s.detached && s.passed < gate && (s.mode != Stop && (w.patience > 0 || s.corrupt != nil)) {
			w.passOver(i, gate)
		}
		gate = s.passed
	}
	if gate == w.gate {
		return
	}
	w.gate = gate
	w.h.judged.Store(gate)
	for i := range w.taps {
		w.h.tap[i].records.wake()
	}
}

// follow takes over the stage's cursor, as far as it can be true.
func (s *gateStage) follow(gate, head uint64) {
	if s.corrupt != nil {
		return
	}
	switch {
	case s.read > head:
		s.fail("a filter's cursor is beyond head", s.read, head)
		return
	case s.read < s.seen:
		s.fail("a filter's cursor went backwards", s.read, s.seen)
		return
	}
	s.seen = s.read
	if s.read < s.floor {
		return
	}
	if s.detached {
		s.detached = false
		s.n, s.arrived = 0, s.passed
	}
	// Beyond the gate it can be only if a stage before it took a step back.
	s.passed = max(s.passed, min(s.read, gate))
}

func (s *gateStage) fail(what string, value, bound uint64) {
	s.corrupt = &CorruptError{What: what, Value: value, Bound: bound}
	s.detached = true
}

// overdue notes what has come to the stage and reports whether it has let
// something wait for too long.
func (s *gateStage) overdue(gate uint64, now, patience time.Duration) bool {
	const size = len(s.marks)
	for s.n > 0 && s.marks[s.first].pos <= s.passed {
		s.first = (s.first + 1) % size
		s.n--
	}
	// Arrivals within a quantum share a mark, so that the marks suffice.
	quantum := patience / 32
	if gate > s.arrived && gate > s.passed {
		last := &s.marks[(s.first+s.n+size-1)%size]
		if s.n > 0 && (now < last.due-patience || s.n == size) {
			last.pos = gate
		} else {
			s.marks[(s.first+s.n)%size] = arrival{pos: gate, due: now + patience + quantum}
			s.n++
		}
	}
	s.arrived = max(s.arrived, gate)
	return s.n > 0 && now >= s.marks[s.first].due
}

// passOver goes on without stage i up to the gate.
func (w *RecordWriter) passOver(i int, gate uint64) {
	s := &w.stages[i]
	if s.mode == Drop {
		for pos := s.passed; pos < gate; pos++ {
			slot := pos & (w.capacity - 1)
			w.failed[slot/64] |= 1 << (slot % 64)
		}
	}
	s.overrun += gate - s.passed
	s.passed, s.floor = gate, gate
	s.h.floor.Store(gate)
	if i+1 < len(w.stages) {
		w.stages[i+1].h.records.wake()
	}
}

// untilOverdue shortens a wait to the time when the next record is overdue.
func (w *RecordWriter) untilOverdue(d time.Duration) time.Duration {
	if w.patience <= 0 {
		return d
	}
	now := w.now()
	for i := range w.stages {
		if s := &w.stages[i]; s.n > 0 && !s.detached && s.mode != Stop {
			d = min(d, max(s.marks[s.first].due-now, time.Microsecond))
		}
	}
	return d
}
