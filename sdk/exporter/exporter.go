// Package exporter is what a flow capture knows of the devices that send to
// it: who they are, how they sample, what of theirs counts, and how well they
// do. Captures of any flow protocol share it.
package exporter

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ID tells exporters apart. Two of them behind one NAT differ by port, agent
// or domain.
type ID struct {
	Source  netip.AddrPort // of the datagram
	Agent   netip.Addr     // sFlow agent address, else the zero Addr
	Domain  uint32         // v5 engine type and id, v9 source id, IPFIX observation domain, sFlow sub-agent
	Version uint8          // NetFlow 5 or 9, IPFIX 10, or one of SFlow2, SFlow4 and SFlow5
}

// Versions of sFlow as an ID's Version, which is NetFlow's version word
// otherwise (5, 9, 10).
const (
	SFlow2 uint8 = 0x82
	SFlow4 uint8 = 0x84
	SFlow5 uint8 = 0x85
)

// protocol names an ID's version.
func protocol(version uint8) string {
	switch version {
	case 5:
		return "netflow5"
	case 9:
		return "netflow9"
	case 10:
		return "ipfix"
	case SFlow2:
		return "sflow2"
	case SFlow4:
		return "sflow4"
	case SFlow5:
		return "sflow5"
	}
	return "unknown"
}

// device is the ID without what changes when a device restarts: its port.
func (id ID) device() ID {
	id.Source = netip.AddrPortFrom(id.Source.Addr(), 0)
	return id
}

// Causes for the ledger.
const (
	CauseDirection = "not_metered_direction"
	CauseInterface = "interface_not_wanted"
	CauseDuplicate = "duplicate_exporter"
)

// Exporter is a device (or one process or line card of it) that sends to the
// capture. Its methods may be called from any goroutine.
type Exporter struct {
	set    *Set
	id     ID
	index  uint32
	block  *block // nil: none matches
	member uint8  // in the block's group for de-duplication, from 1; 0 none
	since  int64  // monotonic nanoseconds
	gone   atomic.Bool

	datagrams, octets, records  atomic.Uint64
	unknown, malformed, missing atomic.Uint64
	templates                   atomic.Int32
	seen                        atomic.Int64 // monotonic nanoseconds
	rotated                     atomic.Int64 // when the window below began
	before                      atomic.Uint64
	perSecond                   atomic.Uint64 // records per second of the last window, in thousandths

	rates  rates
	filter atomic.Pointer[filter]
	names  names
	times  times
	seq    sequence

	logMu  sync.Mutex
	logged [causes]line
}

// window is over how long rates are taken for the table.
const window = int64(10 * time.Second)

// ID returns what tells the exporter apart.
func (e *Exporter) ID() ID { return e.id }

// Index is for traffic.Record.Exporter: unique in its set, never 0.
func (e *Exporter) Index() uint32 { return e.index }

// Addr is its address, the agent's where it tells one.
func (e *Exporter) Addr() netip.Addr {
	if e.id.Agent.IsValid() {
		return e.id.Agent.Unmap()
	}
	return e.id.Source.Addr().Unmap()
}

// Name is its block's label, or its address.
func (e *Exporter) Name() string {
	switch {
	case e.block != nil && e.block.Name != "":
		return e.block.Name
	case e.id.Agent.IsValid():
		return e.id.Agent.String()
	}
	return e.id.Source.Addr().String()
}

// Site is its block's site, or "".
func (e *Exporter) Site() string {
	if e.block == nil {
		return ""
	}
	return e.block.Site
}

// Listed reports whether a block of the configuration names the exporter.
func (e *Exporter) Listed() bool { return e.block != nil }

// Block is the number, from 1, of the block that names the exporter among
// those that its set was made with (udp.Datagram.Exporter); 0 if none does.
func (e *Exporter) Block() int {
	if e.block == nil {
		return 0
	}
	return e.block.number
}

// Gone reports whether the set has evicted the exporter: what a decoder keeps
// for it may go too.
func (e *Exporter) Gone() bool { return e.gone.Load() }

// tick is how fine it is known when an exporter was last heard.
const tick = int64(100 * time.Millisecond)

// Datagram counts one datagram of so many octets. Call it for each, before
// what is in it is told.
func (e *Exporter) Datagram(octets int) {
	e.datagrams.Add(1)
	e.octets.Add(uint64(octets))
	now := e.set.now()
	if now-e.seen.Load() < tick { // a store costs more than all the rest
		return
	}
	e.seen.Store(now)
	if e.member > 0 {
		e.block.group.saw(e.member, now)
	}
	if e.names.stale.Load() {
		e.names.mu.Lock()
		e.refilter()
		e.names.mu.Unlock()
	}
	if start := e.rotated.Load(); now-start >= window && e.rotated.CompareAndSwap(start, now) {
		e.rotate(now - start)
	}
}

// rotate begins a new window.
func (e *Exporter) rotate(length int64) {
	n := e.records.Load()
	e.perSecond.Store(uint64(float64(n-e.before.Swap(n)) * 1e12 / float64(length)))
	e.rates.rotate()
	e.times.rotate()
}

// Records counts flow records or samples that were decoded.
func (e *Exporter) Records(n int) { e.records.Add(uint64(n)) }

// Templates sets how many templates are held for the exporter.
func (e *Exporter) Templates(n int) { e.templates.Store(int32(n)) }

// TemplateMissing counts data sets whose template is not known, and logs.
func (e *Exporter) TemplateMissing(n int) {
	e.missing.Add(uint64(n))
	e.warn(causeTemplate, "data without a template: it is decoded when the exporter sends its templates again", nil)
}

// Unknown counts records or samples of a kind that is not decoded.
func (e *Exporter) Unknown(n int) { e.unknown.Add(uint64(n)) }

// Malformed counts records, sets or samples that make no sense, and logs why.
func (e *Exporter) Malformed(n int, why string) {
	e.malformed.Add(uint64(n))
	e.warn(causeMalformed, "malformed data", why)
}
