package prefix

import (
	"encoding/binary"
	"math/bits"
)

// bits4 says of every IPv4 address whether it is in a set: a bit for each /24
// that is so or so as a whole, and 256 for each one that is mixed. A lookup is
// one load, in a mixed /24 two, whatever the prefixes are.
//
// Memory: 6 MiB, and 32 octets for each mixed /24.
type bits4 struct {
	groups []group4
	mixed  [][4]uint64
}

// group4 is 32 neighbours of the length /24, a bit each.
type group4 struct {
	in    uint32
	mixed uint32
	base  uint32 // of the first mixed one
}

// build takes entries sorted by prefix length: longer ones overwrite what
// they lie in.
func (t *bits4) build(keys []Entry) {
	if len(keys) == 0 {
		return
	}
	t.groups = make([]group4, 1<<19)
	long := len(keys)
	for i, e := range keys {
		if e.Prefix.Bits() > 24 {
			long = i
			break
		}
		first := address4(e) >> 8
		for n := range uint32(1) << (24 - e.Prefix.Bits()) {
			t.groups[(first+n)>>5].set((first+n)&31, e.Value == inside)
		}
	}
	for _, e := range keys[long:] {
		t.groups[address4(e)>>13].mixed |= 1 << (address4(e) >> 8 & 31)
	}
	for i := range t.groups {
		t.spread(&t.groups[i])
	}
	for _, e := range keys[long:] {
		addr := address4(e)
		block := &t.mixed[t.groups[addr>>13].index(addr)]
		for n := range uint32(1) << (32 - e.Prefix.Bits()) {
			at := (addr + n) & 0xff
			block[at>>6] &^= 1 << (at & 63)
			if e.Value == inside {
				block[at>>6] |= 1 << (at & 63)
			}
		}
	}
}

func address4(e Entry) uint32 {
	octets := e.Prefix.Addr().As4()
	return binary.BigEndian.Uint32(octets[:])
}

func (g *group4) set(bit uint32, in bool) {
	g.in &^= 1 << bit
	if in {
		g.in |= 1 << bit
	}
}

// spread makes room for the mixed ones of a group, which begin as they were
// as a whole.
func (t *bits4) spread(g *group4) {
	g.base = uint32(len(t.mixed))
	for m := g.mixed; m != 0; m &= m - 1 {
		var block [4]uint64
		if g.in>>bits.TrailingZeros32(m)&1 != 0 {
			block = [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
		}
		t.mixed = append(t.mixed, block)
	}
}

// index is where the bits of addr's /24 are, which is mixed.
func (g *group4) index(addr uint32) uint32 {
	return g.base + uint32(bits.OnesCount32(g.mixed&(1<<(addr>>8&31)-1)))
}

func (t *bits4) lookup(addr uint32) bool {
	if int(addr>>13) >= len(t.groups) {
		return false // there are no prefixes
	}
	g := &t.groups[addr>>13]
	bit := addr >> 8 & 31
	if g.mixed>>bit&1 == 0 {
		return g.in>>bit&1 != 0
	}
	return t.mixed[g.index(addr)][addr>>6&3]>>(addr&63)&1 != 0
}
