package mitigate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	// maxEntries bounds what is kept, held ones included.
	maxEntries = 10_000
	// recurWithin is how long after its release a mitigation that comes again
	// is a recurrence; longer where its hold time was long.
	recurWithin = time.Hour
	// maxRecurrences bounds how many are remembered.
	maxRecurrences = 10_000
	// absentAfter is how long a plugin has, once it has taken a set, to say that
	// it still holds what is not in it.
	absentAfter = time.Second
	// restartGrace is how long attacks that an earlier daemon knew have, to be
	// found again.
	restartGrace = time.Minute
	// overdue is how long a plugin has to take back what it holds, before it is
	// told once more.
	overdue  = 10 * time.Second
	tryFirst = 500 * time.Millisecond
	tryMost  = 30 * time.Second
)

// Machine is the state of all mitigations. Its methods are called by one
// goroutine at a time, and wait for nothing.
type Machine struct {
	guard    *Guard
	newID    func() string
	now      Moment
	byID     map[string]*entry
	byKey    map[key]*entry
	attacks  map[string]*calling
	recur    map[key]recurrence
	earlier  map[key]time.Duration // refused under an earlier daemon; until when an attack is taken for the same
	refusals bool                  // what is refused has changed
	begun    bool                  // more have begun
	tally    tally
	plugins  map[string]*pluginState // by block
	changed  []Change
	dirty    map[string]bool
	past     []sdk.MitigationReport
	awaited  string // actions that have not said yet what they protect
	awaits   time.Duration
	lost     uint64 // requests that found no room
	conns    uint64 // that there have been
}

// calling is an open attack.
type calling struct {
	keys    map[key]bool
	refused map[key]bool // by a person, or by max: not again for this attack
}

// recurrence remembers a mitigation that is over.
type recurrence struct {
	Level int
	Until time.Duration // it counts as one that comes again
}

// NewMachine makes a machine in which nothing is wanted.
func NewMachine(guard *Guard, newID func() string, now Moment) *Machine {
	return &Machine{
		guard: guard, newID: newID, now: now, byID: map[string]*entry{}, byKey: map[key]*entry{}, attacks: map[string]*calling{},
		recur: map[key]recurrence{}, earlier: map[key]time.Duration{}, plugins: map[string]*pluginState{}, dirty: map[string]bool{},
	}
}

// Attack takes an attack as it stands.
func (m *Machine) Attack(a *Attack) {
	id := a.Event.ID
	c := m.attacks[id]
	if a.Over {
		if c != nil {
			for k := range c.keys {
				m.disown(m.byKey[k], id, &a.Event, "the attack has ended")
			}
			delete(m.attacks, id)
			m.refusals = m.refusals || len(c.refused) > 0
			return
		}
		m.forgive(a)
		return
	}
	if c == nil {
		c = &calling{keys: map[key]bool{}, refused: map[key]bool{}}
		m.attacks[id] = c
	}
	wanted := map[key]bool{}
	for _, part := range a.parts() {
		m.want(&part, c, wanted)
	}
	for k := range c.keys {
		if !wanted[k] {
			delete(c.keys, k)
			m.disown(m.byKey[k], id, &a.Event, "the attack calls the action no more")
		}
	}
}

// want takes what an attack wants done, to all of its target or to a part of it.
func (m *Machine) want(a *Attack, c *calling, wanted map[key]bool) {
	id := a.Event.ID
	for i := range a.Wants {
		w := &a.Wants[i]
		k := keyOf(w.Action, a)
		e := m.byKey[k]
		switch {
		case w.Do == Drop:
			if e != nil && c.keys[k] {
				e.drop(id)
				m.releaseUnlessWanted(e, w.Why)
			}
			continue
		case c.refused[k] || m.refusedBefore(k, c):
			continue
		case w.Do == Keep && !c.keys[k]:
			continue
		}
		wanted[k] = true
		if e == nil {
			m.request(k, a, w, c)
		} else {
			c.keys[k] = m.adopt(e, a, w)
		}
	}
}

func (e *entry) drop(attack string) { delete(e.attacks, attack) }

// request begins a mitigation.
func (m *Machine) request(k key, a *Attack, w *Want, c *calling) {
	if len(m.byID) >= maxEntries {
		m.lost++
		return
	}
	c.keys[k] = true
	e := &entry{
		ID: m.newID(), Action: w.Action, Target: k.Target, Direction: a.Event.Direction, AttackID: a.Event.ID, Whole: k.Whole,
		Event: a.Event, Subnet: a.Subnet, Rules: w.Rules, Requested: m.now.Wall, attacks: map[string]bool{a.Event.ID: true},
	}
	if len(a.Parts) > 1 {
		e.Group = a.Event.ID + " " + k.Action
	}
	m.begin(e)
	if a.TooMuch != "" {
		m.hold(e, a.TooMuch, true)
	}
}

// begin files a new entry.
func (m *Machine) begin(e *entry) {
	k := e.key()
	if r, ok := m.recur[k]; ok {
		delete(m.recur, k)
		if m.now.Boot < r.Until && !e.Manual {
			e.Level = r.Level + 1
		}
	}
	m.byID[e.ID], m.byKey[k] = e, e
	e.preview = true
	m.set(e, sdk.MitigationRequested, m.plugin(e.Action.Block).absence("to be announced"))
}

// adopt joins an attack to a mitigation that is there. It tells whether it could.
func (m *Machine) adopt(e *entry, a *Attack, w *Want) bool {
	if e.State == sdk.MitigationReleasing && !m.recall(e) {
		return false
	}
	again := len(e.attacks) == 0 && !e.attacks[a.Event.ID]
	if e.attacks == nil {
		e.attacks = map[string]bool{}
	}
	e.attacks[a.Event.ID] = true
	e.AttackID = a.Event.ID
	if again {
		m.dirty[e.ID] = true
	}
	if !e.Manual && !sameRules(e.Rules, w.Rules) {
		e.Rules = w.Rules
		m.rejudge(e)
	}
	m.learn(e, &a.Event)
	return true
}

// recall wants again what was being released: the attack came back first. What
// the guards forbid by now goes on being released.
func (m *Machine) recall(e *entry) bool {
	if m.guard.forbidden(e.Target, e.Announced) != "" {
		return false
	}
	e.Level++
	e.Desired, e.omitted = true, 0
	m.tally.add(e.Announced)
	m.startHold(e)
	m.set(e, sdk.MitigationRequested, "it was being released when the attack came again")
	e.review()
	m.touch(e)
	return true
}

// review has an entry previewed: what is in force before what is to be.
func (e *entry) review() { e.preview, e.anew, e.tryAt, e.tries = true, e.Desired, 0, 0 }

// learn takes an attack's newest event. What it comes to may depend on its label
// and on evidence; those are previewed before they are in force.
func (m *Machine) learn(e *entry, event *sdk.Event) {
	known := &e.Event
	if e.pending != nil {
		known = e.pending
	}
	if known.Label == event.Label && known.AttackType == event.AttackType && complete(known) == complete(event) {
		if e.pending == nil {
			e.Event = *event
		} else {
			e.pending = event
		}
		return
	}
	e.pending, e.preview, e.tryAt, e.tries = event, true, 0, 0
}

func complete(e *sdk.Event) bool { return e.Evidence != nil && e.Evidence.Complete }

func sameRules(a, b Rules) bool {
	return a.Hold == b.Hold && a.Max == b.Max && a.Release == b.Release && a.Backoff == b.Backoff &&
		maps.EqualFunc(a.Attributes, b.Attributes, slices.Equal[[]string])
}

// disown takes an attack away from a mitigation, which its rules release then.
func (m *Machine) disown(e *entry, attack string, last *sdk.Event, cause string) {
	if e == nil || !e.attacks[attack] {
		return
	}
	e.drop(attack)
	event := *last
	event.Target = e.Target // of a target of several prefixes, one
	m.learn(e, &event)
	m.dirty[e.ID] = true
	if len(e.attacks) == 0 && !e.Manual && !e.Desired && e.State != sdk.MitigationReleasing {
		m.finish(e, cause+" before it was announced")
	}
}

// releaseUnlessWanted releases what no attack and no person wants.
func (m *Machine) releaseUnlessWanted(e *entry, cause string) {
	if len(e.attacks) == 0 && !e.Manual {
		m.release(e, cause)
	}
}

// release takes a mitigation back.
func (m *Machine) release(e *entry, cause string) {
	if e.State == sdk.MitigationReleasing {
		return
	}
	m.undesire(e)
	e.preview, e.Why = false, cause
	if !e.Synced {
		m.finish(e, cause)
		return
	}
	e.omitted = 0
	m.set(e, sdk.MitigationReleasing, cause)
	m.touch(e)
}

func (m *Machine) undesire(e *entry) {
	if e.Desired {
		e.Desired = false
		m.tally.remove(e.Announced)
	}
}

// finish ends a mitigation.
func (m *Machine) finish(e *entry, cause string) {
	m.undesire(e)
	if e.HoldEnds > 0 {
		if len(m.recur) >= maxRecurrences {
			m.forgetRecurrence()
		}
		m.recur[e.key()] = recurrence{e.Level, m.now.Boot + max(recurWithin, 2*m.holdTime(e))}
	}
	e.peers = nil
	m.set(e, sdk.MitigationReleased, cause)
	delete(m.byID, e.ID)
	if m.byKey[e.key()] == e {
		delete(m.byKey, e.key())
	}
	m.past = append(m.past, e.report(m.now))
}

// forgetRecurrence makes room for one more.
func (m *Machine) forgetRecurrence() {
	var oldest key
	until := time.Duration(1<<63 - 1)
	for k, r := range m.recur {
		if r.Until < until {
			oldest, until = k, r.Until
		}
	}
	delete(m.recur, oldest)
}

// set brings a mitigation to a state and notes the change. Another cause of the
// same state is no change that is told.
func (m *Machine) set(e *entry, state sdk.MitigationState, cause string) {
	same := e.State == state
	if same && e.Cause == cause {
		return
	}
	e.Cause = cause
	m.dirty[e.ID] = true
	if same {
		return
	}
	e.State, e.Since, e.since = state, m.now.Wall, m.now.Boot
	told := e.Event
	told.Evidence = nil
	m.changed = append(m.changed, Change{Report: e.report(m.now), Event: told})
}

// touch makes a plugin get its set anew.
func (m *Machine) touch(e *entry) { m.plugin(e.Action.Block).version++ }

// Changes are those since the last call.
func (m *Machine) Changes() []Change {
	out := m.changed
	m.changed = nil
	return out
}

// Reports lists all that is not over, oldest first.
func (m *Machine) Reports() []sdk.MitigationReport {
	out := make([]sdk.MitigationReport, 0, len(m.byID))
	for _, e := range m.byID {
		out = append(out, e.report(m.now))
	}
	for block, p := range m.plugins {
		for id, s := range p.unknown {
			out = append(out, sdk.MitigationReport{
				ID: id, Action: block, State: s.State, Time: s.Time, Peers: s.Peers,
				Cause: strings.TrimSuffix("the plugin holds it, and was never asked to: "+s.Cause, ": "),
			})
		}
	}
	slices.SortFunc(out, func(a, b sdk.MitigationReport) int {
		return cmp.Or(a.Requested.Compare(b.Requested), strings.Compare(a.ID, b.ID))
	})
	return out
}
