package main

// A worker keeps state for each data source: of an exporter, what its samples
// are numbered by (an interface, usually). It is a cache of fixed size, so
// that whoever invents sources gains nothing: what falls out begins anew, and
// no sample is lost with it.
const (
	sourceSets = 1 << 13
	sourceWays = 4
)

// source is the state of one data source.
type source struct {
	sampler  uint64 // the data source, as in sample
	exporter uint32 // index; 0 the entry is free
	used     uint32 // the cache's clock when it was used last

	rate     uint32 // that its last sample told
	applied  uint32 // that stands for it
	revision uint32 // of the exporter's rates at that time

	// The numbers expected next, and the count of drops told last. Where a
	// device samples a port both ways it may number each apart under the same
	// data source: other are those of the direction that is not under way.
	expected
	other   expected
	suspect lapse // taken for missing and dropped at the last step, which may have been one to the other direction
}

type expected struct {
	next, drops uint32
	from, pool  uint32 // number and pool of the sample from which on the pool is compared with the rate
}

type lapse struct{ missing, dropped int32 }

// discards marks the sampler of drop notices, which are numbered apart.
const discards = 1 << 63

// sources is a set-associative cache.
type sources struct {
	entries []source
	clock   uint32
}

func newSources() sources { return sources{entries: make([]source, sourceSets*sourceWays)} }

// find returns the entry of an exporter's data source. fresh says that it
// knows nothing yet.
func (c *sources) find(exporter uint32, sampler uint64) (e *source, fresh bool) {
	h := (sampler ^ uint64(exporter)<<40) * 0x9e3779b97f4a7c15
	set := (*[sourceWays]source)(c.entries[h>>51*sourceWays:])
	c.clock++
	for i := range set {
		if e := &set[i]; e.sampler == sampler && e.exporter == exporter {
			e.used = c.clock
			return e, false
		}
	}
	oldest := &set[0]
	for i := range set {
		if e := &set[i]; c.clock-e.used > c.clock-oldest.used {
			oldest = e
		}
	}
	*oldest = source{sampler: sampler, exporter: exporter, used: c.clock}
	return oldest, true
}

// Numbers that are further ahead or behind come from a device that has started
// again.
const (
	maxGap  = 1 << 20 // samples, or drops, that may be missing
	maxLate = 1 << 6  // samples by which one may come late: some datagrams' worth
)

// surprise takes the numbers of a sample that are not those expected, into t:
// how many samples are missing before it and how many the device says it has
// dropped since the last. Either is below 0 where that was taken for too many
// before.
func (e *source) surprise(s *sample, fresh bool, t *tally) {
	gap := int32(s.sequence - e.next)
	var step lapse
	switch {
	case fresh:
		e.from, e.pool = s.sequence, s.pool
	case gap != 0 && s.sequence == e.other.next: // the other direction
		t.missing -= int64(e.suspect.missing)
		t.dropped += int64(more(e.other.drops, s.drops)) - int64(e.suspect.dropped)
		e.other, e.expected = e.expected, e.other
	case gap < 0 && gap >= -maxLate:
		t.missing--
		return
	case gap == 0:
		t.dropped += int64(more(e.drops, s.drops))
	case gap > 0 && gap <= maxGap:
		step = lapse{missing: gap, dropped: more(e.drops, s.drops)}
		t.missing += int64(step.missing)
		t.dropped += int64(step.dropped)
		e.other = e.expected
	default:
		e.other = e.expected
		e.from, e.pool = s.sequence, s.pool
	}
	e.suspect = step
	e.next, e.drops = s.sequence+1, s.drops
}

// poolSpan is over how many samples of a source the pool is compared with the
// rate: the share of packets that chance picks is then right to some 6 %.
const poolSpan = 256

// compare takes into t how many packets poolSpan samples and more were chosen
// among. Over much longer ones the numbers may be those of something else.
func (e *source) compare(s *sample, t *tally) {
	samples, packets := s.sequence-e.from, s.pool-e.pool
	e.from, e.pool = s.sequence, s.pool
	if samples < 2*poolSpan && packets > 0 && packets < 1<<31 { // 0: the device does not fill it in
		t.pool.add(pool{samples: uint64(samples), packets: uint64(packets), told: uint64(samples) * uint64(s.rate)})
	}
}

// more is by how much a count of drops has grown.
func more(before, now uint32) int32 {
	if now-before > maxGap {
		return 0
	}
	return int32(now - before)
}
