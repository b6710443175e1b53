package exporter

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	maxSpread   = 120     // seconds over which a record counts forward at most (DESIGN: smear)
	longest     = 1 << 31 // milliseconds: no flow lasts longer; half the range of the exporters' 32-bit clocks
	reversedMs  = 1000    // an end that is so little before its start is a clock's jitter
	aheadMs     = 5000    // an end that is more than this after its export is counted as impossible
	plenty      = 4096    // records looked at before only half as many are
	unknownMs   = 60000   // active timeout to assume where nothing is known
	timeBuckets = 96      // four for each doubling of a duration
	confident   = 20      // records near the longest duration that make it the active timeout
)

// times is what an exporter's records tell of its clock and its timeouts. Of
// many records only some are looked at; which, the record's times decide.
type times struct {
	clamped  atomic.Uint64
	skip     atomic.Uint32 // a mask: records whose hash has none of its bits set are looked at
	limit    atomic.Uint32 // seconds: Spread of flows that are longer than maxSpread
	looked   atomic.Uint32 // records looked at in this window
	told     atomic.Uint32 // seconds: active timeout from options; 0 unknown
	observed atomic.Uint32 // milliseconds: active timeout as observed; 0 unknown

	mu        sync.Mutex
	lengths   *lengths // made when the first flow longer than a second comes
	skew      least    // wall clock minus export time, milliseconds: the least is nearest to the truth
	delay     least    // export time minus end of flow
	delays    int64    // sum in this window
	delayed   int64    // of so many
	meanMs    int64    // of the last window with any
	meanKnown bool
}

// least is the minimum of the window under way and of the one before.
type least struct {
	now, before int64
	have, had   bool
}

func (l *least) add(v int64) {
	if !l.have || v < l.now {
		l.now, l.have = v, true
	}
}

func (l *least) rotate() {
	if l.have {
		l.before, l.had, l.have = l.now, true, false
	}
}

func (l *least) get() (int64, bool) {
	if l.had {
		return l.before, true
	}
	return l.now, l.have
}

// lengths counts durations by size; older ones fade.
type lengths struct {
	count [timeBuckets]uint32
	most  [timeBuckets]uint32 // milliseconds
}

func (t *times) init() { t.limit.Store(maxSpread) }

// Flow returns a flow record's duration in milliseconds and Spread for
// traffic.Record. The arguments are Unix milliseconds: when the flow's first
// and last packet were seen and when the record was exported; start and end
// are both 0 where the record does not tell, and its duration is then 0. Pass
// differences of 32-bit clocks as they are: a clock that wrapped between first
// and last is the caller's to put right.
//
// Impossible times are counted. A flow of 2³¹ ms and longer, or one that ends
// a second and more before it begins, is taken for one of 2³¹-1 ms: its volume
// is counted in the totals and raises no rate. One that ends less than a
// second before it begins is taken for one of the active timeout.
//
// Spread is the duration in whole seconds, up to 120; of a longer flow it is no
// more than the exporter's active timeout and 120. A timeout that was observed
// bounds no shorter flow: where few of an exporter's flows are long it is too
// low, and those few would count in a part of their time only. Fast: it is
// called for each record.
func (e *Exporter) Flow(startMs, endMs, exportMs int64) (durationMs uint32, spread uint8) {
	t := &e.times
	d := endMs - startMs
	if uint64(d) >= longest {
		d = t.impossible(d)
		e.warn(causeTimes, "a flow's times are impossible", nil)
	}
	if uint32(uint64(endMs)*0x9e3779b97f4a7c15>>40)&t.skip.Load() == 0 && endMs != 0 {
		t.look(d, endMs, exportMs, e.set.wall())
	}
	switch {
	case d <= 1000:
		return uint32(d), 0
	case d <= maxSpread*1000:
		return uint32(d), uint8(uint32(d+999) / 1000)
	}
	return uint32(d), uint8(t.limit.Load())
}

// impossible clamps a duration and counts it.
func (t *times) impossible(d int64) int64 {
	t.clamped.Add(1)
	if d <= -reversedMs || d > 0 {
		return longest - 1
	}
	if ms := t.timeout(); ms > 0 {
		return int64(ms)
	}
	return unknownMs
}

// timeout is the active timeout in milliseconds; 0 unknown.
func (t *times) timeout() uint32 {
	if s := t.told.Load(); s > 0 {
		return s * 1000
	}
	return t.observed.Load()
}

// look learns from a record.
func (t *times) look(d, endMs, exportMs, wall int64) {
	if t.looked.Add(1)%plenty == 0 {
		t.skip.Store((t.skip.Load()<<1 | 1) & (1<<20 - 1))
	}
	delay := exportMs - endMs
	if delay < -aheadMs {
		t.clamped.Add(1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skew.add(wall/1e6 - exportMs)
	if delay >= 0 && delay < longest {
		t.delay.add(delay)
		t.delays += delay
		t.delayed++
	}
	if d < 1000 || d >= longest-1 {
		return
	}
	if t.lengths == nil {
		t.lengths = &lengths{}
	}
	b := bucket(uint32(d))
	t.lengths.count[b] += 256
	t.lengths.most[b] = max(t.lengths.most[b], uint32(d))
}

// bucket is four times the logarithm of a duration in milliseconds, about.
func bucket(ms uint32) int {
	n := bits.Len32(ms)
	return (n-10)*4 + int(ms>>(n-3)&3)
}

// rotate ends a window.
func (t *times) rotate() {
	if t.looked.Swap(0) < plenty/4 {
		t.skip.Store(t.skip.Load() >> 1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skew.rotate()
	t.delay.rotate()
	if t.delayed > 0 {
		t.meanMs, t.meanKnown = t.delays/t.delayed, true
	}
	t.delays, t.delayed = 0, 0
	if t.lengths != nil {
		t.observed.Store(t.lengths.timeout())
		t.lengths.fade()
	}
	t.bound()
}

// bound sets the limit of Spread for the longest flows.
func (t *times) bound() {
	limit := uint32(maxSpread)
	if ms := t.timeout(); ms > 0 {
		limit = max(2, min(limit, (ms+999)/1000))
	}
	t.limit.Store(limit)
}

// timeout finds the duration at which long flows are cut: the longest that
// more than single records have. 0 while there are too few to tell.
func (l *lengths) timeout() uint32 {
	var total uint64
	for _, n := range l.count {
		total += uint64(n)
	}
	var above uint64
	for b := timeBuckets - 1; b >= 0; b-- {
		above += uint64(l.count[b])
		if above >= confident*256 && above*200 >= total { // half a percent
			return l.most[b]
		}
	}
	return 0
}

// fade lets a count halve in about ten minutes.
func (l *lengths) fade() {
	for b, n := range l.count {
		if n -= n >> 6; n < 64 {
			n, l.most[b] = 0, 0
		}
		l.count[b] = n
	}
}

// LearnTimeout takes the active timeout that the exporter's options tell, in
// seconds (IPFIX element 36).
func (e *Exporter) LearnTimeout(seconds uint32) {
	if seconds == 0 || seconds > 7*24*3600 {
		return
	}
	t := &e.times
	if t.told.Swap(seconds) == seconds {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bound()
}
