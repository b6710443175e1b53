package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// replaySeed is of every hash in a replay, so that the same input gives the
// same output.
const replaySeed = 0x666173746e65746d

// Input is what a replay reads.
type Input struct {
	Files []string
	// Through is the capture that reads them: "" for packets, else a plugin's
	// name, as in netflow, or that of a block, as in netflow.routers, whose
	// settings hold.
	Through string
}

// Replay plays capture files through the configuration by their packets' own
// time and emits what it detects, at last the summary. Captures, actions and
// exports of the configuration are not used, but for the settings of one that
// reads flows; the filters of its first pipeline are.
func Replay(ctx context.Context, opt Options, in Input, emit func(Output) error) error {
	_, err := play(ctx, opt, in, emit, false)
	return err
}

// play is Replay, which may keep how rates were.
func play(ctx context.Context, opt Options, in Input, emit func(Output) error, learn bool) (*baseline.Profile, error) {
	d := New(opt)
	dir, remove, err := temporaryRuntimeDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	d.sys.runtimeDir = dir
	d.seed = replaySeed
	e, det, err := d.compile(engine.Options{Seed: replaySeed, MemoryLimit: opt.Config.Daemon.MemoryLimit})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	r := &replay{d: d, emit: emit, ended: make(chan error, 1), trails: map[string]*trail{}, given: opt.NoEvidence || opt.Config.Evidence.Packets == 0}
	d.sys.loop = newLoop(e, det, d.sys.log, nil, r.deliver)
	d.sys.loop.after = r.watchRates
	if err := r.build(ctx, in); err != nil {
		return nil, err
	}
	if !learn {
		return nil, r.run(ctx)
	}
	plan := d.sys.plan.Load()
	l := &learner{sampler: newSampler(d.sys.names, plan), profile: baseline.NewProfile(countersOf(plan)), engine: e}
	d.sys.loop.learner = l
	return l.profile, r.run(ctx)
}

// InputError says that a file to be replayed is not one that can be.
type InputError struct{ err error }

func (e *InputError) Error() string { return e.err.Error() }
func (e *InputError) Unwrap() error { return e.err }

// replay is one run of Replay.
type replay struct {
	d       *Daemon
	emit    func(Output) error
	failed  error // of emit
	attacks int
	ended   chan error // holds why the capture will give nothing more
	capture *capture
	wiring  *wiring
	total   *Summary

	// For evidence.
	held    []sdk.Event // wait for it
	given   bool        // they were too many: nothing waits any more
	trails  map[string]*trail
	extra   int      // prefixes of trails, beyond one each
	started []string // attacks with a trail, in order
	second  int64    // of the packets' clock, when rates were last looked at
}

// build makes the one capture, and the filters in front of the engine.
func (r *replay) build(ctx context.Context, in Input) error {
	cfg := r.d.opt.Config
	var blocks []*config.Plugin
	if len(cfg.Pipelines) > 0 {
		blocks = cfg.Pipelines[0].Filters
	}
	if len(cfg.Pipelines) > 1 && len(blocks) > 0 {
		r.d.sys.log.Warn("a replay goes through the filters of the first pipeline only", "pipeline", cfg.Pipelines[0].Name)
	}
	finder := plugin.NewFinder()
	filters, diags := prepare(ctx, cfg, finder, blocks)
	if diags.HasErrors() {
		return diags
	}
	capture, err := replayCapture(ctx, cfg, finder, in)
	if err != nil {
		return err
	}
	r.wiring = newWiring(r.d.sys, filters)
	r.capture = newCapture(r.d.sys, capture, r.wiring, true)
	r.d.set.captures[blockName(capture.block)] = r.capture
	return nil
}

// configureReplay hands over what no configuration file holds: complaints have
// no line to be shown at.
func (c *capture) configureReplay(ctx context.Context, proc *plugin.Process) error {
	result, said, err := proc.Host().Configure(ctx, host.ConfigureRequest{
		Value: c.block.Value, Instance: c.block.Instance, Mode: "replay",
	})
	if err != nil {
		return err
	}
	if said.HasErrors() {
		var texts []string
		for _, d := range said {
			texts = append(texts, d.Detail) // its path is one that nobody wrote
		}
		c.refused = &InputError{errors.New(strings.Join(texts, "; "))}
		return plugin.Refused(c.refused)
	}
	c.answer.Store(&result)
	return nil
}

func (r *replay) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go r.d.sys.loop.run(background)
	var filters []*plugin.Instance
	for _, f := range r.wiring.filters {
		filters = append(filters, f.inst)
	}
	startAll(ctx, filters)
	defer r.stopAll()
	for _, inst := range filters {
		if s := inst.Status(); s.State != plugin.Running {
			return fmt.Errorf("a filter does not run: %s", s.Message)
		}
	}
	r.capture.inst.Start()
	if err := awaitCapture(ctx, r.capture, filters); err != nil {
		return err
	}
	r.capture.inst.Stop(ctx)
	r.d.sys.loop.do(func() {
		if err := r.missing(); err != nil {
			r.failed = errors.Join(r.failed, fmt.Errorf("the replay is not complete: %w", err))
			return
		}
		r.finish()
	})
	if r.failed != nil {
		return r.failed
	}
	events, err := r.witness(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.d.sys.log.Warn("the replay has no evidence", "error", err)
		events = r.held
	}
	r.tellHeld(events)
	if r.failed == nil {
		r.failed = r.emit(Output{Finished: r.total})
	}
	return r.failed
}

// missing tells what of the input is not in what was counted, nil if nothing:
// a capture that is replaced may still say that it has finished.
func (r *replay) missing() error {
	if n := r.d.sys.quarantines.Load(); n > 0 {
		return fmt.Errorf("%d rings of the capture could not be believed; its log tells why", n)
	}
	if n := len(r.capture.played); n != r.capture.setup().Workers {
		return fmt.Errorf("%d of the capture's %d workers gave something", n, r.capture.setup().Workers)
	}
	var packets uint64
	for _, in := range r.capture.played {
		if in.last.Flags&ring.FlushFinished == 0 || in.left > 0 {
			return fmt.Errorf("the end of what worker %d of the capture read did not arrive", in.worker)
		}
		packets += in.last.Packets
	}
	if n := r.d.sys.loop.engine.Stats().Refused; n > 0 {
		return fmt.Errorf("%d deltas were refused", n)
	}
	return r.unbalanced(packets)
}

// unbalanced holds the ledger against itself and against what was counted.
// packets is how many the capture read.
func (r *replay) unbalanced(packets uint64) error {
	var dropped uint64
	for _, row := range r.d.sys.loop.ledger([]*capture{r.capture}) {
		sum := row.Used
		for _, n := range row.Dropped {
			sum, dropped = sum+n, dropped+n
		}
		if row.Received != sum {
			return fmt.Errorf("%s received %d records, of which %d are accounted for", row.Input, row.Received, sum)
		}
	}
	var counted uint64
	for _, t := range r.d.sys.loop.engine.Totals() {
		counted += t.Packets[engine.CounterTotal] + t.Packets[1+ring.CounterExempt]
	}
	if counted > packets || counted < packets && dropped == 0 {
		return fmt.Errorf("%d packets were counted of %d", counted, packets)
	}
	return nil
}

// awaitCapture returns when a capture has given everything. Nothing is started
// again: a replay that lost a part would not be one.
func awaitCapture(ctx context.Context, c *capture, filters []*plugin.Instance) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		switch s := c.inst.Status(); s.State {
		case plugin.Finished:
			return nil
		case plugin.Failed, plugin.Stopped, plugin.BackingOff:
			if c.refused != nil {
				return c.refused
			}
			return errors.New(s.Message)
		}
		for _, inst := range filters {
			if s := inst.Status(); s.State != plugin.Running {
				return fmt.Errorf("a filter ended: %s", s.Message)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

func (r *replay) stopAll() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	for _, stage := range r.d.set.stages() {
		stopAll(ctx, stage)
	}
	for _, f := range r.wiring.filters {
		f.inst.Stop(ctx)
	}
}

// deliver emits events; the clock is the packets'.
func (r *replay) deliver(events []detect.Event) {
	for i := range events {
		e := events[i].SDK(packetClock)
		l := r.d.first(&events[i])
		mode := r.d.opt.Config.EffectiveMode(l.group, l.threshold, nil)
		if r.d.spared.attack(&events[i].Attack, e.Time) != "" {
			mode = config.Monitor
		}
		e.Mode, e.WouldHave = string(mode), mode == config.Monitor
		if events[i].Type == detect.Started {
			r.attacks++
		}
		e.Label, e.Confidence, _ = evidence.FromCounters(&e)
		r.hold(&e)
	}
}

// hold keeps an event until its evidence is there, or tells it.
func (r *replay) hold(e *sdk.Event) {
	if !r.given {
		r.keep(e)
		if r.held = append(r.held, *e); len(r.held) <= maxHeld {
			return
		}
		r.d.sys.log.Warn("too many events wait for evidence: they are told without", "events", len(r.held))
		r.tellHeld(r.held)
		r.given, r.held = true, nil
		return
	}
	r.tellHeld([]sdk.Event{*e})
}

func (r *replay) tellHeld(events []sdk.Event) {
	for i := range events {
		if r.failed == nil {
			r.failed = r.emit(Output{Event: &events[i]})
		}
	}
}

func packetClock(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// lastMoment is no time at all where there was no packet.
func lastMoment(clock int64) time.Time {
	if clock <= int64(time.Second) {
		return time.Time{}
	}
	return packetClock(clock)
}

// applyReplay adds deltas and decides after each whole flush, and on the way to
// it wherever time alone changes something: what comes out must not depend on
// how much of the ring one look happened to find.
func (l *loop) applyReplay(in *input, deltas []ring.Delta) error {
	for len(deltas) > 0 {
		n := uint32(1)
		if in.left > 0 {
			n = min(in.left, uint32(len(deltas)))
			in.left -= n
		} else {
			flush := deltas[0].AsFlush()
			if flush.Kind == ring.KindFlush && flush.Check() == nil {
				l.passTime(flush.WindowEnd)
				if l.learner != nil {
					l.learner.until(flush.WindowEnd)
				}
				in.last, in.left = *flush, flush.Deltas
			}
		}
		if err := l.engine.Apply(in.id, deltas[:n]); err != nil {
			return err
		}
		deltas = deltas[n:]
		if in.left == 0 {
			l.decide()
		}
	}
	return nil
}

// passTime lets the clock run to a moment before which nothing arrived.
func (l *loop) passTime(until int64) {
	for {
		next, ok := l.detector.NextDeadline()
		if !ok || next >= until {
			return
		}
		l.engine.Advance(next)
		l.decide()
	}
}

// finish lets the clock run on without traffic until every attack has ended.
func (r *replay) finish() {
	l := r.d.sys.loop
	if l.learner != nil {
		l.learner.finish()
	}
	l.decide()
	if period := int64(l.engine.Period()); period > 0 && l.engine.Clock() > 0 {
		// What decides once a second does so after the last packet too.
		last := l.engine.Clock() + period
		l.passTime(last)
		l.engine.Advance(last)
		l.decide()
	}
	for {
		next, ok := l.detector.NextDeadline()
		if !ok {
			break
		}
		l.engine.Advance(next)
		l.decide()
	}
	r.total = r.summary()
}

func (r *replay) summary() *Summary {
	e := r.d.sys.loop.engine
	s := &Summary{
		Time: lastMoment(e.Clock()), Attacks: r.attacks, Ledger: r.d.ledger(),
		Directions: map[string]Volume{}, Families: map[string]Volume{}, Protocols: map[string]Volume{}, Counters: map[string]Volume{},
	}
	addTo := func(m map[string]Volume, key string, v Volume) {
		sum := m[key]
		sum.add(v)
		m[key] = sum
	}
	for _, t := range e.Totals() {
		at := func(counter int) Volume { return Volume{t.Packets[counter], t.Bytes[counter]} }
		all := at(engine.CounterTotal)
		all.add(at(1 + ring.CounterExempt))
		s.add(all)
		addTo(s.Directions, t.Direction.String(), all)
		addTo(s.Families, map[uint8]string{4: "ipv4", 6: "ipv6"}[t.Family], all)
		for i, name := range detect.CounterNames {
			addTo(s.Counters, name, at(i))
		}
		for _, p := range []int{1 + ring.CounterTCP, 1 + ring.CounterUDP, 1 + ring.CounterICMP} {
			addTo(s.Protocols, detect.CounterNames[p], at(p))
			all.Packets, all.Bytes = all.Packets-at(p).Packets, all.Bytes-at(p).Bytes
		}
		addTo(s.Protocols, "other", all)
	}
	for _, u := range e.UserTotals() {
		addTo(s.Counters, r.d.sys.names.counters.name(u.Counter), Volume{u.Packets, u.Bytes})
	}
	return s
}
