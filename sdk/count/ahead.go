package count

import (
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// groupSize is how many records are looked up before the first of them is counted:
// their index slots, then their rows, come from memory together and not one
// after the other.
const groupSize = 32

// found is where a record belongs.
type found struct {
	src, dst addr
	from, to uint32 // places; 0: not ours
	host     addr   // masked; of the one end that is ours
	at       uint32 // its place
	key      uint32 // of its row; 0: both found are ours, or none
	hash     uint32
}

// resolve looks up a batch of at most groupSize records and asks for their rows.
func (t *Table) resolve(batch []traffic.Record, out *[groupSize]found) {
	var lines [2 * groupSize]uintptr
	n := 0
	for i := range batch {
		r, e := &batch[i], &out[i&(groupSize-1)]
		e.src, e.dst = load(r, &r.Src), load(r, &r.Dst)
		e.from, e.to = lookup(t.plan.lpm, r, e.src), lookup(t.plan.lpm, r, e.dst)
		e.key = 0
		if (e.from == 0) == (e.to == 0) {
			continue
		}
		// Which end is ours is a coin's toss: choose without a branch that
		// would be mispredicted half of the time.
		out := uint64(int64(uint64(e.to)-1) >> 63) // all ones where the destination is not ours
		e.host = addr{e.dst.hi ^ (e.src.hi^e.dst.hi)&out, e.dst.lo ^ (e.src.lo^e.dst.lo)&out}
		e.at = e.from | e.to
		e.host, e.key = t.hostKey(r, e.host, e.at, ring.Direction(out&1))
		e.hash = hashRow(e.host, e.key, t.seed)
		lines[n] = uintptr(unsafe.Pointer(&t.index[e.hash&t.mask]))
		n++
	}
	cache.Prefetch(lines[:n])
	n = 0
	for i := range batch {
		e := &out[i&(groupSize-1)]
		if e.key == 0 {
			continue
		}
		// The first row that the index gives may be another's: then this one
		// is waited for.
		if slot := t.index[e.hash&t.mask]; slot != 0 && (slot^e.hash)>>slotRow == 0 {
			row := unsafe.Pointer(&t.rows[slot&rowMask-1])
			lines[n], lines[n+1] = uintptr(row), uintptr(unsafe.Add(row, cache.Line))
			n += 2
		}
	}
	cache.Prefetch(lines[:n])
}
