package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
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
	banned map[string]bool                // role mitigate: attacks for which ban was called

	detailed map[string]bool // attacks for which attack_details was called
}

func newScript(cfg config, log hclog.Logger) *script {
	life, stop := context.WithCancel(context.Background())
	late, kill := context.WithCancel(context.Background())
	return &script{
		cfg: cfg, log: log, life: life, stop: stop, late: late, kill: kill,
		slots:  make(chan struct{}, max(1, min(cfg.MaxConcurrent, maxConcurrent))),
		queues: map[netip.Prefix]chan struct{}{},
		banned: map[string]bool{}, detailed: map[string]bool{},
	}
}

// Start starts the sweeper. Scripts run without it too.
func (s *script) Start(context.Context) error {
	var err error
	if s.sweeper, err = startSweeper(); err != nil {
		s.log.Warn("what scripts start may outlive a plugin that is killed: no process could be started to look after it", "error", err)
	}
	return nil
}

// Notify runs the script for an attack's start and end and waits for it. The
// runs for one target come one after the other, in the order of the calls: a
// ban is over before the unban begins.
func (s *script) Notify(ctx context.Context, e sdk.Event) error {
	action := s.action(e)
	if action == "" {
		return nil
	}
	c, err := s.call(e, action)
	if err != nil {
		return err
	}
	s.runs.Add(1)
	defer s.runs.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errStopped) })()
	leave, err := s.enter(ctx, e.Target)
	if err != nil {
		return fmt.Errorf("%s was not called for %s %s: %w", s.cfg.Command[0], action, sdk.TargetText(e.Target), err)
	}
	defer leave()
	return c.run(ctx)
}

var errStopped = errors.New("the plugin stops")

// lastMoment is what Close takes, when its time is over, for the scripts to
// obey, and for their death. A plugin whose core is gone has 250 ms for both.
const lastMoment = 100 * time.Millisecond

// Close stops the scripts that still run: nothing would look after them. It
// leaves none behind, even where no time is left to ask them.
func (s *script) Close(ctx context.Context) error {
	defer s.sweeper.end()
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

// action says what the script is called with; "" is not at all.
//
// A mitigating script is called outside enforce, or while it is suspended, for
// one reason only: to take back what it was told to do while the attack was
// enforced. Where the suspension is lifted, the ban comes then.
func (s *script) action(e sdk.Event) string {
	var action string
	switch {
	case e.Type == sdk.AttackStarted, s.cfg.Role == roleMitigate && e.Type == sdk.AttackUpdated && e.Lifted:
		action = "ban"
	case e.Type == sdk.AttackEnded:
		action = "unban"
	case e.Type == sdk.AttackUpdated && s.cfg.Details && e.Evidence != nil && e.Evidence.Complete && len(e.Evidence.Dump) > 0:
		action = "attack_details"
	default:
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if action == "attack_details" {
		if s.detailed[e.ID] || s.cfg.Role == roleMitigate && !s.banned[e.ID] {
			return ""
		}
		s.detailed[e.ID] = true
		return action
	}
	if action == "unban" {
		delete(s.detailed, e.ID)
	}
	if s.cfg.Role == roleNotify {
		return action
	}
	enforced := e.Mode == "enforce" && !e.WouldHave
	switch {
	case action == "ban" && enforced:
		s.banned[e.ID] = true
		return action
	case action == "unban" && (enforced || s.banned[e.ID]):
		delete(s.banned, e.ID)
		return action
	}
	return ""
}

// call puts the script's arguments, environment and input together.
func (s *script) call(e sdk.Event, action string) (*call, error) {
	target := sdk.TargetText(e.Target)
	sign := mark.New()
	argv := append([]string{}, s.cfg.Command...)
	argv = append(argv, target, e.Direction, report.Whole(e.InitialPPS), action)
	c := &call{
		argv:    argv,
		env:     append(s.environment(e, action), envCall+"="+sign),
		mark:    sign,
		timeout: s.cfg.Timeout,
		now:     s.late.Done(),
		sweeper: s.sweeper,
		log:     s.log.With("attack", e.ID, "target", target, "action", action),
	}
	switch {
	case s.cfg.Format == formatJSON:
		line, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("cannot write attack %s as JSON: %w", e.ID, err)
		}
		line = append(line, '\n')
		c.stdin = line
	case action == "ban":
		c.stdin = report.Counters(&e)
	case action == "attack_details":
		c.stdin = report.Text(&e)
	}
	return c, nil
}

// defaultPath is the script's PATH where the plugin has none itself.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is everything that the script's environment holds: nothing of
// the plugin's own, which carries the credentials of its connection to the
// core, except where programs, the home directory and the local time zone are
// found; what the configuration sets; and the attack.
func (s *script) environment(e sdk.Event, action string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	env := []string{"PATH=" + path}
	for _, name := range []string{"HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Environment)) {
		env = append(env, name+"="+s.cfg.Environment[name])
	}
	if e.Summary != nil {
		env = append(env, "FASTNETMON_ATTACKS="+strconv.Itoa(e.Summary.Attacks))
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return append(env,
		"FASTNETMON_ACTION="+action,
		"FASTNETMON_EVENT="+string(e.Type),
		"FASTNETMON_ATTACK_ID="+e.ID,
		"FASTNETMON_TARGET="+sdk.TargetText(e.Target),
		"FASTNETMON_DIRECTION="+e.Direction,
		"FASTNETMON_HOSTGROUP="+e.HostGroup,
		"FASTNETMON_NETWORK="+e.Network,
		"FASTNETMON_THRESHOLD="+e.Threshold,
		"FASTNETMON_COUNTER="+e.Counter,
		"FASTNETMON_UNIT="+e.Unit,
		"FASTNETMON_VALUE="+number(e.Value),
		"FASTNETMON_LIMIT="+number(e.Limit),
		"FASTNETMON_ATTACK_TYPE="+e.AttackType,
		"FASTNETMON_MODE="+e.Mode,
		"FASTNETMON_WOULD_HAVE="+strconv.FormatBool(e.WouldHave),
	)
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
