package feed

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Bounds of what is copied for those who watch.
const (
	MaxWatches = 4096
	MaxSamples = 100_000 // of one watch
	maxFrame   = 2048    // octets of a frame; sdk.MaxFrame
	maxPending = 32 << 20
	perSlice   = 4 // a slice of time takes no more than this part of a watch's samples
	// FlowsPerSample is how many flow records count as one packet: most of
	// them tell of little, and one in a thousand may be the attack.
	FlowsPerSample = 8
	slice          = int64(100 * time.Millisecond)
	linkDefault    = int(traffic.LinkEthernet)
)

// WatchRequest asks for packets of a target.
type WatchRequest struct {
	Target   netip.Prefix // without host bits
	Incoming bool         // packets to it
	Outgoing bool         // packets from it
	Limit    int
	For      time.Duration // on the stream's clock; 0: until there are Limit
	Since    int64         // replay: Unix nanoseconds
}

// Sample is one packet of a target.
type Sample struct {
	Record  traffic.Record
	Link    int
	Data    []byte
	WireLen int
}

// Watch takes the next packets of a target out of what is committed.
type Watch struct {
	req  WatchRequest
	rt   *Runtime
	full atomic.Bool // nothing more is taken
	wake chan struct{}

	mu      sync.Mutex
	pending []Sample
	left    int   // of Limit, in parts that a flow record takes one of
	room    int   // of the slice, likewise
	until   int64 // end of the slice, on the stream's clock
	held    int64 // octets of pending frames
}

// FrameInfo says of what kind the frames are that Commit's callback gives: the
// link type (LINKTYPE_*) and the length on the wire, in octets, of the frame
// behind record i. Without it they are Ethernet frames of full length. Call it
// before the first Commit.
func (w *Writer) FrameInfo(info func(i int) (link, wire int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.info = info
}

// Watch begins to watch for a target. Close it in the end.
func (rt *Runtime) Watch(req WatchRequest) (*Watch, error) {
	switch {
	case !req.Target.IsValid() || req.Target != req.Target.Masked():
		return nil, fmt.Errorf("watch: %v is not a prefix without host bits", req.Target)
	case req.Limit < 1 || req.Limit > MaxSamples:
		return nil, fmt.Errorf("watch: %d samples; it must be 1 to %d", req.Limit, MaxSamples)
	}
	w := &Watch{req: req, rt: rt, wake: make(chan struct{}, 1), left: FlowsPerSample * req.Limit}
	rt.watchMu.Lock()
	defer rt.watchMu.Unlock()
	if len(rt.watches) >= MaxWatches {
		return nil, fmt.Errorf("watch: %d targets are watched already", MaxWatches)
	}
	rt.watches = append(rt.watches, w)
	rt.watching.Store(newWatchSet(rt.watches))
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() {
	w.full.Store(true)
	rt := w.rt
	rt.watchMu.Lock()
	defer rt.watchMu.Unlock()
	if i := slices.Index(rt.watches, w); i >= 0 {
		rt.watches = slices.Delete(rt.watches, i, i+1)
		if len(rt.watches) == 0 {
			rt.watching.Store(nil)
		} else {
			rt.watching.Store(newWatchSet(rt.watches))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	rt.held.Add(-w.held)
	w.pending, w.held = nil, 0
}

// Receive gives samples until there are as many as were asked for, their time
// is over, the input has ended or ctx is done, all of which are nil, or give
// fails.
func (w *Watch) Receive(ctx context.Context, give func(*Sample) error) error {
	var over <-chan time.Time
	if w.req.For > 0 && !w.rt.opts.Replay {
		timer := time.NewTimer(w.req.For)
		defer timer.Stop()
		over = timer.C
	}
	for {
		ended := w.full.Load() // before the last look
		batch := w.take()
		for i := range batch {
			if err := give(&batch[i]); err != nil {
				return err
			}
		}
		if len(batch) > 0 {
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		case <-over:
			w.full.Store(true)
		case <-w.rt.done:
			w.full.Store(true) // one more look
		}
	}
}

// take empties what is pending.
func (w *Watch) take() []Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.pending
	w.rt.held.Add(-w.held)
	w.pending, w.held = nil, 0
	return out
}

// offer takes a packet in, if there is room. now is the stream's clock.
func (w *Watch) offer(r *traffic.Record, i int, frame func(int) []byte, info func(int) (int, int), now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full.Load() {
		return
	}
	if w.rt.opts.Replay {
		if r.Time < w.req.Since {
			return
		}
		if w.req.For > 0 && r.Time-w.req.Since > int64(w.req.For) {
			w.full.Store(true)
			w.nudge()
			return
		}
	}
	if now >= w.until {
		w.until, w.room = now-now%slice+slice, FlowsPerSample*((w.req.Limit+perSlice-1)/perSlice)
	}
	cost := FlowsPerSample
	if r.Marks&traffic.MarkFlow != 0 {
		cost = 1
	}
	if w.room < cost {
		return
	}
	s := Sample{Record: *r}
	if frame != nil {
		w.copyFrame(&s, i, frame, info)
	}
	w.pending = append(w.pending, s)
	w.room -= cost
	if w.left -= cost; w.left < FlowsPerSample {
		w.full.Store(true)
	}
	w.nudge()
}

// copyFrame adds the packet's octets, unless too many wait already.
func (w *Watch) copyFrame(s *Sample, i int, frame func(int) []byte, info func(int) (int, int)) {
	data := frame(i)
	if len(data) == 0 || w.rt.held.Load() > maxPending {
		return
	}
	s.Link, s.WireLen = linkDefault, len(data)
	if info != nil {
		s.Link, s.WireLen = info(i)
	}
	s.Data = slices.Clone(data[:min(len(data), maxFrame)])
	w.held += int64(len(s.Data))
	w.rt.held.Add(int64(len(s.Data)))
}

func (w *Watch) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// sample hands packets of a batch to those who watch for them.
func (w *Writer) sample(batch []traffic.Record, frame func(int) []byte, set *watchSet) {
	for i := range batch {
		r := &batch[i]
		if set.in.any && set.in.maybe(&r.Dst) {
			w.hand(r, i, frame, set.in.find(&r.Dst))
		}
		if set.out.any && set.out.maybe(&r.Src) {
			w.hand(r, i, frame, set.out.find(&r.Src))
		}
	}
}

func (w *Writer) hand(r *traffic.Record, i int, frame func(int) []byte, to []*Watch) {
	for _, x := range to {
		if x.full.Load() {
			continue
		}
		now := r.Time
		if !w.replay {
			now = w.rt.clock()
		}
		for w.replay && w.rt.held.Load() > maxPending && !w.rt.stopping.Load() {
			time.Sleep(waitStep) // what is taken must not depend on how fast it is fetched
		}
		x.offer(r, i, frame, w.info, now)
	}
}
