package prefix

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Set tells whether addresses lie in a list of prefixes, of up to millions. It
// never changes and may be read by any number of goroutines.
type Set struct {
	v4    bits4
	v6    table6
	sizes [2]int
}

// inside and outside are the values of a Set's tables.
const (
	inside  = 1
	outside = 2
)

// BuildSet makes a set of prefixes in any order, nested and repeated ones as
// they come. Addresses in except are not in the set, but where a longer prefix
// of the list says so; the same prefix in both is out. Bits behind a prefix's
// length count as 0, IPv4-mapped prefixes as IPv4; what is no prefix is left out.
func BuildSet(list, except []netip.Prefix) *Set {
	keys := make([]Entry, 0, len(list)+len(except))
	for _, p := range except { // first, so that it wins where both are the same
		keys = append(keys, Entry{p, outside})
	}
	for _, p := range list {
		keys = append(keys, Entry{p, inside})
	}
	for i := range keys {
		keys[i].Prefix = plain(keys[i].Prefix)
	}
	keys = minimal(keys)
	first6 := len(keys)
	if i := slices.IndexFunc(keys, func(e Entry) bool { return e.Prefix.Addr().Is6() }); i >= 0 {
		first6 = i
	}
	s := &Set{sizes: [2]int{first6, len(keys) - first6}}
	v4, v6 := keys[:first6], keys[first6:]
	byLength := func(a, b Entry) int { return cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()) }
	slices.SortStableFunc(v4, byLength)
	slices.SortStableFunc(v6, byLength)
	s.v4.build(v4)
	s.v6.build(v6)
	return s
}

// plain is a prefix without host bits, IPv4 where it is mapped.
func plain(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// minimal sorts entries by address and leaves out what changes nothing: those
// that a shorter prefix of the same value holds already.
func minimal(keys []Entry) []Entry {
	keys = slices.DeleteFunc(keys, func(e Entry) bool { return !e.Prefix.IsValid() })
	slices.SortStableFunc(keys, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	var around []Entry // prefixes that hold the one at hand, the longest last
	n := 0
	for _, e := range keys {
		for len(around) > 0 && !around[len(around)-1].Prefix.Overlaps(e.Prefix) {
			around = around[:len(around)-1]
		}
		value := uint32(outside)
		if len(around) > 0 {
			last := around[len(around)-1]
			if last.Prefix == e.Prefix {
				continue // the first one of a prefix counts
			}
			value = last.Value
		}
		around = append(around, e)
		if value != e.Value {
			keys[n] = e
			n++
		}
	}
	return keys[:n]
}

// Len is the number of IPv4 and IPv6 prefixes, without those that change
// nothing.
func (s *Set) Len() (v4, v6 int) { return s.sizes[0], s.sizes[1] }

// Contains reports whether the set holds an address as records have it, IPv4
// mapped.
func (s *Set) Contains(addr *[16]byte) bool {
	hi, lo := binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:])
	if hi == 0 && lo>>32 == 0xffff {
		return s.v4.lookup(uint32(lo))
	}
	return s.v6.lookup(hi, lo) == inside
}

// ContainsAddr is Contains for an address in Go's form.
func (s *Set) ContainsAddr(a netip.Addr) bool {
	b := a.As16()
	return a.IsValid() && s.Contains(&b)
}
