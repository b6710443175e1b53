package exporter

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// De-duplication: of devices that see the same traffic, such as an edge and a
// core router, each destination prefix (/24, /48) counts at one, the primary:
// the one that reported it first, until another reports clearly more. The prefixes share a table of fixed size by
// hash, so nothing grows and a record costs the same whoever sends it; two
// prefixes in one slot share their primary, which is right as often.
const (
	slots      = 1 << 14
	candidates = 4                       // devices remembered for a slot
	members    = 64                      // devices in a group
	epoch      = int64(10 * time.Second) // how often the devices are compared
	silent     = int64(5 * time.Second)  // without a datagram of the primary device: another takes over
	// A challenger needs half as much again as the primary. What was reported
	// fades by 1/32 an epoch, so that two who report in lumps up to two minutes
	// apart compare alike at any moment.
	challengeNum, challengeDen = 3, 2
	fading                     = 32
)

// group is the exporters that are de-duplicated together.
type group struct {
	word  string
	seed  maphash.Seed
	clock atomic.Int64 // monotonic nanoseconds of the last datagram: records need no finer time
	slots []slot

	mu      sync.Mutex
	devices map[ID]uint8 // address and agent only
	seen    [members + 1]atomic.Int64
}

// slot is the state of the prefixes that share it.
type slot struct {
	epoch      atomic.Int64
	primary    atomic.Uint32
	challenger atomic.Uint32 // takes over with its next report, which then counts
	who        [candidates]atomic.Uint32
	octets     [candidates]atomic.Uint64
}

func newGroup(word string) *group {
	return &group{word: word, seed: maphash.MakeSeed(), slots: make([]slot, slots), devices: map[ID]uint8{}}
}

// join returns the number of an exporter's device in the group: the same for
// all its ports and domains. 0 means the group is full.
func (g *group) join(id ID) uint8 {
	g.mu.Lock()
	defer g.mu.Unlock()
	device := ID{Source: netip.AddrPortFrom(id.Source.Addr(), 0), Agent: id.Agent}
	if device.Agent.IsValid() {
		device.Source = netip.AddrPort{}
	}
	n, ok := g.devices[device]
	if !ok && len(g.devices) < members {
		n = uint8(len(g.devices) + 1)
		g.devices[device] = n
	}
	return n
}

// saw notes that a device is alive.
func (g *group) saw(member uint8, now int64) {
	g.seen[member].Store(now)
	g.clock.Store(now)
}

// Deduplicated reports whether Primary needs to be asked.
func (e *Exporter) Deduplicated() bool { return e.member > 0 }

// Primary reports whether this exporter is the one, among those that are
// de-duplicated together, whose records count for the destination's prefix.
// Ask it after Wanted; drop under CauseDuplicate if it is not. octets are the
// record's, scaled by sampling.
func (e *Exporter) Primary(dst *[16]byte, octets uint64) bool {
	if e.member == 0 {
		return true
	}
	g, me := e.block.group, uint32(e.member)
	s := &g.slots[g.hash(dst)%slots]
	now := g.clock.Load()
	if started := s.epoch.Load(); now-started >= epoch && s.epoch.CompareAndSwap(started, now) {
		s.compare((now - started) / epoch)
	}
	s.add(me, octets)
	p := s.primary.Load()
	if p == me {
		return true
	}
	if p == 0 || s.challenger.Load() == me || now-g.seen[p].Load() > silent {
		s.challenger.Store(0)
		return s.primary.CompareAndSwap(p, me) || s.primary.Load() == me
	}
	return false
}

// hash takes a /48 of IPv6, a /24 of IPv4.
func (g *group) hash(dst *[16]byte) uint64 {
	var key [8]byte
	if binary.BigEndian.Uint64(dst[:8]) == 0 && binary.BigEndian.Uint32(dst[8:]) == 0xffff {
		copy(key[2:], dst[10:15])
	} else {
		copy(key[:], dst[:6])
		key[7] = 6
	}
	return maphash.Bytes(g.seed, key[:])
}

// add counts octets for a device. A fifth device at a slot is not remembered
// and never becomes its primary, unless the primary falls silent.
func (s *slot) add(me uint32, octets uint64) {
	for i := range s.who {
		w := s.who[i].Load()
		if w == 0 && s.who[i].CompareAndSwap(0, me) {
			w = me
		}
		if w == me || s.who[i].Load() == me {
			s.octets[i].Add(min(octets, math.MaxUint32))
			return
		}
	}
}

// compare finds out whether somebody reports more than the primary, and lets
// what was reported fade.
func (s *slot) compare(epochs int64) {
	primary := s.primary.Load()
	var best, current uint64
	winner := uint32(0)
	for i := range s.who {
		n := s.octets[i].Load()
		if w := s.who[i].Load(); w == primary {
			current = n
		} else if n > best {
			best, winner = n, w
		}
		left := n
		for range min(epochs, 16*fading) {
			left -= (left + fading - 1) / fading
		}
		s.octets[i].Add(left - n)
		if left == 0 {
			s.who[i].Store(0)
		}
	}
	if best/challengeNum <= current/challengeDen {
		winner = 0
	}
	s.challenger.Store(winner)
}
