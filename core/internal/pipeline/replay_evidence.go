package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// A replay reads its files as fast as it can: when an attack is found its
// packets have long gone by. So the files are read a second time for those of
// the attacks that the first pass has found, from the moment of each on, and the
// events wait for that. What is sampled depends on nothing but the files.

const (
	// maxReplayAttacks bounds the attacks that a replay samples.
	maxReplayAttacks = 1000
	// maxReplayExtra is how many prefixes more than one of each attack are
	// sampled: those of hostgroups and networks that have several.
	maxReplayExtra = 512
	// someMine is how many times as many packets are wanted where some of
	// them may not be the attack's.
	someMine = 8
	// maxHeld bounds the events that wait for the second pass: more are told
	// at once, without evidence.
	maxHeld = 50000
	// earlyReplay is when evidence is told that is not complete, as live.
	earlyReplay = 4 * time.Second
	// maxReplayDump bounds the samples that an event carries.
	maxReplayDump = 1000
	// beforeReplay is how far before an attack packets are wanted, and
	// beforeShare how many of all at most.
	beforeReplay = time.Second
	beforeShare  = 5
)

// trail is what a replay keeps of an attack for its evidence.
type trail struct {
	event    sdk.Event // at first as it started, later with newer rates
	area     evidence.Area
	early    []early    // those rates, each with its time
	parts    []*sampled // while they come
	prefix   []sdk.Sample
	samples  []sdk.Sample
	timeline []sdk.TimelinePoint
}

// early is an attack's rates at a moment soon after its start.
type early struct {
	at                 time.Time
	incoming, outgoing []sdk.CounterRate
}

// ratesAt puts the newest rates known at its time into an event.
func (t *trail) ratesAt(e *sdk.Event) {
	for i := range t.early {
		if r := &t.early[i]; !r.at.After(e.Time) {
			e.Incoming, e.Outgoing = r.incoming, r.outgoing
		}
	}
}

// keep notes an attack that starts.
func (r *replay) keep(e *sdk.Event) {
	if e.Type != sdk.AttackStarted || r.given || len(r.trails) >= maxReplayAttacks {
		return
	}
	area := r.d.areaNow(e)
	if n := len(area.Prefixes) - 1; r.extra+n > maxReplayExtra {
		area.Prefixes = area.Prefixes[:1]
	} else {
		r.extra += n
	}
	r.trails[e.ID] = &trail{event: *e, area: area}
	r.started = append(r.started, e.ID)
}

// watchRates notes the rates of young attacks once a second of the packets'
// clock; the loop calls it after each flush.
func (r *replay) watchRates() {
	clock := r.d.sys.loop.engine.Clock()
	if clock/int64(time.Second) == r.second || r.d.sys.loop.detector.Open() == 0 {
		return
	}
	r.second = clock / int64(time.Second)
	n := 0
	for _, a := range r.d.sys.loop.detector.Attacks(clock) {
		t := r.trails[a.ID]
		if t == nil || time.Duration(clock-a.Started) > evidence.SampleTime {
			continue
		}
		if n++; n > maxTimelines {
			return
		}
		e := (&detect.Event{Type: detect.Updated, Time: clock, Attack: a}).SDK(packetClock)
		p := evidence.Rates(&e, e.Time.Sub(e.Started))
		if len(t.timeline) == 0 || t.timeline[len(t.timeline)-1].Second < p.Second {
			t.timeline = append(t.timeline, p)
		}
		if e.Time.Sub(e.Started) <= earlyReplay {
			t.event.Incoming, t.event.Outgoing = e.Incoming, e.Outgoing
			t.early = append(t.early, early{e.Time, e.Incoming, e.Outgoing})
		}
	}
}

// witness reads the files again and puts evidence into the events.
func (r *replay) witness(ctx context.Context) ([]sdk.Event, error) {
	if r.given || len(r.started) == 0 {
		return r.held, nil
	}
	if err := r.secondPass(ctx); err != nil {
		return nil, fmt.Errorf("reading the captures again for evidence: %w", err)
	}
	geo, err := evidence.OpenGeo(r.d.opt.Config.Evidence.GeoIP)
	if err != nil {
		r.d.sys.log.Warn("evidence names no countries and no AS", "error", err)
	}
	by := map[string][]sdk.Event{}
	for _, e := range r.held {
		by[e.ID] = append(by[e.ID], e)
	}
	var out []sdk.Event
	for _, id := range r.started {
		out = append(out, r.attested(by[id], r.trails[id], geo)...)
		delete(by, id)
	}
	for _, e := range r.held { // those without a trail, in their order
		if _, left := by[e.ID]; left {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b sdk.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), a.Target.Addr().Compare(b.Target.Addr()), cmp.Compare(a.Target.Bits(), b.Target.Bits()),
			cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Seq, b.Seq))
	})
	return out, nil
}

// attested puts evidence into one attack's events: an update brings it, the
// later ones keep it.
func (r *replay) attested(events []sdk.Event, t *trail, geo *evidence.Geo) (out []sdk.Event) {
	want := r.d.opt.Config.Evidence.Packets
	full := len(t.samples) >= want
	told := t.event.Started.Add(earlyReplay)
	if full {
		told = t.samples[want-1].Time.Add(100 * time.Millisecond).Truncate(100 * time.Millisecond)
	}
	in := evidence.Input{Event: t.event, Samples: append(slices.Clone(t.prefix), t.samples...), Timeline: t.timeline, Geo: geo, Dump: min(want, maxReplayDump)}
	f := evidence.Analyse(&in)
	if f.Report == nil {
		return events
	}
	f.Report.Complete = true
	done := false
	add := func(e sdk.Event) {
		e.Seq = uint32(len(out) + 1)
		if done {
			e.Label, e.Confidence, e.Evidence = f.Label, f.Confidence, f.Report
		}
		out = append(out, e)
	}
	for i, e := range events {
		if i > 0 && !done && !e.Time.Before(told) {
			done = true
			if e.Type != sdk.AttackEnded || e.Time.After(told) {
				update := events[i-1]
				update.Type, update.Time, update.Lifted = sdk.AttackUpdated, told, false
				t.ratesAt(&update)
				add(update)
			}
		}
		if e.Type == sdk.AttackEnded {
			done = true // however short it was
		}
		add(e)
	}
	return out
}

// secondPass plays the files once more, for their packets only.
func (r *replay) secondPass(ctx context.Context) error {
	d := New(r.d.opt)
	d.sys.log = hclog.NewNullLogger() // all there is to say was said the first time
	d.sys.runtimeDir = r.d.sys.runtimeDir
	d.sys.plan.Store(&count.Plan{Revision: 1, Seed: replaySeed})
	e, err := engine.New(engine.Options{Seed: replaySeed, MemoryLimit: 1 << 20})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.SetPlan(&engine.Plan{Revision: 1}); err != nil {
		return err
	}
	d.sys.loop = newLoop(e, detect.New(e, detect.Config{}), d.sys.log, nil, func([]detect.Event) {})
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go d.sys.loop.run(background)
	old := r.capture.prepared
	c := newCapture(d.sys, &prepared{cfg: old.cfg, block: old.block, found: old.found, about: old.about}, newWiring(d.sys, nil), true)
	var sampling sync.WaitGroup
	failed := make(chan error, 1)
	c.before = func(ctx context.Context, proc *plugin.Process) error {
		return r.openSamples(background, proc, &sampling, failed)
	}
	c.inst.Start()
	if err := awaitCapture(ctx, c, nil); err != nil {
		c.inst.Stop(ctx)
		return err
	}
	sampling.Wait()
	c.inst.Stop(ctx)
	for _, id := range r.started {
		r.trails[id].sort(r.d.opt.Config.Evidence.Packets)
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// openSamples asks the capture for the packets of every attack, before it
// begins to read.
func (r *replay) openSamples(ctx context.Context, proc *plugin.Process, all *sync.WaitGroup, failed chan<- error) error {
	for _, id := range r.started {
		t := r.trails[id]
		t.parts = nil
		for _, p := range t.area.Prefixes {
			for _, part := range t.ask(p, r.d.opt.Config.Evidence.Packets) {
				receive, err := proc.Host().OpenSample(ctx, part.req)
				if err != nil {
					return err
				}
				t.parts = append(t.parts, part)
				all.Go(func() {
					err := receive(func(s sdk.Sample) error {
						if s.Before = part.before; t.area.Takes(&s, part.req.Direction) {
							part.samples = append(part.samples, s)
						}
						return nil
					})
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		}
	}
	return nil
}

// sampled is what a replay has of one prefix of an attack.
type sampled struct {
	req     sdk.SampleRequest
	before  bool
	samples []sdk.Sample
}

// ask is what to ask for of a prefix: packets from before the attack, and its own.
func (t *trail) ask(p netip.Prefix, want int) []*sampled {
	few, all := (want+beforeShare-1)/beforeShare, want
	if t.area.Mine != nil {
		few, all = someMine*few, someMine*all
	}
	e := &t.event
	return []*sampled{
		{before: true, req: sdk.SampleRequest{Target: p, Direction: e.Direction, Limit: few, For: beforeReplay, Since: e.Started.Add(-beforeReplay)}},
		{req: sdk.SampleRequest{Target: p, Direction: e.Direction, Limit: all, For: evidence.SampleTime, Since: e.Started}},
	}
}

// sort puts what came of all prefixes in the order of time, and leaves as much
// as is wanted.
func (t *trail) sort(want int) {
	t.prefix, t.samples = nil, nil
	for _, p := range t.parts {
		if p.before {
			t.prefix = append(t.prefix, p.samples...)
		} else {
			t.samples = append(t.samples, p.samples...)
		}
	}
	t.parts = nil
	byTime := func(a, b sdk.Sample) int { return a.Time.Compare(b.Time) }
	cut := func(list []sdk.Sample, packets int) []sdk.Sample {
		if len(t.area.Prefixes) > 1 {
			slices.SortStableFunc(list, byTime)
		}
		left := evidence.FlowsPerPacket * packets
		for i := range list {
			if left -= evidence.Cost(&list[i]); left < 0 {
				return list[:i]
			}
		}
		return list
	}
	t.prefix, t.samples = cut(t.prefix, (want+beforeShare-1)/beforeShare), cut(t.samples, want)
}
