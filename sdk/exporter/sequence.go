package exporter

import "sync"

const (
	spaces    = 4       // sequence spaces told apart at one source
	nearby    = 64      // datagrams by which one may come late
	gapLimit  = 1 << 28 // units: a jump ahead of less is a gap once it is confirmed
	direct    = 1 << 16 // units: a jump ahead of less is a gap at once
	proven    = 8       // datagrams in order that make a space more than a stray
	spaceIdle = minute  // a space that was silent for so long is over
)

// sequence follows the sequence numbers of one exporter: gaps are datagrams
// that were lost on the way here, and jumps restarts of the exporter or a
// second exporter that looks like the same one.
type sequence struct {
	mu      sync.Mutex
	at      [spaces]space
	current int
	used    int

	lost      uint64 // units that never came
	late      uint64 // datagrams that came out of order
	restarts  uint64
	several   bool  // two spaces are in use at once
	severalAt int64 // when that was last seen
}

// space is one run of sequence numbers.
type space struct {
	begun uint32 // the first number
	next  uint32 // the number expected
	hits  uint32 // datagrams in order
	last  int64
	known bool // it has been the current one: coming back to it is no restart
	// What was made of it when it followed another space; taken back when the
	// other one goes on.
	jump    uint32
	restart bool
}

// Sequence tells the sequence number that a datagram carries and by how much
// the next one is higher: the number of records in v5 and IPFIX, 1 in v9 and
// sFlow. Gaps are counted in these units; a datagram that comes late takes its
// part of a gap back.
func (e *Exporter) Sequence(number, advance uint32) {
	now := e.seen.Load() // Datagram has just been called: fine enough, and cheaper than a clock
	q := &e.seq
	q.mu.Lock()
	several := q.see(number, advance, now)
	q.mu.Unlock()
	if several {
		e.warn(causeSpaces, "more than one sequence space arrives from one source: two exporters behind an address translation or a replicator look like one; "+
			"give each its own source port, domain or agent address", nil)
	}
}

// see takes a datagram and reports whether several spaces are in use.
func (q *sequence) see(number, advance uint32, now int64) (several bool) {
	near, ahead := -1, uint32(direct)
	for i := range q.at[:q.used] {
		switch d := number - q.at[i].next; {
		case d == 0:
			return q.inOrder(i, advance, now)
		case d < ahead:
			near, ahead = i, d
		}
	}
	if near >= 0 {
		s := &q.at[near]
		q.lost += uint64(ahead)
		s.next, s.last = number+advance, now
		return false
	}
	for i := range q.at[:q.used] {
		if q.at[i].next-number <= nearby*max(advance, 1) {
			q.late++
			q.lost -= min(q.lost, uint64(advance))
			return false
		}
	}
	q.begin(number, advance, now)
	return false
}

// begin remembers a datagram that follows no other: the next one shows what it
// is. The space that has been silent for longest makes room.
func (q *sequence) begin(number, advance uint32, now int64) {
	i := q.used
	if i < spaces {
		q.used++
	} else {
		i = (q.current + 1) % spaces
		for k := range q.at {
			if k != q.current && q.at[k].last < q.at[i].last {
				i = k
			}
		}
	}
	q.at[i] = space{begun: number, next: number + advance, hits: 1, last: now, known: q.used == 1}
}

// inOrder takes a datagram that continues space i.
func (q *sequence) inOrder(i int, advance uint32, now int64) (several bool) {
	s, was := &q.at[i], &q.at[q.current]
	s.next += advance
	s.last = now
	s.hits++
	if i == q.current {
		return false
	}
	if !s.known {
		// Two in a row that do not follow the old space: a long gap, or the
		// exporter has started again.
		if gap := s.begun - was.next; gap < gapLimit {
			q.lost += uint64(gap)
			s.jump = gap
		} else {
			q.restarts++
			s.restart = true
		}
		s.known = true
	} else {
		if now-was.last < spaceIdle && s.hits >= proven && was.hits >= proven {
			q.several, q.severalAt, several = true, now, true
		}
		q.takeBack(was)
	}
	q.current = i
	return several
}

// takeBack undoes what was made of a space that is one of several.
func (q *sequence) takeBack(s *space) {
	q.lost -= min(q.lost, uint64(s.jump))
	if s.restart && q.restarts > 0 {
		q.restarts--
	}
	s.jump, s.restart = 0, false
}
