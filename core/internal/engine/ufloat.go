package engine

import "math"

// ufloat is a non-negative number in 32 bits: 6 bits of exponent, 26 of
// mantissa, from 2⁻²⁰ to 2⁴⁴. It is eight times as fine as a float32, which
// keeps sums of thousands of deltas within 1e-6 in any order. Its order is
// that of its bits. Zero is zero; what is too small becomes zero, what is too
// large stays at the top.
type ufloat uint32

const (
	ufloatBias = uint64(1023-20) << 26
	ufloatMax  = ufloat(math.MaxUint32)
)

// f returns the value.
func (u ufloat) f() float64 {
	if u == 0 {
		return 0
	}
	return math.Float64frombits((uint64(u) + ufloatBias) << 26)
}

// toUfloat rounds x, which must not be negative or NaN, to the nearest ufloat.
func toUfloat(x float64) ufloat {
	return clampUfloat((math.Float64bits(x) + 1<<25) >> 26)
}

// floorUfloat rounds x down, so that a ufloat is above x exactly when it is
// above floorUfloat(x).
func floorUfloat(x float64) ufloat {
	return clampUfloat(math.Float64bits(x) >> 26)
}

func clampUfloat(b uint64) ufloat {
	if b <= ufloatBias {
		return 0
	}
	b -= ufloatBias
	if b > math.MaxUint32 {
		return ufloatMax
	}
	return ufloat(b)
}

// decayAdd returns u × decay + v × term. The conversions keep the compiler
// from fusing the operations, so that every architecture gives the same bits.
func (u ufloat) decayAdd(decay, v, term float64) ufloat {
	return toUfloat(float64(u.f()*decay) + float64(v*term))
}
