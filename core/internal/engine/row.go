package engine

import (
	"net/netip"
	"unsafe"
)

// row is one host or folded prefix: 320 bytes, five cache lines.
type row struct {
	k0, k1 uint64    // address, IPv4 mapped; k0 links free rows
	last   [2]uint32 // by direction: step of which the averages tell, 0 never
	tick   [2]uint32 // by direction: oldest tick that has a sum
	entry  uint32    // of the plan of gen; 0: no longer ours
	flows  [2]ufloat // new flows per second, average
	extras uint32    // number + 1 of the first extra
	alarm  [2]Alarm  // by direction: Alarm, 0 none
	gen    uint16    // of the plan that entry and layout speak of
	doubt  DoubtID   // in which it was last
	layout uint16    // what the tick sums belong to
	kind   uint8     // ring.Kind; 0: free
	plen   uint8     // prefix length in the family's own bits
	dir    [2]dirState
}

// dirState is one direction of a row: two cache lines.
type dirState struct {
	avg      [16]ufloat                  // [counter×2+unit], packets/s and bytes/s
	sums     [openTicks][rowPairs]ufloat // [tick mod 3][pair]
	runs     [rowPairs][maxRules]uint8   // closed ticks above, up to the newest closed one
	sampling sampling
}

// extra is a further record of a row. With keyTick it is the burst state of
// one limit: v[0:3] tick sums, v[3:6] packets of the same ticks. Without, it
// is the averages of one counter: v[0:2] over the group's time, v[2:4] over
// slowTau.
type extra struct {
	next    uint32 // number + 1
	key     uint32
	t       uint32 // averages: step of which they tell; ticks: oldest tick
	v       [6]ufloat
	runs    [4]uint8
	samples [maxRules]uint16 // raw samples of the closed ticks of the run, in eighths
	mark    uint16           // limitPlan.mark by which runs were counted
}

const (
	keyTick = 1 << 31
	keyDir  = 1 << 30
	keyID   = keyDir - 1
)

const (
	rowSize   = 320
	extraSize = 48
	openTicks = 3
	rowPairs  = 4
	maxRules  = 3
)

// The layout of rows is what the memory figures promise.
const (
	_ = uint(rowSize - unsafe.Sizeof(row{}))
	_ = uint(unsafe.Sizeof(row{}) - rowSize)
	_ = uint(extraSize - unsafe.Sizeof(extra{}))
	_ = uint(unsafe.Sizeof(extra{}) - extraSize)
	_ = uint(64 - unsafe.Offsetof(row{}.dir))
	_ = uint(unsafe.Offsetof(row{}.dir) - 64)
)

// mapped reports whether two address words are an IPv4 address (RFC 4291
// 2.5.5.2).
func mapped(addr *[16]byte) bool {
	return *(*[12]byte)(addr[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

// words reads an address as the two words that rows compare.
func words(addr *[16]byte) (uint64, uint64) {
	p := (*[2]uint64)(unsafe.Pointer(addr))
	return p[0], p[1]
}

// prefix returns a row's target in its own family.
func (r *row) prefix() netip.Prefix {
	k := [2]uint64{r.k0, r.k1}
	a := netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&k))).Unmap()
	return netip.PrefixFrom(a, int(r.plen))
}

func (e *Engine) row(i uint32) *row     { return (*row)(e.rows.at(i)) }
func (e *Engine) extra(i uint32) *extra { return (*extra)(e.extras.at(i)) }

// findExtra returns the extra of a row with a key, nil if there is none.
func (e *Engine) findExtra(r *row, key uint32) *extra {
	for n := r.extras; n != 0; {
		x := e.extra(n - 1)
		if x.key == key {
			return x
		}
		n = x.next
	}
	return nil
}

// takeExtra is findExtra, but adds what is missing; nil at the memory limit.
func (e *Engine) takeExtra(r *row, key uint32) *extra {
	if x := e.findExtra(r, key); x != nil {
		return x
	}
	i, ok := e.extras.take()
	if !ok {
		e.stats.ExtrasRefused++
		return nil
	}
	x := e.extra(i)
	x.key, x.next = key, r.extras
	r.extras = i + 1
	return x
}

// dropExtras frees the extras of a row that keep does not want.
func (e *Engine) dropExtras(r *row, keep func(*extra) bool) {
	link := &r.extras
	for *link != 0 {
		i := *link - 1
		x := e.extra(i)
		if keep != nil && keep(x) {
			link = &x.next
			continue
		}
		*link = x.next
		e.extras.give(i)
	}
}
