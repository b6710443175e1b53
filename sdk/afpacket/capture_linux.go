package afpacket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Supported reports whether this system has packet sockets.
const Supported = true

// addressesEvery is how often the machine's own addresses are asked for.
const addressesEvery = 5 * time.Second

// Capture is the capture of some interfaces.
type Capture struct {
	o       Options
	log     hclog.Logger
	ports   []*port
	workers []*worker
	senders *atomic.Pointer[ownAddresses] // nil: what anybody sends counts
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// port is one of the interfaces.
type port struct {
	name string
	log  hclog.Logger
	team team

	mu    sync.Mutex
	err   error // why nothing comes from it
	open  int   // rings
	since time.Time
}

// New makes a Capture. It opens nothing.
func New(o Options) *Capture {
	o.normal()
	c := &Capture{o: o, log: o.Logger}
	if o.Direction == Both && len(o.Interfaces) > 1 {
		c.senders = &atomic.Pointer[ownAddresses]{}
		c.senders.Store(&ownAddresses{})
	}
	for _, name := range o.Interfaces {
		p := &port{name: name, log: o.Logger, since: time.Now()}
		c.ports = append(c.ports, p)
		for range o.Workers {
			c.workers = append(c.workers, newWorker(&c.o, name, p, c.senders))
		}
	}
	return c
}

// Workers is how often Run is to be called: once for each ring.
func (c *Capture) Workers() int { return max(1, len(c.workers)) }

// Start begins to follow the machine's own addresses, where they matter.
func (c *Capture) Start(context.Context) error {
	if c.senders == nil {
		return nil
	}
	own, err := machineAddresses()
	if err != nil {
		return fmt.Errorf("asking for this machine's addresses: %w", err)
	}
	c.senders.Store(own)
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.done.Go(func() {
		for ctx.Err() == nil {
			sleep(ctx, addressesEvery)
			if own, err := machineAddresses(); err == nil {
				c.senders.Store(own)
			}
		}
	})
	return nil
}

// Close ends what Start began. The rings end with Run.
func (c *Capture) Close(context.Context) error {
	if c.stop != nil {
		c.stop()
		c.done.Wait()
	}
	return nil
}

// Run takes frames from one ring until ctx is done.
func (c *Capture) Run(ctx context.Context, w *sdk.Writer) error {
	k := c.workers[w.Worker()]
	w.FrameInfo(k.frameInfo)
	k.run(ctx, w, c.cpusOf(w.Worker()))
	return ctx.Err()
}

func (c *Capture) cpusOf(worker int) []int {
	if n := len(c.o.CPUs); n > 0 {
		return c.o.CPUs[worker%n : worker%n+1]
	}
	return nodeCPUs(c.workers[worker].name)
}

// Health says which interfaces nothing can come from.
func (c *Capture) Health(context.Context) error {
	var errs []error
	for _, p := range c.ports {
		if err := p.fault(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fault is why nothing comes from the interface, nil if it is well.
func (p *port) fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// trouble notes why nothing comes from the interface, and tells of it once.
func (p *port) trouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || p.err.Error() != err.Error() {
		p.log.Warn("an interface cannot be captured; it is tried again", "interface", p.name, "error", err)
		p.since = time.Now()
	}
	p.err = err
}

// well notes that a ring was opened, or closed: where all are open, frames come
// from the interface.
func (p *port) well(rings int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += rings
	if rings < 0 {
		return
	}
	if p.err != nil {
		p.log.Info("an interface is captured again", "interface", p.name, "after", time.Since(p.since).Round(time.Millisecond).String())
	}
	p.err = nil
}

// rings is how many rings are open.
func (p *port) rings() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}
