package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Hooks are what the pipeline does at each launch. Except where said, any may
// be nil. They are called by one goroutine, one after the other, and must
// return when their context is done.
type Hooks struct {
	// Configure hands over the configuration. An error marked with Refused
	// ends the instance: the same configuration would be refused again.
	Configure func(context.Context, *Process) error
	// Attach hands over rings and plan.
	Attach func(context.Context, *Process) error
	// Running is called once the plugin has started.
	Running func(*Process)
	// Health is called with every word of a running plugin.
	Health func(*Process, host.Health)
	// Gone is called when a launched process is no more, with the reason;
	// nil when it was stopped or had finished.
	Gone func(*Process, error)
	// State is called after each change.
	State func(Status)
}

// Config is an instance's configuration; zero values have defaults.
type Config struct {
	Spec          Spec // of every launch
	Hooks         Hooks
	MinBackoff    time.Duration // before the first relaunch: 0.5 s
	MaxBackoff    time.Duration // 60 s
	HealthyAfter  time.Duration // of running, which resets the back-off: 10 s
	WatchInterval time.Duration // of health; three missed ones end the process: 1 s
	CallTimeout   time.Duration // of Configure, Attach and Start, each: 30 s
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&c.MinBackoff, 500*time.Millisecond)
	def(&c.MaxBackoff, time.Minute)
	def(&c.HealthyAfter, 10*time.Second)
	def(&c.WatchInterval, time.Second)
	def(&c.CallTimeout, 30*time.Second)
	def(&c.Spec.DrainTimeout, DefaultDrainTimeout)
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	if c.Spec.Logger == nil {
		c.Spec.Logger = hclog.NewNullLogger()
	}
}

// Instance keeps one configured block alive: it launches the plugin, and again
// with growing delays whenever it ends, until it is stopped, its input has
// ended or it refuses its configuration. It never gives up otherwise.
type Instance struct {
	config Config
	log    hclog.Logger
	back   backoff
	done   chan struct{}

	stop   chan struct{} // closed by Stop
	asked  sync.Once
	start  sync.Once
	mu     sync.Mutex
	status Status
	fault  string              // what is wrong with a running process that says it is well; "" nothing
	told   map[State]time.Time // when a change of health was last logged
	untold int                 // changes of health that were not
	limit  context.Context     // Stop's
}

// NewInstance prepares an instance; Start begins.
func NewInstance(config Config) *Instance {
	config.setDefaults()
	return &Instance{
		config: config,
		log:    config.Spec.Logger.With("kind", config.Spec.Kind, "plugin", config.Spec.Name, "instance", config.Spec.Instance),
		back:   backoff{least: config.MinBackoff, most: config.MaxBackoff},
		done:   make(chan struct{}),
		stop:   make(chan struct{}),
		told:   map[State]time.Time{},
		limit:  context.Background(),
	}
}

// Start launches the plugin in the background. Only the first call counts.
func (i *Instance) Start() { i.start.Do(func() { go i.run() }) }

// Stop drains and ends the plugin, the drain within ctx, and returns when
// nothing is left of it. It may be called several times and before Start,
// which then does nothing.
func (i *Instance) Stop(ctx context.Context) {
	i.asked.Do(func() {
		i.mu.Lock()
		i.limit = ctx
		i.mu.Unlock()
		close(i.stop)
	})
	i.start.Do(func() {
		i.set(Stopped, "")
		close(i.done)
	})
	<-i.done
}

// Done is closed when the instance is stopped, finished or failed.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Status is where the instance is now.
func (i *Instance) Status() Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status
}

// Refused marks an error that another try will not mend.
func Refused(err error) error { return refused{err} }

type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// How a process's time ended, besides errors.
var (
	errStopped  = errors.New("stopped")
	errFinished = errors.New("finished")
)

func (i *Instance) run() {
	defer close(i.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-i.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		err := i.once(ctx)
		var no refused
		switch {
		case errors.Is(err, errStopped), ctx.Err() != nil:
			i.set(Stopped, "")
			return
		case errors.Is(err, errFinished):
			i.set(Finished, "")
			return
		case errors.As(err, &no):
			i.change(func(s *Status) {
				s.State, s.Message, s.Retry = Failed, no.Error(), time.Time{}
				s.failed(no)
			})
			return
		}
		if !i.pause(ctx, err) {
			i.set(Stopped, "")
			return
		}
	}
}

// pause waits before the next launch and tells whether there is to be one.
func (i *Instance) pause(ctx context.Context, cause error) bool {
	delay := i.back.delay()
	i.change(func(s *Status) {
		s.State, s.Message, s.Retry = BackingOff, cause.Error(), time.Now().Add(delay)
		s.failed(cause)
	})
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once is the life of one process, from launch to its end.
func (i *Instance) once(ctx context.Context) error {
	i.set(Launching, "")
	p, err := Launch(ctx, i.config.Spec)
	if err != nil {
		return err
	}
	i.change(func(s *Status) { s.PID, s.Rights, s.Launches = p.PID(), p.Rights(), s.Launches+1 })
	err = i.bringUp(ctx, p)
	if err == nil {
		err = i.watch(ctx, p)
	}
	if ctx.Err() != nil {
		err = errStopped
	}
	err = i.takeDown(p, err)
	i.change(func(s *Status) { s.PID, s.Rights, s.Health = 0, "", host.Health{} })
	if i.config.Hooks.Gone != nil {
		reason := err
		if errors.Is(err, errStopped) || errors.Is(err, errFinished) {
			reason = nil
		}
		i.config.Hooks.Gone(p, reason)
	}
	return err
}

// bringUp takes a launched process to the point where it works.
func (i *Instance) bringUp(ctx context.Context, p *Process) error {
	steps := []struct {
		state State
		name  string
		do    func(context.Context, *Process) error
	}{
		{Configuring, "configuring", i.config.Hooks.Configure},
		{Configuring, "attaching", i.config.Hooks.Attach},
		{Starting, "starting", startPlugin},
	}
	for _, step := range steps {
		if step.do == nil {
			continue
		}
		i.set(step.state, "")
		if err := i.bounded(ctx, p, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (i *Instance) bounded(ctx context.Context, p *Process, do func(context.Context, *Process) error) error {
	ctx, cancel := context.WithTimeout(ctx, i.config.CallTimeout)
	defer cancel()
	return do(ctx, p)
}

// startPlugin has the plugin open what it needs. A complaint is not final: a
// port may become free and a server come back.
func startPlugin(ctx context.Context, p *Process) error {
	diags, err := p.Host().Start(ctx)
	if err != nil {
		return err
	}
	return diags.Err()
}

// takeDown ends the process, and prefers its own last words as the reason.
func (i *Instance) takeDown(p *Process, err error) error {
	ctx := context.Background()
	died := endedSoon(p, err)
	switch {
	case errors.Is(err, errStopped):
		i.mu.Lock()
		ctx = i.limit
		i.mu.Unlock()
		i.set(Draining, "")
	case errors.Is(err, errFinished):
		i.set(Draining, "its input has ended")
	case errors.Is(err, errSilent):
		p.Kill()
	}
	exit := p.Stop(ctx)
	if died && !errors.Is(err, errStopped) && !errors.Is(err, errFinished) {
		return errors.New(exit.Summary())
	}
	return err
}

// endedSoon tells whether the process has ended by itself. A call fails a
// little earlier than the end is seen.
func endedSoon(p *Process, err error) bool {
	wait := time.Duration(0)
	if errors.Is(err, host.ErrGone) {
		wait = killLimit
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.Done():
		return true
	case <-timer.C:
		return p.ended()
	}
}
