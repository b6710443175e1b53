package engine

import (
	"math/bits"
	"unsafe"
)

// index finds rows: open addressing over 8-byte slots (tag, row number + 1),
// at most half of them full. The tag is the high half of a seeded hash and its
// high bits choose the slot, so growing reads the old table from end to end
// and touches no row.
type index struct {
	mem   *budget
	slots []uint64
	raw   []byte
	used  uint32
	seed  [3]uint64
}

const firstSlots = 4096

func (x *index) hash(k0, k1 uint64, kind, plen uint8) uint32 {
	hi, lo := bits.Mul64(k0^x.seed[0], k1^x.seed[1])
	hi, lo = bits.Mul64(hi^lo^uint64(kind)<<8^uint64(plen), x.seed[2])
	return uint32((hi ^ lo) >> 32)
}

func (x *index) home(tag uint32) uint32 {
	return uint32(uint64(tag) * uint64(len(x.slots)) >> 32)
}

// peek returns the row number + 1 of the first slot with the tag, 0 if there
// is none. The row may be another's: the caller compares keys.
func (x *index) peek(tag uint32) uint32 {
	for i := x.home(tag); ; {
		s := x.slots[i]
		if s == 0 {
			return 0
		}
		if uint32(s>>32) == tag {
			return uint32(s)
		}
		if i++; i == uint32(len(x.slots)) {
			i = 0
		}
	}
}

// resize gives the table n slots; false at the memory limit.
func (x *index) resize(n uint32) bool {
	raw := x.mem.alloc(uint64(n) * 8)
	if raw == nil {
		return false
	}
	old, oldRaw := x.slots, x.raw
	x.raw = raw
	x.slots = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(raw))), n)
	for _, s := range old {
		if s != 0 {
			x.put(s)
		}
	}
	x.mem.release(oldRaw)
	return true
}

func (x *index) put(s uint64) {
	i := x.home(uint32(s >> 32))
	for x.slots[i] != 0 {
		if i++; i == uint32(len(x.slots)) {
			i = 0
		}
	}
	x.slots[i] = s
}

// reserve makes room for one more row.
func (x *index) reserve() bool {
	n := uint32(len(x.slots))
	if (x.used+1)*2 <= n {
		return true
	}
	if n > 1<<30 {
		return false
	}
	return x.resize(n + n/2)
}

// insert adds a row; reserve must have made room.
func (x *index) insert(tag, rowNo uint32) {
	x.put(uint64(tag)<<32 | uint64(rowNo+1))
	x.used++
}

// remove takes a row out and closes the gap, so that no tombstones pile up.
func (x *index) remove(tag, rowNo uint32) {
	n := uint32(len(x.slots))
	next := func(i uint32) uint32 {
		if i++; i == n {
			return 0
		}
		return i
	}
	i := x.home(tag)
	for x.slots[i] != uint64(tag)<<32|uint64(rowNo+1) {
		if x.slots[i] == 0 {
			return
		}
		i = next(i)
	}
	x.used--
	for j := next(i); x.slots[j] != 0; j = next(j) {
		// A slot may move back into the gap when its home is not between them.
		home := x.home(uint32(x.slots[j] >> 32))
		if dist(home, j, n) >= dist(i, j, n) {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = 0
}

// dist returns how far j lies behind i in a table of n slots.
func dist(i, j, n uint32) uint32 {
	if j >= i {
		return j - i
	}
	return j + n - i
}

// find returns the row with a key.
func (e *Engine) find(tag uint32, k0, k1 uint64, kind, plen uint8) (uint32, bool) {
	x := &e.idx
	for i := x.home(tag); ; {
		s := x.slots[i]
		if s == 0 {
			return 0, false
		}
		if uint32(s>>32) == tag {
			r := e.row(uint32(s) - 1)
			if r.k1 == k1 && r.k0 == k0 && r.plen == plen && r.kind == kind {
				return uint32(s) - 1, true
			}
		}
		if i++; i == uint32(len(x.slots)) {
			i = 0
		}
	}
}
