// Package prefix finds the longest of a set of IP prefixes that holds an
// address, in a table that is built once and then only read.
package prefix

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// MaxValue is the largest value an entry may have: one bit is the table's.
const MaxValue = 1<<31 - 1

// Entry is one prefix and what looking up an address in it gives.
type Entry struct {
	Prefix netip.Prefix // without host bits; IPv4-mapped prefixes count as IPv4
	Value  uint32       // 1 … MaxValue
}

// Table maps addresses to the value of the longest prefix that holds them; 0
// means none. It never changes and may be read by any number of goroutines.
// IPv4 and IPv6 are apart: ::/0 holds no IPv4 address.
type Table struct {
	v4     table4
	v6     table6
	values map[netip.Prefix]uint32
	bits4  [33]bool // prefix lengths there are
	bits6  [129]bool
}

// Build makes a table of entries in any order. An error names the first
// entry that is not a prefix, has host bits or no value, or is there twice.
func Build(entries []Entry) (*Table, error) {
	t := &Table{values: make(map[netip.Prefix]uint32, len(entries))}
	var v4, v6 []Entry
	for i, e := range entries {
		e, err := normalize(e)
		if err != nil {
			return nil, fmt.Errorf("prefix table: entry %d: %w", i, err)
		}
		if _, twice := t.values[e.Prefix]; twice {
			return nil, fmt.Errorf("prefix table: entry %d: %v is there twice; keep one of them", i, e.Prefix)
		}
		t.values[e.Prefix] = e.Value
		if e.Prefix.Addr().Is4() {
			v4 = append(v4, e)
			t.bits4[e.Prefix.Bits()] = true
		} else {
			v6 = append(v6, e)
			t.bits6[e.Prefix.Bits()] = true
		}
	}
	// Shorter prefixes first: longer ones then overwrite what they hold.
	byLength := func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	}
	slices.SortFunc(v4, byLength)
	slices.SortFunc(v6, byLength)
	t.v4.build(v4)
	t.v6.build(v6)
	return t, nil
}

// normalize checks an entry and unmaps an IPv4-mapped prefix.
func normalize(e Entry) (Entry, error) {
	p := e.Prefix
	if !p.IsValid() {
		return e, fmt.Errorf("%v is not a prefix", p)
	}
	if p != p.Masked() {
		return e, fmt.Errorf("%v has host bits set; write %v", p, p.Masked())
	}
	if e.Value == 0 || e.Value > MaxValue {
		return e, fmt.Errorf("%v has the value %d; it must be 1 to %d", p, e.Value, MaxValue)
	}
	if p.Addr().Is4In6() { // so at least /96: a shorter one would have host bits set
		e.Prefix = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return e, nil
}

// Len returns the number of prefixes.
func (t *Table) Len() int { return len(t.values) }

// Lookup4 returns the value for an IPv4 address, its first octet the highest.
func (t *Table) Lookup4(addr uint32) uint32 { return t.v4.lookup(addr) }

// Lookup6 returns the value for an IPv6 address given as two halves, the
// first octet the highest of hi. It does not look for mapped IPv4 addresses.
func (t *Table) Lookup6(hi, lo uint64) uint32 { return t.v6.lookup(hi, lo) }

// Lookup returns the value for an address as records hold it, IPv4 mapped.
func (t *Table) Lookup(addr *[16]byte) uint32 {
	hi, lo := binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:])
	if hi == 0 && lo>>32 == 0xffff {
		return t.v4.lookup(uint32(lo))
	}
	return t.v6.lookup(hi, lo)
}

// Match returns the longest prefix that holds addr, and its value; without
// one the zero Prefix and 0. It is for configuration and display: it costs a
// map access for each prefix length there is.
func (t *Table) Match(addr netip.Addr) (netip.Prefix, uint32) {
	addr = addr.Unmap().WithZone("")
	lengths := t.bits6[:]
	if addr.Is4() {
		lengths = t.bits4[:]
	}
	for bits := addr.BitLen(); bits >= 0 && addr.IsValid(); bits-- {
		if !lengths[bits] {
			continue
		}
		p, _ := addr.Prefix(bits) // fails only for lengths out of range
		if v, ok := t.values[p]; ok {
			return p, v
		}
	}
	return netip.Prefix{}, 0
}
