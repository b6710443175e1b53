package feed

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// watchSet is who watches for what; it is replaced as a whole.
type watchSet struct{ in, out watchSide }

// watchSide finds those who watch for an address. A bit for each hash says that
// somebody may: a thousand hosts set one in sixty of them, so that the packets
// of all others cost two multiplications and a look into 8 KiB.
type watchSide struct {
	any     bool
	first   mask   // of lengths
	lengths []mask // the different prefix lengths, the longest first
	bitmap  *[watchBits / 64]uint64
	targets map[target][]*Watch
}

const watchBits = 1 << 16

// mask is a prefix length as two halves; IPv4 is mapped, 96 bits longer.
type mask struct{ hi, lo uint64 }

// target is a masked address with its length.
type target struct {
	hi, lo uint64
	bits   int
}

func newWatchSet(all []*Watch) *watchSet {
	s := &watchSet{}
	for _, w := range all {
		if w.req.Incoming {
			s.in.add(w)
		}
		if w.req.Outgoing {
			s.out.add(w)
		}
	}
	return s
}

func (s *watchSide) add(w *Watch) {
	if !s.any {
		s.any, s.bitmap, s.targets = true, new([watchBits / 64]uint64), map[target][]*Watch{}
	}
	m := maskOf(w.req.Target)
	if !slices.Contains(s.lengths, m) {
		s.lengths = append(s.lengths, m)
		slices.SortFunc(s.lengths, func(a, b mask) int { return b.bits() - a.bits() })
		s.first = s.lengths[0]
	}
	a := w.req.Target.Addr().As16()
	t := target{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]), m.bits()}
	s.targets[t] = append(s.targets[t], w)
	h := hashTarget(t.hi, t.lo)
	s.bitmap[h>>6] |= 1 << (h & 63)
}

func maskOf(p netip.Prefix) mask {
	length := p.Bits()
	if p.Addr().Is4() {
		length += 96
	}
	m := mask{^uint64(0), 0}
	switch {
	case length < 64:
		m.hi = ^(^uint64(0) >> length)
	case length > 64:
		m.lo = ^(^uint64(0) >> (length - 64))
	}
	return m
}

func (m mask) bits() int { return bits.OnesCount64(m.hi) + bits.OnesCount64(m.lo) }

func hashTarget(hi, lo uint64) uint32 {
	return uint32((hi*0x9e3779b97f4a7c15 ^ lo*0xff51afd7ed558ccd) >> 48)
}

// maybe tells whether somebody may watch for an address; false is certain.
func (s *watchSide) maybe(a *[16]byte) bool {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return s.marked(hi&s.first.hi, lo&s.first.lo) || len(s.lengths) > 1 && s.maybeShorter(hi, lo)
}

func (s *watchSide) maybeShorter(hi, lo uint64) bool {
	for _, m := range s.lengths[1:] {
		if s.marked(hi&m.hi, lo&m.lo) {
			return true
		}
	}
	return false
}

func (s *watchSide) marked(hi, lo uint64) bool {
	h := hashTarget(hi, lo)
	return s.bitmap[h>>6&(watchBits/64-1)]>>(h&63)&1 != 0
}

// find returns those who watch for an address, by the longest prefix that
// anybody watches for.
func (s *watchSide) find(a *[16]byte) (to []*Watch) {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	for _, m := range s.lengths {
		found := s.targets[target{hi & m.hi, lo & m.lo, m.bits()}]
		if to == nil {
			to = found
		} else if len(found) > 0 { // a host inside a prefix that is watched too
			to = append(slices.Clone(to), found...)
		}
	}
	return to
}
