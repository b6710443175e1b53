package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// Looking at hosts has a share of the loop's time that does not grow with their
// number: where there are more than lookSlices × lookRows, each is looked at
// less often than once a second.
const (
	lookSlices = 4
	lookRows   = 1024
	// longestPass bounds the time that one look at a host stands for.
	longestPass = 5 * time.Minute

	baselineFile   = "baseline.json.gz" // in the state directory
	saveUsualEvery = 15 * time.Minute
)

// usual keeps how rates are while the daemon runs, and over a restart.
func (d *Daemon) usual(ctx context.Context) {
	saved := time.Now()
	defer d.saveUsual(&saved)
	u := &looker{d: d, began: time.Now()}
	for sleep(ctx, time.Second) {
		for range lookSlices {
			if !u.slice() || u.walk == nil {
				break
			}
		}
		if time.Since(saved) >= saveUsualEvery {
			d.saveUsual(&saved)
		}
	}
}

func (d *Daemon) baselinePath() string {
	return filepath.Join(d.opt.Config.Daemon.StateDir, baselineFile)
}

// loadUsual reads how rates were in earlier runs.
func (d *Daemon) loadUsual() {
	if err := d.recorder.Load(d.baselinePath(), time.Now()); err != nil {
		d.sys.log.Warn("how rates were in earlier runs is not known", "error", err)
	}
}

// saveUsual keeps what is known for the next run. Where the state directory
// is missing or cannot be written, suggest knows of this run only.
func (d *Daemon) saveUsual(saved *time.Time) {
	*saved = time.Now()
	path := d.baselinePath()
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		d.sys.log.Debug("how rates were will not be known after a restart: there is no state directory", "error", err)
		return
	}
	if err := d.recorder.Save(path); err != nil {
		d.sys.log.Warn("how rates were will not be known after a restart: let the daemon write its state directory", "error", err)
	}
}

// looker is one goroutine's view of the hosts, a pass after the other.
type looker struct {
	d     *Daemon
	walk  *engine.Walk
	s     *sampler      // of the pass
	began time.Time     // of the pass
	last  time.Duration // that the pass before has taken
	hosts []engine.HostSample
	users []engine.UserRate // of hosts
}

// slice looks at some hosts; walk is nil when it has seen the last. False says
// that the daemon ends, or that rates are in doubt just now.
func (u *looker) slice() bool {
	loop := u.d.sys.loop
	u.hosts, u.users = u.hosts[:0], u.users[:0]
	done, doubt := false, false
	var groups []engine.Scope
	if !loop.do(func() {
		if doubt = loop.suspended() != ""; doubt {
			return
		}
		if u.walk == nil {
			u.walk, u.s = loop.engine.NewWalk(), newSampler(u.d.sys.names, u.d.sys.plan.Load())
		}
		done = u.walk.Step(lookRows, u.keep)
		if done {
			groups = loop.engine.Groups()
		}
	}) {
		return false
	}
	now := time.Now()
	if doubt { // what was seen of this pass stays; the time is not watched
		u.walk, u.began = nil, now
		return false
	}
	seconds := max(u.last, time.Second).Seconds()
	u.d.recorder.Record(now, countersOf(u.d.sys.plan.Load()), func(p *baseline.Profile) {
		for i := range u.hosts {
			u.s.host(p, &u.hosts[i], seconds)
		}
		if done {
			u.last = min(now.Sub(u.began), longestPass)
			u.s.endPass(p, groups, now, u.last.Seconds())
		}
	})
	if done {
		u.walk, u.began = nil, now
	}
	return true
}

// keep copies a host; the loop's goroutine calls it.
func (u *looker) keep(h *engine.HostSample) {
	from := len(u.users)
	u.users = append(u.users, h.User...)
	c := *h
	c.User = slices.Clip(u.users[from:])
	u.hosts = append(u.hosts, c)
}
