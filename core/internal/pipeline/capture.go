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
)

// capture is one capture block: the instance that keeps its process alive,
// and the rings of the process that runs now.
type capture struct {
	*prepared
	sys    *system
	wiring *wiring // of its pipeline
	replay bool
	inst   *plugin.Instance

	generation uint32 // of the rings, one more for each process
	inputs     []*input
	records    []*ring.RecordRing
	process    atomic.Pointer[plugin.Process]
	stop       context.CancelFunc // ends what waits on the rings
	waiting    sync.WaitGroup
	account    account
	refused    *InputError // replay: what is wrong with its files
}

func newCapture(sys *system, p *prepared, w *wiring, replay bool) *capture {
	c := &capture{prepared: p, sys: sys, wiring: w, replay: replay}
	configure := sys.configure(p)
	if replay {
		configure = c.configureReplay
	}
	c.inst = sys.instance(p, plugin.Hooks{Configure: configure, Attach: c.attach, Gone: c.gone})
	return c
}

// attach gives a new process its rings and plan, and the loop their other end.
func (c *capture) attach(ctx context.Context, proc *plugin.Process) error {
	c.generation++
	c.process.Store(proc)
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
	for worker := range c.setup.Workers {
		r, err := ring.CreateDelta(c.ringName(worker), deltaCapacity, c.generation)
		if errors.Is(err, ring.ErrUnsupported) {
			return c.attachStreams(ctx, wait, proc)
		}
		if err != nil {
			return err
		}
		c.addInput(worker, r, func() { r.Close() })
		c.waiting.Go(func() { c.await(wait, c.inputs[worker], r) })
		files = append(files, r.File())
		request.Rings = append(request.Rings, host.Ring{Kind: host.DeltaRing, Worker: uint32(worker), Generation: c.generation})
	}
	if len(c.wiring.filters) > 0 {
		for worker := range c.setup.Workers {
			r, err := ring.CreateRecord(c.ringName(worker)+"-records", recordCapacity, len(c.wiring.filters), 0, c.generation)
			if err != nil {
				return err
			}
			c.records = append(c.records, r)
			files = append(files, r.File())
			request.Rings = append(request.Rings, host.Ring{
				Kind: host.RecordRing, Worker: uint32(worker), Generation: c.generation,
				Stages: uint32(len(c.wiring.filters)), StageFailure: c.wiring.onFailure(c.replay),
			})
		}
	}
	if err := ring.SendFiles(proc.Rings(), request.Token, files); err != nil {
		return err
	}
	if err := proc.Host().AttachRings(ctx, request); err != nil {
		return err
	}
	return c.wiring.setRings(ctx, c, c.records)
}

// attachStreams is for systems without sealed shared memory: the same deltas
// over gRPC. Filters need shared memory.
func (c *capture) attachStreams(ctx, wait context.Context, proc *plugin.Process) error {
	if len(c.wiring.filters) > 0 {
		return errors.New("this system has no shared memory for filters: leave filters out of the pipeline")
	}
	if err := proc.Host().AttachRings(ctx, host.AttachRequest{Replay: c.replay}); err != nil {
		return err
	}
	for worker := range c.setup.Workers {
		s := newStreamSource(c.sys.loop.wake)
		c.addInput(worker, s, s.close)
		c.waiting.Go(func() {
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

func (c *capture) addInput(worker int, s source, done func()) {
	c.inputs = append(c.inputs, &input{source: s, capture: c, worker: worker, causes: c.setup.Causes, close: done, seen: make(chan struct{}, 1)})
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
		go proc.Kill()
	}
}

// gone reads what an ended process has left in its rings.
func (c *capture) gone(_ *plugin.Process, _ error) {
	if c.stop != nil {
		c.stop()
	}
	inputs, records := c.inputs, c.records
	c.inputs, c.records = nil, nil
	for _, in := range inputs {
		if r, ok := in.source.(*ring.DeltaRing); ok {
			r.Wake()
		}
	}
	c.waiting.Wait()
	c.sys.loop.do(func() {
		for _, in := range inputs {
			c.sys.loop.finish(in)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.wiring.setRings(ctx, c, nil); err != nil {
		c.sys.log.Warn("a filter could not be told that a capture's rings are gone", "capture", c.block.Instance, "error", err)
	}
	for _, r := range records {
		r.Close()
	}
	c.process.Store(nil)
}

// streamSource queues deltas that arrive over gRPC. Its bound stops the
// stream, and behind it the plugin, whose table then is the buffer.
type streamSource struct {
	mu     sync.Mutex
	room   *sync.Cond
	queue  []ring.Delta
	closed bool
	wake   func()
}

const streamQueue = 1 << 16

func newStreamSource(wake func()) *streamSource {
	s := &streamSource{wake: wake}
	s.room = sync.NewCond(&s.mu)
	return s
}

// give takes the bytes of whole records.
func (s *streamSource) give(b []byte) error {
	deltas, err := ring.DecodeDeltas(b, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for len(s.queue) > streamQueue && !s.closed {
		s.room.Wait()
	}
	s.queue = append(s.queue, deltas...)
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ring.ErrClosed
	}
	s.wake()
	return nil
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
	s.room.Signal()
	return n, nil
}

func (s *streamSource) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.room.Broadcast()
}
