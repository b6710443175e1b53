package config

import "slices"

// limitKey is what two limits have in common that may be the same.
type limitKey struct {
	counter, scope string
	length         [2]uint8
	unit           Unit
	value          float64
}

// mostTwins is how many limits of one value a limit is compared with: whoever
// writes more has been told.
const mostTwins = 16

// checkTwins warns about a limit that stands in a hostgroup twice: on the same
// counter, unit, scope and direction, of the same value, and with the same to do
// about it. Of those that are inherited the hostgroup that has them was told.
func (l *loader) checkTwins(g *HostGroup) {
	own := map[string]bool{}
	for _, t := range l.own[g].thresholds {
		own[t.Name] = true
	}
	seen := map[limitKey][]*Threshold{}
	for _, t := range g.Thresholds {
		for _, u := range []struct {
			unit  Unit
			value float64
		}{{PPS, t.PPS}, {BPS, t.BPS}, {FPS, t.FPS}} {
			if u.value == 0 {
				continue
			}
			k := limitKey{t.Counter, t.Scope, t.PrefixLen, u.unit, u.value}
			if i := slices.IndexFunc(seen[k], func(o *Threshold) bool { return (own[t.Name] || own[o.Name]) && t.actsAs(o) }); i >= 0 {
				at, other := t, seen[k][i]
				if !own[t.Name] {
					at, other = other, at
				}
				l.hint(at.Range, "The same limit twice", "threshold %q limits %s of counter.%s to the same value as threshold %q at %s, and does nothing else about it: an attack tells of both. Remove one, or give them other limits or actions.",
					at.Name, u.unit, at.Counter, other.Name, place(other.Range))
			}
			if len(seen[k]) < mostTwins {
				seen[k] = append(seen[k], t)
			}
		}
	}
}

// actsAs tells whether two thresholds are about the same direction, decide by
// the same rules and do the same.
func (t *Threshold) actsAs(o *Threshold) bool {
	return t.Mode == o.Mode && (t.Direction == o.Direction || t.Direction == "" || o.Direction == "") &&
		(t.Burst == nil) == (o.Burst == nil) && slices.Equal(t.Burst, o.Burst) &&
		(t.Actions == nil) == (o.Actions == nil) && slices.EqualFunc(t.Actions, o.Actions, func(a, b Reference) bool { return a.String() == b.String() })
}
