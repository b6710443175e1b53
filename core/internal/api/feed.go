package api

import (
	"sync"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// feedLength is how many events wait for a subscriber that does not keep up.
// Subscribers that are behind hold the same events: the newest ones.
const feedLength = 1024

// feed hands events on to subscribers. Publishing never waits for one.
type feed struct {
	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
}

// subscriber is one stream's bounded queue.
type subscriber struct {
	wake chan struct{} // holds a token while there is something to take

	mu    sync.Mutex
	queue [feedLength]*sdk.Event
	first int // index of the oldest
	n     int
	lost  uint64 // events lost right before the oldest
}

func newFeed() *feed { return &feed{subscribers: map[*subscriber]struct{}{}} }

// publish queues an event for every subscriber; each that has no room loses its
// oldest one.
func (f *feed) publish(e sdk.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subscribers {
		s.push(&e)
	}
}

// subscribe returns nil when there are too many subscribers already.
func (f *feed) subscribe() *subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subscribers) >= maxSubscribers {
		return nil
	}
	s := &subscriber{wake: make(chan struct{}, 1)}
	f.subscribers[s] = struct{}{}
	return s
}

func (f *feed) unsubscribe(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subscribers, s)
}

func (s *subscriber) push(e *sdk.Event) {
	s.mu.Lock()
	if s.n == feedLength {
		s.first = (s.first + 1) % feedLength
		s.n--
		s.lost++
	}
	s.queue[(s.first+s.n)%feedLength] = e
	s.n++
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest event and how many were lost right before it; nil
// when there is none.
func (s *subscriber) take() (e *sdk.Event, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return nil, 0
	}
	e, lost = s.queue[s.first], s.lost
	s.queue[s.first] = nil
	s.first = (s.first + 1) % feedLength
	s.n--
	s.lost = 0
	return e, lost
}
