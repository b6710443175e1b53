package main

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// Bounds of what exporters can make the store hold.
const (
	maxDomains         = 1 << 17 // exporters with templates
	maxDomainTemplates = 1024    // templates of one exporter
	maxTemplates       = 1 << 18 // of all, equal ones included
	maxDefinitions     = 64 << 20
	maxRates           = 256 // sampling rates that one exporter's options tell
	compiledSize       = 900 // octets, about, that a template takes beside its definition
)

// An exporter that comes from a new port takes over the templates of one with
// the same address and domain once that has been silent for so long: then it
// is the same device, and not another one behind the same NAT.
const silence = 10 * time.Second

// bounds is what exporters can make a store and the holds of its workers hold.
type bounds struct {
	domainTemplates int   // of one exporter
	templates       int   // of all
	held            int64 // octets of data that waits for its templates, of all
	heldExporter    int   // and of one
}

var usualBounds = bounds{maxDomainTemplates, maxTemplates, holdOctets, holdExporter}

// store holds the templates of all exporters. What it hands out never changes,
// so that workers read it without locks.
type store struct {
	bounds      bounds
	mu          sync.Mutex
	domains     map[exporter.ID]*domain
	newest      map[exporter.ID]*domain // by ID without port: the last one that announced templates
	definitions map[string]*template
	octets      int // of definitions
	templates   int // in all tables
	dirty       bool
}

// domain is what an exporter has announced in one observation domain.
type domain struct {
	id    exporter.ID
	table atomic.Pointer[table]
	gone  atomic.Bool  // no longer in the store
	used  atomic.Int64 // monotonic nanoseconds of the last datagram; 0: not since the start
	boot  atomic.Int64 // when the exporter booted, Unix milliseconds, as its options tell; 0 unknown

	perInterface atomic.Bool // there are rates for single interfaces

	templates atomic.Int32  // in its table
	revision  atomic.Uint32 // of the table: it counts the changes

	// Under the store's lock:
	saved int64 // Unix seconds of the last datagram, of a domain that came from the disk
	rates map[rateKey]uint32
}

// rateKey is what options tell a sampling rate for; 0 where they do not say.
type rateKey struct {
	sampler uint64
	iface   uint32
}

func newStore() *store {
	return &store{bounds: usualBounds, domains: map[exporter.ID]*domain{}, newest: map[exporter.ID]*domain{}, definitions: map[string]*template{}}
}

// anyPort is an ID without what changes when a device takes another port.
func anyPort(id exporter.ID) exporter.ID {
	id.Source = netip.AddrPortFrom(id.Source.Addr(), 0)
	return id
}

// domain returns the domain of an exporter, a new one if need be, and tells
// the exporter which sampling rates are known of old.
func (st *store) domain(id exporter.ID, e *exporter.Exporter, now int64) *domain {
	st.mu.Lock()
	defer st.mu.Unlock()
	d := st.domains[id]
	if d == nil {
		st.room(1, 0)
		d = &domain{id: id}
		d.table.Store(emptyTable)
		st.domains[id] = d
		st.adopt(d, now)
	}
	d.used.Store(now)
	d.teach(e)
	return d
}

// teach tells an exporter the rates that its options told once.
func (d *domain) teach(e *exporter.Exporter) {
	for k, rate := range d.rates {
		e.LearnRate(k.sampler, k.iface, rate)
	}
	e.Templates(int(d.templates.Load()))
}

// adopt gives a domain without templates those of a silent one that is the
// same but for its port. The lock is held.
func (st *store) adopt(d *domain, now int64) bool {
	old := st.newest[anyPort(d.id)]
	if old == nil || old == d || d.templates.Load() > 0 {
		return false
	}
	if used := old.used.Load(); used != 0 && now-used < int64(silence) {
		return false
	}
	if old.templates.Load() == 0 {
		return false
	}
	d.rates = maps.Clone(old.rates)
	d.boot.Store(old.boot.Load())
	d.perInterface.Store(old.perInterface.Load())
	old.table.Load().each(func(id uint16, t *template) { st.put(d, id, t) })
	return true
}

// inherit tries adopt for an exporter whose data waits for templates.
func (st *store) inherit(d *domain, e *exporter.Exporter, now int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if d.gone.Load() || !st.adopt(d, now) {
		return false
	}
	d.teach(e)
	return true
}

// put gives an id of a domain a template, nil to withdraw it. The lock is held.
func (st *store) put(d *domain, id uint16, t *template) {
	tab := d.table.Load()
	if !tab.fits(id) {
		if t == nil {
			return
		}
		next := newTable(int(d.templates.Load()) + 1)
		tab.each(func(id uint16, x *template) { next.put(id, x) })
		next.put(id, t)
		d.table.Store(next)
		t.refs++
		st.count(d, 1)
		return
	}
	if t != nil {
		t.refs++
	}
	more := 0
	if t != nil {
		more++
	}
	old := tab.put(id, t)
	if old != nil {
		st.release(old)
		more--
	}
	if old != t {
		st.count(d, more)
	}
}

// count notes that a domain's templates have changed, and are so many more. The
// lock is held.
func (st *store) count(d *domain, more int) {
	d.templates.Add(int32(more))
	d.revision.Add(1)
	st.templates += more
	if more >= 0 {
		st.newest[anyPort(d.id)] = d
	}
	st.dirty = true
}

// clear takes all templates from a domain. The lock is held.
func (st *store) clear(d *domain) {
	d.table.Load().each(func(_ uint16, x *template) { st.release(x) })
	d.table.Store(emptyTable)
	st.count(d, -int(d.templates.Load()))
}

// release gives up one use of a definition, which goes with the last one.
func (st *store) release(t *template) {
	if t.refs--; t.refs <= 0 {
		delete(st.definitions, t.definition)
		st.octets -= len(t.definition) + compiledSize
	}
}

// lookup returns the compiled template of a definition, nil if none is known.
func (st *store) lookup(def []byte) *template {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.definitions[string(def)]
}

// share returns the template that all who have its definition share, which may be
// another one, and keeps it until the caller, who holds the lock, releases it: a
// domain that is dropped meanwhile may have been the only one that has it.
func (st *store) share(t *template) *template {
	have := st.definitions[t.definition]
	if have == nil {
		have = t
		st.definitions[t.definition] = t
		st.octets += len(t.definition) + compiledSize
	}
	have.refs++
	return have
}

// full reports whether so many more domains, templates and octets are too many.
func (st *store) full(domains, templates int) bool {
	return len(st.domains)+domains > maxDomains || st.templates+templates > st.bounds.templates || st.octets > maxDefinitions
}

// room makes room by dropping the domains that have been silent for longest.
// It reports whether there is any. The lock is held.
func (st *store) room(domains, templates int) bool {
	if !st.full(domains, templates) {
		return true
	}
	all := slices.SortedFunc(maps.Values(st.domains), func(a, b *domain) int {
		return int(min(max(a.used.Load()-b.used.Load(), -1), 1))
	})
	// An eighth at a time: sorting for each would cost too much.
	for _, d := range all[:len(all)/8] {
		st.drop(d)
	}
	return !st.full(domains, templates)
}

// drop removes a domain. A worker that still has it will ask for a new one.
func (st *store) drop(d *domain) {
	st.clear(d)
	d.gone.Store(true)
	delete(st.domains, d.id)
	if key := anyPort(d.id); st.newest[key] == d {
		delete(st.newest, key)
	}
}

// learn keeps a sampling rate over a restart.
func (st *store) learn(d *domain, k rateKey, rate uint32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if old, known := d.rates[k]; known && old == rate || !known && len(d.rates) >= maxRates {
		return
	}
	if d.rates == nil {
		d.rates = map[rateKey]uint32{}
	}
	d.rates[k] = rate
	if k.iface != 0 {
		d.perInterface.Store(true)
	}
	st.dirty = true
}
