package count

import (
	"math"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// userTable holds what user counters gained, by row and counter: only where
// one matched. Entries leave when their row is forgotten.
type userTable struct {
	slots []userEntry
	shift uint8
	used  int
	limit int
}

type userEntry struct {
	key      uint32 // row*64 + counter + 1; 0 is free
	flows    uint32
	packets  uint64
	bytes    uint64
	samples  uint32
	sampling uint32
}

func (e *userEntry) add(r *traffic.Record, flows uint32) {
	e.packets += r.Packets
	e.bytes += r.Bytes
	e.flows += flows
	e.sampling = max(e.sampling, r.Sampling)
	raw := r.Packets
	if r.Sampling > 1 {
		raw = r.Raw()
	}
	e.samples = uint32(min(uint64(e.samples)+raw, math.MaxUint32))
}

func (e *userEntry) merge(o *userEntry) {
	e.packets += o.packets
	e.bytes += o.bytes
	e.flows += o.flows
	e.sampling = max(e.sampling, o.sampling)
	e.samples = uint32(min(uint64(e.samples)+uint64(o.samples), math.MaxUint32))
}

func (e *userEntry) clear() { *e = userEntry{key: e.key} }

func (u *userTable) full() bool { return u.used >= u.limit }

// find returns the entry of a row's counter, nil where there is none.
func (u *userTable) find(key uint32) *userEntry {
	if u.slots == nil {
		return nil
	}
	mask := uint32(len(u.slots) - 1)
	for pos := u.home(key); ; pos = (pos + 1) & mask {
		e := &u.slots[pos&mask]
		if e.key == key+1 {
			return e
		}
		if e.key == 0 {
			return nil
		}
	}
}

// entry is find that makes the entry where there is none.
func (u *userTable) entry(key uint32) *userEntry {
	if e := u.find(key); e != nil {
		return e
	}
	if 4*u.used >= len(u.slots) {
		u.grow()
	}
	mask := uint32(len(u.slots) - 1)
	pos := u.home(key)
	for u.slots[pos].key != 0 {
		pos = (pos + 1) & mask
	}
	u.slots[pos].key = key + 1
	u.used++
	return &u.slots[pos]
}

// home spreads keys by a multiplicative hash: rows are numbered in the order
// in which they came, so nobody outside can aim.
func (u *userTable) home(key uint32) uint32 { return key * 0x9e3779b1 >> u.shift }

func (u *userTable) grow() {
	old := u.slots
	size := max(2*len(old), 1<<10)
	u.slots = make([]userEntry, size)
	u.shift = 32
	for n := size; n > 1; n >>= 1 {
		u.shift--
	}
	mask := uint32(size - 1)
	for i := range old {
		if old[i].key != 0 {
			pos := u.home(old[i].key - 1)
			for u.slots[pos].key != 0 {
				pos = (pos + 1) & mask
			}
			u.slots[pos] = old[i]
		}
	}
}

// addUser counts a record for the user counters it belongs to. When the table
// is full, counters that have no entry yet are counted for the prefix.
func (t *Table) addUser(n uint32, set uint64, r *traffic.Record, flows uint32) {
	t.rows[n].user |= set
	for rest := set; rest != 0; rest &= rest - 1 {
		id := uint32(bits.TrailingZeros64(rest))
		e := t.users.find(n<<6 | id)
		if e == nil {
			e = t.newUser(n, id)
		}
		e.add(r, flows)
	}
}

// mergeUser is addUser for what is no record.
func (t *Table) mergeUser(n uint32, set uint64, gain *userEntry) {
	t.rows[n].user |= set
	for rest := set; rest != 0; rest &= rest - 1 {
		id := uint32(bits.TrailingZeros64(rest))
		e := t.users.find(n<<6 | id)
		if e == nil {
			e = t.newUser(n, id)
		}
		e.merge(gain)
	}
}

func (t *Table) newUser(n, id uint32) *userEntry {
	if t.users.full() {
		t.rows[n].user &^= 1 << id
		n = t.prefixRow(t.rows[n].key, t.rows[n].place)
		t.wake(n)
		t.rows[n].user |= 1 << id
	}
	return t.users.entry(n<<6 | id)
}
