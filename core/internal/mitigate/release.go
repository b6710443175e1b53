package mitigate

import (
	"math"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// holdTime is how long a mitigation lasts at its level of recurrence.
func (m *Machine) holdTime(e *entry) time.Duration {
	hold := float64(e.Rules.Hold) * math.Pow(max(e.Rules.Backoff, 1), float64(e.Level))
	return time.Duration(min(hold, float64(e.Rules.Max)))
}

// startHold begins the hold time, and the longest time that it may last in all.
func (m *Machine) startHold(e *entry) {
	e.HoldEnds = m.now.Boot + m.holdTime(e)
	if e.Manual && e.Until > 0 {
		e.HoldEnds = e.Until
	}
	e.MaxEnds = max(m.now.Boot+e.Rules.Max, e.Until)
}

// way is how a mitigation is released: one that hides all the traffic it stops
// cannot see quiet.
func (e *entry) way() string {
	if e.Rules.Release != ReleaseAuto && e.Rules.Release != "" {
		return e.Rules.Release
	}
	for i := range e.Announced {
		if a := &e.Announced[i]; a.Discard && a.Matches == 0 {
			return ReleaseAfterHold
		}
	}
	return ReleaseWhenQuiet
}

// Tick does what time brings.
func (m *Machine) Tick(now Moment) {
	m.now = now
	for _, e := range m.byID {
		switch {
		case e.State == sdk.MitigationReleasing:
			m.gone(e)
		case e.Desired:
			m.expire(e)
		case e.Manual && e.Until > 0 && now.Boot >= e.Until:
			e.Manual = false
			if len(e.attacks) == 0 {
				m.finish(e, "its time was over before it was announced")
			}
		}
	}
	for _, e := range m.byID {
		if e.judged && !e.Desired {
			m.judgeGroup(e.Group) // one that it waited for may have gone
		}
	}
	for k, until := range m.earlier {
		if now.Boot >= until {
			delete(m.earlier, k)
			m.refusals = true
		}
	}
	for k, r := range m.recur {
		if now.Boot >= r.Until {
			delete(m.recur, k)
		}
	}
}

// expire releases what has lasted long enough.
func (m *Machine) expire(e *entry) {
	now := m.now.Boot
	if e.MaxEnds > 0 && now >= e.MaxEnds {
		m.refuse(e)
		m.release(e, "it has lasted as long as it may")
		return
	}
	if e.Manual {
		if e.Until == 0 || now < e.Until {
			return
		}
		e.Manual = false
		m.dirty[e.ID] = true
		if len(e.attacks) == 0 {
			m.release(e, "its time is over")
			return
		}
	}
	if now < e.HoldEnds || now < e.Grace {
		return
	}
	switch way := e.way(); {
	case way == ReleaseManual:
	case len(e.attacks) == 0 && way == ReleaseWhenQuiet:
		m.release(e, "the attack has ended")
	case len(e.attacks) == 0:
		m.release(e, "its hold time is over")
	case way == ReleaseAfterHold:
		e.Level++
		e.HoldEnds = now + m.holdTime(e)
		e.Cause = "its hold time began anew: the attack is still seen"
		m.dirty[e.ID] = true
	}
}

// refuse keeps the attacks that want a mitigation from asking for it again.
func (m *Machine) refuse(e *entry) {
	for id := range e.attacks {
		if c := m.attacks[id]; c != nil {
			c.refused[e.key()] = true
			m.refusals = true
		}
	}
	m.orphan(e)
}

// refusedBefore tells whether an attack is one for which a mitigation was refused
// under an earlier daemon: attacks have other names since.
func (m *Machine) refusedBefore(k key, c *calling) bool {
	until, ok := m.earlier[k]
	if !ok {
		return false
	}
	delete(m.earlier, k)
	m.refusals = true
	c.refused[k] = m.now.Boot < until
	return c.refused[k]
}

// forgive forgets what was refused under an earlier daemon for an attack of which
// nothing is heard but that it is over.
func (m *Machine) forgive(a *Attack) {
	for _, part := range a.parts() {
		for k := range m.earlier {
			if k.Target == part.Event.Target && k.Direction == part.Event.Direction {
				delete(m.earlier, k)
				m.refusals = true
			}
		}
	}
}

// refused lists what is not to be done while the attacks last that would have it.
func (m *Machine) refused() (out []key) {
	for _, c := range m.attacks {
		for k, so := range c.refused {
			if so && len(out) < maxRecurrences {
				out = append(out, k)
			}
		}
	}
	for k := range m.earlier {
		if len(out) < maxRecurrences {
			out = append(out, k)
		}
	}
	return out
}

// orphan leaves nobody who wants a mitigation. Attacks may ask for it again.
func (m *Machine) orphan(e *entry) {
	for id := range e.attacks {
		if c := m.attacks[id]; c != nil {
			delete(c.keys, e.key())
		}
	}
	clear(e.attacks)
	e.Manual = false
}

// gone ends a release of which the plugin will say nothing: since it took the
// set it has not said that it still holds it.
func (m *Machine) gone(e *entry) {
	p := m.plugin(e.Action.Block)
	switch waited := m.now.Boot - e.omitted; {
	case e.omitted == 0 || waited < absentAfter || p.conn == 0:
	case e.conn != p.conn:
		m.finish(e, e.Why)
	case waited >= overdue && e.reported == sdk.MitigationFailed:
		m.finish(e, e.Why) // failed is not there (sdk.MitigationFailed), and nothing since
	case waited >= overdue:
		e.omitted = 0 // it says that it holds it, and nothing since
		m.touch(e)
	}
}
