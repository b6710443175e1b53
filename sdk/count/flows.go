package count

import (
	"math/bits"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// FlowPhase is the resolution, in nanoseconds, of the clock by which flows are
// told apart. Records of one Add share a time: whoever counts a recording must
// not put records of different phases into one.
const FlowPhase = 1e9 / 256

// flowSet says whether a flow (protocol, addresses, ports) is new within its
// second. It is one exact set for all hosts: a slot is 56 bits of hash and an
// 8-bit epoch. A flow's epoch is one second long and begins at a phase given
// by its hash, so that not all flows turn new at once. Slots lie in lines of
// eight; a slot of a past epoch is free.
type flowSet struct {
	slots []uint64
	mask  uint64 // of lines
	seed  flowSeed
	phase uint64 // the clock in 256ths of a second
	swept int
	full  bool
	max   int     // slots it may grow to
	live  int     // flows added in the last second, about
	added [21]int // by tick
	tick  int64
}

const (
	flowLine     = 8
	flowProbes   = 4       // lines looked at before a flow is given up
	minFlowSlots = 1 << 16 // 512 KiB
	maxFlowSlots = 1 << 22 // 32 MiB
	first        = 40      // the hash bits from here on say where in its line a flow is looked for first
)

func newFlowSet(seed uint64) *flowSet {
	f := &flowSet{max: maxFlowSlots, seed: newFlowSeed(seed)}
	f.resize(minFlowSlots)
	return f
}

func (f *flowSet) resize(n int) {
	old := f.slots
	f.slots = make([]uint64, n)
	f.mask = uint64(n/flowLine - 1)
	f.swept = 0
	for _, s := range old {
		if s != 0 && uint8(s) == f.epoch(s) {
			f.put(s)
		}
	}
}

// put stores a slot whose flow is known to be new; it may find no room.
func (f *flowSet) put(s uint64) bool {
	for line, n := s>>8&f.mask, 0; n < flowProbes; line, n = (line+1)&f.mask, n+1 {
		if free := f.free(line, s); free != nil {
			*free = s
			return true
		}
	}
	return false
}

// free returns a free slot of a line: the one where count looks first, if it
// is free.
func (f *flowSet) free(line, s uint64) *uint64 {
	slots := (*[flowLine]uint64)(f.slots[line*flowLine:])
	for i := range uint64(flowLine) {
		v := &slots[(s>>first+i)%flowLine]
		if *v == 0 || uint8(*v) != f.epoch(*v) {
			return v
		}
	}
	return nil
}

// epoch is the epoch that a flow with this hash is in.
func (f *flowSet) epoch(hash uint64) uint8 { return uint8((f.phase + hash>>56) >> 8) }

// count returns 1 for a new flow, 0 for one seen within its second, and the
// flag that says the answer may be too low.
func (f *flowSet) count(r *traffic.Record, src, dst addr) (flows, flags uint32) {
	h := f.seed.hash(r, src, dst) &^ 0xff
	s := h | uint64(f.epoch(h))
	if f.slots[(h>>8&f.mask)*flowLine+h>>first%flowLine] == s {
		return 0, 0
	}
	return f.search(s)
}

// search looks for a flow beyond the slot it prefers and adds it.
func (f *flowSet) search(s uint64) (flows, flags uint32) {
	for line, n := s>>8&f.mask, 0; n < flowProbes; line, n = (line+1)&f.mask, n+1 {
		if slices.Contains(f.slots[line*flowLine:line*flowLine+flowLine], s) {
			return 0, 0
		}
		free := f.free(line, s)
		if free == nil {
			continue
		}
		if f.full {
			break
		}
		*free = s
		f.added[0]++
		if f.live++; f.live > len(f.slots)/8*3 {
			f.crowd()
		}
		return 1, 0
	}
	return 0, rowAtLeast
}

// flowSeed makes a hash of flows that nobody outside can aim at.
type flowSeed [4]uint64

func newFlowSeed(seed uint64) (s flowSeed) {
	for i := range s {
		s[i] = mix(seed^0xa0761d6478bd642f, 0xe7037ed1a0b428db+2*uint64(i)) | 1
	}
	return s
}

// hash mixes what makes a flow. Addresses of IPv4 differ in their last four
// octets only.
func (seed *flowSeed) hash(r *traffic.Record, src, dst addr) uint64 {
	ports := uint64(r.SrcPort)<<32 | uint64(r.DstPort)<<16 | uint64(r.Protocol)
	if r.Marks&traffic.MarkIPv6 == 0 {
		a := src.lo<<32 | dst.lo&0xffffffff
		return mix(mix(a^seed[0], ports^seed[1])^seed[2], a^seed[3])
	}
	a := mix(src.hi^seed[0], src.lo^seed[1])
	b := mix(dst.hi^seed[2], dst.lo^seed[3])
	return mix(a^seed[3]^bits.RotateLeft64(ports, 17), b^seed[1]^ports)
}

// crowd grows the set, or declares it full when it may not grow.
func (f *flowSet) crowd() {
	if len(f.slots) < f.max {
		f.resize(2 * len(f.slots))
	}
	f.full = f.live > len(f.slots)/4*3
}

// advance moves the clock on. Once a tick a part of the set is swept, so that
// no slot lives to see its epoch's number come round again.
func (f *flowSet) advance(now int64) {
	f.phase = uint64(now) / FlowPhase
	tick := now / tickNanos
	if tick == f.tick {
		return
	}
	if tick-f.tick > 120*1000/FlushTick { // too long ago for slots to be told apart
		clear(f.slots)
	}
	for range min(tick-f.tick, int64(len(f.added))) {
		f.live -= f.added[len(f.added)-1]
		copy(f.added[1:], f.added[:])
		f.added[0] = 0
	}
	f.tick = tick
	f.full = f.live > len(f.slots)/4*3
	f.sweep(len(f.slots) / 1024)
}

func (f *flowSet) sweep(n int) {
	for i := range f.slots[f.swept : f.swept+n] {
		if s := &f.slots[f.swept+i]; uint8(*s) != f.epoch(*s) {
			*s = 0
		}
	}
	f.swept = (f.swept + n) % len(f.slots)
}
