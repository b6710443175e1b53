package exporter

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// DefaultMax is how many exporters a set holds unless told otherwise.
const DefaultMax = 10000

// How long exporters may be silent before they are evicted for new ones.
const (
	idle       = int64(time.Minute)
	idleListed = int64(time.Hour)
)

// Options makes a set.
type Options struct {
	Blocks []Block // of the configuration, in order
	// OnlyListed refuses exporters that match no block. A plugin sets it when
	// it was given any: to name exporters is to trust only these.
	OnlyListed bool
	Sampling   uint32       // rate of exporters for which nothing else tells one; 0 unknown
	Max        int          // exporters held at most; 0 means DefaultMax
	Logger     hclog.Logger // at most a line per exporter, cause and minute; nil logs nothing
	Now        func() int64 // monotonic nanoseconds; nil reads the clock
	Wall       func() int64 // Unix nanoseconds; nil reads the clock
}

// Refusal says why a datagram's exporter is not served.
type Refusal uint8

// The refusals; None means it is.
const (
	None      Refusal = iota
	NotListed         // OnlyListed, and no block matches
	TooMany           // Max exporters are active already
)

// String is the cause for the ledger: "exporter_not_listed" and
// "too_many_exporters".
func (r Refusal) String() string {
	return [...]string{"none", "exporter_not_listed", "too_many_exporters"}[r]
}

// Set is a capture's exporters. Its methods may be called from any goroutine.
type Set struct {
	onlyListed bool
	sampling   uint32
	max        int
	log        hclog.Logger
	now, wall  func() int64
	match      *matcher
	budget     budget
	strangers  strangers
	sketch     sketch
	learned    atomic.Int64 // sampling rates and interface names held, of all exporters
	fullUntil  atomic.Int64 // until then no new exporter finds room
	began      int64        // monotonic nanoseconds
	path       path         // of packets to sockets, as it was then

	mu      sync.Mutex
	byID    map[ID]*Exporter
	byIndex map[uint32]*Exporter
	devices map[ID][]*Exporter // by ID.device
	listed  int                // of byID, those that a block names
	indices uint32
}

// NewSet checks the blocks. Its error points at attributes with package diag,
// under "exporters".
func NewSet(o Options) (*Set, error) {
	s := &Set{
		onlyListed: o.OnlyListed, sampling: o.Sampling, max: o.Max, log: o.Logger, now: o.Now, wall: o.Wall,
		byID: map[ID]*Exporter{}, byIndex: map[uint32]*Exporter{}, devices: map[ID][]*Exporter{},
	}
	if s.max <= 0 {
		s.max = DefaultMax
	}
	if start := time.Now(); s.now == nil {
		s.now = func() int64 { return int64(time.Since(start)) + 1 }
	}
	if s.wall == nil {
		s.wall = func() int64 { return time.Now().UnixNano() }
	}
	var ds diag.Diagnostics
	var blocks []*block
	groups := map[string]*group{}
	for i, b := range o.Blocks {
		c, problems := compile(b, diag.Path{}.Attr("exporters").Index(i))
		ds = append(ds, problems...)
		c.number = i + 1
		if word := b.Deduplicate; word != "" {
			if groups[word] == nil {
				groups[word] = newGroup(word)
			}
			c.group = groups[word]
		}
		blocks = append(blocks, c)
	}
	s.match = newMatcher(blocks)
	s.began = s.now()
	s.path = pathNow()
	return s, ds.Err()
}

// View returns a new view of the set for one worker.
func (s *Set) View() *View { return &View{set: s, known: map[ID]*Exporter{}} }

// View is one worker's way to the set: one goroutine uses it at a time.
type View struct {
	set    *Set
	lastID ID
	last   *Exporter
	known  map[ID]*Exporter
	turn   uint32

	observed int64 // when Observe began to count looks, monotonic nanoseconds
	looks    int
}

// Find returns the exporter of a datagram, new or known, or why there is none.
// It neither locks nor allocates for an exporter that the view knows.
func (v *View) Find(id ID) (*Exporter, Refusal) {
	if e := v.last; e != nil && v.lastID == id && !e.Gone() {
		return e, None
	}
	e := v.known[id]
	if e == nil || e.Gone() {
		var r Refusal
		if e, r = v.meet(id); r != None {
			return nil, r
		}
	}
	v.last, v.lastID = e, id
	return e, None
}

// meet asks the set for an exporter that the view does not know.
func (v *View) meet(id ID) (*Exporter, Refusal) {
	e, r := v.set.meet(id)
	if r != None {
		v.set.stranger(id, r)
		return nil, r
	}
	if len(v.known) >= v.set.max { // some of them must be gone
		for id, e := range v.known {
			if e.Gone() {
				delete(v.known, id)
			}
		}
	}
	v.known[id] = e
	return e, None
}

// meet returns a known exporter or takes in a new one. A block decides before
// the lock is taken: whoever is not listed costs the others nothing.
func (s *Set) meet(id ID) (*Exporter, Refusal) {
	b := s.match.find(id)
	if b == nil && s.onlyListed {
		return nil, NotListed
	}
	now := s.now()
	if b == nil && now < s.fullUntil.Load() && !s.holds(id) {
		return nil, TooMany
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		return e, None
	}
	if len(s.byID) >= s.max && !s.makeRoom(now, b != nil) {
		s.fullUntil.Store(now + int64(time.Second)) // looking for room costs a walk over all
		return nil, TooMany
	}
	return s.add(id, b, now), None
}

func (s *Set) holds(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id] != nil
}

// add takes in a new exporter.
func (s *Set) add(id ID, b *block, now int64) *Exporter {
	s.indices++
	if s.indices == 0 { // 0 means none in a record
		s.indices++
	}
	e := &Exporter{set: s, id: id, index: s.indices, block: b, since: now}
	e.seen.Store(now)
	e.rotated.Store(now)
	e.times.init()
	if b != nil {
		s.listed++
		e.filter.Store(b.filter(nil))
		if b.group != nil {
			e.member = b.group.join(id)
		}
	}
	s.byID[id], s.byIndex[e.index] = e, e
	d := id.device()
	s.devices[d] = append(s.devices[d], e)
	return e
}

// makeRoom evicts a sixteenth of the exporters: those that have been silent
// for longest, none that is active. An exporter that a block names may also
// take the place of the least busy one that none does: the list protects from
// whoever fills the table with addresses.
func (s *Set) makeRoom(now int64, listed bool) bool {
	var out []*Exporter
	var least *Exporter
	for _, e := range s.byID {
		limit := idle
		if e.block != nil {
			limit = idleListed
		}
		if now-e.seen.Load() >= limit {
			out = append(out, e)
		}
		if e.block == nil && (least == nil || e.datagrams.Load() < least.datagrams.Load()) {
			least = e
		}
	}
	if len(out) == 0 && listed && least != nil {
		out = append(out, least)
	}
	slices.SortFunc(out, func(a, b *Exporter) int { return int(min(max(a.seen.Load()-b.seen.Load(), -1), 1)) })
	for _, e := range out[:min(len(out), s.max/16+1)] {
		s.evict(e)
	}
	return len(out) > 0
}

func (s *Set) evict(e *Exporter) {
	e.gone.Store(true)
	s.learned.Add(-int64(e.rates.forget() + e.names.forget()))
	delete(s.byID, e.id)
	delete(s.byIndex, e.index)
	d := e.id.device()
	s.devices[d] = slices.DeleteFunc(s.devices[d], func(o *Exporter) bool { return o == e })
	if len(s.devices[d]) == 0 {
		delete(s.devices, d)
	}
	if e.block != nil {
		s.listed--
	}
}

// maxSiblings bounds what Siblings returns.
const maxSiblings = 16

// Siblings returns the other exporters with e's address, agent, domain and
// version, which differ from it by source port only: after a restart a device
// often sends from a new port, and what it said of templates still holds. The
// most recently seen comes first; at most 16 are returned.
func (s *Set) Siblings(e *Exporter) []*Exporter {
	s.mu.Lock()
	all := s.devices[e.id.device()]
	out := make([]*Exporter, 0, len(all))
	for _, o := range all {
		if o != e {
			out = append(out, o)
		}
	}
	s.mu.Unlock()
	at := make(map[*Exporter]int64, len(out)) // a comparison must not change while sorting
	for _, o := range out {
		at[o] = o.seen.Load()
	}
	slices.SortFunc(out, func(a, b *Exporter) int { return int(min(max(at[b]-at[a], -1), 1)) })
	return out[:min(len(out), maxSiblings)]
}

// NameOf is the name of the exporter with an index, with its address where it
// has a name of its own; "" it is not known any more.
func (s *Set) NameOf(index uint32) string {
	s.mu.Lock()
	e := s.byIndex[index]
	s.mu.Unlock()
	if e == nil {
		return ""
	}
	name := e.Name()
	if text := e.Addr().String(); name != text {
		return name + " (" + text + ")"
	}
	return name
}

// AddrOf is the address of the exporter with an index, the agent's where it
// tells one; the zero Addr where it is not known any more.
func (s *Set) AddrOf(index uint32) netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byIndex[index]
	if e == nil {
		return netip.Addr{}
	}
	return e.Addr()
}

// All returns the exporters, by name, address, agent and domain.
func (s *Set) All() []*Exporter {
	s.mu.Lock()
	out := make([]*Exporter, 0, len(s.byID))
	for _, e := range s.byID {
		out = append(out, e)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *Exporter) int {
		if c := strings.Compare(a.Name(), b.Name()); c != 0 {
			return c
		}
		if c := a.id.Source.Compare(b.id.Source); c != 0 {
			return c
		}
		if c := a.id.Agent.Compare(b.id.Agent); c != 0 {
			return c
		}
		return int(int64(a.id.Domain) - int64(b.id.Domain))
	})
	return out
}

// strangers are datagrams that were refused: how many, and some of where they
// came from.
type strangers struct {
	total [TooMany + 1]atomic.Uint64
	next  atomic.Int64 // not looked at before then
	mu    sync.Mutex
	ring  [8]stranger
	at    int
	line  line
}

type stranger struct {
	addr   netip.Addr
	agent  netip.Addr
	reason Refusal
	last   int64
}

// stranger counts a refused datagram. A flood of them is sampled.
func (s *Set) stranger(id ID, r Refusal) {
	t := &s.strangers
	t.total[r].Add(1)
	now := s.now()
	due := t.next.Load()
	if now < due || !t.next.CompareAndSwap(due, now+int64(10*time.Millisecond)) {
		return
	}
	t.mu.Lock()
	slot := &t.ring[t.at]
	for i := range t.ring {
		if t.ring[i].addr == id.Source.Addr() {
			slot = &t.ring[i]
		}
	}
	if slot == &t.ring[t.at] {
		t.at = (t.at + 1) % len(t.ring)
	}
	*slot = stranger{id.Source.Addr(), id.Agent, r, now}
	n, write := t.line.due(now)
	t.mu.Unlock()
	if write {
		msg := "datagrams from an exporter that no exporter block of this capture matches are refused"
		if r == TooMany {
			msg = "datagrams from new exporters are refused: there are too many"
		}
		s.warn(now, msg, "source", id.Source.String(), "domain", id.Domain, "times", n)
	}
}

// seen returns how many datagrams were refused, and where the last ones came
// from, the latest first.
func (t *strangers) seen() (notListed, tooMany uint64, latest []stranger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.ring {
		if s.last > 0 {
			latest = append(latest, s)
		}
	}
	slices.SortFunc(latest, func(a, b stranger) int { return int(min(max(b.last-a.last, -1), 1)) })
	return t.total[NotListed].Load(), t.total[TooMany].Load(), latest
}
