package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
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

// Limit is one number a host, or what Scope says, may not exceed in one
// direction.
type Limit struct {
	ID        uint32 // below 2³⁰, never reused for another limit while the engine lives
	Direction ring.Direction
	Counter   uint16
	Unit      Unit
	Value     float64 // per second, above 0
	Rules     []Rule  // at most 3; none for FlowRate, none means the average alone
	Scope     ScopeKind
	Length    [2]uint8 // ScopePrefix: of the prefix in IPv4 and in IPv6; 0: none of that family
	Networks  []uint32 // ScopeNetwork: ids; a network has limits of one hostgroup only
}

// Group is a hostgroup: the first of its limits that fires names the attack.
type Group struct {
	ID     uint32        // never 0, never reused
	Tau    time.Duration // of its averages; 0 means 5 s
	Limits []Limit
	// Community decides the limits on hosts, user counters apart, as FastNetMon
	// Community does. They have no burst rules then.
	Community bool
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
	gen      uint16
	tau      time.Duration       // the longest of a group
	table    *bart.Table[uint32] // prefix → entry
	entries  []entry             // [0]: addresses that are not ours
	scoped   []entry             // by lifetime id of a scope
	wide     bool                // some entry has scopes
	counters [MaxUser]uint32
	groups   map[uint32]*groupPlan
	periodic bool // some group decides by periods
}

type entry struct {
	network, group uint32
	cell           [2]*cell // by family: v4, v6; nil in entry 0
	plan           *groupPlan
	scopes         *scopeRefs   // nil: none
	target         netip.Prefix // of a scoped entry
}

type groupPlan struct {
	lut       *lut
	layout    uint16
	lay       *layout
	dirs      [2]dirPlan
	community *communityPlan // nil: averages and burst rules decide
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
	mark    uint16 // of value and rules: what a run was counted by
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
	community bool // to no tick: they are tallies

	n    [2]uint8
	pair [2][rowPairs]pairPlan
}

type pairPlan struct {
	id    uint32 // of the limit
	idx   uint8
	at    field // of idx
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
	layouts := len(p.Groups)
	for i := range p.Groups {
		for k := range p.Groups[i].Limits {
			layouts += len(p.Groups[i].Limits[k].scopeKeys(p.Groups[i].ID))
		}
	}
	if len(e.layouts)+layouts > maxLayouts {
		e.compactLayouts()
	}
	if len(e.layouts)+layouts > maxLayouts {
		return fmt.Errorf("plan %d has %d hostgroups and limits of wider scopes; with those of plans still in use they are more than %d", p.Revision, layouts, maxLayouts)
	}
	n := &plan{
		revision: p.Revision, gen: e.gen + 1, tau: DefaultTau, table: new(bart.Table[uint32]),
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
		n.periodic = n.periodic || g.community != nil
	}
	if err := e.compilePrefixes(n, p.Prefixes); err != nil {
		return fmt.Errorf("plan %d: %w", p.Revision, err)
	}
	if err := e.compileScopes(n, p); err != nil {
		return fmt.Errorf("plan %d: %w", p.Revision, err)
	}
	for _, g := range p.Groups {
		n.tau = max(n.tau, g.Tau)
		e.idle = max(e.idle, uint32(10*g.Tau.Nanoseconds()/step)) // a mean must be nothing before its host may leave
	}
	if n.gen == 0 { // they have all been used: no row may keep an old one
		for i := range e.rows.top {
			e.row(i).gen = 0
		}
		n.gen = 1
	}
	e.gen = n.gen
	e.plans = append(e.plans, n)
	was := e.cur
	e.cur = n
	if was != nil && was.periodic {
		e.refreshPeriodic()
	}
	e.prunePlans()
	return nil
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
