package prefix

import (
	"encoding/binary"
	"math/bits"
)

// table6 is a tree with 64-way branching whose paths and leaves are
// compressed: a node stands at the first bit where its prefixes differ, so
// that a lookup passes a few nodes however long the prefixes are, and equal
// neighbours share a leaf, as in Poptrie (Asai and Ohara, SIGCOMM 2015).
//
// A node at depth d compares the address's first d bits with its own; if they
// differ, what lies around the node applies. Else the next 6 bits choose one
// of 64 slots: a child node or a value.
//
// Memory: at most two nodes of 64 octets and a few leaves for each prefix.
type table6 struct {
	nodes  []node6
	leaves []uint32
}

type node6 struct {
	hi, lo         uint64 // the first depth bits, the rest 0
	maskHi, maskLo uint64
	children       uint64 // slots that are nodes
	runs           uint64 // slots that are values and differ from the value before
	child, leaf    uint32 // of the first child and leaf
	outside        uint32 // value where the first depth bits differ
	shift          uint8  // brings the 6 bits to the bottom of lo>>shift, or of hi>>(shift-64)
}

const (
	stride   = 6
	deepest  = 128 - stride
	slots    = 1 << stride
	slotMask = slots - 1
)

// key6 is an entry while the tree is built.
type key6 struct {
	hi, lo uint64
	bits   int
	value  uint32
}

// build takes entries sorted by prefix length.
func (t *table6) build(entries []Entry) {
	keys := make([]key6, len(entries))
	for i, e := range entries {
		a := e.Prefix.Addr().As16()
		keys[i] = key6{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]), e.Prefix.Bits(), e.Value}
	}
	t.nodes = make([]node6, 1, 1+len(keys))
	t.fill(0, keys, 0)
}

// fill makes nodes[at] the tree of keys, which are sorted by length; outside
// is the value of the longest prefix around all of them.
func (t *table6) fill(at int, keys []key6, outside uint32) {
	depth := commonBits(keys)
	var n node6
	n.outside = outside
	n.shift = uint8(deepest - depth)
	n.maskHi, n.maskLo = mask(depth)
	if len(keys) > 0 {
		n.hi, n.lo = keys[0].hi&n.maskHi, keys[0].lo&n.maskLo
	}

	var values [slots]uint32
	var below [slots][]key6
	for i := range values {
		values[i] = outside
	}
	for _, k := range keys {
		first := n.slot(k.hi, k.lo)
		if k.bits > depth+stride {
			below[first] = append(below[first], k)
			continue
		}
		for i := range 1 << (depth + stride - k.bits) {
			values[int(first)+i] = k.value
		}
	}

	n.leaf = uint32(len(t.leaves))
	var children int
	for i := range values {
		if below[i] != nil {
			n.children |= 1 << i
			children++
		} else if n.runs == 0 || t.leaves[len(t.leaves)-1] != values[i] {
			n.runs |= 1 << i
			t.leaves = append(t.leaves, values[i])
		}
	}
	n.child = uint32(len(t.nodes))
	t.nodes[at] = n
	t.nodes = append(t.nodes, make([]node6, children)...)
	next := int(n.child)
	for i := range below {
		if below[i] != nil {
			t.fill(next, below[i], values[i])
			next++
		}
	}
}

// commonBits is the depth of the node for keys: as far as they agree and the
// shortest reaches.
func commonBits(keys []key6) int {
	if len(keys) == 0 {
		return 0
	}
	common := min(keys[0].bits, deepest)
	for _, k := range keys[1:] {
		n := bits.LeadingZeros64(k.hi ^ keys[0].hi)
		if n == 64 {
			n += bits.LeadingZeros64(k.lo ^ keys[0].lo)
		}
		common = min(common, n)
	}
	return common
}

// mask has the first n bits set.
func mask(n int) (hi, lo uint64) {
	if n <= 64 {
		return ^uint64(0) << (64 - n), 0
	}
	return ^uint64(0), ^uint64(0) << (128 - n)
}

// slot picks the 6 bits behind the node's depth. Shifts by 64 and more give
// 0 in Go, so one of the first two terms and the overlap always fit.
func (n *node6) slot(hi, lo uint64) uint64 {
	s := uint(n.shift)
	return (lo>>s | hi<<(64-s) | hi>>(s-64)) & slotMask
}

func (t *table6) lookup(hi, lo uint64) uint32 {
	nodes := t.nodes
	at := uint32(0)
	for {
		n := &nodes[at]
		if (hi^n.hi)&n.maskHi|(lo^n.lo)&n.maskLo != 0 {
			return n.outside
		}
		s := n.slot(hi, lo)
		bit := uint64(1) << s
		if n.children&bit == 0 {
			return t.leaves[n.leaf+uint32(bits.OnesCount64(n.runs&(bit<<1-1)))-1]
		}
		at = n.child + uint32(bits.OnesCount64(n.children&(bit-1)))
	}
}
