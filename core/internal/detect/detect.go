package detect

import (
	"cmp"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// Defaults of Config and Group.
const (
	DefaultQuiet  = 30 * time.Second
	DefaultUpdate = 5 * time.Minute
)

// quietFactor is the share of its limit below which a counter is quiet.
const quietFactor = 0.75

// look is how often open attacks are looked at.
const look = int64(100 * time.Millisecond)

// Config names what the engine knows by id.
type Config struct {
	Revision string // of the configuration
	Groups   map[uint32]Group
	Networks map[uint32]string
	Limits   map[uint32]LimitName // by engine.Limit.ID
	Update   time.Duration        // between updates of an attack that only goes on; 0 means 5 min, below 0 never
	Seed     uint64               // of attack ids: the boot's live, fixed in replay
}

// Group is what detection needs of a hostgroup.
type Group struct {
	Name  string
	Quiet time.Duration // 0 means 30 s
}

// LimitName says what people call a limit.
type LimitName struct {
	Threshold string
	Counter   string
}

type attack struct {
	Attack
	alarm    engine.Alarm
	quiet    time.Duration
	below    int64            // since when every counter is quiet; 0: it is not
	judged   float64          // average at which Type and Protocol were judged
	update   int64            // when the next periodic update is due; 0 never
	deadline int64            // when a look may find it quiet or over, if nothing more comes
	fresh    []engine.Average // of what it crossed, a second ago at most; while suspended
	above    int64            // since when every look has found some average above its limit; while suspended
	seen     int64            // the newest of these looks; 0: it did not
	told     bool             // else it is part of a wider attack, or a narrower one explains it
	crossed  int64            // when it last crossed a limit
	tier     int64            // when the next tier may be left, if nothing more comes; 0 never
	measured int64            // time of Rates
}

// Detector holds the open attacks. One goroutine uses it, the engine's.
type Detector struct {
	e      *engine.Engine
	cfg    Config
	open   map[engine.Alarm]*attack
	list   []*attack           // the same, by target and direction
	untold int                 // of them, those of which nothing has been said
	wider  int                 // of them, those of wider scopes than host
	wide   map[wideKey]*attack // those of wider scopes that have been told
	bits   map[int]int         // lengths of the prefixes among them, with their number
	looked int64
	events []Event
}

// New returns a detector that reads an engine.
func New(e *engine.Engine, cfg Config) *Detector {
	return &Detector{e: e, cfg: cfg, open: map[engine.Alarm]*attack{}, wide: map[wideKey]*attack{}, bits: map[int]int{}}
}

// SetConfig changes the names; call it with the engine's SetPlan. Open attacks
// keep the names they started with.
func (d *Detector) SetConfig(cfg Config) { d.cfg = cfg }

// Step takes what crossed since the last call, looks at the open attacks (at
// most every 100 ms) and returns what happened, ordered by time and target.
// now is the stream's clock and must not go back; call it after each batch and
// after each Advance. The slice is good until the next call.
func (d *Detector) Step(now int64) []Event {
	clear(d.events)
	d.events = d.events[:0]
	crossings := d.e.Crossings()
	slices.SortStableFunc(crossings, compareCrossing)
	d.events = slices.Grow(d.events, len(crossings)) // thousands may start at once
	// Where wider scopes are in play it takes all that has crossed to say which
	// of them is the attack.
	weigh := d.wider > 0 || slices.ContainsFunc(crossings, func(c engine.Crossing) bool { return c.Scope != engine.ScopeHost })
	for len(crossings) > 0 {
		crossings = crossings[d.take(crossings, weigh):]
	}
	if now >= d.looked+look {
		d.looked = now - now%look
		for _, a := range d.list {
			d.examine(a, now)
		}
		d.list = slices.DeleteFunc(d.list, func(a *attack) bool { return a.State == Over })
		weigh = true
	}
	if weigh && d.untold > 0 {
		d.weigh(now)
	}
	slices.SortStableFunc(d.events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), compareTarget(&a.Attack, &b.Attack), cmp.Compare(a.Attack.Seq, b.Attack.Seq))
	})
	return d.events
}

func compareTarget(a, b *Attack) int {
	return cmp.Or(a.Target.Addr().Compare(b.Target.Addr()), cmp.Compare(a.Target.Bits(), b.Target.Bits()), cmp.Compare(a.Direction, b.Direction),
		cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.GroupID, b.GroupID), cmp.Compare(a.NetworkID, b.NetworkID))
}

// compareCrossing orders by time, then target, then the order of limits: what
// arrives first within a window decides nothing.
func compareCrossing(a, b engine.Crossing) int {
	return cmp.Or(cmp.Compare(a.At, b.At), a.Target.Addr().Compare(b.Target.Addr()),
		cmp.Compare(a.Target.Bits(), b.Target.Bits()), cmp.Compare(a.Direction, b.Direction),
		cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Network, b.Network), cmp.Compare(a.Order, b.Order))
}

// take handles the crossings at the head of the list that belong together:
// same alarm, same moment. It returns how many they are. With weigh a new
// attack is not told yet.
func (d *Detector) take(cs []engine.Crossing, weigh bool) int {
	n := 1
	for n < len(cs) && cs[n].Alarm == cs[0].Alarm && cs[n].At == cs[0].At {
		n++
	}
	first := &cs[0]
	a := d.open[first.Alarm]
	kind := Updated
	if a == nil {
		a, kind = d.start(first), Started
	}
	for i := range cs[:n] {
		a.cross(d.crossed(&cs[i]))
	}
	lifted := a.Suspended && first.Doubt == 0
	a.Suspended = first.Doubt != 0 && (kind == Started || a.Suspended)
	if a.Suspended {
		a.Doubt = first.Doubt
	}
	// What crossed is part of the total, and a burst's rate is newer than any
	// average.
	_, burst := d.e.Burst(a.alarm)
	a.PeakPPS = max(a.PeakPPS, burst)
	a.below, a.deadline, a.crossed = 0, first.At, first.At
	d.measure(a, first.At)
	if kind == Started {
		a.InitialPPS = a.PeakPPS
	}
	switch {
	case a.told:
		d.tell(a, kind, first.At, lifted)
	case !weigh:
		d.begin(a, first.At)
	}
	return n
}

// measure takes an attack's rates at a time.
func (d *Detector) measure(a *attack, now int64) {
	a.measured = now
	a.measure(d.e.AlarmRates(a.alarm, now))
}

func (d *Detector) start(c *engine.Crossing) *attack {
	a := &attack{alarm: c.Alarm, quiet: d.cfg.Groups[c.Group].Quiet}
	if a.quiet <= 0 {
		a.quiet = DefaultQuiet
	}
	a.Attack = Attack{
		ID:    attackID(d.cfg.Seed, c, d.cfg.Revision),
		Scope: c.Scope, Target: c.Target, Direction: c.Direction, Started: c.At, Revision: d.cfg.Revision,
		NetworkID: c.Network, GroupID: c.Group,
		Network: d.cfg.Networks[c.Network], Group: d.cfg.Groups[c.Group].Name,
	}
	d.open[c.Alarm] = a
	at, _ := slices.BinarySearchFunc(d.list, a, func(x, y *attack) int { return compareTarget(&x.Attack, &y.Attack) })
	d.list = slices.Insert(d.list, at, a)
	d.untold++
	if a.Scope != engine.ScopeHost {
		d.wider++
	}
	return a
}

func (d *Detector) crossed(c *engine.Crossing) Crossed {
	n := d.cfg.Limits[c.Limit.ID]
	return Crossed{
		Limit: c.Limit.ID, Threshold: n.Threshold, Counter: n.Counter, Unit: c.Limit.Unit,
		Value: c.Value, Bound: c.Limit.Value, Rule: c.Rule, Window: c.Window, At: c.At, counter: c.Limit.Counter,
	}
}

// tell adds an event with a copy of the attack.
func (d *Detector) tell(a *attack, kind EventType, at int64, lifted bool) {
	a.Seq++
	period := d.cfg.Update
	if period == 0 {
		period = DefaultUpdate
	}
	a.update = 0
	if period > 0 {
		a.update = at + int64(period)
	}
	ev := Event{Type: kind, Time: at, Attack: a.Attack, Lifted: lifted}
	ev.Attack.Crossed = slices.Clone(a.Crossed)
	d.events = append(d.events, ev)
}

// examine looks at an open attack: its peak, whether it is over, whether it is
// time to tell of it again.
func (d *Detector) examine(a *attack, now int64) {
	if a.State == Detected {
		a.State = Active
	}
	d.measure(a, now)
	burst, peak := d.e.Burst(a.alarm)
	a.PeakPPS = max(a.PeakPPS, peak)
	if a.below != 0 && burst > a.below {
		// Pulses that the average does not see are no quiet.
		a.below, a.deadline = burst, burst+int64(a.quiet)
	}
	quiet, known := d.levels(a, now)
	switch {
	case quiet > now:
		a.below = 0
		a.deadline = quiet
	case a.below == 0:
		a.below = now
		a.deadline = now + int64(a.quiet)
	case now-a.below >= int64(a.quiet):
		a.State, a.Ended, a.Cause = Over, now, CauseQuiet
		if !known {
			a.Cause = CauseConfiguration
		}
		d.end(a, now)
		return
	}
	changed := d.tiers(a, now)
	lifted := a.Suspended && d.proved(a, burst, now)
	if lifted {
		a.Suspended = false
	}
	if a.told && (changed || lifted || a.update != 0 && now >= a.update) {
		d.tell(a, Updated, now, lifted)
	}
}

// freshFor is over how long what has come since a disturbance is measured.
const freshFor = int64(time.Second)

// What stays above its limits for so long is real though one disturbance follows
// the other, as on a machine that the attack itself overloads: no backlog is that
// large, the first one has decayed (e^-10), and what only comes late is on the
// whole as much as it was, so that the lowest average is no more than there is.
const (
	lastsFor  = int64(time.Minute)
	lastsTaus = 10 // time constants of the average, if that is longer
)

// lasts tells whether an attack has outlasted any backlog.
func (d *Detector) lasts(a *attack, now int64) bool {
	high, tau := false, time.Duration(0)
	for i := range a.Crossed {
		if v, ok := d.e.Average(a.alarm, a.Crossed[i].Limit, now); ok {
			high, tau = high || v.Value > v.Limit, v.Tau
		}
	}
	if !high {
		a.seen = 0
		return false
	}
	if now-a.seen > freshFor { // or we were stopped, and have not seen what was meanwhile
		a.above = now
	}
	a.seen = now
	return now-a.above >= max(lastsFor, lastsTaus*int64(tau))
}

// proved tells whether a suspended attack goes on: what has come since the
// disturbance is over was above a limit for a second, or a burst, or it has
// gone on for so long that it does not matter.
func (d *Detector) proved(a *attack, burst, now int64) bool {
	if d.lasts(a, now) {
		return true
	}
	settled := d.e.Settled(a.alarm)
	if now < settled {
		a.fresh = a.fresh[:0]
		return false
	}
	if burst > settled+freshFor { // none of its ticks is older
		return true
	}
	known := len(a.fresh) == len(a.Crossed) // else another limit was crossed
	if known && now-a.fresh[0].At < freshFor {
		return false
	}
	above := false
	before := a.fresh
	a.fresh = make([]engine.Average, len(a.Crossed))
	for i := range a.Crossed {
		v, ok := d.e.Average(a.alarm, a.Crossed[i].Limit, now)
		above = above || known && ok && engine.Fresh(before[i], v) > v.Limit
		a.fresh[i] = v
	}
	return above
}

// levels returns when the last of an attack's counters will be quiet if
// nothing more comes, and whether any of its limits still exists.
func (d *Detector) levels(a *attack, now int64) (quiet int64, known bool) {
	quiet = now
	for i := range a.Crossed {
		if lv, ok := d.e.Level(a.alarm, a.Crossed[i].Limit, quietFactor, now); ok {
			known = true
			quiet = max(quiet, lv.Quiet)
		}
	}
	return quiet, known
}

// Watched is Open and those that are part of another, or are explained by one.
func (d *Detector) Watched() int { return len(d.list) }

// Open returns how many attacks are open, those apart that are part of another.
func (d *Detector) Open() int { return len(d.list) - d.untold }

// Attacks returns the open attacks by target, with their rates at now.
func (d *Detector) Attacks(now int64) []Attack {
	out := make([]Attack, 0, d.Open())
	for _, a := range d.list {
		if !a.told {
			continue
		}
		c := a.Attack
		c.Rates = d.e.AlarmRates(a.alarm, now)
		c.Crossed = slices.Clone(c.Crossed)
		out = append(out, c)
	}
	return out
}

// NextDeadline returns the next moment at which Step has something to do if
// nothing more arrives, false when no attack is open. Going from deadline to
// deadline gives the same events as going in steps of 100 ms. It is a multiple
// of 100 ms, so Advance and Step may be called with it as it is.
func (d *Detector) NextDeadline() (int64, bool) {
	next, ok := int64(0), false
	for _, a := range d.list {
		at := a.deadline
		if a.State == Detected {
			at = d.looked + look
		}
		if a.update != 0 {
			at = min(at, a.update)
		}
		if a.tier != 0 {
			at = min(at, a.tier)
		}
		if !a.told {
			at = d.looked + look // who is part of whom changes with every rate
		}
		if !ok || at < next {
			next, ok = at, true
		}
	}
	if !ok {
		return 0, false
	}
	next = (next + look - 1) / look * look
	return max(next, d.looked+look), true
}
