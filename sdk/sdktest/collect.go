package sdktest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Plan is a counting plan in which the prefixes are ours: network 1, group 1.
// A text that is no prefix panics.
func Plan(prefixes ...string) *count.Plan {
	p := &count.Plan{Revision: 1, Seed: 1, CountFlows: true, Groups: []count.Group{{ID: 1}}}
	for _, s := range prefixes {
		p.Prefixes = append(p.Prefixes, count.Prefix{Prefix: netip.MustParsePrefix(s).Masked(), Network: 1, Group: 1})
	}
	return p
}

// Collection gathers what a capture counts.
type Collection struct {
	h       *Harness
	cancel  context.CancelFunc
	readers sync.WaitGroup

	mu       sync.Mutex
	deltas   []ring.Delta
	flushes  []ring.Flush
	finished int
	workers  int
	err      error
	changed  chan struct{} // closed and replaced when something has come
}

// StartCapture configures and starts a capture that counts by plan, and
// collects its deltas: from real rings where the system has them, else from
// the stream.
func (h *Harness) StartCapture(plan *count.Plan) *Collection {
	h.t.Helper()
	result, diags, err := h.tryConfigure(false)
	if err != nil {
		h.t.Fatal(err)
	}
	if diags.HasErrors() {
		h.t.Fatalf("the plugin refuses its configuration:\n%v", diags)
	}
	return h.collect(plan, result.Workers)
}

// collect attaches rings, applies the plan and starts the capture.
func (h *Harness) collect(plan *count.Plan, workers int) *Collection {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Collection{h: h, cancel: cancel, workers: workers, changed: make(chan struct{})}
	h.t.Cleanup(c.stop)
	c.attach(ctx)
	h.applyPlan(plan)
	h.begin()
	return c
}

// RunReplay runs a capture in replay until its input has ended, and drains it.
func (h *Harness) RunReplay(ctx context.Context, plan *count.Plan) *Collection {
	h.t.Helper()
	h.Mode = sdk.ModeReplay
	c := h.StartCapture(plan)
	if err := c.WaitFinished(ctx); err != nil {
		h.t.Fatal(err)
	}
	if err := c.Drain(); err != nil {
		h.t.Fatalf("draining the capture: %v", err)
	}
	return c
}

// attach makes a ring for each worker, or opens streams.
func (c *Collection) attach(ctx context.Context) {
	h := c.h
	h.t.Helper()
	const capacity = 1 << 14
	req := host.AttachRequest{Replay: h.Mode == sdk.ModeReplay, Token: h.channel.next()}
	var rings []*ring.DeltaRing
	var files []*os.File
	for w := range c.workers {
		r, err := ring.CreateDelta(fmt.Sprintf("test-%d", w), capacity, 1)
		if errors.Is(err, ring.ErrUnsupported) {
			break
		}
		if err != nil {
			h.t.Fatal(err)
		}
		rings, files = append(rings, r), append(files, r.File())
		req.Rings = append(req.Rings, host.Ring{Kind: host.DeltaRing, Worker: uint32(w), Generation: 1})
	}
	if len(rings) > 0 {
		if err := ring.SendFiles(h.channel.core, req.Token, files); err != nil {
			h.t.Fatal(err)
		}
	}
	callCtx, done := h.call()
	defer done()
	if err := h.plugin.AttachRings(callCtx, req); err != nil {
		h.t.Fatalf("attaching rings: %v", err)
	}
	for w := range c.workers {
		c.readers.Add(1)
		go func() {
			defer c.readers.Done()
			if len(rings) > 0 {
				c.readRing(ctx, rings[w])
				return
			}
			c.readStream(ctx, uint32(w))
		}()
	}
}

func (c *Collection) readRing(ctx context.Context, r *ring.DeltaRing) {
	defer func() { c.fail(r.Close()) }()
	stop := context.AfterFunc(ctx, r.Wake)
	defer stop()
	buf := make([]ring.Delta, 1024)
	for {
		n, err := r.Read(buf)
		if err != nil {
			c.fail(err)
			return
		}
		c.add(buf[:n])
		if n == 0 {
			if ctx.Err() != nil {
				return
			}
			if _, err := r.Wait(time.Second); err != nil {
				c.fail(err)
				return
			}
		}
	}
}

func (c *Collection) readStream(ctx context.Context, worker uint32) {
	err := c.h.plugin.StreamDeltas(ctx, worker, 1, func(b []byte) error {
		deltas, err := ring.DecodeDeltas(b, nil)
		c.add(deltas)
		return err
	})
	if ctx.Err() == nil {
		c.fail(err)
	}
}

// add takes in ring records, each of which must pass its check.
func (c *Collection) add(deltas []ring.Delta) {
	if len(deltas) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range deltas {
		d := &deltas[i]
		if err := d.Check(); err != nil && c.err == nil {
			c.err = fmt.Errorf("the capture wrote a wrong delta: %w", err)
		}
		if d.Kind != ring.KindFlush {
			c.deltas = append(c.deltas, *d)
			continue
		}
		f := *d.AsFlush()
		c.flushes = append(c.flushes, f)
		if f.Flags&ring.FlushFinished != 0 {
			c.finished++
		}
	}
	c.tell()
}

func (c *Collection) fail(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.tell()
}

func (c *Collection) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Wait returns when enough, called with all deltas so far, says so.
func (c *Collection) Wait(ctx context.Context, enough func([]ring.Delta) bool) error {
	return c.wait(ctx, func() bool { return enough(c.deltas) })
}

// WaitFinished returns when the input of every worker has ended.
func (c *Collection) WaitFinished(ctx context.Context) error {
	return c.wait(ctx, func() bool { return c.finished >= c.workers })
}

func (c *Collection) wait(ctx context.Context, enough func() bool) error {
	for {
		c.mu.Lock()
		done, err, changed := enough(), c.err, c.changed
		c.mu.Unlock()
		if err != nil || done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("after %d deltas: %w", len(c.Deltas()), ctx.Err())
		}
	}
}

// Drain drains the capture and reads what it flushed last.
func (c *Collection) Drain() error {
	c.h.t.Helper()
	err := c.h.Drain()
	c.stop()
	return errors.Join(err, c.err)
}

func (c *Collection) stop() {
	c.cancel()
	c.readers.Wait()
}

// Deltas is a copy of what has come so far, flushes apart, in the order of
// each worker.
func (c *Collection) Deltas() []ring.Delta {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.deltas)
}

// Flushes is a copy of the flushes that have come so far.
func (c *Collection) Flushes() []ring.Flush {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.flushes)
}

// Packets sums up the packets of all host deltas of an address in a direction.
func (c *Collection) Packets(host netip.Addr, direction ring.Direction) uint64 {
	var sum uint64
	for _, d := range c.Deltas() {
		if d.Kind == ring.KindHost && d.Direction == direction && d.Prefix().Addr() == host {
			sum += d.Packets
		}
	}
	return sum
}

// ringChannel is the pair of sockets over which rings reach the plugin; both
// ends are nil where the system has no rings.
type ringChannel struct {
	core, plugin *os.File
	token        uint64
}

func newRingChannel() (*ringChannel, error) {
	core, plugin, err := ring.Pair()
	if errors.Is(err, ring.ErrUnsupported) {
		return &ringChannel{}, nil
	}
	return &ringChannel{core: core, plugin: plugin}, err
}

func (c *ringChannel) pluginEnd() *os.File { return c.plugin }

func (c *ringChannel) next() uint64 {
	c.token++
	return c.token
}

func (c *ringChannel) close() {
	if c.core != nil {
		_ = c.core.Close()
		_ = c.plugin.Close()
	}
}
