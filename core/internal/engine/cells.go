package engine

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Counters is how many built-in counters there are, total included: the
// indexes of Rates and Totals.
const Counters = 1 + ring.BuiltinCounters

// Volume is packets and bytes.
type Volume struct{ Packets, Bytes uint64 }

// cell is what the hosts of one network, hostgroup and family gained. Sums are
// exact running totals; averages follow them at each step of the clock.
type cell struct {
	key   cellKey
	lanes [4]lane // incoming, outgoing, and both of internal traffic that counts for hosts
	dirty bool
}

type cellKey struct {
	network, group uint32
	family         uint8
}

// In the cells of network 0 the last two lanes are totals that belong to no host.
const (
	laneInternal = int(ring.Internal)
	laneOther    = int(ring.Other)
)

type lane struct {
	packets, bytes [Counters]uint64
	flows          uint64
	folded         *laneAverage
	last           uint32
	touched        bool
}

type laneAverage struct {
	packets, bytes [Counters]uint64 // sums already in the averages
	flows          uint64
	pps, bps       [Counters]float64
	fps            float64
}

func (e *Engine) cell(network, group uint32, family uint8) *cell {
	key := cellKey{network, group, family}
	c := e.cellNo[key]
	if c == nil {
		c = &cell{key: key}
		for i := range c.lanes {
			c.lanes[i].folded = new(laneAverage)
		}
		e.cellNo[key] = c
		e.cells = append(e.cells, c)
	}
	return c
}

// laneOf is the lane of host and prefix deltas.
func laneOf(dir ring.Direction, flags ring.Flags) int {
	return int(dir) + 2*int(flags&ring.FlagInternalRow>>3)
}

// addCell counts a delta in a lane.
func (e *Engine) addCell(c *cell, at int, d *ring.Delta) {
	l := e.touch(c, at)
	l.packets[0] += d.Packets
	l.bytes[0] += d.Bytes
	for i := range d.CounterPackets {
		l.packets[1+i] += uint64(d.CounterPackets[i])
		l.bytes[1+i] += uint64(d.CounterBytes[i])
	}
	l.flows += uint64(d.Flows)
}

// addSum counts the sum of many deltas in a lane.
func (e *Engine) addSum(c *cell, at int, w *wide) {
	l := e.touch(c, at)
	l.packets[0] += w.packets
	l.bytes[0] += w.bytes
	for i := range w.counterPackets {
		l.packets[1+i] += w.counterPackets[i]
		l.bytes[1+i] += w.counterBytes[i]
	}
	l.flows += w.flows
}

func (e *Engine) touch(c *cell, at int) *lane {
	if !c.dirty {
		c.dirty = true
		e.dirty = append(e.dirty, c)
	}
	l := &c.lanes[at]
	l.touched = true
	return l
}

// foldCells moves what arrived since the last step into the averages.
func (e *Engine) foldCells() {
	e.foldWider()
	gain := e.scope.gainFor(1)
	for _, c := range e.dirty {
		c.dirty = false
		for i := range c.lanes {
			l := &c.lanes[i]
			if !l.touched {
				continue
			}
			l.touched = false
			l.fold(e.scope.decayFor(e.clock-l.last), gain)
			l.last = e.clock
		}
	}
	e.dirty = e.dirty[:0]
}

func (l *lane) fold(decay, gain float64) {
	f := l.folded
	for k := range f.pps {
		f.pps[k] = float64(f.pps[k]*decay) + float64(float64(l.packets[k]-f.packets[k])*gain)
		f.bps[k] = float64(f.bps[k]*decay) + float64(float64(l.bytes[k]-f.bytes[k])*gain)
	}
	f.fps = float64(f.fps*decay) + float64(float64(l.flows-f.flows)*gain)
	f.packets, f.bytes, f.flows = l.packets, l.bytes, l.flows
}

// DirRates are the rates of one direction: packets and bytes per second of
// total and the seven other built-in counters in the order of ring.CounterTCP
// …, and new flows per second.
type DirRates struct {
	Packets, Bytes [Counters]float64
	Flows          float64
}

// Scope is the rates of a network or hostgroup.
type Scope struct {
	ID  uint32
	Dir [2]DirRates // incoming, outgoing
}

// Totals are all traffic of one direction and family: rates and running sums
// since the engine was made.
type Totals struct {
	Direction ring.Direction
	Family    uint8
	Rates     DirRates
	Packets   [Counters]uint64
	Bytes     [Counters]uint64
	Flows     uint64
}

// addRates adds a lane's averages as of the clock.
func (e *Engine) addRates(to *DirRates, l *lane) {
	decay := e.scope.decayFor(e.clock - l.last)
	for k := range to.Packets {
		to.Packets[k] += l.folded.pps[k] * decay
		to.Bytes[k] += l.folded.bps[k] * decay
	}
	to.Flows += l.folded.fps * decay
}

// Totals returns eight rows: incoming, outgoing, internal and other traffic,
// IPv4 before IPv6. A record counted for both of its ends is in internal once.
func (e *Engine) Totals() []Totals {
	e.foldCells()
	out := make([]Totals, 8)
	for i := range out {
		out[i].Direction, out[i].Family = ring.Direction(i/2), uint8(4+i%2*2)
	}
	for _, c := range e.cells {
		fam := int(c.key.family>>1) & 1
		for at := range c.lanes {
			if at == laneOther && c.key.network != 0 {
				continue // the outgoing half of internal traffic
			}
			t := &out[at*2+fam]
			l := &c.lanes[at]
			e.addRates(&t.Rates, l)
			for k := range t.Packets {
				t.Packets[k] += l.packets[k]
				t.Bytes[k] += l.bytes[k]
			}
			t.Flows += l.flows
		}
	}
	return out
}

// Networks returns the rates of all networks that had traffic, by id.
func (e *Engine) Networks() []Scope { return e.scopes(func(k cellKey) uint32 { return k.network }) }

// Groups returns the rates of all hostgroups that had traffic, by id.
func (e *Engine) Groups() []Scope { return e.scopes(func(k cellKey) uint32 { return k.group }) }

func (e *Engine) scopes(id func(cellKey) uint32) []Scope {
	e.foldCells()
	at := map[uint32]int{}
	var out []Scope
	for _, c := range e.cells {
		n := id(c.key)
		if n == 0 || c.key.network == 0 {
			continue
		}
		i, ok := at[n]
		if !ok {
			i = len(out)
			at[n] = i
			out = append(out, Scope{ID: n})
		}
		for at := range c.lanes {
			e.addRates(&out[i].Dir[at&1], &c.lanes[at])
		}
	}
	sortBy(out, func(s Scope) uint32 { return s.ID })
	return out
}

// UserTotal is the running sum of a user counter in one direction and family.
type UserTotal struct {
	Counter   uint32 // lifetime id
	Direction ring.Direction
	Family    uint8
	Volume
}

// UserTotals returns the user counters that matched, by id, direction, family.
func (e *Engine) UserTotals() []UserTotal {
	var out []UserTotal
	for id, v := range e.user {
		for d := range v {
			for f := range v[d] {
				if v[d][f] != (Volume{}) {
					out = append(out, UserTotal{id, ring.Direction(d), uint8(4 + 2*f), v[d][f]})
				}
			}
		}
	}
	sortBy(out, func(u UserTotal) uint32 {
		return u.Counter<<2 | uint32(u.Direction)<<1 | uint32(u.Family>>1)&1
	})
	return out
}
