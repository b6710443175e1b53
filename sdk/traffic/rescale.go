package traffic

import (
	"math"
	"math/bits"
)

// Rescale makes a record one that was sampled at another rate: its packets and
// octets become as many more or fewer. A rate of 0 means 1.
func (r *Record) Rescale(rate uint32) {
	from, to := uint64(max(r.Sampling, 1)), uint64(max(rate, 1))
	r.Packets, r.Bytes = scaled(r.Packets, from, to), scaled(r.Bytes, from, to)
	r.Sampling = rate
}

// scaled is n × to ÷ from, cut off, at most the largest number.
func scaled(n, from, to uint64) uint64 {
	hi, lo := bits.Mul64(n, to)
	if hi >= from {
		return math.MaxUint64
	}
	out, _ := bits.Div64(hi, lo, from)
	return out
}
