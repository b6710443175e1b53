package feed

import (
	"math"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// waitStep bounds every wait, so that a stop is noticed.
const waitStep = 10 * time.Millisecond

// sink is where a worker's flushes go: a ring, a stream, or nowhere yet.
type sink struct {
	ring   *ring.DeltaWriter
	stream *stream
	block  bool // replay: wait for room instead of merging
	stop   func() bool
}

func (s *sink) free() int {
	switch {
	case s.ring != nil:
		return s.ring.Free()
	case s.stream != nil:
		return s.stream.free()
	}
	return 0
}

// Free implements count.Sink. A sink that blocks has room for anything.
func (s *sink) Free() int {
	if s.block {
		return math.MaxInt32
	}
	return s.free()
}

// Write implements count.Sink.
func (s *sink) Write(batch []ring.Delta) int {
	switch {
	case s.ring != nil && s.block:
		n, _ := s.ring.WriteBlocking(s.stop, batch)
		return n
	case s.ring != nil:
		return s.ring.Write(batch)
	case s.stream != nil:
		return s.stream.write(batch, s.block, s.stop)
	}
	return 0
}

// ready reports whether there is anything to write to. In replay nothing may
// get lost, so it waits for that.
func (s *sink) ready() bool { return s.ring != nil || s.stream != nil }

func (s *sink) generation() uint32 {
	switch {
	case s.ring != nil:
		return s.ring.Generation()
	case s.stream != nil:
		return s.stream.generation
	}
	return 0
}

// tell publishes the worker's accounts beside the ring.
func (s *sink) tell(t *count.Table, now int64) {
	if s.ring == nil {
		return
	}
	l := t.Totals()
	s.ring.SetStats(ring.Stats{
		Received: l.Received, Counted: l.Counted, Dropped: l.Dropped,
		Rows: uint64(t.Dirty()), Folded: l.Folded, Heartbeat: uint64(now),
	})
}
