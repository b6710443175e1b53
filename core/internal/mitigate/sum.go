package mitigate

import (
	"cmp"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// widened says why what is in force may not come to something that touches more,
// "" where it may, or touches nothing more.
func (m *Machine) widened(e *entry, announced []sdk.Announcement) string {
	for i := range announced {
		if !slices.ContainsFunc(e.Announced, func(a sdk.Announcement) bool { return a.Prefix == announced[i].Prefix }) {
			m.tally.remove(e.Announced)
			defer m.tally.add(e.Announced)
			return m.guard.share(&m.tally, announced)
		}
	}
	return ""
}

// keepBack has what is in force stay as it is, where another label asks for more
// than the guards let pass. Where the plugin itself makes more of the same it is
// taken back and held.
func (m *Machine) keepBack(e *entry, same bool, announced []sdk.Announcement, why string) {
	if !same {
		e.pending, e.Kept = nil, "what its label asks for is kept back: "+why
		m.dirty[e.ID] = true
		return
	}
	m.undesire(e)
	e.Announced = announced
	m.hold(e, why, false)
	m.touch(e)
}

// judgeGroup has the guards judge the sum of what an attack on several prefixes
// comes to, once that is known of all of them: all are let pass, or all held. What
// cannot be announced, or is forbidden, keeps the others neither waiting nor back.
func (m *Machine) judgeGroup(group string) {
	if group == "" {
		return
	}
	var ready []*entry
	var sum []sdk.Announcement
	for _, e := range m.byID {
		switch {
		case e.Group != group || e.Desired || e.State == sdk.MitigationReleasing:
		case e.judged && !e.preview:
			ready = append(ready, e)
			sum = append(sum, e.Announced...)
		case e.preview && e.tries == 0 && e.State != sdk.MitigationHeld:
			return
		}
	}
	if len(ready) == 0 {
		return
	}
	why := cmp.Or(m.guard.crowded(&m.tally, m.now.Boot, len(ready)), m.guard.share(&m.tally, sum))
	for _, e := range ready {
		if e.judged = false; why != "" {
			m.hold(e, why, false)
		} else {
			m.pass(e, e.previewed(), e.Announced)
		}
	}
}
