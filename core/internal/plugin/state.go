package plugin

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// State is where an instance has got to.
type State string

// The states.
const (
	Launching   State = "launching"
	Configuring State = "configuring" // configuration and rings are handed over
	Starting    State = "starting"    // it opens what it needs
	Running     State = "running"
	Unhealthy   State = "unhealthy"   // it complains, or it is silent and about to be replaced
	BackingOff  State = "backing-off" // it will be launched again
	Draining    State = "draining"
	Stopped     State = "stopped"  // we stopped it
	Finished    State = "finished" // its input has ended; it is not launched again
	Failed      State = "failed"   // it refused its configuration; it is not launched again
)

// Final tells whether nothing follows.
func (s State) Final() bool { return s == Stopped || s == Finished || s == Failed }

// Status is a state with its circumstances.
type Status struct {
	State    State
	Since    time.Time
	Message  string      // why, in states that have a reason
	PID      int         // 0 without a process
	Rights   string      // of the process: see Process.Rights
	Launches int         // how many processes there have been
	Retry    time.Time   // backing-off: when it is launched again
	Health   host.Health // the newest word of a running plugin
	Failures Failures
}

// Failures are the launches that came to nothing and the processes that ended
// without being asked to, since the instance was made.
type Failures struct {
	Count int
	Last  string // why, of the newest
	At    time.Time
}

// failed notes one more failure.
func (s *Status) failed(cause error) {
	s.Failures = Failures{Count: s.Failures.Count + 1, Last: cause.Error(), At: time.Now()}
}

func (i *Instance) set(state State, message string) {
	i.change(func(s *Status) {
		s.State, s.Message, s.Retry = state, message, time.Time{}
	})
}

// change makes one transition visible: in Status, in the log and by the hook.
func (i *Instance) change(edit func(*Status)) {
	i.mu.Lock()
	before := i.status
	edit(&i.status)
	same := i.status.State == before.State && i.status.Message == before.Message
	if !same {
		i.status.Since = time.Now()
	}
	now := i.status
	log, untold := i.ration(before.State, now.State, same)
	i.mu.Unlock()
	if log {
		i.logState(now, untold)
	}
	if same {
		return
	}
	if i.config.Hooks.State != nil {
		i.config.Hooks.State(now)
	}
}

// healthEvery is between two lines of a plugin that becomes unhealthy, or well
// again, or complains of something else each time.
const healthEvery = time.Minute

// ration tells whether to log a transition, and how many changes of health
// before it were not. What was held back is told by a later call, which comes
// with each word of health.
func (i *Instance) ration(before, now State, same bool) (log bool, untold int) {
	health := func(s State) bool { return s == Running || s == Unhealthy }
	switch {
	case same && i.untold == 0:
		return false, 0
	case health(before) && health(now):
		if time.Since(i.told[now]) < healthEvery {
			if !same {
				i.untold++
			}
			return false, 0
		}
		i.told[now] = time.Now()
	}
	untold, i.untold = i.untold, 0
	return true, untold
}

func (i *Instance) logState(s Status, untold int) {
	level := hclog.Debug
	switch s.State {
	case Running, Stopped, Finished:
		level = hclog.Info
	case Unhealthy, BackingOff:
		level = hclog.Warn
	case Failed:
		level = hclog.Error
	}
	fields := []any{"state", string(s.State)}
	if s.Message != "" {
		fields = append(fields, "reason", s.Message)
	}
	if untold > 0 {
		fields = append(fields, "changes_not_logged", untold)
	}
	if !s.Retry.IsZero() {
		fields = append(fields, "retry_in", s.Retry.Sub(s.Since).Round(time.Millisecond))
	}
	i.log.Log(level, "plugin is "+string(s.State), fields...)
}

// backoff is the time between launches: doubled from least to most, and 20 %
// of jitter, so that what fell together does not rise together.
type backoff struct {
	least, most time.Duration
	next        time.Duration
}

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) delay() time.Duration {
	b.next = min(max(2*b.next, b.least), b.most)
	return time.Duration(float64(b.next) * (0.8 + 0.4*rand.Float64()))
}
