package prefix

import "encoding/binary"

// table4 is a DIR-16-8-8: a root of 65536 slots for the first two octets and
// blocks of 256 for the third and the fourth, only where prefixes are longer.
// A slot holds a value, or with the top bit set the number of a block; so a
// lookup is one to three loads and needs no search.
//
// Memory: 256 KiB, and at most 2 KiB for each prefix longer than /16.
type table4 struct {
	root   *[65536]uint32
	blocks []uint32
}

const isBlock = 1 << 31

// noPrefixes4 is the root of tables without IPv4.
var noPrefixes4 [65536]uint32

// build takes entries sorted by prefix length: what a shorter one would
// overwrite is never a block yet.
func (t *table4) build(entries []Entry) {
	t.root = &noPrefixes4
	t.blocks = make([]uint32, 256) // block 0 is never chosen, see lookup
	if len(entries) > 0 {
		t.root = new([65536]uint32)
	}
	for _, e := range entries {
		octets := e.Prefix.Addr().As4()
		addr, bits := binary.BigEndian.Uint32(octets[:]), e.Prefix.Bits()
		if bits <= 16 {
			fill(t.root[addr>>16:], 16-bits, e.Value)
			continue
		}
		block := t.block(&t.root[addr>>16])
		if bits <= 24 {
			fill(t.blocks[block+addr>>8&0xff:], 24-bits, e.Value)
			continue
		}
		// Taken out and put back: a new block may move the slice.
		slot := t.blocks[block+addr>>8&0xff]
		last := t.block(&slot)
		t.blocks[block+addr>>8&0xff] = slot
		fill(t.blocks[last+addr&0xff:], 32-bits, e.Value)
	}
}

func fill(slots []uint32, logCount int, value uint32) {
	slots = slots[:1<<logCount]
	for i := range slots {
		slots[i] = value
	}
}

// block returns where the block behind slot begins, after making one that
// inherits the slot's value if there is none.
func (t *table4) block(slot *uint32) uint32 {
	if *slot&isBlock == 0 {
		value := *slot
		*slot = isBlock | uint32(len(t.blocks)>>8)
		for range 256 {
			t.blocks = append(t.blocks, value)
		}
	}
	return *slot << 8
}

// lookup has no branches: random addresses would make the processor guess
// wrong, which costs more than two loads from a near cache. Where the slot is
// a value already, mask is 0 and the load is a dummy from block 0.
func (t *table4) lookup(addr uint32) uint32 {
	slot := t.root[addr>>16]
	mask := uint32(int32(slot) >> 31)
	slot = t.blocks[(slot<<8|addr>>8&0xff)&mask]&mask | slot&^mask
	mask = uint32(int32(slot) >> 31)
	return t.blocks[(slot<<8|addr&0xff)&mask]&mask | slot&^mask
}
