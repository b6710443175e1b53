package count

import "math/bits"

// newRow makes a row at a free place of the index.
func (t *Table) newRow(pos, h uint32, a addr, key, at uint32) uint32 {
	if t.used >= t.limit {
		if !t.makeRoom() {
			return t.prefixRow(key, at)
		}
		return t.find(a, key, at)
	}
	return t.put(pos, h, row{addr: a, key: key, place: at})
}

func (t *Table) put(pos, h uint32, r row) uint32 {
	n := uint32(t.used)
	t.rows[n] = r
	t.used++
	t.index[pos] = h>>slotRow<<slotRow | (n + 1)
	return n
}

// prefixRow returns the row of the prefix that a host belongs to, which takes
// the records of hosts that can have no row of their own.
func (t *Table) prefixRow(key, at uint32) uint32 {
	t.ledger.Folded++
	r := row{key: key & keyMask, place: at}
	t.toPrefix(&r)
	n := t.findOrPut(&r)
	t.rows[n].key |= rowFolded
	return n
}

// toPrefix gives a host's row the identity of its longest matching prefix.
func (t *Table) toPrefix(r *row) {
	p := &t.plan.places[r.place]
	r.addr = p.addr
	r.key = makeKey(r.direction(), p.length, uint32(r.family())) | r.key&^keyMask | rowFolded
}

// findOrPut is find without a limit: for rows of prefixes, which are few.
func (t *Table) findOrPut(r *row) uint32 {
	h := hashRow(r.addr, r.key&keyMask, t.seed)
	for pos := h & t.mask; ; pos = (pos + 1) & t.mask {
		slot := t.index[pos]
		if slot == 0 {
			return t.put(pos, h, row{addr: r.addr, key: r.key & keyMask, place: r.place})
		}
		n := slot&rowMask - 1
		if o := &t.rows[n]; (slot^h)>>slotRow == 0 && o.addr == r.addr && o.key&keyMask == r.key&keyMask {
			return n
		}
	}
}

// setIndex makes an index of size slots, at most a quarter of them used.
func (t *Table) setIndex(size int) {
	if t.slots != nil {
		t.slots.free()
	}
	t.slots = newSlab[uint32](size)
	t.index = t.slots.all
	t.mask = uint32(size - 1)
	t.limit = min(size/4, t.plan.rows)
}

// makeRoom lets another row in: by a larger index, by forgetting rows that
// have nothing to tell, or by folding the coldest into their prefix. It
// reports false when there is no room until the clock has moved on.
func (t *Table) makeRoom() bool {
	if t.limit < t.plan.rows {
		t.setIndex(2 * len(t.index))
		for n := range uint32(t.used) {
			r := &t.rows[n]
			h := hashRow(r.addr, r.key&keyMask, t.seed)
			pos := h & t.mask
			for t.index[pos] != 0 {
				pos = (pos + 1) & t.mask
			}
			t.index[pos] = h>>slotRow<<slotRow | (n + 1)
		}
		return true
	}
	if t.crowded == t.now {
		return false
	}
	t.relieve()
	if t.used > t.plan.rows/8*7 {
		t.crowded = t.now
	}
	return t.used < t.limit
}

// relieve forgets clean rows and, where that is not enough, folds cold ones:
// IPv6 hosts first into their /64, then everything into its prefix. Rows that
// began in the present window are left alone.
func (t *Table) relieve() {
	t.rebuild(nil)
	for _, fold := range []func(*row){t.to64, t.toPrefix} {
		if t.used <= t.plan.rows/4*3 {
			return
		}
		limit := t.coldest(t.used - t.plan.rows/2)
		t.rebuild(func(r *row) {
			if r.first < t.now && r.heat() <= limit && r.length() > t.plan.places[r.place].length {
				before := r.length()
				fold(r)
				if r.length() != before {
					t.ledger.Folded++
				}
			}
		})
	}
}

func (t *Table) to64(r *row) {
	if r.length() > 64 && t.plan.places[r.place].fold64 {
		r.lo = 0
		r.key = makeKey(r.direction(), 64, 6) | r.key&^keyMask | rowFolded
	}
}

// coldest returns the heat up to which there are at least n rows that may be
// folded.
func (t *Table) coldest(n int) int {
	var byHeat [65]int
	for i := range t.rows[:t.used] {
		r := &t.rows[i]
		if r.first < t.now && r.length() > t.plan.places[r.place].length {
			byHeat[r.heat()]++
		}
	}
	for heat, rows := range byHeat {
		if n -= rows; n <= 0 {
			return heat
		}
	}
	return len(byHeat)
}

// rebuild drops clean rows and gives the others a new identity; rows that
// then are the same become one. Each row is read before its place can be overwritten, since
// every step puts back at most the row it took.
func (t *Table) rebuild(change func(*row)) {
	from := t.used
	users, beyond := t.users, t.wide
	t.users, t.wide = userTable{limit: users.limit}, wideTotals(beyond)
	clear(t.index)
	t.used, t.dirty, t.scratch.known = 0, t.dirty[:0], 0
	for i := range from {
		r := t.rows[i]
		if r.first == 0 {
			continue
		}
		if change != nil {
			change(&r)
		}
		n := t.findOrPut(&r)
		o := &t.rows[n]
		if o.first == 0 {
			t.dirty = append(t.dirty, n)
		}
		t.merge(n, o, &r, beyond[uint32(i)])
		o.user |= r.user
		for set := r.user; set != 0; set &= set - 1 {
			id := uint32(bits.TrailingZeros64(set))
			t.users.entry(n<<6 | id).merge(users.find(uint32(i)<<6 | id))
		}
	}
}
