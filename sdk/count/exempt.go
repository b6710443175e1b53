package count

import (
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// exemptSet holds up to 64 exemptions the way classifier holds counters: one
// mask per property.
type exemptSet struct {
	local, remote ends
	protocol      [256]uint64
	ports         *steps    // nil: no exemption asks for a port
	direction     [2]uint64 // by ring.Incoming, ring.Outgoing
	limited       uint64    // exemptions that end
	until         [64]int64
	counted       uint64 // exemptions with a counter of their own
	counter       [64]uint8
}

// ends is a table of prefixes whose values are sets of exemptions.
type ends struct {
	lpm  *prefix.Table // nil: no exemption asks
	sets []uint64      // by LPM value; 0: those that do not ask
}

func (e *ends) of(r *traffic.Record, a addr) uint64 {
	if e.lpm == nil {
		return e.sets[0]
	}
	return e.sets[lookup(e.lpm, r, a)]
}

// exempted reports whether a record is exempt for its end that is ours in a
// direction. now is
// in seconds since the Unix epoch, for records that have no time. user are the
// user counters of the exemptions.
func (c *Compiled) exempted(r *traffic.Record, d ring.Direction, now int64) (user uint64, exempt bool) {
	local, remote := load(r, &r.Dst), load(r, &r.Src)
	if d == ring.Outgoing {
		local, remote = remote, local
	}
	for i := range c.exempt {
		s := &c.exempt[i]
		m := s.matches(r, local, remote, d, now)
		exempt = exempt || m != 0
		for m &= s.counted; m != 0; m &= m - 1 {
			user |= 1 << s.counter[bits.TrailingZeros64(m)]
		}
	}
	return user, exempt
}

// matches returns the exemptions of the set that a record fits.
func (s *exemptSet) matches(r *traffic.Record, local, remote addr, d ring.Direction, now int64) uint64 {
	m := s.protocol[r.Protocol] & s.direction[d]
	if m != 0 && s.ports != nil {
		m &= s.ports.mask[s.ports.class[r.SrcPort]] | s.ports.mask[s.ports.class[r.DstPort]]
	}
	if m != 0 {
		m &= s.remote.of(r, remote)
	}
	if m != 0 {
		m &= s.local.of(r, local)
	}
	if m&s.limited == 0 {
		return m
	}
	if r.Time != 0 {
		now = r.Time / 1e9
	}
	for i, until := range s.until {
		if m>>i&1 != 0 && until != 0 && now >= until {
			m &^= 1 << i
		}
	}
	return m
}

func compileExemptions(list []Exemption) ([]exemptSet, error) {
	var sets []exemptSet
	for first := 0; first < len(list); first += 64 {
		part := list[first:min(first+64, len(list))]
		for i := range part {
			if err := checkExemption(&part[i]); err != nil {
				return nil, fmt.Errorf("plan: exemptions[%d] (%s): %w", first+i, part[i].Name, err)
			}
		}
		sets = append(sets, exemptSet{})
		if err := sets[len(sets)-1].compile(part); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func checkExemption(e *Exemption) error {
	if e.Counter > MaxCounters {
		return fmt.Errorf("its counter has id %d; ids are below %d", e.Counter-1, MaxCounters)
	}
	for _, list := range [][]netip.Prefix{e.Local, e.Remote} {
		for _, p := range list {
			if err := checkPrefix(p); err != nil {
				return err
			}
		}
	}
	for _, p := range e.Ports {
		if p.From > p.To {
			return fmt.Errorf("port range %d-%d is empty", p.From, p.To)
		}
	}
	return nil
}

// compile reuses the counters' machinery: an exemption's protocols and ports
// are a conjunction like any other.
func (s *exemptSet) compile(list []Exemption) (err error) {
	counters := make([]Counter, len(list))
	for i := range list {
		e := &list[i]
		bit := uint64(1) << i
		counters[i] = Counter{ID: uint8(i), Name: e.Name, Protocols: e.Protocols, SrcPorts: e.Ports}
		if e.Incoming || !e.Outgoing {
			s.direction[0] |= bit
		}
		if e.Outgoing || !e.Incoming {
			s.direction[1] |= bit
		}
		if e.Counter != 0 {
			s.counted |= bit
			s.counter[i] = e.Counter - 1
		}
		if e.UntilUnix != 0 {
			s.limited |= bit
			s.until[i] = e.UntilUnix
		}
	}
	var c classifier
	if err := c.compile(counters); err != nil {
		return fmt.Errorf("exemptions: %w", err)
	}
	s.protocol, s.ports = c.protocol, c.src
	if s.local, err = newEnds(list, func(e *Exemption) []netip.Prefix { return e.Local }); err != nil {
		return err
	}
	s.remote, err = newEnds(list, func(e *Exemption) []netip.Prefix { return e.Remote })
	return err
}

// newEnds gives every prefix the exemptions of all prefixes that cover it, so
// that one lookup of the longest match finds them all.
func newEnds(list []Exemption, of func(*Exemption) []netip.Prefix) (ends, error) {
	direct := make(map[netip.Prefix]uint64)
	e := ends{sets: make([]uint64, 1)}
	for i := range list {
		if len(of(&list[i])) == 0 {
			e.sets[0] |= 1 << i
		}
		for _, p := range of(&list[i]) {
			direct[p] |= 1 << i
		}
	}
	if len(direct) == 0 {
		return e, nil
	}
	entries := make([]prefix.Entry, 0, len(direct))
	for p, set := range direct {
		for b := p.Bits() - 1; b >= 0; b-- {
			set |= direct[netip.PrefixFrom(p.Addr(), b).Masked()]
		}
		e.sets = append(e.sets, set|e.sets[0])
		entries = append(entries, prefix.Entry{Prefix: p, Value: uint32(len(e.sets) - 1)})
	}
	lpm, err := prefix.Build(entries)
	if err != nil {
		return e, fmt.Errorf("plan: exemptions: %w", err)
	}
	e.lpm = lpm
	return e, nil
}
