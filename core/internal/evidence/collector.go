package evidence

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	// earlyAfter is when what is known is told, however little it is.
	earlyAfter = 4 * time.Second
	// SampleTime is how long packets are waited for, and how much of an attack
	// its timeline shows.
	SampleTime = time.Minute
	// inspectTime bounds what an Inspector may take: evidence is to come
	// within five seconds.
	inspectTime = 700 * time.Millisecond
	// atOnce is how many attacks are sampled at a time, maxWaiting how many
	// more may wait for that.
	atOnce     = 256
	maxWaiting = 768
	// maxDump bounds the samples that events carry and inspectors get: a message
	// is limited, and so is what open attacks may hold.
	maxDump = 1000
	// FlowsPerPacket is how many flow records count as one packet.
	FlowsPerPacket = 8
)

// Source is a capture that may see an attack's packets.
type Source struct {
	Name   string
	Sample func(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error
}

// Inspector is an action that judges evidence.
type Inspector struct {
	Name    string
	Inspect func(ctx context.Context, e sdk.Evidence) ([]sdk.Finding, error)
}

// Options of a Collector.
type Options struct {
	Packets    int // samples of an attack
	Geo        *Geo
	Files      *Files
	Log        hclog.Logger
	Sources    func() []Source
	Area       func(*sdk.Event) Area // nil: the target
	Inspectors func() []Inspector
	// Deliver takes what was found; tell says that people are to be told of it
	// now. It is called from several goroutines, and must not wait for any
	// method of the Collector.
	Deliver func(id string, f Finding, tell bool)
}

// Collector gathers samples of open attacks. Its methods never wait for a
// plugin or a disk.
type Collector struct {
	opt   Options
	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup
	slots chan struct{}

	mu     sync.Mutex
	open   map[string]*collection
	closed bool
	warned map[string]time.Time
}

// collection is one attack's evidence.
type collection struct {
	c    *Collector
	id   string
	full chan struct{} // closed when there are as many samples as are wanted
	end  context.CancelFunc

	mu       sync.Mutex
	event    sdk.Event // the newest
	samples  []sdk.Sample
	taken    int // of them, a flow record counting one and a packet FlowsPerPacket
	enough   bool
	timeline []sdk.TimelinePoint
	problems []string
	findings []sdk.Finding
	ended    bool
}

// NewCollector returns a collector; Close ends it.
func NewCollector(opt Options) *Collector {
	c := &Collector{opt: opt, slots: make(chan struct{}, atOnce), open: map[string]*collection{}, warned: map[string]time.Time{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.tasks.Go(c.sweep)
	return c
}

// sweepEvery is how often files that are too old are looked for.
const sweepEvery = 10 * time.Minute

// sweep removes old files until the collector is closed.
func (c *Collector) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for c.ctx.Err() == nil {
		if err := c.opt.Files.Sweep(time.Now()); err != nil {
			c.warn("old evidence cannot be removed", c.opt.Files.Dir, err)
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
		}
	}
}

// Close stops sampling, and waits for what is being written.
func (c *Collector) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.tasks.Wait()
}

// Start begins to collect for an attack that has just started.
func (c *Collector) Start(e *sdk.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.open[e.ID] != nil || len(c.open) >= atOnce+maxWaiting {
		return
	}
	x := &collection{c: c, id: e.ID, event: *e, full: make(chan struct{})}
	ctx, cancel := context.WithTimeout(c.ctx, SampleTime)
	x.end = cancel
	c.open[e.ID] = x
	c.tasks.Go(func() {
		defer cancel()
		x.run(ctx)
	})
}

// Rate tells how much an attack is in a second of its first minute.
func (c *Collector) Rate(e *sdk.Event) {
	x := c.find(e.ID)
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.event = *e
	second := e.Time.Sub(e.Started)
	if second < 0 || second > SampleTime {
		return
	}
	p := Rates(e, second)
	if n := len(x.timeline); n > 0 && x.timeline[n-1].Second >= p.Second {
		return
	}
	x.timeline = append(x.timeline, p)
}

// Collecting tells whether anything is being collected.
func (c *Collector) Collecting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) > 0
}

// End says that an attack is over, and returns what is known of it, if that was
// not told before.
func (c *Collector) End(e *sdk.Event) (f Finding, ok bool) {
	x := c.find(e.ID)
	if x == nil {
		return Finding{}, false
	}
	x.mu.Lock()
	x.ended, x.event = true, *e
	x.mu.Unlock()
	f = x.analyse(true)
	x.end()
	return f, f.Report != nil
}

func (c *Collector) find(id string) *collection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

func (c *Collector) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
}

// run samples one attack until there is enough, its minute is over or the
// attack is.
func (x *collection) run(ctx context.Context) {
	defer x.c.forget(x.id)
	select {
	case x.c.slots <- struct{}{}:
		defer func() { <-x.c.slots }()
	case <-ctx.Done():
		return
	}
	x.mu.Lock()
	e := x.event
	x.mu.Unlock()
	sampling, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	area := Area{Prefixes: []netip.Prefix{e.Target}}
	if x.c.opt.Area != nil {
		area = x.c.opt.Area(&e)
	}
	for _, s := range x.c.opt.Sources() {
		for _, p := range area.Prefixes {
			all.Go(func() { x.sample(sampling, s, &e, &area, p) })
		}
	}
	defer all.Wait()

	early := time.NewTimer(earlyAfter)
	defer early.Stop()
	select {
	case <-x.full:
	case <-early.C:
		x.publish(ctx, false, true)
		select {
		case <-x.full:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	enough()
	x.publish(ctx, true, true)
	if ctx.Err() == nil { // the timeline goes on
		<-ctx.Done()
		x.publish(ctx, true, false)
	}
}

func (x *collection) problem(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.problems) < 10 && !slices.Contains(x.problems, text) {
		x.problems = append(x.problems, printable(text))
	}
}

// analyse looks at what there is.
func (x *collection) analyse(complete bool) Finding {
	x.mu.Lock()
	in := Input{
		Event: x.event, Samples: slices.Clone(x.samples), Timeline: slices.Clone(x.timeline), Geo: x.c.opt.Geo, Dump: min(x.c.opt.Packets, maxDump),
	}
	findings, problems := slices.Clone(x.findings), slices.Clone(x.problems)
	x.mu.Unlock()
	f := Analyse(&in)
	if f.Report == nil {
		return f
	}
	f.Report.Complete, f.Report.Problems = complete, problems
	f.inspected(findings)
	return f
}

// inspected adds what inspectors have found. One that is surer than the rules
// names the attack.
func (f *Finding) inspected(findings []sdk.Finding) {
	f.Report.Findings = make([]sdk.Finding, len(findings))
	for i, x := range findings {
		x.Label, x.Detail = word(x.Label), printable(x.Detail)
		f.Report.Findings[i] = x
		if x.Label != "" && x.Confidence > f.Confidence && x.Confidence <= 1 && x.Label != f.Label {
			f.Report.Reasons = append(f.Report.Reasons, fmt.Sprintf("an inspector is surer than the rules, which say %s: %s", f.Label, x.Detail))
			f.Label, f.Confidence = x.Label, x.Confidence
		}
	}
}

// maxLabel bounds a label in octets.
const maxLabel = 64

// word makes a label of what an inspector says: letters, digits, - and _, as
// people search for it and programs compare it.
func word(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
		if b.Len() == maxLabel {
			break
		}
	}
	return strings.Trim(b.String(), "_-")
}

// publish analyses, has inspectors look, writes the files and hands all that
// over. What has ended is only written: its last event has been told.
func (x *collection) publish(ctx context.Context, complete, tell bool) {
	x.mu.Lock()
	samples, e := slices.Clone(x.samples), x.event
	x.mu.Unlock()
	if len(samples) == 0 {
		return
	}
	if tell {
		x.inspect(ctx, sdk.Evidence{Event: e, Frames: samples[:min(len(samples), maxDump)]})
	}
	f := x.analyse(complete)
	if f.Report == nil {
		return
	}
	x.write(&e, &f, samples)
	x.mu.Lock()
	ended := x.ended
	x.mu.Unlock()
	if !ended {
		x.c.opt.Deliver(e.ID, f, tell)
	}
}

func (x *collection) inspect(ctx context.Context, e sdk.Evidence) {
	if x.c.opt.Inspectors == nil {
		return
	}
	var all []sdk.Finding
	for _, i := range x.c.opt.Inspectors() {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectTime)
		found, err := i.Inspect(call, e)
		cancel()
		if err != nil {
			x.c.warn("an inspector has failed", i.Name, err)
			x.problem(fmt.Sprintf("inspector %s: %v", i.Name, err))
		}
		all = append(all, found[:min(len(found), maxFindings)]...)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.findings = all
}

// maxFindings bounds what one inspector may say of an attack.
const maxFindings = 20

// write keeps capture file and report; what fails is said in the report that is
// told.
func (x *collection) write(e *sdk.Event, f *Finding, samples []sdk.Sample) {
	if x.c.opt.Files == nil || x.c.opt.Files.Dir == "" {
		return
	}
	fail := func(err error) {
		x.c.warn("evidence cannot be written", x.c.opt.Files.Dir, err)
		text := printable(err.Error())
		x.problem(text) // later reports tell of it too
		if !slices.Contains(f.Report.Problems, text) {
			f.Report.Problems = append(f.Report.Problems, text)
		}
	}
	name := Name(e)
	content, extension, err := CaptureFile(samples)
	if err == nil && content != nil {
		f.Report.PCAP, err = x.c.opt.Files.Write(name+extension, content)
	}
	if err != nil {
		fail(err)
	}
	told := *e
	told.Label, told.Confidence, told.Evidence = f.Label, f.Confidence, f.Report
	if f.Report.Report, err = x.c.opt.Files.Write(name+".txt", Text(&told)); err != nil {
		fail(err)
	}
}

// warnEvery is between two lines about the same.
const warnEvery = time.Minute

func (c *Collector) warn(text, about string, err error) {
	c.mu.Lock()
	last := c.warned[text+about]
	now := time.Now()
	if now.Sub(last) < warnEvery {
		c.mu.Unlock()
		return
	}
	if len(c.warned) > 1000 {
		clear(c.warned)
	}
	c.warned[text+about] = now
	c.mu.Unlock()
	c.opt.Log.Warn(text, "of", about, "error", err)
}
