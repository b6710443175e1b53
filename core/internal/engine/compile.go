package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

func (e *Engine) compilePrefixes(n *plan, prefixes []Prefix) error {
	byID := map[[2]uint32]uint32{}
	for _, p := range prefixes {
		g := n.groups[p.Group]
		switch {
		case !p.Prefix.IsValid() || p.Prefix.Masked() != p.Prefix || p.Prefix.Addr().Is4In6():
			return fmt.Errorf("prefix %v is not a masked prefix of its own family", p.Prefix)
		case p.Network == 0:
			return fmt.Errorf("prefix %v has network id 0", p.Prefix)
		case g == nil:
			return fmt.Errorf("prefix %v names hostgroup %d, which the plan does not have", p.Prefix, p.Group)
		}
		key := [2]uint32{p.Network, p.Group}
		i, ok := byID[key]
		if !ok {
			i = uint32(len(n.entries))
			byID[key] = i
			n.entries = append(n.entries, entry{
				network: p.Network, group: p.Group, plan: g,
				cell: [2]*cell{e.cell(p.Network, p.Group, 4), e.cell(p.Network, p.Group, 6)},
			})
		}
		n.table.Insert(p.Prefix, i)
	}
	return nil
}

func (e *Engine) compileGroup(n *plan, g *Group) (*groupPlan, error) {
	if g.ID == 0 || n.groups[g.ID] != nil {
		return nil, fmt.Errorf("its id is 0 or taken")
	}
	c, err := e.compileLimits(n, g, func(l *Limit) bool { return l.Scope == ScopeHost })
	if err != nil || !g.Community {
		return c, err
	}
	for _, l := range g.Limits {
		if l.Scope == ScopeHost && l.Counter < FirstUser && len(l.Rules) > 0 {
			return nil, fmt.Errorf("limit %d: it has burst rules, which FastNetMon Community's rule does not know", l.ID)
		}
	}
	c.community = e.communityOf(c, time.Duration(c.lut.tau*float64(time.Second)), len(g.Limits))
	c.layout = e.intern(layout{community: true})
	c.lay = e.layouts[c.layout]
	return c, nil
}

// compileLimits makes the plan of those limits of a group that are wanted.
func (e *Engine) compileLimits(n *plan, g *Group, wanted func(*Limit) bool) (*groupPlan, error) {
	tau := g.Tau
	if tau == 0 {
		tau = DefaultTau
	}
	if tau < 100*time.Millisecond || tau > time.Hour {
		return nil, fmt.Errorf("average time %v is not between 100ms and 1h", tau)
	}
	c := &groupPlan{lut: e.lut(tau)}
	var lay layout
	for i := range c.dirs {
		c.dirs[i].flowThr, c.dirs[i].minS = ufloatMax, ^uint32(0)
		c.dirs[i].admit, c.dirs[i].admitByte = 1e300, 1e300
	}
	for order, l := range g.Limits {
		if err := l.checkScope(); err != nil {
			return nil, fmt.Errorf("limit %d: %w", l.ID, err)
		}
		if !wanted(&l) {
			continue
		}
		lp, err := compileLimit(n, l, tau.Seconds())
		if err != nil {
			return nil, fmt.Errorf("limit %d: %w", l.ID, err)
		}
		lp.order = uint16(order)
		c.dirs[l.Direction].add(lp, &lay)
	}
	c.layout = e.intern(lay)
	c.lay = e.layouts[c.layout]
	return c, nil
}

func compileLimit(n *plan, l Limit, tau float64) (limitPlan, error) {
	lp := limitPlan{Limit: l, counter: uint32(l.Counter), pair: -1}
	lp.Rules = append([]Rule(nil), l.Rules...)
	switch {
	case l.ID > keyID:
		return lp, fmt.Errorf("its id is above %d", keyID)
	case l.Direction > ring.Outgoing:
		return lp, fmt.Errorf("its direction is %v; limits are for incoming or outgoing traffic", l.Direction)
	case l.Unit > FlowRate || l.Unit == FlowRate && (l.Counter != CounterTotal || len(l.Rules) > 0):
		return lp, fmt.Errorf("flows are counted for total only and have no burst rules")
	case !(l.Value > 0 && l.Value < 1e13):
		return lp, fmt.Errorf("its value is %g; it must be above 0 and below 1e13", l.Value)
	case len(l.Rules) > maxRules:
		return lp, fmt.Errorf("it has %d burst rules; at most %d fit", len(l.Rules), maxRules)
	case l.Counter >= FirstUser+MaxUser:
		return lp, fmt.Errorf("counter %d is none", l.Counter)
	}
	if l.Counter >= FirstUser {
		id := n.counters[l.Counter-FirstUser]
		if id == 0 || id > keyID/2 {
			return lp, fmt.Errorf("user counter %d is not in the plan, or its id is out of range", l.Counter-FirstUser)
		}
		lp.counter = FirstUser + id
	} else {
		lp.idx = uint8(l.Counter*2) + uint8(l.Unit&1)
	}
	lp.thr = floorUfloat(l.Value)
	perSample := 1.0 // packets that a unit of the limit stands for, at least
	if l.Unit == ByteRate {
		perSample = 1.0 / maxPacket
	}
	lp.avgS = samplingFor(l.Value * tau * perSample)
	if l.Unit == FlowRate {
		lp.avgS = 1
	}
	lp.burstS = ^uint32(0)
	mark := mix(math.Float64bits(l.Value))
	for i, r := range l.Rules {
		if r.Ticks == 0 || r.Ticks > 15 || !(r.Factor > 0 && r.Factor <= 1000) {
			return lp, fmt.Errorf("burst rule %v: ticks must be 1 to 15, the factor above 0 and at most 1000", r)
		}
		sum := r.Factor * l.Value * tickSeconds
		lp.rules.ticks[i], lp.rules.thr[i] = r.Ticks, floorUfloat(sum)
		lp.burstS = min(lp.burstS, samplingFor(float64(r.Ticks)*sum*perSample))
		if i == 0 || lp.rules.thr[i] < lp.rules.min {
			lp.rules.min = lp.rules.thr[i]
		}
		lp.rules.n++
		mark = mix(mark ^ math.Float64bits(r.Factor) ^ uint64(r.Ticks))
	}
	lp.mark = uint16(mark)
	return lp, nil
}

// samplingFor returns the largest sampling rate at which a number of packets
// is still minSamples samples.
func samplingFor(packets float64) uint32 {
	return uint32(min(max(packets/minSamples, 1), 1<<32-1))
}

// add places a limit: its average among those compared, its ticks in the row
// while there is room.
func (d *dirPlan) add(l limitPlan, lay *layout) {
	switch l.Unit {
	case PacketRate:
		d.admit = min(d.admit, l.Value/100)
	case ByteRate:
		d.admitByte = min(d.admitByte, l.Value/100)
	}
	if l.counter >= FirstUser {
		d.user = append(d.user, l)
		return
	}
	if l.Unit == FlowRate {
		d.flowThr = min(d.flowThr, l.thr)
	} else {
		d.compare(l.idx, l.thr)
		d.minS = min(d.minS, l.avgS)
	}
	if l.rules.n > 0 {
		d.minS = min(d.minS, l.burstS)
		if n := &lay.n[l.Direction]; *n < rowPairs {
			l.pair = int8(*n)
			lay.pair[l.Direction][*n] = pairPlan{id: l.ID, idx: l.idx, at: fieldOf(l.idx), rules: l.rules}
			*n++
		} else {
			d.extraTick = true
		}
	}
	d.limits = append(d.limits, l)
}

func (d *dirPlan) compare(idx uint8, thr ufloat) {
	for i := range d.avgIdx[:d.avgN] {
		if d.avgIdx[i] == idx {
			d.avgThr[i] = min(d.avgThr[i], thr)
			return
		}
	}
	d.avgIdx[d.avgN], d.avgThr[d.avgN] = idx, thr
	d.avgN++
}
