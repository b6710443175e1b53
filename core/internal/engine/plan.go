package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/gaissmai/bart"
)

// Unit is what a limit is measured in.
type Unit uint8

// The units.
const (
	PacketRate Unit = iota // packets per second
	ByteRate               // bytes per second
	FlowRate               // new flows per second; total only
)

// Counters of a Limit: total, then the built-in ones in the order of
// ring.CounterTCP …, then FirstUser + the bit of a user counter.
const (
	CounterTotal = 0
	FirstUser    = 1 + ring.BuiltinCounters
	MaxUser      = 64
)

// Rule is a burst rule: it holds when the sums of Ticks (1 … 15) consecutive
// ticks of 100 ms are all above Factor times the limit.
type Rule struct {
	Ticks  uint8
	Factor float64
}

func (r Rule) String() string {
	if r.Ticks == 0 {
		return "average"
	}
	return fmt.Sprintf("%dx%g", r.Ticks, r.Factor)
}

// DefaultRules are the burst rules of a limit whose configuration names none.
func DefaultRules() []Rule { return []Rule{{7, 1.5}, {4, 3}, {2, 8}} }

// Limit is one number a host may not exceed in one direction.
type Limit struct {
	ID        uint32 // below 2³⁰, never reused for another limit while the engine lives
	Direction ring.Direction
	Counter   uint16
	Unit      Unit
	Value     float64 // per second, above 0
	Rules     []Rule  // at most 3; none for FlowRate, none means the average alone
}

// Group is a hostgroup: the first of its limits that fires names the attack.
type Group struct {
	ID     uint32        // never 0, never reused
	Tau    time.Duration // of its averages; 0 means 5 s
	Limits []Limit
}

// Prefix is one entry of the table of our address space.
type Prefix struct {
	Prefix  netip.Prefix
	Network uint32 // never 0, never reused
	Group   uint32 // 0 where no hostgroup covers the network
}

// Plan is the engine's side of a counting plan.
type Plan struct {
	Revision uint64 // above that of any plan before
	Groups   []Group
	Prefixes []Prefix
	// Counters gives each user counter's bit an id that is not 0, below 2²⁹
	// and never reused; nil where bits are never reused themselves.
	Counters []uint32
}

// plan is a Plan made ready.
type plan struct {
	revision uint64
	gen      uint32
	table    *bart.Table[uint32] // prefix → entry
	entries  []entry             // [0]: addresses that are not ours
	counters [MaxUser]uint32
	groups   map[uint32]*groupPlan
}

type entry struct {
	network, group uint32
	cell           [2]*cell // by family: v4, v6; nil in entry 0
	plan           *groupPlan
}

type groupPlan struct {
	lut    *lut
	layout uint16
	lay    *layout
	dirs   [2]dirPlan
}

type dirPlan struct {
	limits    []limitPlan // built-in counters and flows, in order
	user      []limitPlan // user counters, in order
	avgN      int
	avgIdx    [16]uint8
	avgThr    [16]ufloat // smallest limit of that average
	flowThr   ufloat
	admit     float64 // packets per second that are worth another row's place
	admitByte float64
	extraTick bool   // some limit's ticks do not fit the row
	minS      uint32 // above this sampling some limit needs to count samples
}

type limitPlan struct {
	Limit
	counter uint32 // 0 … 7, or FirstUser + lifetime id
	order   uint16
	thr     ufloat
	idx     uint8  // of dirState.avg
	pair    int8   // of the layout; −1: extra
	avgS    uint32 // largest sampling at which value × τ holds minSamples
	burstS  uint32 // the same for the weakest rule's run
	rules   ruleSet
}

// ruleSet is up to three burst rules of one limit, sums as of ticks.
type ruleSet struct {
	n     uint8
	ticks [maxRules]uint8
	thr   [maxRules]ufloat
	min   ufloat
}

// layout says what the tick sums of a row belong to.
type layout struct {
	n    [2]uint8
	pair [2][rowPairs]pairPlan
}

type pairPlan struct {
	id    uint32 // of the limit
	idx   uint8
	rules ruleSet
}

const (
	minSamples = 30
	maxPacket  = 9000 // bytes a limit in bytes allows a packet when it counts samples
	slowTau    = 30 * time.Second
	maxLayouts = 60000
	maxPlans   = 16
)

// SetPlan makes p the current plan. Nothing is reset: averages go on, and a
// limit that did not change keeps its ticks. Plans that a ring may still count
// by are kept beside it. On an error nothing has changed.
func (e *Engine) SetPlan(p *Plan) error {
	if e.cur != nil && p.Revision <= e.cur.revision {
		return fmt.Errorf("plan revision %d does not follow %d; revisions must grow", p.Revision, e.cur.revision)
	}
	if len(e.layouts)+len(p.Groups) > maxLayouts {
		e.compactLayouts()
	}
	n := &plan{
		revision: p.Revision, gen: e.gen + 1, table: new(bart.Table[uint32]),
		entries: []entry{{plan: e.none}}, groups: map[uint32]*groupPlan{0: e.none},
	}
	for bit := range n.counters {
		n.counters[bit] = uint32(bit) + 1
		if p.Counters != nil {
			n.counters[bit] = 0
		}
	}
	if len(p.Counters) > MaxUser {
		return fmt.Errorf("plan %d has %d user counters; at most %d fit", p.Revision, len(p.Counters), MaxUser)
	}
	copy(n.counters[:], p.Counters)
	for i := range p.Groups {
		g, err := e.compileGroup(n, &p.Groups[i])
		if err != nil {
			return fmt.Errorf("plan %d, hostgroup %d: %w", p.Revision, p.Groups[i].ID, err)
		}
		n.groups[p.Groups[i].ID] = g
	}
	if err := e.compilePrefixes(n, p.Prefixes); err != nil {
		return fmt.Errorf("plan %d: %w", p.Revision, err)
	}
	for _, g := range p.Groups {
		e.idle = max(e.idle, uint32(10*g.Tau.Nanoseconds()/step)) // a mean must be nothing before its host may leave
	}
	e.gen++
	e.plans = append(e.plans, n)
	e.cur = n
	e.prunePlans()
	return nil
}

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
			n.entries = append(n.entries, entry{network: p.Network, group: p.Group, plan: g,
				cell: [2]*cell{e.cell(p.Network, p.Group, 4), e.cell(p.Network, p.Group, 6)}})
		}
		n.table.Insert(p.Prefix, i)
	}
	return nil
}

func (e *Engine) compileGroup(n *plan, g *Group) (*groupPlan, error) {
	if g.ID == 0 || n.groups[g.ID] != nil {
		return nil, fmt.Errorf("its id is 0 or taken")
	}
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
	}
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
			lay.pair[l.Direction][*n] = pairPlan{id: l.ID, idx: l.idx, rules: l.rules}
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

// intern gives equal layouts one number, so that most plan changes leave the
// ticks of rows as they are.
func (e *Engine) intern(lay layout) uint16 {
	if i, ok := e.layoutNo[lay]; ok {
		return i
	}
	i := uint16(len(e.layouts))
	e.layouts = append(e.layouts, &lay)
	e.layoutNo[lay] = i
	return i
}

// compactLayouts forgets layouts that no current group has. It touches every
// row, but only after tens of thousands of different ones.
func (e *Engine) compactLayouts() {
	if e.cur == nil {
		return
	}
	for i := range e.rows.top {
		if r := e.row(i); r.kind != 0 && r.gen != e.cur.gen {
			e.refresh(r)
		}
	}
	old := e.layouts
	e.layouts, e.layoutNo = nil, map[layout]uint16{}
	e.intern(layout{})
	for _, p := range e.plans {
		for _, g := range p.groups {
			g.layout = e.intern(*g.lay)
		}
	}
	for i := range e.rows.top {
		if r := e.row(i); r.kind != 0 {
			r.layout = e.layoutNo[*old[r.layout]]
		}
	}
}

// prunePlans forgets plans that no ring can still count by.
func (e *Engine) prunePlans() {
	oldest := e.cur.revision
	for _, r := range e.rings {
		if r.err == nil && r.revision < oldest {
			oldest = r.revision
		}
	}
	for len(e.plans) > 2 && (e.plans[0].revision < oldest || len(e.plans) > maxPlans) {
		e.plans = e.plans[1:]
	}
}

// lookup returns the entry of a row's or delta's prefix; 0: not ours.
func (p *plan) lookup(pfx netip.Prefix) uint32 {
	i, _ := p.table.LookupPrefix(pfx)
	return i
}

// refresh brings a row under the current plan.
func (e *Engine) refresh(r *row) {
	r.gen = e.cur.gen
	r.entry = e.cur.lookup(r.prefix())
	g := e.cur.entries[r.entry].plan
	if r.kind != uint8(ring.KindHost) {
		g = e.none
	}
	if r.layout == g.layout {
		return
	}
	old := e.layouts[r.layout]
	r.layout = g.layout
	for d := range r.dir {
		r.dir[d].remap(d, old, g.lay)
	}
	e.dropExtras(r, func(x *extra) bool { return g.wants(x) })
}

// remap moves tick sums to where the new layout has them. A limit that is the
// same keeps its runs, one whose numbers changed keeps its open sums.
func (s *dirState) remap(d int, old, lay *layout) {
	was := *s
	for t := range s.sums {
		s.sums[t] = [rowPairs]ufloat{}
	}
	s.runs = [rowPairs][maxRules]uint8{}
	for i, p := range lay.pair[d][:lay.n[d]] {
		for j, q := range old.pair[d][:old.n[d]] {
			if p.idx != q.idx {
				continue
			}
			for t := range s.sums {
				s.sums[t][i] = was.sums[t][j]
			}
			if p == q {
				s.runs[i] = was.runs[j]
			}
			if p.id == q.id {
				break
			}
		}
	}
}

// wants reports whether a group has a limit that uses an extra, and starts the
// runs of one it keeps anew: the limit's numbers may have changed.
func (g *groupPlan) wants(x *extra) bool {
	d := &g.dirs[0]
	if x.key&keyDir != 0 {
		d = &g.dirs[1]
	}
	for _, list := range [2][]limitPlan{d.limits, d.user} {
		for i := range list {
			l := &list[i]
			if x.key&keyTick == 0 && l.counter == x.key&keyID {
				return true
			}
			if x.key&keyTick != 0 && l.ID == x.key&keyID {
				x.runs, x.samples = [4]uint8{}, [maxRules]uint16{}
				return true
			}
		}
	}
	return false
}
