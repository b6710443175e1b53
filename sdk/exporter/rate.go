package exporter

import (
	"sync"
	"sync/atomic"
)

// Bounds on what exporters make us remember: per exporter, and of all
// together.
const (
	maxLearned    = 4096
	maxLearnedAll = 1 << 18
)

// MaxRate is the highest sampling rate that is believed, whoever tells it: one
// flipped bit in 32 would make a single packet a flood otherwise. No device
// samples fewer packets than one of so many.
const MaxRate = 1 << 24

// Where a sampling rate came from, one bit each.
const (
	fromRecord uint32 = 1 << iota
	fromOptions
	fromBlock
	fromDefault
	fromNowhere

	disbelieved // no source: a record told a rate above MaxRate
)

// rateKey is what an exporter says a rate is for; 0 where it does not say.
type rateKey struct {
	sampler uint64
	iface   uint32
}

// rates are an exporter's sampling rates.
type rates struct {
	revision atomic.Uint32
	known    atomic.Int32 // entries of learned: mostly none
	learnAt  atomic.Int64 // when the last rate was learned, monotonic nanoseconds

	mu      sync.RWMutex
	learned map[rateKey]uint32
	lowest  uint32 // of those learned for a sampler, or for all; 0 none

	used, earlier usage
}

// usage is which rates were applied in a window.
type usage struct {
	low, high atomic.Uint32
	from      atomic.Uint32
}

// note remembers a rate; it writes only when something is new.
func (u *usage) note(rate, from uint32) {
	if u.from.Load()&from != from {
		u.from.Or(from)
	}
	for low := u.low.Load(); low == 0 || rate < low; low = u.low.Load() {
		if u.low.CompareAndSwap(low, rate) {
			break
		}
	}
	for high := u.high.Load(); rate > high; high = u.high.Load() {
		if u.high.CompareAndSwap(high, rate) {
			break
		}
	}
}

func (u *usage) reset() {
	u.from.Store(0)
	u.low.Store(0)
	u.high.Store(0)
}

// rotate begins a new window. Decoders ask anew for the rates they keep, so
// that what no record takes any more is forgotten.
func (r *rates) rotate() {
	from := r.used.from.Swap(0)
	if from == 0 { // nothing was applied: what was still stands
		return
	}
	r.earlier.from.Store(from)
	r.earlier.low.Store(r.used.low.Swap(0))
	r.earlier.high.Store(r.used.high.Swap(0))
	r.revision.Add(1)
}

// applied returns the rates of this window and of the one before.
func (r *rates) applied() (low, high, from uint32) {
	low, high = r.used.low.Load(), max(r.used.high.Load(), r.earlier.high.Load())
	if before := r.earlier.low.Load(); low == 0 || before != 0 && before < low {
		low = before
	}
	return low, high, r.sources()
}

// sources returns where the applied rates came from.
func (r *rates) sources() uint32 { return r.used.from.Load() | r.earlier.from.Load() }

// Rate returns the sampling rate of a record, from 1 to MaxRate. inRecord is
// what the record itself says, 0 if nothing; a rate above MaxRate says nothing
// either, and is reported. Then come what the exporter said in
// options (for sampler and interface, for the sampler, for the interface, for
// all), its block's rate, the capture's default, and 1, which the table shows
// as unknown. sampler and iface are 0 where the protocol has none. A record
// that names no sampler takes the rate of the exporter's sampler, the lowest
// if it has several.
func (e *Exporter) Rate(sampler uint64, iface uint32, inRecord uint32) uint32 {
	rate, from := inRecord, fromRecord
	if rate == 0 || rate > MaxRate {
		rate, from = e.unsaidRate(sampler, iface)
		if inRecord != 0 {
			from |= disbelieved
			e.wrongRate(inRecord)
		}
	}
	if u := &e.rates.used; u.from.Load()&from != from || rate < u.low.Load() || rate > u.high.Load() {
		u.note(rate, from)
	}
	return rate
}

// unsaidRate is Rate for a record that does not tell.
func (e *Exporter) unsaidRate(sampler uint64, iface uint32) (rate, from uint32) {
	if e.rates.known.Load() > 0 {
		if rate := e.rates.lookup(sampler, iface); rate > 0 {
			return rate, fromOptions
		}
	}
	switch {
	case e.block != nil && e.block.Sampling > 0:
		return e.block.Sampling, fromBlock
	case e.set.sampling > 0:
		return e.set.sampling, fromDefault
	}
	e.unknownRate()
	return 1, fromNowhere
}

// unknownRate says once in a while that records count 1:1.
func (e *Exporter) unknownRate() {
	if e.rates.sources()&fromNowhere == 0 {
		e.warn(causeSampling, "exporter_sampling_unknown: neither its records nor its options nor the configuration tell the sampling rate, so records count 1:1; "+
			"let the exporter send sampling options, or set sampling in its exporter block (1 if it does not sample)", nil)
	}
}

// wrongRate says once in a while that a record's rate is not believed.
func (e *Exporter) wrongRate(rate uint32) {
	if e.rates.sources()&disbelieved == 0 {
		e.warnRate(rate)
	}
}

func (e *Exporter) warnRate(rate uint32) {
	e.warn(causeRate, "exporter_sampling_implausible: a sampling rate above 16777216 is taken for damage and not used; see what the exporter is set to, and the path from it", rate)
}

func (r *rates) lookup(sampler uint64, iface uint32) uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range [...]rateKey{{sampler, iface}, {sampler, 0}, {0, iface}, {0, 0}} {
		if rate := r.learned[k]; rate > 0 {
			return rate
		}
	}
	if sampler == 0 {
		return r.lowest
	}
	return 0
}

// LearnRate takes a rate that options tell for a sampler or an interface, 0
// where they do not say which. A rate of 0 says nothing and is ignored; so is
// one above MaxRate, which is logged.
func (e *Exporter) LearnRate(sampler uint64, iface uint32, rate uint32) {
	switch {
	case rate == 0:
		return
	case rate > MaxRate:
		e.warnRate(rate)
		return
	}
	r := &e.rates
	r.learnAt.Store(e.set.now())
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Gone() { // nobody would forget it again
		return
	}
	k := rateKey{sampler, iface}
	old := r.learned[k]
	if old == rate {
		return
	}
	if old == 0 {
		if len(r.learned) >= maxLearned || e.set.learned.Load() >= maxLearnedAll {
			return
		}
		if r.learned == nil {
			r.learned = map[rateKey]uint32{}
		}
		e.set.learned.Add(1)
	}
	r.learned[k] = rate
	r.known.Store(int32(len(r.learned)))
	if k.iface == 0 {
		r.relearn(old, rate)
	}
	r.revision.Add(1)
	r.used.reset()
	r.earlier.reset()
}

// relearn keeps lowest right after one of the rates has changed. Of an
// exporter with very many it only falls: looking at all of them for each
// change is work that whoever forges options could make us do.
func (r *rates) relearn(old, rate uint32) {
	if r.lowest == 0 || rate < r.lowest {
		r.lowest = rate
		return
	}
	if old != r.lowest || len(r.learned) > 256 {
		return
	}
	r.lowest = rate
	for k, v := range r.learned {
		if k.iface == 0 && v < r.lowest {
			r.lowest = v
		}
	}
}

// forget drops what was learned and returns how much.
func (r *rates) forget() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.learned)
	r.learned, r.lowest = nil, 0
	r.known.Store(0)
	return n
}

// RateRevision changes whenever what Rate returned before may be stale for
// the same arguments, and every 10 seconds or so, for the table: Rate sees
// which rates are still applied.
func (e *Exporter) RateRevision() uint32 { return e.rates.revision.Load() }
