package count

import (
	"math/bits"
	"reflect"
)

// residue is a row that had not been flushed when a plan was adopted.
type residue struct {
	row
	beyond *wide
	users  []userEntry
	ids    []uint8
}

// Adopt takes over another plan. It is to be called right after a Flush with
// All set, so that as a rule no row has anything left to tell. What the sink
// had no room for is kept: rows whose address is still ours go on under their
// new network and group, the others become traffic of no network of ours.
// Gains of user counters go on where the new plan has the same counter. The
// same holds for flow records that still count forward; what was exempt when
// they came, or no host's, stays so.
func (t *Table) Adopt(c *Compiled) {
	same := sameCounters(t.plan.plan, c.plan)
	left := make([]residue, 0, len(t.dirty))
	for _, n := range t.dirty {
		s := residue{row: t.rows[n], beyond: t.wide[n]}
		for set := s.user & same; set != 0; set &= set - 1 {
			id := bits.TrailingZeros64(set)
			s.users = append(s.users, *t.users.find(n<<6 | uint32(id)))
			s.ids = append(s.ids, uint8(id))
		}
		s.user &= same
		left = append(left, s)
	}
	t.use(c)
	for i := range left {
		t.restore(&left[i])
	}
	if t.smear != nil {
		t.adoptStreams(same)
	}
}

// restore puts a row back under the plan now in use.
func (t *Table) restore(s *residue) {
	r := &s.row
	if !t.rename(r) {
		i := totalIndex(false, r.family() == 6)
		total := &t.totals[i]
		t.merge(totalRow+uint32(i), total, r, s.beyond)
		total.key &= keyMask | rowSmeared | rowWide
		return
	}
	if t.used >= t.limit && !t.makeRoom() {
		t.toPrefix(r)
		t.ledger.Folded++
	}
	n := t.findOrPut(r)
	o := &t.rows[n]
	if o.first == 0 {
		t.dirty = append(t.dirty, n)
	}
	t.merge(n, o, r, s.beyond)
	o.user |= r.user
	for i, id := range s.ids {
		t.users.entry(n<<6 | uint32(id)).merge(&s.users[i])
	}
}

// rename gives a row its place and key under the plan now in use, false when
// it is no longer ours.
func (t *Table) rename(r *row) bool {
	r.place = t.plan.placeOf(r)
	if r.place == 0 {
		return false
	}
	if p := &t.plan.places[r.place]; r.family() == 6 && r.length() > p.hostLen {
		r.hi, r.lo = r.hi&p.hostHi, r.lo&p.hostLo
		r.key = makeKey(r.direction(), p.hostLen, 6) | r.key&^keyMask
	}
	return true
}

// placeOf finds the longest prefix that holds all of a row, 0 where none
// does.
func (c *Compiled) placeOf(r *row) uint32 {
	var at uint32
	if r.family() == 4 {
		at = c.lpm.Lookup4(uint32(r.lo))
	} else {
		at = c.lpm.Lookup6(r.hi, r.lo)
	}
	if c.places[at].length <= r.length() {
		return at
	}
	// A prefix now begins inside the row: take the longest that covers it.
	at = 0
	for i := range c.places[1:] {
		p := &c.places[i+1]
		length := p.length
		if r.family() == 4 {
			length += 96
		}
		hi, lo := mask128(length)
		if p.hostLen == 32 == (r.family() == 4) && p.addr == (addr{r.hi & hi, r.lo & lo}) &&
			p.length <= r.length() && (at == 0 || p.length > c.places[at].length) {
			at = uint32(i + 1)
		}
	}
	return at
}

// sameCounters returns the ids under which two plans define the same counter.
func sameCounters(a, b *Plan) (same uint64) {
	for i := range a.Counters {
		for j := range b.Counters {
			if reflect.DeepEqual(a.Counters[i], b.Counters[j]) {
				same |= 1 << a.Counters[i].ID
			}
		}
	}
	for i := range a.Exemptions {
		for j := range b.Exemptions {
			if e := &a.Exemptions[i]; e.Counter != 0 && reflect.DeepEqual(*e, b.Exemptions[j]) {
				same |= 1 << (e.Counter - 1)
			}
		}
	}
	return same
}
