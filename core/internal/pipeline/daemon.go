package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// stopTime bounds each step of stopping: captures, filters, actions, exports.
const stopTime = 10 * time.Second

// Daemon is a running configuration.
type Daemon struct {
	opt Options
	sys *system

	recorder *baseline.Recorder // how rates usually are

	control  sync.Mutex // one start, reload or stop at a time
	set      *set       // changed by the loop's goroutine, under control
	revision uint64     // of the counting plan
	seed     uint64
	running  context.Context // of queues and periods, while it works
	queues   sync.WaitGroup
	stopping bool

	// Of the loop's goroutine.
	cfg       *config.Config
	limits    map[uint32]limit   // what the engine's limit ids stand for
	spared    *spared            // targets that are never acted on
	places    *places            // whose addresses are whose
	told      map[string][]call  // by attack: the actions that know of it
	mitigated map[string]bool    // attacks of which the mitigations know
	own       *bart.Lite         // our networks
	summers   map[string]*summer // by action
	retired   []*capture         // replaced, while they drain
	past      []sdk.LedgerRow    // of those that have
	loss      lossMeter
	wall      wallClock
	offset    time.Duration // of the time of day from the monotonic clock, a second ago
	deltas    uint64        // applied, a second ago
	deltaRate float64       // per second
	witness   *witness      // nil once it stops
	delays    histogram     // from the end of the window that decided to the event
}

// New prepares a daemon; Run does the work.
func New(opt Options) *Daemon {
	return &Daemon{recorder: baseline.NewRecorder(opt.Config.Daemon.Baseline), opt: opt, cfg: opt.Config, set: newSet(), sys: &system{opt: opt, log: opt.Log, names: newIDSets()}}
}

// Run starts everything, downstream first, works until ctx is done (or, with
// UntilFinished, until there is nothing left to do), and stops everything,
// upstream first. Diagnostics tell what is wrong with the configuration: with
// errors among them nothing was left running.
func (d *Daemon) Run(ctx context.Context) (hcl.Diagnostics, error) {
	cfg := d.opt.Config
	known, diags := examine(ctx, cfg)
	if diags.HasErrors() {
		return diags, nil
	}
	var err error
	if d.sys.runtime, err = openRuntimeDir(cfg.Daemon, d.sys.log); err != nil {
		return diags, err
	}
	defer d.sys.runtime.close()
	d.sys.runtimeDir = d.sys.runtime.path
	if err := plugin.Sweep(d.sys.runtimeDir); err != nil {
		d.sys.log.Warn("sockets of an earlier run cannot be removed", "error", err)
	}
	if d.seed, err = randomSeed(); err != nil {
		return diags, err
	}
	e, det, err := d.compile(engine.Options{Seed: d.seed, MemoryLimit: cfg.Daemon.MemoryLimit, MaxAhead: maxAhead})
	if err != nil {
		return diags, err
	}
	defer e.Close()
	d.sys.loop = newLoop(e, det, d.sys.log, count.Monotonic, d.deliver)
	d.sys.mitigation = newMitigation(d)
	return append(diags, d.work(ctx, known)...), nil
}

// examine finds and checks all that a configuration needs to run.
func examine(ctx context.Context, cfg *config.Config) ([]*prepared, hcl.Diagnostics) {
	known, diags := prepare(ctx, cfg, plugin.NewFinder(), allBlocks(cfg))
	diags = append(diags, checkReferences(cfg, known)...)
	diags = append(diags, checkTakeovers(cfg, known)...)
	diags = append(diags, checkRunnable(cfg)...)
	return known, diags
}

// compile makes engine, detector and counting plan of the configuration.
func (d *Daemon) compile(opt engine.Options) (*engine.Engine, *detect.Detector, error) {
	cfg, names := d.opt.Config, d.sys.names
	d.revision = 1
	plan, err := compileCount(cfg, names, d.revision, d.seed)
	if err != nil {
		return nil, nil, err
	}
	rates, limits := compileEngine(cfg, names, plan)
	d.limits, d.spared, d.places = limits, newSpared(cfg), newPlaces(cfg)
	d.own = ownPrefixes(cfg)
	d.sys.plan.Store(plan)
	e, err := engine.New(opt)
	if err != nil {
		return nil, nil, err
	}
	if err := e.SetPlan(rates); err != nil {
		e.Close()
		return nil, nil, err
	}
	return e, detect.New(e, detectConfig(cfg, names, limits, d.seed)), nil
}

// work is the time between start and stop.
func (d *Daemon) work(ctx context.Context, known []*prepared) hcl.Diagnostics {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go d.sys.loop.run(background)
	d.sys.mitigation.start()
	defer d.sys.mitigation.end()
	periodic, stopPeriodic := context.WithCancel(background)
	defer stopPeriodic()

	d.control.Lock()
	d.running = background
	next, fresh, _ := d.build(d.opt.Config, known)
	d.adopt(next)
	d.sys.mitigation.reconfigure(d.opt.Config, next)
	d.sys.mitigation.abandon()
	d.setEvidence(d.opt.Config.Evidence)
	diags := d.start(ctx, fresh)
	d.control.Unlock()
	if !diags.HasErrors() {
		var seconds sync.WaitGroup
		seconds.Go(func() { d.everySecond(periodic) })
		seconds.Go(func() { d.sys.runtime.watch(periodic) })
		d.loadUsual()
		seconds.Go(func() { d.usual(periodic) })
		d.sys.log.Info("running", "captures", len(next.captures), "actions", len(next.actions), "exports", len(next.exports), "not_running", next.notRunning())
		if d.opt.OnRunning != nil {
			d.opt.OnRunning()
		}
		cache.ReleaseProgram() // of which configuring was the larger part
		d.wait(ctx)
		stopPeriodic()
		seconds.Wait()
	}
	d.stop(end)
	return diags
}

// adopt makes a set the one that events and accounts are about.
func (d *Daemon) adopt(next *set) {
	d.sys.loop.do(func() {
		d.set = next
		d.sys.loop.setStandbys(next)
	})
}

// start brings up parts by stage: exports and actions, then filters, then
// captures. It returns why parts were refused; those before them then run.
func (d *Daemon) start(ctx context.Context, stages [3][]part) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, stage := range stages {
		if ctx.Err() != nil || diags.HasErrors() {
			return diags
		}
		diags = append(diags, d.startStage(ctx, stage)...)
	}
	return diags
}

// startStage brings up parts together and returns why any were refused.
func (d *Daemon) startStage(ctx context.Context, stage []part) hcl.Diagnostics {
	var instances []*plugin.Instance
	for _, p := range stage {
		if p.serve != nil {
			d.queues.Go(func() { p.serve(d.running) })
		}
		instances = append(instances, p.inst)
	}
	startAll(ctx, instances)
	var diags hcl.Diagnostics
	for _, p := range stage {
		diags = append(diags, refusal(p.inst, p.prepared)...)
	}
	return diags
}

// wait returns when it is time to stop.
func (d *Daemon) wait(ctx context.Context) {
	if !d.opt.UntilFinished {
		<-ctx.Done()
		return
	}
	for _, c := range d.set.captures {
		select {
		case <-c.inst.Done():
		case <-ctx.Done():
		}
	}
	for open := 1; open > 0 && sleep(ctx, 100*time.Millisecond); {
		d.sys.loop.do(func() { open = d.sys.loop.detector.Open() })
	}
}

// stop drains captures into the engine, then events into the actions.
func (d *Daemon) stop(end context.CancelFunc) {
	d.control.Lock()
	defer d.control.Unlock()
	d.stopping = true
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	stages := d.set.stages()
	stopAll(ctx, stages[2])
	stopAll(ctx, stages[1])
	// Nothing comes in any more: from here on quiet would not mean quiet.
	d.sys.loop.do(d.sys.loop.freeze)
	d.sys.loop.do(d.logLedger)
	d.closeEvidence(ctx)
	for _, p := range stages[0] {
		p.finish()
	}
	delivered := make(chan struct{})
	go func() { d.queues.Wait(); close(delivered) }()
	select {
	case <-delivered:
	case <-time.After(stopTime):
		d.sys.log.Error("stopping though events are undelivered", "after", stopTime)
	}
	end()
	<-d.sys.loop.stopped
	d.sys.mitigation.withdraw(stages[0])
	stopInTime(stages[0])
	d.sys.log.Info("stopped")
}

// logLedger tells at the end what became of every record; the loop's goroutine
// calls it.
func (d *Daemon) logLedger() {
	for _, row := range d.ledger() {
		fields := []any{"input", row.Input, "received", row.Received, "used", row.Used, "in_flight", row.InFlight}
		for _, cause := range slices.Sorted(maps.Keys(row.Dropped)) {
			fields = append(fields, "dropped_"+cause, row.Dropped[cause])
		}
		d.sys.log.Info("records of an input", fields...)
	}
}

func stopAll(ctx context.Context, parts []part) {
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() { p.inst.Stop(ctx) })
	}
	all.Wait()
}

// Captures is how many captures the configuration has.
func (d *Daemon) Captures() (n int) {
	d.sys.loop.do(func() { n = len(d.set.captures) })
	return n
}

// OpenAttacks is how many attacks are open.
func (d *Daemon) OpenAttacks() (n int) {
	d.sys.loop.do(func() { n = d.sys.loop.detector.Open() })
	return n
}

// Healthy tells whether detection goes on: the loop answers within a bound.
func (d *Daemon) Healthy() bool {
	answered := make(chan bool, 1)
	go func() { answered <- d.sys.loop.do(func() {}) }()
	select {
	case ok := <-answered:
		return ok
	case <-time.After(healthyWithin):
		return false
	}
}

// healthyWithin is far more than a turn of the loop takes.
const healthyWithin = 5 * time.Second

// everySecond samples losses, and shows rates to whoever asked for them.
func (d *Daemon) everySecond(ctx context.Context) {
	for sleep(ctx, time.Second) {
		d.sys.loop.do(func() {
			d.watchClock()
			d.watchInputs()
			for _, in := range d.sys.loop.inputs {
				in.fill = fill{was: in.fill.most}
			}
			d.loss.sample(d.ledger())
			d.watchRates()
			deltas := d.sys.loop.engine.Stats().Deltas
			d.deltaRate, d.deltas = float64(deltas-d.deltas), deltas
			d.summarize(d.sys.loop.engine.Clock())
		})
		if d.opt.OnRates == nil {
			continue
		}
		if s, ok := d.Snapshot(exportHosts, time.Second); ok {
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

// ledger accounts for every capture, those of earlier configurations too; the
// loop's goroutine calls it.
func (d *Daemon) ledger() []sdk.LedgerRow {
	var all []*capture
	for _, name := range slices.Sorted(maps.Keys(d.set.captures)) {
		all = append(all, d.set.captures[name])
	}
	return mergeRows(append(d.sys.loop.ledger(append(all, d.retired...)), d.past...))
}

// mergeRows adds up the rows of captures that followed one another under the
// same name.
func mergeRows(rows []sdk.LedgerRow) []sdk.LedgerRow {
	var out []sdk.LedgerRow
	for _, row := range rows {
		i := slices.IndexFunc(out, func(o sdk.LedgerRow) bool { return o.Input == row.Input })
		if i < 0 {
			dropped := map[string]uint64{} // it is added to
			maps.Copy(dropped, row.Dropped)
			row.Dropped = dropped
			out = append(out, row)
			continue
		}
		o := &out[i]
		o.Received, o.Used, o.InFlight = o.Received+row.Received, o.Used+row.Used, o.InFlight+row.InFlight
		for cause, n := range row.Dropped {
			o.Dropped[cause] += n
		}
	}
	return out
}
