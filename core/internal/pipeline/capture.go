package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const (
	deltaCapacity  = 1 << 15 // records of 128 bytes: 4 MiB a worker
	recordCapacity = 1 << 15
	// waitSlice bounds one sleep on a ring, so that its end is noticed.
	waitSlice = time.Second
	// streamEnd bounds the wait for what an ended process had streamed.
	streamEnd = 2 * time.Second
)

// capture is one capture block: the instance that keeps its process alive,
// and the rings of the process that runs now.
type capture struct {
	*prepared
	sys    *system
	replay bool
	inst   *plugin.Instance
	// createDelta makes a delta ring, or says that this system cannot.
	createDelta func(name string, capacity int, generation uint32) (*ring.DeltaRing, error)

	generation uint32 // of the rings, one more for each process
	inputs     []*input
	process    atomic.Pointer[plugin.Process]

	wires    sync.Mutex // one attachment of record rings at a time
	wiring   *wiring    // of its pipeline
	records  []*wired
	attached bool

	stop    context.CancelFunc // ends what waits on rings and streams
	waiting sync.WaitGroup     // for rings
	streams sync.WaitGroup     // which end with the process
	account account
	silence silence
	played  []*input    // replay: those that are through
	refused *InputError // replay: what is wrong with its files
	// before, if set, is called once a new process is configured.
	before func(context.Context, *plugin.Process) error
}

func newCapture(sys *system, p *prepared, w *wiring, replay bool) *capture {
	c := &capture{prepared: p, sys: sys, wiring: w, replay: replay, createDelta: ring.CreateDelta}
	configure := p.configure
	if replay {
		configure = c.configureReplay
	}
	c.inst = sys.instance(p, plugin.Hooks{Configure: configure, Attach: c.attach, Gone: c.gone})
	return c
}

// title is what people know the capture by.
func (c *capture) title() string { return c.block.Name + "." + c.block.Instance }

// attach gives a new process its rings and plan, and the loop their other end.
func (c *capture) attach(ctx context.Context, proc *plugin.Process) error {
	c.generation++
	c.process.Store(proc)
	if c.before != nil {
		if err := c.before(ctx, proc); err != nil {
			return err
		}
	}
	wait, stop := context.WithCancel(context.Background())
	c.stop = stop
	if err := c.attachRings(ctx, wait, proc); err != nil {
		return err
	}
	if err := proc.Host().ApplyPlan(ctx, c.sys.plan.Load()); err != nil {
		return err
	}
	c.sys.loop.do(func() {
		for _, in := range c.inputs {
			c.sys.loop.add(in)
		}
	})
	return nil
}

func (c *capture) attachRings(ctx, wait context.Context, proc *plugin.Process) error {
	request := host.AttachRequest{Replay: c.replay, Token: c.sys.token()}
	var files []*os.File
	for worker := range c.setup().Workers {
		r, err := c.createDelta(c.ringName(worker), deltaCapacity, c.generation)
		if errors.Is(err, ring.ErrUnsupported) {
			return c.attachStreams(ctx, wait, proc)
		}
		if err != nil {
			return err
		}
		in := c.addInput(worker, r, func() { r.Close() })
		c.waiting.Go(func() { c.await(wait, in, r) })
		files = append(files, r.File())
		request.Rings = append(request.Rings, host.Ring{Kind: host.DeltaRing, Worker: uint32(worker), Generation: c.generation})
	}
	c.wires.Lock()
	defer c.wires.Unlock()
	records, rings, err := c.makeRecords(c.wiring)
	if err != nil {
		return err
	}
	c.records = records
	request.Rings = append(request.Rings, rings...)
	if err := ring.SendFiles(proc.Rings(), request.Token, append(files, filesOf(records)...)); err != nil {
		return err
	}
	if err := proc.Host().AttachRings(ctx, request); err != nil {
		return err
	}
	c.sys.board.hang(records)
	c.attached = true
	return nil
}

func filesOf(rings []*wired) (out []*os.File) {
	for _, r := range rings {
		out = append(out, r.File())
	}
	return out
}

// attachStreams is for systems without sealed shared memory: the same deltas
// over gRPC. Filters need shared memory.
func (c *capture) attachStreams(ctx, wait context.Context, proc *plugin.Process) error {
	c.wires.Lock()
	filters := len(c.wiring.filters)
	c.wires.Unlock()
	if filters > 0 {
		return errors.New("this system has no shared memory for filters: leave filters out of the pipeline")
	}
	if err := proc.Host().AttachRings(ctx, host.AttachRequest{Replay: c.replay, Token: c.sys.token()}); err != nil {
		return err
	}
	for worker := range c.setup().Workers {
		s := newStreamSource(wait, c.sys.loop.wake)
		c.addInput(worker, s, s.end)
		c.streams.Go(func() {
			err := proc.Host().StreamDeltas(wait, uint32(worker), c.generation, s.give)
			if err != nil && wait.Err() == nil {
				c.sys.log.Warn("the stream of deltas ended", "capture", c.block.Instance, "worker", worker, "error", err)
			}
		})
	}
	return nil
}

func (c *capture) ringName(worker int) string {
	return fmt.Sprintf("%s-%s-%d", c.block.Name, c.block.Instance, worker)
}

func (c *capture) addInput(worker int, s source, done func()) *input {
	in := &input{source: s, capture: c, worker: worker, causes: c.setup().Causes, close: done, seen: make(chan struct{}, 1)}
	c.inputs = append(c.inputs, in)
	return in
}

// await wakes the loop when the ring has deltas, and again only after the
// loop has looked.
func (c *capture) await(ctx context.Context, in *input, r *ring.DeltaRing) {
	for ctx.Err() == nil {
		ready, err := r.Wait(waitSlice)
		if !ready && err == nil {
			continue
		}
		c.sys.loop.wake()
		if err != nil {
			return // closed, or the loop will find what is wrong
		}
		select {
		case <-in.seen:
		case <-ctx.Done():
		}
	}
}

// quarantined is called by the loop when a ring cannot be believed.
func (c *capture) quarantined(worker int, cause error) {
	c.sys.log.Error("the capture's ring lies: its process is replaced, with a new ring",
		"capture", c.block.Instance, "worker", worker, "generation", c.generation, "error", cause)
	c.sys.quarantines.Add(1)
	if proc := c.process.Load(); proc != nil {
		go proc.KillFor(fmt.Errorf("the ring of worker %d lies: %w", worker, cause))
	}
}

// gone reads what an ended process has left in its rings.
func (c *capture) gone(_ *plugin.Process, _ error) {
	c.process.Store(nil)
	c.wires.Lock()
	records := c.records
	c.records, c.attached = nil, false
	c.wires.Unlock()
	inputs := c.inputs
	c.inputs = nil
	c.sys.board.takeDown(records)
	c.settleRecords(records)
	closeRecords(records)
	c.endWaiting(inputs)
	c.sys.loop.do(func() {
		for _, in := range inputs {
			c.sys.loop.finish(in)
			if c.replay {
				c.played = append(c.played, in)
			}
		}
	})
}

// endWaiting ends everything that waits for the process. Streams may still
// bring what it had sent.
func (c *capture) endWaiting(inputs []*input) {
	streamed := make(chan struct{})
	go func() { c.streams.Wait(); close(streamed) }()
	select {
	case <-streamed:
	case <-time.After(streamEnd):
	}
	if c.stop != nil {
		c.stop()
	}
	for _, in := range inputs {
		if r, ok := in.source.(*ring.DeltaRing); ok {
			r.Wake()
		}
	}
	<-streamed
	c.waiting.Wait()
}

// streamSource queues deltas that arrive over gRPC. Its bound stops the
// stream, and behind it the plugin, whose table then is the buffer.
type streamSource struct {
	ctx  context.Context // while deltas may come in
	end  context.CancelFunc
	wake func()
	room chan struct{} // holds a token when something was read

	mu    sync.Mutex
	queue []ring.Delta
}

const streamQueue = 1 << 16

func newStreamSource(ctx context.Context, wake func()) *streamSource {
	s := &streamSource{wake: wake, room: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancel(ctx)
	return s
}

// give takes the bytes of whole records, as soon as there is room. One
// goroutine calls it.
func (s *streamSource) give(b []byte) error {
	deltas, err := ring.DecodeDeltas(b, nil)
	if err != nil {
		return err
	}
	for !s.put(deltas) {
		select {
		case <-s.room:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	s.wake()
	return s.ctx.Err()
}

func (s *streamSource) put(deltas []ring.Delta) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > streamQueue {
		return false
	}
	s.queue = append(s.queue, deltas...)
	return true
}

// Read hands out what is queued.
func (s *streamSource) Read(dst []ring.Delta) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(dst, s.queue)
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	select {
	case s.room <- struct{}{}:
	default:
	}
	return n, nil
}
