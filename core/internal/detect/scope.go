package detect

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// wideKey names a wider attack that was told, so that its parts find it.
type wideKey struct {
	scope  engine.ScopeKind
	dir    ring.Direction
	id     uint32 // of the hostgroup; of the network for that scope
	prefix netip.Prefix
}

func (a *attack) wideKey() wideKey {
	k := wideKey{scope: a.Scope, dir: a.Direction, id: a.GroupID}
	switch a.Scope {
	case engine.ScopePrefix:
		k.prefix = a.Target
	case engine.ScopeNetwork:
		k.id = a.NetworkID
	}
	return k
}

// begin tells of a new attack.
func (d *Detector) begin(a *attack, at int64) {
	a.told = true
	d.untold--
	if a.Scope != engine.ScopeHost {
		d.wide[a.wideKey()] = a
		if a.Scope == engine.ScopePrefix {
			d.bits[a.Target.Bits()]++
		}
	}
	d.tell(a, Started, at, false)
}

// end forgets an attack that is over.
func (d *Detector) end(a *attack, now int64) {
	if a.told {
		d.tell(a, Ended, now, false)
	} else {
		d.untold--
	}
	if a.Scope != engine.ScopeHost {
		d.wider--
		if k := a.wideKey(); d.wide[k] == a {
			delete(d.wide, k)
			if n := k.prefix.Bits(); a.Scope == engine.ScopePrefix {
				if d.bits[n]--; d.bits[n] == 0 {
					delete(d.bits, n)
				}
			}
		}
	}
	d.e.Release(a.alarm)
	delete(d.open, a.alarm)
}

// weigh decides of which attacks that nobody has been told of it is time to tell. A
// wider scope opens one only where no narrower open one explains half of it; then
// the narrower ones are part of it.
func (d *Detector) weigh(now int64) {
	var hosts, wider []*attack
	for _, a := range d.list {
		switch {
		case a.told || !d.above(a, now):
		case a.Scope == engine.ScopeHost:
			hosts = append(hosts, a)
		default:
			wider = append(wider, a)
		}
	}
	slices.SortStableFunc(wider, func(a, b *attack) int { // the widest first
		return cmp.Or(cmp.Compare(b.Scope, a.Scope), cmp.Compare(a.Target.Bits(), b.Target.Bits()))
	})
	for _, a := range wider {
		if !d.explained(a, now) && !d.isPart(a, now) {
			d.begin(a, d.moment(a, now))
		}
	}
	for _, a := range hosts {
		if !d.isPart(a, now) {
			d.begin(a, d.moment(a, now))
		}
	}
}

// moment is when an attack that is to be told of began to be one: when it
// crossed a limit, or now, if it was part of another since.
func (d *Detector) moment(a *attack, now int64) int64 {
	if a.crossed > now-look {
		return a.crossed
	}
	return now
}

// above tells whether an attack is above a limit just now.
func (d *Detector) above(a *attack, now int64) bool {
	if a.crossed > now-look {
		return true
	}
	for i := range a.Crossed {
		id := a.Crossed[i].Limit
		if lv, ok := d.e.Level(a.alarm, id, 1, now); ok && (lv.Value > lv.Limit || d.e.LimitBurst(a.alarm, id) > now-look) {
			return true
		}
	}
	return false
}

// explained tells whether a narrower attack has half of what a wider one
// crossed.
func (d *Detector) explained(w *attack, now int64) bool {
	from := 0
	if w.Scope == engine.ScopePrefix {
		first := w.Target.Addr()
		from, _ = slices.BinarySearchFunc(d.list, first, func(a *attack, at netip.Addr) int { return a.Target.Addr().Compare(at) })
	}
	for _, n := range d.list[from:] {
		if w.Scope == engine.ScopePrefix && !w.Target.Contains(n.Target.Addr()) {
			return false // the list is in the order of addresses
		}
		if n.within(w) && n.State != Over && d.explains(n, w, now) && d.above(n, now) {
			return true
		}
	}
	return false
}

// within tells whether an attack's scope lies inside another's.
func (a *attack) within(w *attack) bool {
	if a == w || a.Direction != w.Direction || a.Scope > w.Scope {
		return false
	}
	switch w.Scope {
	case engine.ScopePrefix:
		return a.GroupID == w.GroupID && w.Target.Contains(a.Target.Addr()) &&
			(a.Target.Bits() > w.Target.Bits() || a.Scope < w.Scope && a.Target.Bits() == w.Target.Bits())
	case engine.ScopeGroup:
		return a.Scope < w.Scope && a.GroupID == w.GroupID
	case engine.ScopeNetwork:
		return a.Scope < w.Scope && a.NetworkID == w.NetworkID
	}
	return false
}

// isPart tells whether a wider attack has been told that this one is no more
// than half of. One in doubt, of which nothing is enforced, hides none that is
// not.
func (d *Detector) isPart(a *attack, now int64) bool {
	of := func(k wideKey) bool {
		w := d.wide[k]
		return w != nil && a.within(w) && (a.Suspended || !w.Suspended) && !d.explains(a, w, now)
	}
	if of(wideKey{engine.ScopeNetwork, a.Direction, a.NetworkID, netip.Prefix{}}) ||
		of(wideKey{engine.ScopeGroup, a.Direction, a.GroupID, netip.Prefix{}}) {
		return true
	}
	for bits := range d.bits {
		if p, err := a.Target.Addr().Prefix(bits); err == nil && of(wideKey{engine.ScopePrefix, a.Direction, a.GroupID, p}) {
			return true
		}
	}
	return false
}

// explains tells whether an attack has half of everything that a wider one
// crossed: of its average, or of what came in the last ticks, since the
// averages of a new attack tell more of what was before it.
func (d *Detector) explains(n, w *attack, now int64) bool {
	for _, a := range [2]*attack{n, w} {
		if a.measured != now {
			d.measure(a, now)
		}
	}
	for i := range w.Crossed {
		c := &w.Crossed[i]
		counter := c.counter
		if counter >= engine.FirstUser {
			counter = engine.CounterTotal // rates of a user counter are known only where a limit is on it
		}
		part, all := n.rate(counter, c.Unit), w.rate(counter, c.Unit)
		if part > 0 && 2*part >= all {
			continue
		}
		part, known := d.e.Recent(n.alarm, counter, c.Unit)
		all, both := d.e.Recent(w.alarm, counter, c.Unit)
		// What came in at least 200 ms has to be at least half of what the average
		// says: where an attack has just ended, who has most of what little is left
		// explains nothing.
		if !known || !both || part <= 0 || 2*part < all || part < 0.1*n.rate(counter, c.Unit) {
			return false
		}
	}
	return true
}

// rate is an average of the attack's own direction.
func (a *attack) rate(counter uint16, u engine.Unit) float64 {
	r := &a.Rates.Dir[a.Direction]
	switch u {
	case engine.FlowRate:
		return r.Flows
	case engine.ByteRate:
		return r.Bytes[counter]
	}
	return r.Packets[counter]
}
