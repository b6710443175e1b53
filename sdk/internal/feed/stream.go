package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const (
	streamRoom  = 1 << 14 // deltas that wait to be sent
	streamBatch = 1024    // deltas in one message
)

// stream carries deltas where there is no shared memory.
type stream struct {
	generation uint32
	mu         sync.Mutex
	waiting    []ring.Delta
	closed     bool
	data, room chan struct{} // each holds at most one signal
	over       chan struct{} // closed when nothing more will be sent
}

func newStream(generation uint32) *stream {
	return &stream{generation: generation, data: make(chan struct{}, 1), room: make(chan struct{}, 1), over: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *stream) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return streamRoom - len(s.waiting)
}

// write queues deltas; with block it waits for room until stop says no.
func (s *stream) write(batch []ring.Delta, block bool, stop func() bool) int {
	done := 0
	for {
		s.mu.Lock()
		n := min(len(batch)-done, streamRoom-len(s.waiting))
		if s.closed {
			n = 0
		}
		s.waiting = append(s.waiting, batch[done:done+n]...)
		closed := s.closed
		s.mu.Unlock()
		done += n
		signal(s.data)
		if done == len(batch) || !block || closed || stop() {
			return done
		}
		select {
		case <-s.room:
		case <-time.After(waitStep):
		}
	}
}

// take moves up to streamBatch deltas out of the queue as bytes.
func (s *stream) take(dst []byte) []byte {
	s.mu.Lock()
	n := min(len(s.waiting), streamBatch)
	dst = ring.AppendDeltas(dst, s.waiting[:n])
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	s.mu.Unlock()
	signal(s.room)
	return dst
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.data)
	signal(s.room)
}

// Stream sends a worker's flushes, as bytes of the ring's records, until ctx
// is done, sending fails, the worker has sent its last flush, or another
// Stream or Attach takes its place. What was queued and not sent is lost.
func (rt *Runtime) Stream(ctx context.Context, worker int, generation uint32, send func([]byte) error) error {
	if worker < 0 || worker >= len(rt.writers) {
		return fmt.Errorf("stream: there is no worker %d; the capture has %d", worker, len(rt.writers))
	}
	s := newStream(generation)
	defer close(s.over)
	if err := rt.writers[worker].attach(sink{stream: s}, nil, false); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	rt.attached()
	defer s.close()
	var buf []byte
	for {
		s.mu.Lock()
		over := s.closed
		s.mu.Unlock()
		buf = s.take(buf[:0])
		if len(buf) > 0 {
			if err := send(buf); err != nil {
				return err
			}
			continue
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.data:
		}
	}
}
