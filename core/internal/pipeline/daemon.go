package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// stopTime bounds each step of stopping: captures, filters, actions, exports.
const stopTime = 10 * time.Second

// Daemon is a running configuration.
type Daemon struct {
	opt      Options
	sys      *system
	limits   map[uint32]limit // what the engine's limit ids stand for
	captures []*capture
	wirings  []*wiring
	actions  map[*config.Plugin]*action
	exports  map[*config.Plugin]*export
	loss     lossMeter // of the loop's goroutine, as all below
	wall     wallClock
}

// New prepares a daemon; Run does the work.
func New(opt Options) *Daemon {
	return &Daemon{
		opt: opt, sys: &system{opt: opt, log: opt.Log, names: newIDSets()},
		actions: map[*config.Plugin]*action{}, exports: map[*config.Plugin]*export{},
	}
}

// Run starts everything, downstream first, works until ctx is done (or, with
// UntilFinished, until there is nothing left to do), and stops everything,
// upstream first. Diagnostics tell what is wrong with the configuration: with
// errors among them nothing was left running.
func (d *Daemon) Run(ctx context.Context) (hcl.Diagnostics, error) {
	cfg := d.opt.Config
	known, diags := prepare(ctx, cfg, plugin.NewFinder(), allBlocks(cfg))
	diags = append(diags, checkReferences(cfg, known)...)
	diags = append(diags, checkRunnable(cfg)...)
	if diags.HasErrors() {
		return diags, nil
	}
	dir, remove, err := runtimeDir(cfg.Daemon, d.sys.log)
	if err != nil {
		return diags, err
	}
	defer remove()
	d.sys.runtimeDir = dir
	if err := plugin.Sweep(dir); err != nil {
		d.sys.log.Warn("sockets of an earlier run cannot be removed", "error", err)
	}
	seed, err := randomSeed()
	if err != nil {
		return diags, err
	}
	e, det, err := d.compile(seed, engine.Options{Seed: seed, MemoryLimit: cfg.Daemon.MemoryLimit, MaxAhead: maxAhead})
	if err != nil {
		return diags, err
	}
	defer e.Close()
	d.sys.loop = newLoop(e, det, d.sys.log, count.Monotonic, d.deliver)
	d.build(known)
	return append(diags, d.work(ctx)...), nil
}

// compile makes engine, detector and counting plan of the configuration.
func (d *Daemon) compile(seed uint64, opt engine.Options) (*engine.Engine, *detect.Detector, error) {
	cfg, names := d.opt.Config, d.sys.names
	plan, err := compileCount(cfg, names, 1, seed)
	if err != nil {
		return nil, nil, err
	}
	rates, limits := compileEngine(cfg, names, plan)
	d.limits = limits
	d.sys.plan.Store(plan)
	e, err := engine.New(opt)
	if err != nil {
		return nil, nil, err
	}
	if err := e.SetPlan(rates); err != nil {
		e.Close()
		return nil, nil, err
	}
	return e, detect.New(e, detectConfig(cfg, names, limits, seed)), nil
}

// build makes the parts of every block that some pipeline uses.
func (d *Daemon) build(known []*prepared) {
	parts := map[*config.Plugin]*prepared{}
	for _, p := range known {
		parts[p.block] = p
	}
	for _, p := range d.opt.Config.Pipelines {
		var filters []*prepared
		for _, f := range p.Filters {
			filters = append(filters, parts[f])
		}
		w := newWiring(d.sys, filters)
		d.wirings = append(d.wirings, w)
		for _, c := range p.Captures {
			d.captures = append(d.captures, newCapture(d.sys, parts[c], w, false))
		}
		for _, x := range p.Exports {
			if d.exports[x] == nil {
				d.exports[x] = newExport(d.sys, parts[x])
			}
		}
	}
	for block := range d.usedActions() {
		d.actions[block] = newAction(d.sys, parts[block])
	}
}

// usedActions are the action blocks that some attack may call.
func (d *Daemon) usedActions() map[*config.Plugin]bool {
	used := map[*config.Plugin]bool{}
	add := func(refs []config.Reference) {
		for _, ref := range refs {
			used[ref.Block] = true
		}
	}
	for _, p := range d.opt.Config.Pipelines {
		add(p.Actions)
	}
	for _, g := range d.opt.Config.Groups {
		add(g.Actions)
		for _, t := range g.Thresholds {
			add(t.Actions)
		}
	}
	return used
}

// work is the time between start and stop.
func (d *Daemon) work(ctx context.Context) hcl.Diagnostics {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go d.sys.loop.run(background)
	var queues sync.WaitGroup
	for _, a := range d.actions {
		queues.Go(func() { a.queue.run(background) })
	}
	for _, x := range d.exports {
		queues.Go(func() { x.events.run(background) })
	}
	periodic, stopPeriodic := context.WithCancel(background)
	defer stopPeriodic()

	diags := d.start(ctx)
	if !diags.HasErrors() {
		var periods sync.WaitGroup
		for _, x := range d.exports {
			periods.Go(func() { x.run(periodic, d.snapshot) })
		}
		periods.Go(func() { d.everySecond(periodic) })
		d.sys.log.Info("running", "captures", len(d.captures), "actions", len(d.actions), "exports", len(d.exports), "not_running", d.notRunning())
		d.wait(ctx)
		stopPeriodic()
		periods.Wait()
	}
	d.stop(&queues, stop)
	return diags
}

// start brings up exports and actions, then filters, then captures.
func (d *Daemon) start(ctx context.Context) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, stage := range d.stages() {
		if ctx.Err() != nil || diags.HasErrors() {
			return diags
		}
		var instances []*plugin.Instance
		for _, part := range stage {
			instances = append(instances, part.inst)
		}
		startAll(ctx, instances)
		for _, part := range stage {
			diags = append(diags, refusal(part.inst, part.prepared)...)
		}
	}
	return diags
}

// notRunning counts the parts that have not come up, and are tried again.
func (d *Daemon) notRunning() int {
	n := 0
	for _, stage := range d.stages() {
		for _, p := range stage {
			if s := p.inst.Status().State; s != plugin.Running && s != plugin.Finished {
				n++
			}
		}
	}
	return n
}

// part is what starting and stopping needs to know of a block.
type part struct {
	*prepared
	inst *plugin.Instance
}

// stages lists all parts, downstream first.
func (d *Daemon) stages() [3][]part {
	var out [3][]part
	for _, x := range d.exports {
		out[0] = append(out[0], part{x.prepared, x.inst})
	}
	for _, a := range d.actions {
		out[0] = append(out[0], part{a.prepared, a.inst})
	}
	for _, w := range d.wirings {
		for _, f := range w.filters {
			out[1] = append(out[1], part{f.prepared, f.inst})
		}
	}
	for _, c := range d.captures {
		out[2] = append(out[2], part{c.prepared, c.inst})
	}
	return out
}

// wait returns when it is time to stop.
func (d *Daemon) wait(ctx context.Context) {
	if d.opt.UntilFinished {
		for _, c := range d.captures {
			select {
			case <-c.inst.Done():
			case <-ctx.Done():
			}
		}
		for open := 1; open > 0 && sleep(ctx, 100*time.Millisecond); {
			d.sys.loop.do(func() { open = d.sys.loop.detector.Open() })
		}
		return
	}
	<-ctx.Done()
}

// stop drains captures into the engine, then events into the actions.
func (d *Daemon) stop(queues *sync.WaitGroup, end context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	stages := d.stages()
	stopAll(ctx, stages[2])
	stopAll(ctx, stages[1])
	// Nothing comes in any more: from here on quiet would not mean quiet.
	d.sys.loop.do(d.sys.loop.freeze)
	for _, a := range d.actions {
		a.queue.finish()
	}
	for _, x := range d.exports {
		x.events.finish()
	}
	delivered := make(chan struct{})
	go func() { queues.Wait(); close(delivered) }()
	select {
	case <-delivered:
	case <-time.After(stopTime):
		d.sys.log.Error("stopping though events are undelivered", "after", stopTime)
	}
	end()
	<-d.sys.loop.stopped
	ctx, cancel = context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	stopAll(ctx, stages[0])
	d.sys.log.Info("stopped")
}

func stopAll(ctx context.Context, parts []part) {
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() { p.inst.Stop(ctx) })
	}
	all.Wait()
}

// everySecond samples losses, and shows rates to whoever asked for them.
func (d *Daemon) everySecond(ctx context.Context) {
	for sleep(ctx, time.Second) {
		d.sys.loop.do(func() { d.loss.sample(d.sys.loop.ledger(d.captures)) })
		if d.opt.OnRates == nil {
			continue
		}
		if s, ok := d.snapshot(exportHosts, time.Second); ok {
			d.opt.OnRates(s)
		}
	}
}

func randomSeed() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, errors.New("no random numbers for the hash tables: " + err.Error())
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// maxShown bounds the attacks in a snapshot: they are copied while deltas wait.
const maxShown = 1000

// openAttacks are the attacks in progress; the loop's goroutine calls it.
func (d *Daemon) openAttacks() []sdk.Event {
	now := d.sys.loop.engine.Clock()
	loss := d.loss.ratio(d.ledger())
	var out []sdk.Event
	for i, a := range d.sys.loop.detector.Attacks(now) {
		if i == maxShown {
			break
		}
		e := detect.Event{Type: detect.Updated, Time: now, Attack: a}
		out = append(out, d.describe(&e, loss))
	}
	return out
}

func (d *Daemon) ledger() []sdk.LedgerRow { return d.sys.loop.ledger(d.captures) }
