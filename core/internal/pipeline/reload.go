package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// planTime bounds how long a capture may take to accept a plan; one that does
// not is replaced.
const planTime = 5 * time.Second

// ErrStopping refuses a reload of a daemon that is on its way out.
var ErrStopping = errors.New("the daemon is stopping")

// Reload puts another configuration in force. Limits, networks and counters
// change while everything runs: no counter is reset and no attack is lost.
// Plugin blocks that changed start again, those that did not go on. It returns
// what changed, a line each. With errors among the diagnostics the old
// configuration is still in force.
func (d *Daemon) Reload(ctx context.Context, cfg *config.Config) ([]string, hcl.Diagnostics, error) {
	d.control.Lock()
	defer d.control.Unlock()
	if d.stopping || d.running == nil {
		return nil, nil, ErrStopping
	}
	known, diags := examine(ctx, cfg)
	switch {
	case ctx.Err() != nil:
		return nil, nil, ErrStopping
	case diags.HasErrors():
		return nil, diags, nil
	}
	changes := differences(d.cfg, cfg)
	if cfg.Daemon.RuntimeDir != d.cfg.Daemon.RuntimeDir || cfg.Daemon.StateDir != d.cfg.Daemon.StateDir || cfg.Daemon.MemoryLimit != d.cfg.Daemon.MemoryLimit {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagWarning, Summary: "Restart needed",
			Detail: "runtime_dir, state_dir and memory_limit of the daemon block stay as they are until the daemon is started again.",
		})
	}
	next, fresh, stale := d.build(cfg, known)
	// What can be refused is asked before anything changes.
	for _, stage := range fresh {
		for _, p := range stage {
			diags = append(diags, validate(ctx, d.opt, p.prepared, d.sys.runtimeDir)...)
		}
	}
	for name, c := range next.captures {
		if d.set.captures[name] == c { // the others were asked just now
			diags = append(diags, c.countsFlows(cfg)...)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, nil, ErrStopping
	case diags.HasErrors():
		return nil, diags, nil
	}
	if err := d.change(cfg, next); err != nil {
		return nil, diags, err
	}
	d.recorder.SetWindow(cfg.Daemon.Baseline)
	d.pushPlan(ctx, next)
	d.setEvidence(cfg.Evidence)
	// The configuration is in force: what is refused now keeps nothing else
	// from starting.
	for _, late := range d.exchange(ctx, next, fresh, stale) {
		late.Severity = hcl.DiagWarning
		diags = append(diags, late)
	}
	d.sys.log.Info("configuration reloaded", "revision", cfg.Revision, "changes", len(changes))
	return changes, diags, nil
}

// rewire puts the filters and taps of a set behind its captures, which go on.
func (d *Daemon) rewire(ctx context.Context, s *set) {
	ctx, cancel := context.WithTimeout(ctx, rewireTime)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range d.cfg.Pipelines {
		for _, b := range p.Captures {
			c, w := s.captures[blockName(b)], s.wirings[p.Name]
			all.Go(func() { c.rewire(ctx, w) })
		}
	}
	all.Wait()
}

// rewireTime bounds how long a capture may take to accept record rings.
const rewireTime = 10 * time.Second

// Relist puts lists of prefixes in force that were read anew (see
// config.Config.Relist). It changes nothing else: no plugin is asked, started
// or ended, and no counter is reset. It returns what changed, a line each.
func (d *Daemon) Relist(ctx context.Context, cfg *config.Config) ([]string, error) {
	d.control.Lock()
	defer d.control.Unlock()
	if d.stopping || d.running == nil {
		return nil, ErrStopping
	}
	changes := differences(d.cfg, cfg)
	if len(changes) == 0 {
		d.sys.loop.do(func() { d.cfg = cfg })
		return nil, nil
	}
	if err := d.change(cfg, d.set); err != nil {
		return nil, err
	}
	d.pushPlan(ctx, d.set)
	return changes, nil
}

// Config is the configuration in force, nil when the daemon has ended. It is
// not to be changed.
func (d *Daemon) Config() (cfg *config.Config) {
	d.sys.loop.do(func() { cfg = d.cfg })
	return cfg
}

// exchange puts what is new in a set in the place of what the set does not have:
// upstream ends first, downstream starts first. It returns why parts were refused.
//
// What takes a part's place may need what that held, such as a port. Actions that
// are gone may take long to take back what they hold, as where a neighbour is
// down: new actions wait for that, and nothing else does.
func (d *Daemon) exchange(ctx context.Context, next *set, fresh, stale [3][]part) (refused hcl.Diagnostics) {
	stopInTime(stale[2])
	d.sys.loop.do(func() {
		d.past = mergeRows(append(d.past, d.sys.loop.ledger(d.retired)...))
		d.retired = nil
	})
	leaving, replaced := divide(stale[0], func(p part) bool { return leaves(p, next) })
	late, first := divide(fresh[0], func(p part) bool { return len(leaving) > 0 && p.block.Kind == host.KindAction })
	left := make(chan struct{})
	go func() {
		defer close(left)
		d.sys.mitigation.remove(leaving)
		end(leaving)
	}()
	end(replaced)
	refused = append(refused, d.startStage(ctx, first)...)
	refused = append(refused, d.startStage(ctx, fresh[1])...)
	// New filters run, old ones still do: captures that go on change over.
	d.rewire(ctx, next)
	refused = append(refused, d.startStage(ctx, fresh[2])...)
	stopInTime(stale[1]) // no capture needs them any more
	<-left
	return append(refused, d.startStage(ctx, late)...)
}

// divide lists the parts of which something is so, and the others.
func divide(parts []part, so func(part) bool) (yes, no []part) {
	for _, p := range parts {
		if so(p) {
			yes = append(yes, p)
		} else {
			no = append(no, p)
		}
	}
	return yes, no
}

// end stops actions and exports that were replaced, once they have been told what
// waits for them.
func end(parts []part) {
	for _, p := range parts {
		p.finish()
	}
	for _, p := range parts {
		select {
		case <-p.served:
		case <-time.After(lastEvents):
		}
	}
	stopInTime(parts)
}

// stopInTime stops parts together, and waits for as long as they may take.
func stopInTime(parts []part) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	stopAll(ctx, parts)
}

// lastEvents bounds how long a replaced action or export is given for the
// events that wait for it.
const lastEvents = 3 * time.Second

// change puts limits, networks and names in force, all at once.
func (d *Daemon) change(cfg *config.Config, next *set) error {
	plan, err := compileCount(cfg, d.sys.names, d.revision+1, d.seed)
	if err != nil {
		return err
	}
	rates, limits := compileEngine(cfg, d.sys.names, plan)
	sparing, where, own := newSpared(cfg), newPlaces(cfg), ownPrefixes(cfg)
	if !d.sys.loop.do(func() {
		if err = d.sys.loop.engine.SetPlan(rates); err != nil {
			return
		}
		// A limit that is gone still names the attacks that it opened.
		for id, l := range d.limits {
			if _, ok := limits[id]; !ok && d.sys.loop.detector.Watched() > 0 {
				limits[id] = l
			}
		}
		d.sys.loop.detector.SetConfig(detectConfig(cfg, d.sys.names, limits, d.seed))
		for _, gone := range d.set.captures {
			if next.captures[blockName(gone.block)] != gone {
				d.retired = append(d.retired, gone)
			}
		}
		d.cfg, d.limits, d.set, d.spared, d.places, d.own = cfg, limits, next, sparing, where, own
		d.sys.loop.setStandbys(next)
		d.remitigate()
	}) {
		return ErrStopping
	}
	if err != nil {
		return err
	}
	d.revision++
	d.sys.plan.Store(plan)
	d.sys.mitigation.reconfigure(cfg, next)
	return nil
}

// pushPlan gives the plan to the captures that run. Those that start later get
// it as they start; those that do not take it are replaced.
func (d *Daemon) pushPlan(ctx context.Context, s *set) {
	var all sync.WaitGroup
	for _, c := range s.captures {
		proc := c.process.Load()
		if proc == nil {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, planTime)
			defer cancel()
			if err := proc.Host().ApplyPlan(ctx, d.sys.plan.Load()); err != nil {
				d.sys.log.Error("a capture does not take the new plan: it is replaced", "capture", c.block.Instance, "error", err)
				proc.KillFor(fmt.Errorf("it did not take the new plan: %w", err))
			}
		})
	}
	all.Wait()
}
