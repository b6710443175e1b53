package detect

import "slices"

// Touch makes an update of an open attack as it stands at now, which must not
// be before the last call of Step: something is known of it that no crossing
// tells. False means that it is over.
func (d *Detector) Touch(id string, now int64) (Event, bool) {
	for _, a := range d.list {
		if a.ID != id {
			continue
		}
		d.measure(a, now)
		a.Seq++
		ev := Event{Type: Updated, Time: now, Attack: a.Attack}
		ev.Attack.Crossed = slices.Clone(a.Crossed)
		return ev, true
	}
	return Event{}, false
}
