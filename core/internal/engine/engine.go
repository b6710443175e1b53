package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Defaults of Options.
const (
	DefaultTau         = 5 * time.Second
	DefaultMemoryLimit = 2 << 30
	DefaultIdle        = 300 * time.Second
	DefaultMaxAlarms   = 1 << 14 // looking at them all ten times a second takes some 5 % of a core
)

const (
	step        = int64(50 * time.Millisecond)
	stepSeconds = 0.05
	tickSeconds = 0.1
	lateSteps   = 3 // a tick stays open this long behind the clock
	groupSize   = 32

	maxSteps = 1 << 31 // of clock since base: beyond, steps are counted anew
	newClock = 1 << 20 // clock since a new base: rings that are behind have half a day
)

// Options shape an engine. Zero values mean the defaults.
type Options struct {
	Seed        uint64        // of the hash table; secret live, fixed in replay
	MemoryLimit uint64        // bytes that rows, index and extras may take together
	MaxHosts    uint32        // rows; 0: what fits three quarters of MemoryLimit
	Idle        time.Duration // a host that gained nothing for so long leaves
	MaxAlarms   int           // (host, direction) pairs that may have fired limits at a time
	ScopeTau    time.Duration // of networks', hostgroups' and totals' averages
	// MaxAhead is how far the window end of a flush may lie ahead of SetNow's
	// time; 0 does not limit it, which is for replay, where flushes alone
	// drive the clock, and no input is ever in doubt.
	MaxAhead time.Duration
}

// Stats are running totals about the engine itself.
type Stats struct {
	Hosts         uint32 // rows in use
	Scopes        uint32 // rows in use for prefixes, hostgroups and networks that have limits
	Extras        uint32
	Alarms        int
	MappedBytes   uint64 // tables, as mapped
	UsedBytes     uint64 // records in use and the index
	Deltas        uint64 // applied
	Late          uint64 // of them, too late for the open ticks
	Refused       uint64 // deltas that were not believed
	NoRow         uint64 // deltas counted in network and group only: no room for a row
	Evicted       uint64 // rows that left idle
	Displaced     uint64 // rows that left for a heavier host
	NoScope       uint64 // sums for a prefix, hostgroup or network without room for a row
	ExtrasRefused uint64 // user counters and tick records without room
	AlarmsHeld    uint64 // crossings not reported, MaxAlarms being open
}

// Engine holds the rates. Its methods must be called by one goroutine at a
// time.
type Engine struct {
	opt    Options
	mem    budget
	idx    index
	rows   slab
	extras slab

	base    int64 // step 0 of rows, in steps of the stream's clock; set by the first time seen
	started bool
	clock   uint32 // steps since base
	now     int64  // of SetNow
	open    uint32 // oldest open tick

	gen      uint16
	cur      *plan
	plans    []*plan
	none     *groupPlan // of addresses without a group
	layouts  []*layout
	layoutNo map[layout]uint16
	luts     map[time.Duration]*lut
	slow     *lut
	scope    *lut

	scopeIDs  map[scopeKey]uint32
	scopeRows uint32
	wider     wider

	cells   []*cell
	cellNo  map[cellKey]*cell
	dirty   []*cell
	user    map[uint32]*[2][2]Volume // lifetime id → direction → family
	total   [2]*cell                 // internal and other traffic by family
	rings   map[RingID]*ringState
	ringSeq RingID

	alarms    []alarm // [0] unused
	freeAlarm []Alarm
	crossings [2][]Crossing
	hand      uint32

	doubts       [maxDoubts]doubt // by id
	newest       DoubtID
	disturbances []Disturbance

	idle  uint32 // steps
	stats Stats
}

// New returns an engine without a plan: it refuses every flush until SetPlan.
func New(opt Options) (*Engine, error) {
	if opt.MemoryLimit == 0 {
		opt.MemoryLimit = DefaultMemoryLimit
	}
	if opt.Idle == 0 {
		opt.Idle = DefaultIdle
	}
	if opt.MaxAlarms == 0 {
		opt.MaxAlarms = DefaultMaxAlarms
	}
	if opt.ScopeTau == 0 {
		opt.ScopeTau = DefaultTau
	}
	const perHost = rowSize + 24
	fits := opt.MemoryLimit / 4 * 3 / perHost
	if opt.MaxHosts == 0 || uint64(opt.MaxHosts) > opt.MemoryLimit/perHost {
		opt.MaxHosts = uint32(min(fits, 1<<28))
	}
	e := &Engine{
		opt: opt, mem: budget{limit: opt.MemoryLimit}, idle: uint32(opt.Idle.Nanoseconds() / step),
		layoutNo: map[layout]uint16{}, luts: map[time.Duration]*lut{}, cellNo: map[cellKey]*cell{},
		scopeIDs: map[scopeKey]uint32{}, user: map[uint32]*[2][2]Volume{}, rings: map[RingID]*ringState{}, alarms: make([]alarm, 1),
	}
	chunk := min(max(opt.MaxHosts/8, 64), 1<<15)
	e.rows = newSlab(&e.mem, rowSize, opt.MaxHosts, chunk)
	e.extras = newSlab(&e.mem, extraSize, 1<<30, chunk)
	e.idx.mem = &e.mem
	for i := range e.idx.seed {
		e.idx.seed[i] = mix(opt.Seed + uint64(i)*0x9e3779b97f4a7c15)
	}
	e.idx.seed[2] |= 1
	if opt.MaxHosts < 64 || !e.idx.resize(firstSlots) {
		return nil, fmt.Errorf("memory limit of %d bytes does not hold a host table; give at least 1 MiB", opt.MemoryLimit)
	}
	e.slow, e.scope = e.lut(slowTau), e.lut(opt.ScopeTau)
	e.none = &groupPlan{lut: e.lut(DefaultTau), layout: e.intern(layout{})}
	e.none.lay = e.layouts[e.none.layout]
	for i := range e.none.dirs {
		e.none.dirs[i] = dirPlan{flowThr: ufloatMax, minS: ^uint32(0), admit: 1e300, admitByte: 1e300}
	}
	e.total = [2]*cell{e.cell(0, 0, 4), e.cell(0, 0, 6)}
	return e, nil
}

// Close gives the tables' memory back. The engine must not be used after.
func (e *Engine) Close() {
	e.rows.close()
	e.extras.close()
	e.mem.release(e.idx.raw)
	e.idx.slots, e.idx.raw = nil, nil
}

// mix spreads a seed (splitmix64's finalizer).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (e *Engine) lut(tau time.Duration) *lut {
	l := e.luts[tau]
	if l == nil {
		l = newLUT(tau)
		e.luts[tau] = l
	}
	return l
}

// Stats returns the engine's own figures.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Hosts, s.Scopes, s.Extras = e.rows.used-e.scopeRows, e.scopeRows, e.extras.used
	s.Alarms = len(e.alarms) - 1 - len(e.freeAlarm)
	s.MappedBytes = e.mem.used
	s.UsedBytes = uint64(e.rows.used)*rowSize + uint64(e.extras.used)*extraSize + uint64(len(e.idx.slots))*8
	return s
}

// errAbsurd is wrapped by errors about times that cannot be.
var errAbsurd = errors.New("time out of range")

// steps turns a time of the stream's clock into steps since base, which the
// first call sets.
func (e *Engine) steps(now int64) (uint32, error) {
	s := now / step
	if now < 0 {
		return 0, errAbsurd
	}
	if !e.started {
		e.started = true
		e.setBase(s)
		e.setClock(uint32(s - e.base))
	}
	if s-e.base > maxSteps {
		e.rebase(s)
	}
	// What is older than the base has decayed to nothing, however old it is.
	return uint32(max(s-e.base, 1)), nil
}

// setBase counts steps from a little before s. An even base keeps ticks
// aligned to 100 ms.
func (e *Engine) setBase(s int64) { e.base = (s - newClock) &^ 1 }

// rebase follows a jump of years, which only a recording makes: 32 bits do not
// hold the steps between, and no average or tick outlives them.
func (e *Engine) rebase(s int64) {
	e.foldCells()
	e.setBase(s)
	e.clock = newClock
	e.open = (e.clock - lateSteps - 1) >> 1
	for no := range e.rows.top {
		r := e.row(no)
		switch {
		case r.kind == 0:
		case r.alarm == [2]Alarm{}:
			e.evict(no, r)
			e.stats.Evicted++
		default: // an alarm's row stays until its release
			e.dropExtras(r, nil)
			r.last, r.tick, r.flows, r.dir = [2]uint32{}, [2]uint32{}, [2]ufloat{}, [2]dirState{}
		}
	}
	for i := range e.alarms {
		e.alarms[i].last = 0
		for k := range e.alarms[i].fired {
			e.alarms[i].fired[k].last = 0
		}
	}
	for _, c := range e.cells {
		for i := range c.lanes {
			l := &c.lanes[i]
			l.last = e.clock
			l.folded.pps, l.folded.bps, l.folded.fps = [Counters]float64{}, [Counters]float64{}, 0
		}
	}
	for _, r := range e.rings {
		r.end, r.tick, r.doubtful = 1, 0, 0
	}
	e.doubts = [maxDoubts]doubt{}
}

// SetNow tells the real time on the clock of live streams. It moves nothing:
// it is what window ends are held against, so that no ring can run the
// stream's clock away from the time of the others.
func (e *Engine) SetNow(now int64) { e.now = now }

// nanos is the inverse of steps.
func (e *Engine) nanos(s uint32) int64 { return (e.base + int64(s)) * step }

// Clock returns the stream's clock in nanoseconds, 0 before it has started.
func (e *Engine) Clock() int64 {
	if !e.started {
		return 0
	}
	return e.nanos(e.clock)
}

// Advance moves the clock to now (rounded down to 50 ms) where no flush does,
// and lets idle hosts leave. A time before the clock does nothing.
func (e *Engine) Advance(now int64) {
	s, err := e.steps(now)
	if err == nil && s > e.clock {
		e.setClock(s)
	}
}

func (e *Engine) setClock(s uint32) {
	e.foldCells()
	moved := s - e.clock
	e.clock = s
	// The oldest tick whose end is no more than lateSteps behind.
	e.open = (s - lateSteps - 1) >> 1
	if e.cur != nil && e.cur.periodic {
		e.closePeriods(moved)
	}
	e.sweep(moved)
}

// tickOf returns the tick in which the step that ends at s lies.
func tickOf(s uint32) uint32 { return (s - 1) >> 1 }

// family returns 0 for IPv4, 1 for IPv6.
func family(d *ring.Delta) int { return int(d.Family>>1) & 1 }
