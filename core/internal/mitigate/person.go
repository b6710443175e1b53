package mitigate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Ban takes what a person asks for. What is there already for the same target
// and action is theirs from then on, too.
func (m *Machine) Ban(b *Ban) (id string, err error) {
	k := key{Action: b.Action.String(), Target: b.Target, Direction: b.Direction}
	until := m.now.Boot + b.For
	if e := m.byKey[k]; e != nil {
		if e.State == sdk.MitigationReleasing && !m.recall(e) {
			return "", fmt.Errorf("mitigation %s of %s is still being released: %s", e.ID, sdk.TargetText(e.Target), e.Cause)
		}
		e.Manual, e.Until, e.By, e.Reason = true, until, b.By, b.Reason
		if len(b.Attributes) > 0 {
			e.Rules.Attributes = instead(e.Rules.Attributes, b.Attributes)
			e.review()
		}
		if e.MaxEnds > 0 {
			e.MaxEnds = max(e.MaxEnds, until)
		}
		m.dirty[e.ID] = true
		return e.ID, nil
	}
	if len(m.byID) >= maxEntries {
		return "", fmt.Errorf("there are %d mitigations, which is as many as are kept: refuse some that are held", maxEntries)
	}
	rules := b.Rules
	if len(b.Attributes) > 0 {
		rules.Attributes = instead(rules.Attributes, b.Attributes)
	}
	e := &entry{
		ID: m.newID(), Action: b.Action, Target: b.Target, Direction: b.Direction, Event: b.Event, Subnet: b.Subnet, Rules: rules,
		By: b.By, Reason: b.Reason, Manual: true, Until: until, Requested: m.now.Wall, attacks: map[string]bool{},
	}
	m.begin(e)
	return e.ID, nil
}

// instead gives attributes with some that stand instead of those of the same name.
func instead(of, some map[string][]string) map[string][]string {
	out := map[string][]string{}
	maps.Copy(out, of)
	maps.Copy(out, some)
	return out
}

// Unban releases what a person names, whoever asked for it. Attacks that go on
// do not ask for it again.
func (m *Machine) Unban(ids []string, cause string) {
	for _, id := range ids {
		if e := m.byID[id]; e != nil {
			m.refuse(e)
			m.release(e, cause)
		}
	}
}

// Find lists the ids that a person means: one, those of a prefix and of what lies
// in it, or all.
func (m *Machine) Find(id string, prefix netip.Prefix, all bool) []string {
	var out []string
	for _, e := range m.byID {
		if all || id != "" && e.ID == id || prefix.IsValid() && prefix.Overlaps(e.Target) && prefix.Bits() <= e.Target.Bits() {
			out = append(out, e.ID)
		}
	}
	slices.Sort(out)
	return out
}

// Free lets something that is held pass the guards' counts; what is never
// announced stays held.
func (m *Machine) Free(id, who string) error {
	e := m.byID[id]
	switch {
	case e == nil:
		return fmt.Errorf("there is no mitigation %s", id)
	case e.State != sdk.MitigationHeld:
		return fmt.Errorf("mitigation %s is not held: it is %s", id, e.State)
	case e.Hard:
		return fmt.Errorf("mitigation %s cannot be released: %s; only the configuration can allow that", id, e.Cause)
	}
	for _, e := range m.heldWith(e) {
		e.Freed, e.preview, e.tryAt = who, true, 0
		m.set(e, sdk.MitigationRequested, m.plugin(e.Action.Block).absence("let pass by "+who))
	}
	return nil
}

// heldWith lists what is held for the same reason: all prefixes of one attack were
// judged by their sum, and a person decides about all of them.
func (m *Machine) heldWith(e *entry) []*entry {
	out := []*entry{e}
	if e.Group == "" || e.Hard {
		return out
	}
	for _, o := range m.of(e.Action.Block) {
		if o != e && o.Group == e.Group && o.State == sdk.MitigationHeld && !o.Hard {
			out = append(out, o)
		}
	}
	return out
}

// Refuse gives up something that is held, for as long as its attacks last.
func (m *Machine) Refuse(id, who string) error {
	e := m.byID[id]
	switch {
	case e == nil:
		return fmt.Errorf("there is no mitigation %s", id)
	case e.State != sdk.MitigationHeld:
		return fmt.Errorf("mitigation %s is not held: it is %s", id, e.State)
	}
	for _, e := range m.heldWith(e) {
		m.refuse(e)
		m.finish(e, "refused by "+who)
	}
	return nil
}

// Verdict is what the configuration says of a mitigation that is there.
type Verdict struct {
	Release string // why it is to go; "" it stays
	Rules   *Rules // that it has now; nil: as before
	Changed bool   // what it comes to may be another
}

// Judge asks the configuration about a mitigation, the newest event of its
// attack, and whether a person wants it.
type Judge func(r *sdk.MitigationReport, e *sdk.Event, manual bool) Verdict

// Reconfigure puts another guard in force, and has each mitigation judged by it
// and by the configuration.
func (m *Machine) Reconfigure(guard *Guard, judge Judge) {
	m.guard = guard
	for _, e := range slices.Collect(maps.Values(m.byID)) {
		told := e.report(m.now)
		v := judge(&told, &e.Event, e.Manual)
		if v.Release == "" && e.Desired {
			v.Release = guard.forbidden(e.Target, e.Announced)
		}
		switch {
		case v.Release != "":
			m.orphan(e)
			m.release(e, v.Release)
			continue
		case e.State == sdk.MitigationReleasing:
			continue
		}
		if v.Rules != nil && !e.Manual && !sameRules(e.Rules, *v.Rules) {
			e.Rules, v.Changed = *v.Rules, true
			m.dirty[e.ID] = true
		}
		if v.Changed || e.State == sdk.MitigationHeld && e.Hard {
			m.rejudge(e)
		}
	}
}

const (
	// awaitTime is how long nothing new is announced while some action has not
	// said what it protects; one that does not run keeps the others from
	// acting no longer.
	awaitTime  = 10 * time.Second
	awaitPause = 50 * time.Millisecond
)

// Await names the actions that have not said yet what nothing may be done
// against.
func (m *Machine) Await(blocks []string) {
	names := strings.Join(blocks, ", ")
	if len(names) > len(m.awaited) {
		m.awaits = m.now.Boot + awaitTime
	}
	m.awaited = names
}

// rejudge previews something anew.
func (m *Machine) rejudge(e *entry) {
	if !e.Target.IsValid() {
		return // nothing of it is announced, whatever is configured
	}
	e.review()
	if e.State == sdk.MitigationHeld {
		if !e.Hard {
			e.preview = false
			return
		}
		m.set(e, sdk.MitigationRequested, "the configuration has changed")
	}
}

// Abandon ends what a block's mitigations were, once it has gone with its plugin.
func (m *Machine) Abandon(block string) {
	for _, e := range m.of(block) {
		m.refuse(e)
		cause := "the action is no longer configured"
		if e.Synced {
			cause += ", and nothing has said that it took it back"
		}
		m.finish(e, cause)
	}
	delete(m.plugins, block)
}

// Remaining lists what a block still has to take back.
func (m *Machine) Remaining(block string) (n int) {
	for _, e := range m.byID {
		if e.Action.Block == block && (e.Desired || e.State == sdk.MitigationReleasing) && e.conn == m.plugin(block).conn && e.conn != 0 {
			n++
		}
	}
	return n
}

// Late lists what has been on its way for longer than so long, by block: how many,
// for how long, and the cause of the one that waits longest.
func (m *Machine) Late(than time.Duration) map[string]Lateness {
	out := map[string]Lateness{}
	for _, e := range m.byID {
		waits := e.Desired && e.State != sdk.MitigationActive && e.State != sdk.MitigationSent || e.State == sdk.MitigationReleasing ||
			e.State == sdk.MitigationRequested
		if age := m.now.Boot - e.since; waits && age >= than {
			l := out[e.Action.Block]
			l.Count++
			if l.Count == 1 || age > l.For {
				l.For, l.Cause = age, e.Cause
			}
			out[e.Action.Block] = l
		}
	}
	return out
}

// Lateness is what an action has not brought about.
type Lateness struct {
	Count int
	For   time.Duration
	Cause string
}

// Counts are mitigations by state.
func (m *Machine) Counts() map[sdk.MitigationState]int {
	out := map[sdk.MitigationState]int{}
	for _, e := range m.byID {
		out[e.State]++
	}
	return out
}
