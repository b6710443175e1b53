package feed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Options of a Runtime.
type Options struct {
	Causes  []string     // of Writer.Dropped, by index
	Logger  hclog.Logger // nil: nothing is logged
	Replay  bool         // the clock is the records' time; writes wait
	Workers int          // calls of Run; 0 means 1
	// Exporter gives the address behind a record's Exporter; nil: nobody knows.
	Exporter func(index uint32) netip.Addr
}

// WorkerRings are the rings of one worker. The Runtime owns them from Attach
// on and closes them.
type WorkerRings struct {
	Delta  *ring.DeltaWriter
	Record *ring.RecordWriter // nil: no filter or tap asks for records
}

// Runtime runs a capture: it calls Run once per worker and carries what the
// workers write to the core.
type Runtime struct {
	run     func(ctx context.Context, w *Writer) error
	opts    Options
	log     hclog.Logger
	clock   func() int64
	writers []*Writer

	ready     chan struct{} // closed when there is somewhere to write to
	readyOnce sync.Once
	stopping  atomic.Bool // replay must not wait any more
	done      chan struct{}

	watching atomic.Pointer[watchSet] // nil: nobody watches
	held     atomic.Int64             // octets of frames copied and not fetched yet
	watchMu  sync.Mutex
	watches  []*Watch

	mu      sync.Mutex
	started bool
	cancel  context.CancelFunc
	state   State
	err     error
	running int
	last    []Ledger // of workers that were busy when last asked
}

// New makes a Runtime of a capture's Run.
func New(run func(ctx context.Context, w *Writer) error, opts Options) *Runtime {
	opts.Workers = max(opts.Workers, 1)
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	rt := &Runtime{
		run: run, opts: opts, log: opts.Logger, clock: count.Monotonic,
		ready: make(chan struct{}), done: make(chan struct{}), last: make([]Ledger, opts.Workers),
	}
	for i := range opts.Workers {
		w := &Writer{worker: i, rt: rt, replay: opts.Replay}
		w.sink.block, w.sink.stop = opts.Replay, rt.stopping.Load
		rt.writers = append(rt.writers, w)
	}
	return rt
}

// Attach gives each worker its rings, in place of those it has. Replay knows
// no replacement: a count must not depend on when it comes.
func (rt *Runtime) Attach(rings []WorkerRings) error {
	if len(rings) != len(rt.writers) {
		return fmt.Errorf("attach: rings for %d workers; the capture has %d", len(rings), len(rt.writers))
	}
	for i, r := range rings {
		if r.Delta == nil {
			return fmt.Errorf("attach: worker %d has no delta ring", i)
		}
	}
	for i, w := range rt.writers {
		if err := w.attach(sink{ring: rings[i].Delta}, rings[i].Record, true); err != nil {
			return fmt.Errorf("attach: worker %d: %w", i, err)
		}
	}
	rt.attached()
	return nil
}

// AttachRecords gives each worker its record ring, or none, in place of those
// they have. What lies in them is still judged and counted.
func (rt *Runtime) AttachRecords(rings []WorkerRings) error {
	if len(rings) != len(rt.writers) {
		return fmt.Errorf("attach records: rings for %d workers; the capture has %d", len(rings), len(rt.writers))
	}
	for i, r := range rings {
		if r.Delta != nil {
			return fmt.Errorf("attach records: worker %d is given a delta ring", i)
		}
	}
	if rt.opts.Replay {
		return errReplaced
	}
	for i, w := range rt.writers {
		w.mu.Lock()
		w.setRecord(rings[i].Record)
		w.mu.Unlock()
	}
	return nil
}

// setRecord changes the record ring as soon as no reservation lies in the one
// before.
func (w *Writer) setRecord(record *ring.RecordWriter) {
	if w.next != nil {
		_ = w.next.Close() // only frees memory
	}
	w.next, w.swap = record, true
	w.swapRecord()
}

// attached tells waiting workers that they may begin: once each has a sink.
func (rt *Runtime) attached() {
	for _, w := range rt.writers {
		w.mu.Lock()
		ready := w.sink.ready()
		w.mu.Unlock()
		if !ready {
			return
		}
	}
	rt.readyOnce.Do(func() { close(rt.ready) })
}

// errReplaced refuses new rings during a replay.
var errReplaced = errors.New("a replay's rings cannot be replaced")

// attach changes where a worker writes to. withRecord says that the record
// ring changes too, possibly to none.
func (w *Writer) attach(s sink, record *ring.RecordWriter, withRecord bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.replay && w.sink.ready() {
		return errReplaced
	}
	old := w.sink
	s.block, s.stop = old.block, old.stop
	w.sink = s
	if w.finished && s.stream != nil {
		s.stream.close() // too late: nothing will come
	}
	if old.ring != nil {
		_ = old.ring.Close() // only frees memory
	}
	if old.stream != nil {
		old.stream.close()
	}
	if withRecord {
		w.setRecord(record)
	}
	return nil
}

// ApplyPlan compiles a plan; workers take it over between two flushes.
func (rt *Runtime) ApplyPlan(p *count.Plan) error {
	c, err := count.Compile(p)
	if err != nil {
		return err
	}
	for _, w := range rt.writers {
		w.mu.Lock()
		if w.table == nil {
			w.table = count.NewTable(c)
		} else {
			w.plan, w.tries = c, 0
		}
		w.mu.Unlock()
	}
	return nil
}

// Start calls Run in each worker as soon as rings are attached. A plan must
// have been applied. ctx bounds the whole run, not the call.
func (rt *Runtime) Start(ctx context.Context) error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	last := rt.writers[len(rt.writers)-1]
	last.mu.Lock()
	planned := last.table != nil
	last.mu.Unlock()
	switch {
	case rt.started:
		return errors.New("start: the capture has been started before")
	case !planned:
		return errors.New("start: no plan has been applied; apply one first")
	}
	rt.started, rt.state, rt.running = true, Running, len(rt.writers)
	ctx, rt.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { rt.stopping.Store(true) })
	for _, w := range rt.writers {
		w.buf = newBuffer()
		go rt.work(ctx, w)
	}
	if !rt.opts.Replay {
		go rt.tick()
	}
	return nil
}

// work runs one worker to its end.
func (rt *Runtime) work(ctx context.Context, w *Writer) {
	select {
	case <-rt.ready:
	case <-ctx.Done():
	}
	err := rt.guard(ctx, w)
	cancelled := ctx.Err() != nil
	last, cancel := lastCall(ctx, err != nil)
	w.finish(last, err == nil && !cancelled)
	w.awaitSent(last)
	cancel()
	rt.ended(w, err, cancelled)
}

// finishTime bounds how long the last flush waits for filters, and for the
// core once the capture is stopped or has failed. The end of an input waits for
// the core as long as it takes.
const finishTime = 2 * time.Second

// lastCall ends finishTime after ctx, or after now.
func lastCall(ctx context.Context, now bool) (context.Context, context.CancelFunc) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	begin := func() { time.AfterFunc(finishTime, cancel) }
	if now {
		begin()
		return last, cancel
	}
	stop := context.AfterFunc(ctx, begin)
	return last, func() { stop(); cancel() }
}

// awaitSent returns when a stream has sent what was flushed last.
func (w *Writer) awaitSent(ctx context.Context) {
	w.mu.Lock()
	s := w.sink.stream
	w.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case <-s.over:
	case <-ctx.Done():
	}
}

// guard calls Run and makes an error of a panic.
func (rt *Runtime) guard(ctx context.Context, w *Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			rt.log.Error("capture panicked", "worker", w.worker, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("capture worker %d panicked: %v", w.worker, p)
		}
	}()
	return rt.run(ctx, w)
}

func (rt *Runtime) ended(w *Writer, err error, cancelled bool) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.running--
	switch {
	case err != nil && !cancelled:
		rt.log.Error("capture failed", "worker", w.worker, "error", err)
		rt.state = Failed
		if rt.err == nil {
			rt.err = err
		}
		rt.cancel() // the other workers: the core restarts all of them
	case cancelled && rt.state == Running:
		rt.state = Stopped
	}
	if rt.running == 0 {
		if rt.state == Running {
			rt.state = Finished
		}
		rt.cancel()
		close(rt.done)
	}
}

// tick flushes what idle and blocked workers do not, at every boundary of the
// clock, and more often counts what filters have passed.
func (rt *Runtime) tick() {
	for {
		now := rt.clock()
		wait := time.Duration(tick - now%tick)
		if rt.filtered() {
			wait = min(wait, pumpTime)
		}
		select {
		case <-rt.done:
			return
		case <-time.After(wait):
		}
		for _, w := range rt.writers {
			w.poll()
		}
	}
}

// pumpTime is how long a judged record waits at most to be counted.
const pumpTime = 5 * time.Millisecond

func (rt *Runtime) filtered() bool {
	w := rt.writers[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record != nil || len(w.left) > 0
}

// Stop cancels Run and waits, as long as ctx allows, until the last flush has
// been written.
func (rt *Runtime) Stop(ctx context.Context) error {
	rt.mu.Lock()
	started, cancel := rt.started, rt.cancel
	rt.mu.Unlock()
	if !started {
		return nil
	}
	cancel()
	select {
	case <-rt.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop: Run has not returned: %w", ctx.Err())
	}
}

// Done is closed when every worker has ended.
func (rt *Runtime) Done() <-chan struct{} { return rt.done }
