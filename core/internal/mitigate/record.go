package mitigate

import (
	"encoding/json"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// record is a mitigation in the journal. Times are of the clock that the
// journal's tick names.
type record struct {
	entry
	Event   plain
	Attacks []string
}

// plain is an event in a form that can be read back.
type plain sdk.Event

// tick says by which clock the journal's times are, and when it was last so.
type tick struct {
	Boot string        // id of the machine's start
	At   time.Duration // since then
}

func (e *entry) record() record {
	r := record{entry: *e, Event: plain(e.Event)}
	r.Event.Evidence, r.Event.Mitigation = nil, nil
	for id := range e.attacks {
		r.Attacks = append(r.Attacks, id)
	}
	return r
}

// encode gives a record's form in the journal; it has nothing that JSON lacks
// a form for, but for a number that is none.
func (r *record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		r.Event = plain{}
		b, _ = json.Marshal(r)
	}
	return b
}

func decode(b []byte) (*entry, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	e := r.entry
	e.Event = sdk.Event(r.Event)
	e.attacks = map[string]bool{}
	for _, id := range r.Attacks {
		e.attacks[id] = true
	}
	return &e, nil
}

// curb keeps what was restored by a clock that nobody knows from lasting longer than
// if it had begun now.
func (m *Machine) curb(e *entry) {
	if !e.Manual {
		e.HoldEnds = min(e.HoldEnds, m.now.Boot+m.holdTime(e))
		e.MaxEnds = min(e.MaxEnds, m.now.Boot+e.Rules.Max)
	}
}

// restore takes over what an earlier daemon left. Its clock is shift behind ours.
// Its attacks are not known any more: they have a while to be found again.
func (m *Machine) restore(e *entry, shift time.Duration) {
	move := func(t *time.Duration) {
		if *t > 0 {
			*t = max(*t+shift, 1) // 0 would be never
		}
	}
	move(&e.Until)
	move(&e.HoldEnds)
	move(&e.MaxEnds)
	move(&e.Grace)
	if len(e.attacks) > 0 && e.HoldEnds > 0 {
		e.Grace = max(e.Grace, m.now.Boot+min(restartGrace, e.Rules.Hold))
	}
	forgotten := len(e.attacks) > 0
	e.attacks = map[string]bool{}
	e.since, e.conn, e.Synced = m.now.Boot, 0, e.Synced || e.Desired
	e.peers = nil
	m.dirty[e.ID] = true // its times are by another clock now
	m.byID[e.ID], m.byKey[e.key()] = e, e
	switch {
	case e.Desired:
		m.tally.add(e.Announced)
		e.review()
		m.set(e, sdk.MitigationRequested, notRunning)
	case e.State == sdk.MitigationReleasing:
	case !e.Manual && forgotten:
		m.finish(e, "the daemon was started again before it was announced")
	case e.State == sdk.MitigationHeld:
	default:
		e.preview = true
	}
}
