package exporter

import (
	"net/netip"
	"slices"
	"sync"
)

const (
	observeEvery = 8   // one of so many calls of Observe is looked at
	observeMost  = 64  // and no more than so many in a tick
	sketchSize   = 256 // prefixes remembered
	lastSize     = 256 // records remembered
)

// sketch remembers which prefixes records come from and go to, for "doctor":
// traffic of which no address is inside our networks is the commonest reason
// to see nothing. It has a fixed size: a new prefix takes the place of the
// rarest one and inherits its count (Metwally, space-saving), so that frequent
// ones are always there. How many records have an address inside networks of
// many prefixes only the last records tell.
type sketch struct {
	mu    sync.Mutex
	total uint64
	used  int
	cells [sketchSize]cell
	last  [lastSize][2]netip.Prefix // a ring: source and destination
}

type cell struct {
	prefix netip.Prefix
	count  uint64
}

// Observe takes the addresses of one record of each datagram, as they stand
// in traffic.Record, for the table "addresses". Of those few are looked at.
func (v *View) Observe(src, dst *[16]byte) {
	if v.turn++; v.turn%observeEvery != 1 {
		return
	}
	if now := v.set.now(); now-v.observed >= tick {
		v.observed, v.looks = now, 0
	}
	if v.looks++; v.looks > observeMost {
		return
	}
	s := &v.set.sketch
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := prefixOf(src), prefixOf(dst)
	s.last[s.total%lastSize] = [2]netip.Prefix{from, to}
	s.total++
	s.add(from)
	s.add(to)
}

// prefixOf is the /24 or /48 around an address.
func prefixOf(a *[16]byte) netip.Prefix {
	addr, length := netip.AddrFrom16(*a).Unmap(), 48
	if addr.Is4() {
		length = 24
	}
	p, _ := addr.Prefix(length) // the lengths fit
	return p
}

func (s *sketch) add(p netip.Prefix) {
	least := 0
	for i := range s.cells[:s.used] {
		if s.cells[i].prefix == p {
			s.cells[i].count++
			return
		}
		if s.cells[i].count < s.cells[least].count {
			least = i
		}
	}
	if s.used < len(s.cells) {
		s.cells[s.used] = cell{p, 1}
		s.used++
		return
	}
	s.cells[least] = cell{p, s.cells[least].count + 1}
}

// top returns the prefixes, the most frequent first, how many records were
// looked at, and the last of these.
func (s *sketch) top() (out []cell, total uint64, last [][2]netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, last = slices.Clone(s.cells[:s.used]), slices.Clone(s.last[:min(s.total, lastSize)])
	slices.SortStableFunc(out, func(a, b cell) int {
		if a.count != b.count {
			return int(min(max(int64(b.count)-int64(a.count), -1), 1))
		}
		return a.prefix.Addr().Compare(b.prefix.Addr())
	})
	return out, s.total, last
}
