package count

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const tickNanos = FlushTick * 1e6

// Table sums records by host and direction between flushes. One goroutine
// uses it at a time.
type Table struct {
	plan  *Compiled
	slab  *slab[row]
	slots *slab[uint32]
	rows  []row    // of slab; rows[:used] hold something
	index []uint32 // of slots; open addressing: 8 bits of hash, 24 of row + 1; 0 is free
	mask  uint32
	used  int
	limit int // of used, before the index grows or rows are folded
	seed  [2]uint64

	users  userTable
	flows  *flowSet // nil: flows are not counted
	totals [4]row   // internal and other, of each family; numbered from totalRow
	wide   map[uint32]*wide
	smear  *smearer // nil: no long flow record has come

	tick    int64  // of the stream's clock, in units of 50 ms
	base    int64  // tick that row.first counts from
	now     uint32 // tick as row.first would say it
	time    int64  // of the stream's clock, of the last Add
	started bool
	crowded uint32 // the value of now at which folding found no more room
	wall    int64  // seconds since the epoch, for exemptions that end
	dirty   []uint32
	touched []uint64 // rows that gained something since Flush last looked, a bit each

	ledger  Ledger
	lost    [256]uint64 // records dropped, by cause, not yet told
	scratch flushScratch
}

// Totals are running totals of what a table has seen.
type Totals struct {
	Received uint64 // records
	Packets  uint64 // packets in them, scaled
	Counted  uint64 // records added
	Dropped  uint64 // records dropped, all causes
	Folded   uint64 // rows folded into their prefix, and records for which there was no row
	Flushes  uint64 // flush records written
	Deltas   uint64 // deltas written
	Short    uint64 // deltas that a sink refused after it had announced room
	Beyond   uint64 // packets of flow records beyond the time over which they count: in no delta
	Cut      uint64 // packets of flow records that were still to count when the table was closed
}

// Ledger accounts for the records a table has seen.
type Ledger struct {
	Totals
	ByCause [256]uint64 // records dropped, by cause
}

// NewTable makes an empty table under a plan.
func NewTable(c *Compiled) *Table {
	t := &Table{}
	t.use(c)
	return t
}

// use takes over a plan and forgets all rows.
func (t *Table) use(c *Compiled) {
	// Prefixes keep their rows when no host may have a new one.
	want := c.rows + 2*len(c.places)
	if len(t.rows) != want {
		t.slab = newSlab[row](want)
		t.rows = t.slab.all
		t.touched = make([]uint64, (want+63)/64)
	}
	sameSeed := t.plan != nil && t.plan.seed == c.seed
	t.plan = c
	t.used, t.dirty, t.crowded, t.scratch.known = 0, t.dirty[:0], 0, 0
	t.users, t.wide = userTable{limit: 2 * c.rows}, wideTotals(t.wide)
	t.setIndex(1 << 12)
	t.seed = [2]uint64{mix(c.seed, 0x9e3779b97f4a7c15), mix(c.seed^0xd1b54a32d192ed03, 0x8bb84b93962eacc9)}
	switch {
	case !c.CountFlows:
		t.flows = nil
	case t.flows == nil || !sameSeed:
		t.flows = newFlowSet(c.seed)
	}
}

// Plan returns the plan in use.
func (t *Table) Plan() *Compiled { return t.plan }

// Totals returns the table's running totals.
func (t *Table) Totals() Totals { return t.ledger.Totals }

// Ledger returns the table's accounts.
func (t *Table) Ledger() Ledger { return t.ledger }

// Drop accounts for n records, of so many packets, that came in and are not
// counted.
func (t *Table) Drop(cause uint8, n, packets uint64) {
	t.ledger.Received += n
	t.ledger.Packets += packets
	t.ledger.Dropped += n
	t.ledger.ByCause[cause] += n
	t.lost[cause] += n
}

// SetWall tells the time of day in seconds since the Unix epoch, against
// which exemptions end for records that carry no time.
func (t *Table) SetWall(seconds int64) { t.wall = seconds }

// Add counts a batch of records at a time of the stream's clock, in
// nanoseconds. Windows that end at or before now must have been flushed.
func (t *Table) Add(batch []traffic.Record, now int64) {
	t.advance(now)
	t.ledger.Received += uint64(len(batch))
	t.ledger.Counted += uint64(len(batch))
	if t.smear != nil {
		t.smear.prefetch(batch)
	}
	var looked [groupSize]found
	packets := uint64(0)
	for len(batch) > 0 {
		group := batch[:min(len(batch), groupSize)]
		t.resolve(group, &looked)
		for i := range group {
			packets += group[i].Packets
			t.addOne(&group[i], &looked[i&(groupSize-1)])
		}
		batch = batch[len(group):]
	}
	t.ledger.Packets += packets
}

// addOne counts a record that has been looked up.
func (t *Table) addOne(r *traffic.Record, e *found) {
	var flows, flags uint32
	if t.flows != nil {
		flows, flags = t.flows.count(r, e.src, e.dst)
		if flows != 0 && r.Protocol != traffic.ProtoTCP && r.Protocol != traffic.ProtoUDP && t.community(e) {
			flows = 0
		}
	}
	if r.Marks&traffic.MarkFlow != 0 {
		flags |= rowSmeared
		if r.DurationMs > atOnce && r.Spread > 1 && !t.community(e) {
			t.addLong(r, e.src, e.dst, e.from, e.to, flows, flags)
			return
		}
	}
	switch {
	case e.key != 0:
		t.addRow(r, t.findHashed(e.hash, e.host, e.key, e.at), ring.Direction(e.key&0xff), flows, flags)
	case e.from != 0 && t.plan.places[e.from].countInternal && t.plan.places[e.to].countInternal:
		t.addHost(r, e.dst, e.to, ring.Incoming, flows, flags|rowInner)
		t.addHost(r, e.src, e.from, ring.Outgoing, flows, flags|rowInner)
	default:
		t.addTotal(r, e.from != 0, flows, flags)
	}
}

// community tells whether a record is of a host that is counted as FastNetMon
// Community does.
func (t *Table) community(e *found) bool {
	return t.plan.places[e.from].community || t.plan.places[e.to].community
}

// addHost counts a record for the host at one of its ends.
func (t *Table) addHost(r *traffic.Record, host addr, at uint32, d ring.Direction, flows, flags uint32) {
	host, key := t.hostKey(r, host, at, d)
	t.addRow(r, t.find(host, key, at), d, flows, flags)
}

// addRow counts a record for a row.
func (t *Table) addRow(r *traffic.Record, n uint32, d ring.Direction, flows, flags uint32) {
	row := &t.rows[n]
	t.wake(n)
	if t.plan.exempt != nil {
		if user, exempt := t.plan.exempted(r, d, t.wall); exempt {
			t.addExempt(n, row, r)
			row.key |= flags & rowSmeared
			if user != 0 {
				t.addUser(n, user, r, 0)
			}
			return
		}
	}
	t.add(n, row, r, flows, flags)
	if t.plan.classes.all != 0 {
		if user := t.plan.classes.of(r); user != 0 {
			t.addUser(n, user, r, flows)
		}
	}
}

// hostKey is the identity of a host's row.
func (t *Table) hostKey(r *traffic.Record, host addr, at uint32, d ring.Direction) (addr, uint32) {
	if r.Marks&traffic.MarkIPv6 == 0 {
		return host, makeKey(d, 32, 4)
	}
	p := &t.plan.places[at]
	return addr{host.hi & p.hostHi, host.lo & p.hostLo}, makeKey(d, p.hostLen, 6)
}

// wake marks a row as having something to tell, and more than at the last look.
func (t *Table) wake(n uint32) {
	t.touched[n/64] |= 1 << (n % 64)
	if r := &t.rows[n]; r.first == 0 {
		r.first = t.now
		t.dirty = append(t.dirty, n)
	}
}

func (t *Table) addTotal(r *traffic.Record, internal bool, flows, flags uint32) {
	i := totalIndex(internal, r.IsIPv6())
	t.add(totalRow+uint32(i), t.total(i), r, flows, flags)
}

// totalRow is where the numbers of totals begin.
const totalRow = 1 << 31

func totalIndex(internal, v6 bool) (i int) {
	if !internal {
		i = 2
	}
	if v6 {
		i++
	}
	return i
}

// advance moves the clock on; it never goes back.
func (t *Table) advance(now int64) {
	tick := now / tickNanos
	if t.smear != nil {
		t.smearUpTo(tick)
	}
	if !t.started {
		t.started, t.base, t.tick = true, tick-1, tick
	}
	if tick > t.tick {
		t.tick = tick
		if tick-t.base > math.MaxInt32 {
			t.rebase()
		}
		if t.users.full() && len(t.dirty) < t.used/2 {
			t.rebuild(nil)
		}
	}
	t.now, t.time = uint32(t.tick-t.base), now
	if t.flows != nil {
		t.flows.advance(max(now, t.tick*tickNanos))
	}
}

// rebase counts ticks anew after a jump of years, which only a recording
// makes: row.first holds 32 bits.
func (t *Table) rebase() {
	t.base, t.scratch.known = t.tick-2, 0
	for _, n := range t.dirty {
		t.rows[n].first = 1
	}
	for i := range t.totals {
		t.totals[i].first = min(t.totals[i].first, 1)
	}
}

// addr is an address as two big-endian halves, IPv4 mapped.
type addr struct{ hi, lo uint64 }

// mapped4 is the low half of an IPv4 address before its own four octets.
const mapped4 = 0xffff << 32

// load reads one of a record's addresses. Of IPv4 only the last four octets
// count, so that a record's family never contradicts its addresses.
func load(r *traffic.Record, a *[16]byte) addr {
	if r.Marks&traffic.MarkIPv6 == 0 {
		return addr{0, mapped4 | uint64(binary.BigEndian.Uint32(a[12:]))}
	}
	return addr{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

// lookup finds the value of the longest prefix that holds an address of a
// record.
func lookup(lpm *prefix.Table, r *traffic.Record, a addr) uint32 {
	if r.Marks&traffic.MarkIPv6 == 0 {
		return lpm.Lookup4(uint32(a.lo))
	}
	if a.hi == 0 && a.lo>>32 == 0xffff {
		return 0 // an IPv4 address inside an IPv6 header is nobody's host
	}
	return lpm.Lookup6(a.hi, a.lo)
}

// slotRow is the number of bits of an index slot that name a row; above them
// lie the upper bits of the hash.
const (
	slotRow = 24
	rowMask = 1<<slotRow - 1
)

// find returns the row of a host, making it where there is none.
func (t *Table) find(a addr, key, at uint32) uint32 {
	return t.findHashed(hashRow(a, key, t.seed), a, key, at)
}

// findHashed is find for those who know the hash.
func (t *Table) findHashed(h uint32, a addr, key, at uint32) uint32 {
	for pos := h & t.mask; ; pos = (pos + 1) & t.mask {
		slot := t.index[pos]
		if slot == 0 {
			return t.newRow(pos, h, a, key, at)
		}
		if (slot^h)>>slotRow != 0 {
			continue
		}
		n := slot&rowMask - 1
		if r := &t.rows[n]; r.addr == a && r.key&keyMask == key {
			return n
		}
	}
}

func hashRow(a addr, key uint32, seed [2]uint64) uint32 {
	return uint32(mix(a.hi^seed[0]^uint64(key)<<32, a.lo^seed[1]) >> 32)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
