package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// source is what one worker keeps of one exporter: which templates it has
// announced, and what holds for the message at hand.
type source struct {
	e   *exporter.Exporter
	dom *domain

	base     traffic.Record // of the message: what all its records share. Sampling is 0 until sample is called
	sampler  uint64         // whose rate base has, 0 of none
	filtered bool           // records may be unwanted
	forced   bool           // of the set: all records are odd
	export   int64          // when the message was exported, Unix milliseconds
	uptime   uint32         // milliseconds for which the exporter was up then
	boot     int64          // when it booted, Unix milliseconds; 0 unknown

	revision uint32                 // of the cached rates
	rates    *[rateSlots]cachedRate // of exporters with samplers or rates for interfaces
	usual    uint32                 // rate of records that name neither; 0: to be asked for

	pending  bool   // IPFIX: how many records the last message had is not known
	sequence uint32 // of that message
	late     uint32 // milliseconds for which the records have been held, 0 usually
	long     uint32 // flows of at least so many milliseconds are looked at: see instantMs
}

// rateSlots is a power of two.
const rateSlots = 64

// cachedRate is the rate of one sampler and interface.
type cachedRate struct {
	sampler uint64
	iface   uint32
	rate    uint32 // 0: empty
}

// instantMs is the longest duration that counts at once. Such flows are not
// smeared, and the exporter's statistics need the times of but a few of them.
const instantMs = 1000

// begin prepares for a message.
func (s *source) begin(export int64, uptime uint32) {
	if rev := s.e.RateRevision(); rev != s.revision {
		s.revision, s.usual = rev, 0
		if s.rates != nil {
			clear(s.rates[:])
		}
	}
	s.export, s.uptime = export, uptime
	s.base.Sampling, s.sampler = s.usual, 0
	s.long = instantMs + 1
	if s.late != 0 {
		s.long = 0
	}
	s.filtered = s.e.Filtered() || s.e.Deduplicated()
}

// sample settles the sampling rate of records that neither tell one nor name a
// sampler or an interface. It is not known before the first such record: the
// options that tell it may stand in the same message. inHeader is the rate that
// the message's header tells, 0 if none.
func (s *source) sample(inHeader uint32) {
	if inHeader != 0 {
		s.base.Sampling = s.e.Rate(0, 0, inHeader)
		return
	}
	s.base.Sampling = s.unnamed()
}

// unnamed is the rate of records that name no sampler.
func (s *source) unnamed() uint32 {
	if s.usual == 0 {
		s.usual = s.e.Rate(0, 0, 0)
	}
	return s.usual
}

// switchSampler makes the rate of a sampler, 0 of none, that of the records
// that follow.
func (s *source) switchSampler(sampler uint64) {
	if s.sampler = sampler; sampler == 0 {
		s.base.Sampling = s.unnamed()
		return
	}
	s.base.Sampling = s.rateOf(sampler, 0)
}

// rateOf is the rate of a sampler and an interface.
func (s *source) rateOf(sampler uint64, iface uint32) uint32 {
	if s.rates == nil {
		s.rates = new([rateSlots]cachedRate)
	}
	c := &s.rates[(sampler^uint64(iface))%rateSlots]
	if c.rate == 0 || c.sampler != sampler || c.iface != iface {
		*c = cachedRate{sampler, iface, s.e.Rate(sampler, iface, 0)}
	}
	return c.rate
}

// lateSpread is over how many seconds records count that were held for longer.
const lateSpread = 2

// flow tells an exporter's statistics of a flow's times, in Unix milliseconds,
// and returns its duration and how long it is spread.
//
// Records that were held come in a lump: if they counted at once they would
// read as a rate that never was. Each adds its average over the time for which
// they were held instead, and what is left goes to the totals.
func (s *source) flow(start, end int64) (durationMs uint32, spread uint8) {
	durationMs, spread = s.e.Flow(start, end, s.export)
	if s.late > durationMs {
		return s.late, lateSpread
	}
	return durationMs, spread
}
