package count

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
)

// Bounds on the rows of a table.
const (
	DefaultRows = 1 << 20 // where a plan does not say
	minRows     = 1 << 10
	maxRows     = 1 << 23 // with two rows for each prefix less than the index can name
	maxPrefixes = 1 << 21
)

// Compiled is a plan made ready for counting. It is immutable and may be
// shared by any number of tables.
type Compiled struct {
	Revision   uint64
	CountFlows bool

	lpm     *prefix.Table
	places  []place // by LPM value; 0 is "not ours"
	classes classifier
	exempt  []exemptSet
	seed    uint64
	rows    int
	plan    *Plan
}

// place is what the longest matching prefix says about an address.
type place struct {
	hostHi, hostLo uint64 // mask of the host key
	addr                  // of the prefix
	network        uint32
	group          uint32
	hotPackets     uint64 // a row that gained more than this is flushed at once
	hotBytes       uint64
	hotFlows       uint32
	length         uint8 // of the prefix, in the family's own bits
	hostLen        uint8
	countInternal  bool
	community      bool // of the group
	fold64         bool // an IPv6 host may be folded into its /64: no prefix begins inside it
}

// Compile checks a plan and makes it ready for counting. Errors name the
// entry at fault.
func Compile(p *Plan) (*Compiled, error) {
	c := &Compiled{Revision: p.Revision, CountFlows: p.CountFlows, seed: p.Seed, plan: p}
	groups, err := compileGroups(p.Groups)
	if err != nil {
		return nil, err
	}
	if err := c.compilePrefixes(p.Prefixes, groups); err != nil {
		return nil, err
	}
	if err := c.classes.compile(p.Counters); err != nil {
		return nil, err
	}
	if c.exempt, err = compileExemptions(p.Exemptions); err != nil {
		return nil, err
	}
	for i, e := range p.Exemptions {
		if e.Counter != 0 && c.classes.all>>(e.Counter-1)&1 != 0 {
			return nil, fmt.Errorf("plan: exemptions[%d] (%s): its counter has id %d, which is another's", i, e.Name, e.Counter-1)
		}
	}
	c.rows = DefaultRows
	if p.MaxRows != 0 {
		c.rows = int(min(p.MaxRows, maxRows))
	}
	c.rows = max(c.rows, minRows)
	return c, nil
}

func compileGroups(groups []Group) (map[uint32]Group, error) {
	byID := make(map[uint32]Group, len(groups))
	for i, g := range groups {
		if _, dup := byID[g.ID]; dup {
			return nil, fmt.Errorf("plan: groups[%d]: id %d is given twice", i, g.ID)
		}
		for _, v := range []float64{g.Packets, g.Bytes, g.Flows} {
			if math.IsNaN(v) || v < 0 {
				return nil, fmt.Errorf("plan: groups[%d] (id %d): a limit is %v; want 0 or more", i, g.ID, v)
			}
		}
		byID[g.ID] = g
	}
	return byID, nil
}

func (c *Compiled) compilePrefixes(prefixes []Prefix, groups map[uint32]Group) error {
	if len(prefixes) > maxPrefixes {
		return fmt.Errorf("plan: %d prefixes; at most %d", len(prefixes), maxPrefixes)
	}
	c.places = make([]place, 1, len(prefixes)+1)
	entries := make([]prefix.Entry, 0, len(prefixes))
	seen := make(map[netip.Prefix]bool, len(prefixes))
	for i, p := range prefixes {
		if err := checkPrefix(p.Prefix); err != nil {
			return fmt.Errorf("plan: prefixes[%d]: %w", i, err)
		}
		g, known := groups[p.Group]
		switch {
		case seen[p.Prefix]:
			return fmt.Errorf("plan: prefixes[%d]: %s is given twice", i, p.Prefix)
		case p.Network == 0:
			return fmt.Errorf("plan: prefixes[%d] (%s): network id is 0", i, p.Prefix)
		case p.Group != 0 && !known:
			return fmt.Errorf("plan: prefixes[%d] (%s): there is no group %d", i, p.Prefix, p.Group)
		case p.V6HostLen != 0 && p.V6HostLen != 128 && p.V6HostLen != 64 && p.V6HostLen != 56:
			return fmt.Errorf("plan: prefixes[%d] (%s): IPv6 host length is %d; want 128, 64 or 56", i, p.Prefix, p.V6HostLen)
		}
		seen[p.Prefix] = true
		c.places = append(c.places, newPlace(p, g))
		entries = append(entries, prefix.Entry{Prefix: p.Prefix, Value: uint32(len(c.places) - 1)})
	}
	lpm, err := prefix.Build(entries)
	if err != nil {
		return fmt.Errorf("plan: prefixes: %w", err)
	}
	c.lpm = lpm
	c.forbidFolds(prefixes)
	return nil
}

// forbidFolds finds the prefixes inside which a longer one begins below a
// /64: folding a host of the former into a /64 would cross that boundary.
func (c *Compiled) forbidFolds(prefixes []Prefix) {
	index := make(map[netip.Prefix]int, len(prefixes))
	for i, p := range prefixes {
		index[p.Prefix] = i + 1
	}
	for _, p := range prefixes {
		if p.Prefix.Addr().Is4() || p.Prefix.Bits() <= 64 {
			continue
		}
		for b := 0; b <= 64; b++ {
			if i, ok := index[netip.PrefixFrom(p.Prefix.Addr(), b).Masked()]; ok {
				c.places[i].fold64 = false
			}
		}
	}
}

func newPlace(p Prefix, g Group) place {
	pl := place{
		network: p.Network, group: p.Group, length: uint8(p.Prefix.Bits()), countInternal: p.CountInternal, community: g.Community,
		hotPackets: perTick(g.Packets), hotBytes: perTick(g.Bytes),
		hotFlows: uint32(min(perTick(g.Flows), math.MaxUint32)),
	}
	a := p.Prefix.Addr().As16()
	pl.addr = addr{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
	if p.Prefix.Addr().Is4() {
		pl.hostLen = 32
		pl.hostHi, pl.hostLo = math.MaxUint64, math.MaxUint64
		return pl
	}
	pl.hostLen = p.V6HostLen
	if pl.hostLen == 0 {
		pl.hostLen = 128
	}
	// A host may not reach beyond the prefix that gave it its network.
	pl.hostLen = max(pl.hostLen, pl.length)
	pl.hostHi, pl.hostLo = mask128(pl.hostLen)
	pl.fold64 = pl.length <= 64 && pl.hostLen > 64
	return pl
}

// perTick is the gain in one flush tick at a rate per second; no limit is a
// gain nobody reaches.
func perTick(limit float64) uint64 {
	v := limit * FlushTick / 1000
	if limit == 0 || v >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(v)
}

func mask128(bits uint8) (hi, lo uint64) {
	if bits <= 64 {
		return ^uint64(0) << (64 - bits), 0
	}
	return math.MaxUint64, ^uint64(0) << (128 - bits)
}

func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("prefix is not valid")
	case p.Addr().Is4In6():
		return fmt.Errorf("%s is an IPv4 prefix in IPv6 notation; write it as IPv4", p)
	case p.Addr().Zone() != "":
		return fmt.Errorf("%s has a zone", p)
	case p != p.Masked():
		return fmt.Errorf("%s has bits set behind its length; %s is meant", p, p.Masked())
	}
	return nil
}
