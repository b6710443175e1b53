package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// script calls the operator's program when attacks start and end.
type script struct {
	cfg   config
	log   hclog.Logger
	slots chan struct{} // at most max_concurrent runs

	life context.Context // ends with Close, and with it every run
	stop context.CancelFunc
	late context.Context // ends when Close has no time left
	kill context.CancelFunc
	runs sync.WaitGroup

	sweeper *sweeper // nil before Start, and where it could not be started

	mu     sync.Mutex
	queues map[netip.Prefix]chan struct{} // closed when the newest run for the target is over

	detailed map[string]bool // attacks for which attack_details was called

	bans     bans          // role mitigate
	retry    time.Duration // before a failed call of role mitigate is made again
	failures failures
}

// newScript makes the plugin's value; dir is where it keeps what it has to know
// after a restart, "" nowhere.
func newScript(cfg config, log hclog.Logger, dir string) *script {
	life, stop := context.WithCancel(context.Background())
	late, kill := context.WithCancel(context.Background())
	return &script{
		cfg: cfg, log: log, life: life, stop: stop, late: late, kill: kill,
		slots:    make(chan struct{}, max(1, min(cfg.MaxConcurrent, maxConcurrent))),
		queues:   map[netip.Prefix]chan struct{}{},
		detailed: map[string]bool{}, retry: retryFirst,
		bans: bans{file: hold.NewFile(dir, "bans.json"), held: map[subject]*ban{}},
	}
}

// Start starts the sweeper, without which scripts run too, and reads what bans
// are in force.
func (s *script) Start(context.Context) error {
	s.remember()
	var err error
	if s.sweeper, err = startSweeper(); err != nil {
		s.log.Warn("what scripts start may outlive a plugin that is killed: no process could be started to look after it", "error", err)
	}
	return nil
}

// Notify runs the script for what it is to be told and waits for it. The
// runs for one target come one after the other, in the order of the calls: a
// ban is over before the unban begins.
func (s *script) Notify(ctx context.Context, e sdk.Event) error {
	action := s.action(e)
	if action == "" {
		return nil
	}
	var about *sdk.Mitigation
	if m := e.Mitigation; m != nil {
		about = &sdk.Mitigation{ID: m.ID, Target: m.Target, Direction: m.Direction, By: m.By, Reason: m.Reason}
	}
	t, err := tell(e, about)
	if err != nil {
		return err
	}
	s.runs.Add(1)
	defer s.runs.Done()
	return s.run(ctx, t, action, s.stdin(t, &e, action))
}

// run calls the script, once it is the target's turn and a slot is free, and
// waits for its end.
func (s *script) run(ctx context.Context, t told, action string, stdin []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errStopped) })()
	leave, err := s.enter(ctx, t.Target)
	if err != nil {
		return fmt.Errorf("%s was not called for %s %s: %w", s.cfg.Command[0], action, sdk.TargetText(t.Target), err)
	}
	defer leave()
	err = s.call(t, action, stdin).run(ctx)
	s.failures.note(err)
	return err
}

var errStopped = errors.New("the plugin stops")

// lastMoment is what Close takes, when its time is over, for the scripts to
// obey, and for their death. A plugin whose core is gone has 250 ms for both.
const lastMoment = 100 * time.Millisecond

// Close stops the scripts that still run: nothing would look after them. It
// leaves none behind, even where no time is left to ask them.
func (s *script) Close(ctx context.Context) error {
	defer s.sweeper.end()
	s.bans.mu.Lock()
	s.bans.stopped = true
	s.bans.mu.Unlock()
	s.stop()
	over := make(chan struct{})
	go func() {
		s.runs.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	for _, last := range []func(){func() {}, s.kill} {
		last()
		select {
		case <-over:
			return nil
		case <-time.After(lastMoment):
		}
	}
	return errors.New("a script that was killed has not ended yet")
}

// action says what a notifying script is called with; "" is not at all.
func (s *script) action(e sdk.Event) string {
	if s.cfg.Role != roleNotify {
		return "" // Sync says what a mitigating one is called for
	}
	switch {
	case e.Type == sdk.MitigationChanged && s.cfg.Mitigations && e.Mitigation != nil:
		return "mitigation_" + string(e.Mitigation.State)
	case e.Type == sdk.AttackStarted:
		return "ban"
	case e.Type == sdk.AttackEnded:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.detailed, e.ID)
		return "unban"
	case e.Type == sdk.AttackUpdated && s.cfg.Details && hasDump(&e):
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.detailed[e.ID] {
			s.detailed[e.ID] = true
			return "attack_details"
		}
	}
	return ""
}

// hasDump reports whether an attack's packets are there.
func hasDump(e *sdk.Event) bool {
	return e.Evidence != nil && e.Evidence.Complete && len(e.Evidence.Dump) > 0
}

// enter waits for the target's turn and for a free slot. The caller calls
// leave when the run is over.
func (s *script) enter(ctx context.Context, target netip.Prefix) (leave func(), err error) {
	mine := make(chan struct{})
	s.mu.Lock()
	before := s.queues[target]
	s.queues[target] = mine
	s.mu.Unlock()
	over := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.queues[target] == mine {
			delete(s.queues, target)
		}
		close(mine)
	}
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			// Those behind must still wait for the one before.
			go func() { <-before; over() }()
			return nil, context.Cause(ctx)
		}
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		over()
		return nil, context.Cause(ctx)
	}
	return func() { <-s.slots; over() }, nil
}
