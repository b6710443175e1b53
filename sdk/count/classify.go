package count

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// classifier says which counters a record belongs to. Every dimension maps a
// property of the record to a mask of the counters it does not rule out; the
// AND of the masks is the answer. A dimension that no counter restricts is
// not looked at.
type classifier struct {
	all      uint64 // every defined counter
	protocol [256]uint64
	flags    [256]uint64
	marks    [4]uint64 // by fragment and dropped
	src, dst *steps
	lengths  *steps
	class    *[64]uint64 // per user class: counters that want it
	classAny uint64      // counters that ask for no class
	useFlags bool
	useMarks bool
}

// steps maps a 16-bit number to a small class and the class to a mask: 64 KiB
// that stay in the cache where 512 KiB of masks would not.
type steps struct {
	class [1 << 16]uint8
	mask  [256]uint64
}

// of returns the counters a record belongs to.
func (c *classifier) of(r *traffic.Record) uint64 {
	m := c.protocol[r.Protocol]
	if c.src != nil {
		m &= c.src.mask[c.src.class[r.SrcPort]]
	}
	if c.dst != nil {
		m &= c.dst.mask[c.dst.class[r.DstPort]]
	}
	if c.useFlags {
		m &= c.flags[r.TCPFlags]
	}
	if c.useMarks {
		m &= c.marks[r.Marks>>1&3]
	}
	if m != 0 && c.lengths != nil {
		m &= c.lengths.mask[c.lengths.class[meanLength(r)]]
	}
	if m != 0 && c.class != nil {
		m &= c.classMask(r.Class)
	}
	return m
}

// meanLength is the length of the record's packets, clamped to 65535 octets.
func meanLength(r *traffic.Record) uint16 {
	n := r.Bytes
	if r.Packets > 1 {
		n /= r.Packets
	}
	return uint16(min(n, math.MaxUint16))
}

func (c *classifier) classMask(set uint64) uint64 {
	m := c.classAny
	for ; set != 0; set &= set - 1 {
		m |= c.class[bits.TrailingZeros64(set)]
	}
	return m
}

func (c *classifier) compile(counters []Counter) error {
	if len(counters) > MaxCounters {
		return fmt.Errorf("plan: %d counters; at most %d", len(counters), MaxCounters)
	}
	for i := range counters {
		k := &counters[i]
		if k.ID >= MaxCounters {
			return fmt.Errorf("plan: counters[%d] (%s): id is %d; at most %d", i, k.Name, k.ID, MaxCounters-1)
		}
		if c.all>>k.ID&1 != 0 {
			return fmt.Errorf("plan: counters[%d] (%s): id %d is given twice", i, k.Name, k.ID)
		}
		if err := checkCounter(k); err != nil {
			return fmt.Errorf("plan: counters[%d] (%s): %w", i, k.Name, err)
		}
		c.all |= 1 << k.ID
	}
	c.compileBytes(counters)
	c.compileClasses(counters)
	return c.compileSteps(counters)
}

func checkCounter(k *Counter) error {
	if k.FlagsSet&k.FlagsClear != 0 {
		return fmt.Errorf("TCP flags 0x%02x are to be set and clear at once", k.FlagsSet&k.FlagsClear)
	}
	if k.wantsFlags() && len(k.Protocols) > 0 && !slices.Contains(k.Protocols, traffic.ProtoTCP) {
		return fmt.Errorf("asks for TCP flags but not for protocol TCP: nothing would match")
	}
	for _, p := range slices.Concat(k.SrcPorts, k.DstPorts) {
		if p.From > p.To {
			return fmt.Errorf("port range %d-%d is empty", p.From, p.To)
		}
	}
	for _, l := range k.Lengths {
		if l.From > l.To {
			return fmt.Errorf("length range %d-%d is empty", l.From, l.To)
		}
	}
	for _, b := range k.Classes {
		if b > 63 {
			return fmt.Errorf("user class is %d; at most 63", b)
		}
	}
	return nil
}

func (k *Counter) wantsFlags() bool { return k.FlagsSet|k.FlagsClear != 0 }

// compileBytes fills the dimensions that a single octet indexes.
func (c *classifier) compileBytes(counters []Counter) {
	for i := range counters {
		k := &counters[i]
		bit := uint64(1) << k.ID
		for v := range 256 {
			proto := uint8(v)
			wanted := len(k.Protocols) == 0 || slices.Contains(k.Protocols, proto)
			if wanted && (!k.wantsFlags() || proto == traffic.ProtoTCP) {
				c.protocol[v] |= bit
			}
			if uint8(v)&k.FlagsSet == k.FlagsSet && uint8(v)&k.FlagsClear == 0 {
				c.flags[v] |= bit
			}
		}
		for v := range c.marks {
			fragment, dropped := v&1 != 0, v&2 != 0
			if (k.Fragment == nil || *k.Fragment == fragment) && (k.Dropped == nil || *k.Dropped == dropped) {
				c.marks[v] |= bit
			}
		}
		c.useFlags = c.useFlags || k.wantsFlags()
		c.useMarks = c.useMarks || k.Fragment != nil || k.Dropped != nil
	}
}

func (c *classifier) compileClasses(counters []Counter) {
	c.classAny = c.all
	for i := range counters {
		k := &counters[i]
		for _, b := range k.Classes {
			if c.class == nil {
				c.class = new([64]uint64)
			}
			c.class[b] |= 1 << k.ID
			c.classAny &^= 1 << k.ID
		}
	}
}

func (c *classifier) compileSteps(counters []Counter) (err error) {
	ports := func(of func(*Counter) []PortRange) func(*Counter) []Range {
		return func(k *Counter) (rs []Range) {
			for _, p := range of(k) {
				rs = append(rs, Range{uint32(p.From), uint32(p.To)})
			}
			return rs
		}
	}
	c.src, err = c.newSteps(counters, "source ports", ports(func(k *Counter) []PortRange { return k.SrcPorts }))
	if err == nil {
		c.dst, err = c.newSteps(counters, "destination ports", ports(func(k *Counter) []PortRange { return k.DstPorts }))
	}
	if err == nil {
		c.lengths, err = c.newSteps(counters, "lengths", func(k *Counter) []Range { return k.Lengths })
	}
	return err
}

// newSteps builds one 16-bit dimension; nil where no counter restricts it.
func (c *classifier) newSteps(counters []Counter, what string, ranges func(*Counter) []Range) (*steps, error) {
	masks := make([]uint64, 1<<16)
	free := c.all
	for i := range counters {
		k := &counters[i]
		for _, r := range ranges(k) {
			free &^= 1 << k.ID
			for v := min(r.From, 1<<16); v <= min(r.To, 1<<16-1); v++ {
				masks[v] |= 1 << k.ID
			}
		}
	}
	if free == c.all {
		return nil, nil
	}
	s := new(steps)
	known := make(map[uint64]uint8)
	for v, m := range masks {
		class, ok := known[m]
		if !ok {
			if len(known) == len(s.mask) {
				return nil, fmt.Errorf("plan: counters: their %s fall into more than %d classes; use fewer separate values", what, len(s.mask))
			}
			class = uint8(len(known))
			known[m] = class
			s.mask[class] = m | free
		}
		s.class[v] = class
	}
	return s, nil
}
