package engine

import "math/bits"

// sampling is the largest sampling rate of a host and direction in the present
// 30 s and in the 30 s before, so that one high rate is not believed for as
// long as there is traffic. It is 0 while both are 1: unsampled. Each takes 15
// bits, the present one below; bit 30 is that of the present window's number,
// which is enough: a row whose last gain is a window ago begins anew.
type sampling uint32

const (
	samplingWindow = 600     // steps
	maxSampling    = 1 << 20 // larger rates are taken for this: no exporter's is, and waiting for its samples would blind a host
	samplingCode   = 1<<15 - 1
)

// see notes a rate at a step, which must not be before that of the last call
// nor more than samplingWindow after it.
func (s sampling) see(at, rate uint32) sampling {
	now, before, odd := s&samplingCode, s>>15&samplingCode, sampling(at/samplingWindow&1)
	if s>>30 != odd {
		now, before = 0, now
	}
	now = max(now, encodeSampling(rate))
	if now|before == 0 {
		return 0
	}
	return odd<<30 | before<<15 | now
}

// rate is the largest rate of both windows, 1 when unsampled.
func (s sampling) rate() uint32 {
	if s == 0 {
		return 1
	}
	return decodeSampling(max(s&samplingCode, s>>15&samplingCode))
}

// encodeSampling keeps eleven bits of a rate and rounds up: codes are in the
// order of rates, and 0 is unsampled.
func encodeSampling(rate uint32) sampling {
	rate = min(rate, maxSampling)
	if rate <= 1 {
		return 0
	}
	drop := max(bits.Len32(rate)-11, 0)
	rate = (rate + 1<<drop - 1) >> drop
	if rate == 1<<11 {
		rate, drop = rate/2, drop+1
	}
	return sampling(uint32(drop)<<11 | rate)
}

func decodeSampling(c sampling) uint32 {
	if c == 0 {
		return 1
	}
	drop := c >> 11
	return uint32(c&(1<<11-1)) << drop
}
