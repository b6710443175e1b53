package mitigate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// pluginState is what is known of the process behind an action.
type pluginState struct {
	conn    uint64 // 0: it does not run
	version uint64 // of the set it is to have
	told    uint64 // of the set it has taken on this connection
	unknown map[string]sdk.MitigationStatus
	fault   string // why it takes no set

	owed  bool          // it is to be told again what it does not have to hold
	notBy time.Duration // and not before
}

// correctEvery bounds how often a plugin is told its set for no other reason than
// that it says it holds what it need not: one that always does is not told without end.
const correctEvery = time.Second

// correct has a plugin told its set, soon.
func (m *Machine) correct(p *pluginState) {
	if p.owed = m.now.Boot < p.notBy; p.owed {
		return
	}
	p.notBy = m.now.Boot + correctEvery
	p.version++
}

// maxUnknown bounds what a plugin may say that it holds without having been asked.
const maxUnknown = 1000

const notRunning = "the plugin is not running"

func (p *pluginState) absence(otherwise string) string {
	if p.conn == 0 {
		return notRunning
	}
	return otherwise
}

func (m *Machine) plugin(block string) *pluginState {
	p := m.plugins[block]
	if p == nil {
		p = &pluginState{version: 1}
		m.plugins[block] = p
	}
	return p
}

// Up says that a plugin runs. It is to get its set, and what it holds is not
// known until it says so.
func (m *Machine) Up(block string) (conn uint64) {
	p := m.plugin(block)
	m.conns++ // of all plugins: a late word of one that was removed is no other's
	p.conn, p.told, p.unknown, p.fault = m.conns, 0, map[string]sdk.MitigationStatus{}, ""
	for _, e := range m.of(block) {
		e.tryAt, e.tries, e.omitted = 0, 0, 0
		if e.Desired || e.State == sdk.MitigationRequested {
			e.review() // its configuration may be another
			m.set(e, sdk.MitigationRequested, "the plugin has just started")
		}
	}
	return p.conn
}

// Down says that a plugin does not run any more.
func (m *Machine) Down(block string) {
	p := m.plugin(block)
	p.conn, p.unknown = 0, nil
	for _, e := range m.of(block) {
		e.peers = nil
		switch e.State {
		case sdk.MitigationReleasing:
			m.set(e, sdk.MitigationReleasing, notRunning)
		case sdk.MitigationHeld:
		default:
			m.set(e, sdk.MitigationRequested, notRunning)
		}
	}
}

// of lists the entries of a block, oldest first.
func (m *Machine) of(block string) []*entry {
	var out []*entry
	for _, e := range m.byID {
		if e.Action.Block == block {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(a.Requested.Compare(b.Requested), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Job is one preview to make.
type Job struct {
	id         string
	event      *sdk.Event // that it is for
	mitigation sdk.Mitigation
	conn       uint64 // that is asked
}

// Previews lists what is to be previewed now, at most so many. What has no room
// by the guards' counts is held without being asked about.
func (m *Machine) Previews(block string, most int) []Job {
	if m.plugin(block).conn == 0 {
		return nil
	}
	var out []Job
	for _, e := range m.of(block) {
		if !e.due(m.now.Boot) {
			continue
		}
		if !e.Desired && e.Freed == "" && e.Group == "" {
			if why := m.guard.crowded(&m.tally, m.now.Boot, 1); why != "" {
				m.hold(e, why, false)
				continue
			}
		}
		if len(out) == most {
			break
		}
		event := e.previewed()
		out = append(out, Job{e.ID, event, e.mitigation(event), m.plugin(block).conn})
	}
	return out
}

// previewed is the event that is to be previewed next.
func (e *entry) previewed() *sdk.Event {
	if e.pending != nil && !e.anew {
		return e.pending
	}
	return &e.Event
}

// Previewed takes what a mitigation would come to.
func (m *Machine) Previewed(j Job, announced []sdk.Announcement, err error) {
	e := m.byID[j.id]
	if e == nil || !e.preview || e.State == sdk.MitigationReleasing {
		return
	}
	if j.event != e.previewed() || j.conn != m.plugin(e.Action.Block).conn {
		return // there is a newer one, or a newer process
	}
	if err == nil && len(announced) == 0 {
		err = fmt.Errorf("it would announce nothing")
	}
	if err != nil {
		e.tries++
		e.tryAt = m.now.Boot + backoff(e.tries)
		e.anew = e.anew && e.pending == nil // else the pending one is asked about next
		if !e.Desired {
			m.set(e, sdk.MitigationRequested, err.Error())
			m.judgeGroup(e.Group)
		}
		return
	}
	if m.awaited != "" && m.now.Boot < m.awaits && !e.Desired && e.Freed == "" {
		e.tryAt = m.now.Boot + awaitPause
		m.set(e, sdk.MitigationRequested, "it waits to hear what is protected by "+m.awaited)
		return
	}
	e.preview, e.anew, e.tries = e.pending != nil && e.pending != j.event, false, 0
	if why := m.guard.forbidden(e.Target, announced); why != "" {
		if e.Desired {
			inForce := j.event == &e.Event
			e.pending = nil // what is in force stays as it is, if that may be
			if inForce || m.guard.forbidden(e.Target, e.Announced) != "" {
				m.orphan(e)
				m.release(e, why)
			}
			return
		}
		m.hold(e, why, true)
		m.judgeGroup(e.Group)
		return
	}
	if e.Desired && e.Freed == "" {
		if why := m.widened(e, announced); why != "" {
			m.keepBack(e, j.event == &e.Event, announced, why)
			return
		}
	}
	if !e.Desired && e.Freed == "" {
		if e.Group != "" {
			e.Announced, e.judged = announced, true
			m.judgeGroup(e.Group)
			return
		}
		if why := cmp.Or(m.guard.crowded(&m.tally, m.now.Boot, 1), m.guard.share(&m.tally, announced)); why != "" {
			e.Announced = announced
			m.hold(e, why, false)
			return
		}
	}
	m.pass(e, j.event, announced)
}

// pass puts a mitigation, or what it comes to now, into its plugin's set.
func (m *Machine) pass(e *entry, event *sdk.Event, announced []sdk.Announcement) {
	if e.Desired {
		m.tally.remove(e.Announced)
	}
	e.Announced, e.Kept = announced, ""
	m.tally.add(announced)
	if e.pending == event {
		e.Event, e.pending = *event, nil
	}
	m.dirty[e.ID] = true
	m.touch(e)
	if e.Desired {
		return
	}
	e.Desired = true
	m.tally.begun = append(m.tally.begun, m.now.Boot)
	m.begun = true
	m.startHold(e)
	m.set(e, sdk.MitigationRequested, "told to the plugin")
}

// hold keeps a mitigation back.
func (m *Machine) hold(e *entry, why string, hard bool) {
	e.preview, e.judged, e.Hard = false, false, hard
	m.set(e, sdk.MitigationHeld, why)
}

// Behind tells whether a plugin runs and has not taken its newest set.
func (m *Machine) Behind(block string) bool {
	p := m.plugin(block)
	return p.conn != 0 && p.told != p.version
}

// Withdrawing reports whether a plugin that has taken a set on this connection is
// to take something back. That does not wait for previews of what is new.
func (m *Machine) Withdrawing(block string) bool {
	if p := m.plugin(block); p.told == 0 || !m.Behind(block) {
		return false
	}
	for _, e := range m.byID {
		if e.Action.Block == block && e.State == sdk.MitigationReleasing && e.omitted == 0 {
			return true
		}
	}
	return false
}

// Synced says how a plugin took a set.
func (m *Machine) Synced(block string, conn, version uint64, err error) {
	p := m.plugin(block)
	if p.conn != conn || conn == 0 {
		return
	}
	if err != nil {
		p.fault = err.Error()
		for _, e := range m.of(block) {
			switch e.State {
			case sdk.MitigationReleasing, sdk.MitigationRequested:
				if e.Synced {
					m.set(e, e.State, "the plugin does not take it: "+p.fault)
				}
			}
		}
		return
	}
	p.told, p.fault = version, ""
	for _, e := range m.of(block) {
		if e.State == sdk.MitigationReleasing && e.omitted == 0 && version == p.version {
			e.omitted = max(m.now.Boot, 1)
		}
	}
}

// Report takes a plugin's word.
func (m *Machine) Report(block string, conn uint64, s sdk.MitigationStatus) {
	p := m.plugin(block)
	if p.conn != conn || conn == 0 {
		return
	}
	e := m.byID[s.ID]
	if e == nil || e.Action.Block != block {
		m.stranger(p, s)
		return
	}
	e.reported, e.peers = s.State, s.Peers
	e.conn = conn
	if s.State == sdk.MitigationReleased {
		e.conn = 0
	}
	if e.State == sdk.MitigationReleasing {
		m.releasing(e, p, s)
		return
	}
	if !e.Desired {
		if s.State != sdk.MitigationReleased {
			m.correct(p) // it holds what is not to be: the set without it says so
		}
		return
	}
	switch s.State {
	case sdk.MitigationActive, sdk.MitigationSent:
		e.tries, e.tryAt = 0, 0
		m.set(e, s.State, cmp.Or(s.Cause, "the plugin says so"))
	case sdk.MitigationPending:
		m.set(e, sdk.MitigationRequested, cmp.Or(s.Cause, "the plugin waits"))
	case sdk.MitigationFailed:
		m.set(e, sdk.MitigationFailed, cmp.Or(s.Cause, "the plugin has given up"))
		m.again(e)
	case sdk.MitigationReleased:
		m.set(e, sdk.MitigationRequested, "the plugin has it no more"+after(s.Cause))
		m.again(e)
	}
}

func after(cause string) string {
	if cause == "" {
		return ""
	}
	return ": " + cause
}

// releasing takes a word on what is to go.
func (m *Machine) releasing(e *entry, p *pluginState, s sdk.MitigationStatus) {
	switch s.State {
	case sdk.MitigationReleased:
		if e.omitted == 0 && p.told != p.version {
			return // of an older set: it is still to be told
		}
		m.finish(e, e.Why)
	case sdk.MitigationFailed:
		m.set(e, sdk.MitigationReleasing, "the plugin cannot take it back"+after(s.Cause))
		m.again(e)
	}
}

// stranger notes what a plugin holds and was never asked to hold; the next set
// does not have it.
func (m *Machine) stranger(p *pluginState, s sdk.MitigationStatus) {
	if s.State == sdk.MitigationReleased {
		delete(p.unknown, s.ID)
		return
	}
	if _, known := p.unknown[s.ID]; !known {
		if len(p.unknown) >= maxUnknown {
			return
		}
		m.correct(p)
	}
	p.unknown[s.ID] = s
}

// again has the set told once more, after a pause that grows.
func (m *Machine) again(e *entry) {
	e.tries++
	e.tryAt = m.now.Boot + backoff(e.tries)
}

// Retry renews the version of plugins' sets for what is due to be told again.
func (m *Machine) Retry() {
	for _, p := range m.plugins {
		if p.owed {
			m.correct(p)
		}
	}
	for _, e := range m.byID {
		if e.preview || e.tryAt == 0 || m.now.Boot < e.tryAt {
			continue
		}
		e.tryAt = 0
		if e.State == sdk.MitigationFailed || e.Desired || e.State == sdk.MitigationReleasing {
			m.touch(e)
		}
	}
}

// backoff is the pause before a try.
func backoff(tries int) time.Duration {
	d := tryFirst << min(max(tries-1, 0), 10)
	return min(d, tryMost)
}
