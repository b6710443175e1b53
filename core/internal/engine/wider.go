package engine

import (
	"math/bits"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// wideItems is how many sums are held at a time, where the memory limit is large
// enough: as many prefixes as a flush may well be about.
const wideItems = 1 << 14

// wider sums up, within one flush, what many hosts gained for one wider row: the
// row itself is touched once for all of them, as if one delta had come. What a
// narrow row gained is then added to the next wider one's sum.
type wider struct {
	ring  *ringState
	items []wide
	slots []uint16 // number + 1 in items
	seed  [2]uint64
	keys  [window]wideKey // of the deltas on their way through applyRun

	deepest uint8 // place in a chain among the items
	spare   wide
}

// wide is the sum of the deltas of one wider row, direction and span: three cache
// lines.
type wide struct {
	wideKey
	chain          *chain
	at             uint8 // in the chain
	slot           uint16
	sampling       uint32
	packets, bytes uint64
	flows          uint64
	counterPackets [ring.BuiltinCounters]uint64
	counterBytes   [ring.BuiltinCounters]uint64
	_              uint64
}

// wideKey is of whole words only: one that is written in halves and compared as a
// whole has to wait for both.
type wideKey struct {
	k0, k1 uint64 // masked address
	where  uint64 // number of the chain and place in it, times 2³², and of a user counter; 0: the built-in ones
	what   uint64 // direction, span, smeared or not; of the narrowest row also internal or not, and apart
}

// placeOf is where the built-in counters of a row of a chain are summed up.
func placeOf(chain uint32, at int) uint64 { return uint64(chain*maxChain+uint32(at)) << 32 }

func (k *wideKey) at() uint8       { return uint8(k.where >> 32 % maxChain) }
func (k *wideKey) counter() uint32 { return uint32(k.where) }

const (
	keptFlags = ring.FlagSmeared | ring.FlagInternalRow
	// apart marks sums that do not count for the cell of their chain.
	apart = 1 << 15
	// joined is what tells sums of the narrowest row from each other only.
	joined = apart | uint64(ring.FlagInternalRow)<<1
)

func (k *wideKey) direction() ring.Direction { return ring.Direction(k.what & 1) }
func (k *wideKey) flags() ring.Flags         { return ring.Flags(k.what>>1) & keptFlags }
func (k *wideKey) spanMs() uint32            { return uint32(k.what >> 16) }

const maxChain = 64 // rows that one host counts for

// newWider takes no more than a sixtieth of the memory limit, and notes it as
// used.
func newWider(mem *budget, seed [3]uint64) wider {
	n := min(max(mem.limit>>14, 64), wideItems)
	slots := uint64(1) << bits.Len64(2*n-1)
	mem.used += n*uint64(unsafe.Sizeof(wide{})) + 2*slots
	return wider{items: make([]wide, 0, n), slots: make([]uint16, slots), seed: [2]uint64{seed[1], seed[2]}}
}

// key names the sum of the narrowest wider row that a delta counts for; counter
// is that of a user counter's delta, else 0. Its place in the chain is below 0
// where it counts for none.
func (c *chain) key(d *ring.Delta, counter uint32) (wideKey, int) {
	at := 0
	for at < len(c.refs) && d.PrefixLen < c.refs[at].plen {
		at++ // of a folded row nobody knows which of the prefixes had it
	}
	if at == len(c.refs) || counter != 0 && !c.refs[at].user {
		return wideKey{}, -1
	}
	k0, k1 := words(&d.Addr)
	mask := &c.refs[at].mask
	return wideKey{k0 & mask[0], k1 & mask[1], placeOf(c.no, at) | uint64(counter), whatOf(d)}, at
}

func whatOf(d *ring.Delta) uint64 {
	return uint64(d.Direction) | uint64(d.Flags&keptFlags)<<1 | uint64(d.SpanMs)<<16
}

// reach asks for the sum that a delta is for, and keeps its key.
func (e *Engine) reach(c *coming, i int, d *ring.Delta, lines *[7]uintptr, n int) int {
	w := c.rows[i%window].row
	if w == nil || w.gen != e.cur.gen || isScoped(w.kind) || d.Kind == ring.KindCounter {
		return n
	}
	sc := e.cur.entries[w.entry].scopes
	if sc == nil {
		return n
	}
	ch := &sc[family(d)]
	if uint16(d.PrefixLen) < ch.plen {
		return n
	}
	x := &e.wider
	k := &x.keys[i%window]
	k0, k1 := words(&d.Addr)
	k.k0, k.k1, k.where, k.what = k0&ch.mask[0], k1&ch.mask[1], ch.where, whatOf(d)
	c.rows[i%window].keyed = uint8(i%window + 1)
	no := x.slots[x.home(k)]
	c.rows[i%window].wide = no
	if no == 0 {
		return n
	}
	sum := uintptr(unsafe.Pointer(unsafe.SliceData(x.items))) + uintptr(no-1)*unsafe.Sizeof(wide{})
	lines[n], lines[n+1], lines[n+2] = sum, sum+cache.Line, sum+2*cache.Line
	return n + 3
}

// widen adds a delta of a row, nil where it has none, to its sum, and sees to it
// that it counts for its cell: with the sum where that is of the narrowest row,
// which many deltas share. It is false where there is no sum for it.
func (e *Engine) widen(r *ringState, d *ring.Delta, c *chain, counter uint32, at candidate, of *row, cell *cell) bool {
	x := &e.wider
	var key wideKey
	narrowest := true
	if at.keyed != 0 && at.row == of && counter == 0 {
		key = x.keys[at.keyed-1]
	} else {
		var place int
		if key, place = c.key(d, counter); place < 0 {
			return false
		}
		narrowest = place == 0
	}
	if counter == 0 && (!narrowest || cell != c.cell) {
		e.addCell(cell, laneOf(d.Direction, d.Flags), d)
		key.what |= apart
	}
	var w *wide
	if i := int(at.wide) - 1; uint(i) < uint(len(x.items)) && x.items[i].wideKey == key {
		w = &x.items[i]
	} else if w = x.find(&key, c); w == nil {
		e.foldWider()
		w = x.find(&key, c)
	}
	x.ring = r
	w.sampling = max(w.sampling, d.Sampling)
	w.packets += d.Packets
	w.bytes += d.Bytes
	if counter != 0 {
		return true
	}
	w.flows += uint64(d.Flows)
	for k := range d.CounterPackets {
		w.counterPackets[k] += uint64(d.CounterPackets[k])
		w.counterBytes[k] += uint64(d.CounterBytes[k])
	}
	return true
}

// home is the first slot in which a sum may stand.
func (x *wider) home(key *wideKey) uint32 {
	hi, lo := bits.Mul64(key.k0^key.what<<20^x.seed[0], key.k1^key.where^x.seed[1])
	return uint32((hi^lo)>>32) & uint32(len(x.slots)-1)
}

// find returns a sum, beginning it where there is none; nil when there is no
// room.
func (x *wider) find(key *wideKey, c *chain) *wide {
	mask := uint32(len(x.slots) - 1)
	at := x.home(key)
	for ; x.slots[at] != 0; at = (at + 1) & mask {
		if w := &x.items[x.slots[at]-1]; w.wideKey == *key {
			return w
		}
	}
	if len(x.items) == cap(x.items) {
		return nil
	}
	n := len(x.items)
	x.items = x.items[:n+1]
	x.slots[at] = uint16(n + 1)
	w := &x.items[n]
	*w = wide{wideKey: *key, chain: c, at: key.at(), slot: uint16(at)}
	x.deepest = max(x.deepest, w.at)
	return w
}

// foldWider gives the wider rows what was summed up for them, narrow before
// wide.
func (e *Engine) foldWider() {
	x := &e.wider
	for at := uint8(0); at <= x.deepest && len(x.items) > 0; at++ {
		for from := 0; from < len(x.items); from += groupSize { // which grows meanwhile
			e.foldGroup(x.items[from:min(from+groupSize, len(x.items))], at)
		}
	}
	for i := range x.items {
		x.slots[x.items[i].slot] = 0
	}
	x.items, x.ring, x.deepest = x.items[:0], nil, 0
}

// foldGroup folds a few sums, those at one place of their chains. It asks for
// their rows before it needs them.
func (e *Engine) foldGroup(items []wide, at uint8) {
	var tags [groupSize]uint32
	var lines [3 * groupSize]uintptr
	n := 0
	for i := range items {
		if w := &items[i]; w.at == at {
			tags[i] = e.scopeTag(w)
			lines[n] = uintptr(unsafe.Pointer(&e.idx.slots[e.idx.home(tags[i])]))
			n++
		}
	}
	cache.Prefetch(lines[:n])
	n = 0
	for i := range items {
		if w := &items[i]; w.at == at {
			if no := e.idx.peek(tags[i]); no != 0 {
				r := e.row(no - 1)
				s := &r.dir[w.direction()]
				lines[n], lines[n+1], lines[n+2] = uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(&s.sums))
				n += 3
			}
		}
	}
	cache.Prefetch(lines[:n])
	for i := range items {
		if items[i].at != at {
			continue
		}
		if w := &items[i]; at == 0 && w.counter() == 0 && w.what&apart == 0 {
			e.addSum(w.chain.cell, laneOf(w.direction(), w.flags()), w)
		}
		e.foldWide(e.wider.ring, &items[i], tags[i])
		for w := e.foldUp(&items[i]); w != nil; w = e.foldUp(w) {
			e.foldWide(e.wider.ring, w, e.scopeTag(w))
		}
	}
}

// foldUp adds a sum to that of the next wider row. Where there is no room for
// one it returns what is to be folded by itself.
func (e *Engine) foldUp(w *wide) *wide {
	next := int(w.at) + 1
	if next >= len(w.chain.refs) || w.counter() != 0 && !w.chain.refs[next].user {
		return nil
	}
	key, mask := w.wideKey, &w.chain.refs[next].mask
	key.k0, key.k1, key.where = key.k0&mask[0], key.k1&mask[1], key.where+1<<32
	key.what &^= joined
	to := e.wider.find(&key, w.chain)
	if to == nil {
		e.wider.spare = *w
		w = &e.wider.spare
		w.wideKey, w.at = key, uint8(next)
		return w
	}
	to.sampling = max(to.sampling, w.sampling)
	to.packets += w.packets
	to.bytes += w.bytes
	to.flows += w.flows
	for k := range w.counterPackets {
		to.counterPackets[k] += w.counterPackets[k]
		to.counterBytes[k] += w.counterBytes[k]
	}
	return nil
}

func (e *Engine) foldWide(r *ringState, w *wide, tag uint32) {
	to, no := e.findScope(w, tag)
	if to == nil {
		return
	}
	if to.gen != e.cur.gen {
		e.refresh(to)
	}
	g := e.entryOf(to).plan
	d := ring.Delta{
		Kind: ring.KindHost, Direction: w.direction(), Flags: w.flags(), SpanMs: w.spanMs(),
		Sampling: w.sampling, Packets: w.packets, Bytes: w.bytes,
	}
	if w.counter() != 0 {
		e.gainUser(r, to, no, g, &d, w.counter())
		return
	}
	// A sum may be more than a delta has room for.
	for left := *w; ; d.Packets, d.Bytes = 0, 0 {
		more := take(&d.Flows, &left.flows)
		for k := range d.CounterPackets {
			more = take(&d.CounterPackets[k], &left.counterPackets[k]) || more
			more = take(&d.CounterBytes[k], &left.counterBytes[k]) || more
		}
		e.gain(r, to, no, g, &d)
		if !more {
			return
		}
	}
}

// take moves what fits, and tells whether something is left.
func take(to *uint32, from *uint64) bool {
	n := min(*from, 1<<32-1)
	*to, *from = uint32(n), *from-n
	return *from != 0
}

func (e *Engine) scopeTag(w *wide) uint32 {
	ref := &w.chain.refs[w.at]
	return e.scopeHash(w.k0, w.k1, ref.kind, scopedEntry|ref.id)
}

// findScope returns the wider row of a sum, making it where it is missing.
func (e *Engine) findScope(w *wide, tag uint32) (*row, uint32) {
	ref := &w.chain.refs[w.at]
	ent := scopedEntry | ref.id
	x := &e.idx
	for i := x.home(tag); x.slots[i] != 0; {
		if s := x.slots[i]; uint32(s>>32) == tag {
			no := uint32(s) - 1
			if r := e.row(no); r.k1 == w.k1 && r.k0 == w.k0 && r.kind == ref.kind && r.entry == ent {
				return r, no
			}
		}
		if i++; i == uint32(len(x.slots)) {
			i = 0
		}
	}
	no, ok := e.takeRow()
	if !ok && e.displaceFor(&e.cur.scoped[ref.id].plan.dirs[w.direction()], w.spanMs()/50, w.packets, w.bytes) {
		no, ok = e.takeRow()
	}
	if !ok {
		e.stats.NoScope++
		return nil, 0
	}
	r := e.row(no)
	r.k0, r.k1, r.kind, r.plen, r.entry = w.k0, w.k1, ref.kind, ref.plen, ent
	r.last[w.direction()] = e.clock
	e.refresh(r)
	e.idx.insert(tag, no)
	e.scopeRows++
	return r, no
}
