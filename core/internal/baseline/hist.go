package baseline

import (
	"cmp"
	"math"
	"slices"
)

// perOctave is how many buckets a doubling has: a bucket is 9.1 % wide.
const perOctave = 8

// largest bounds what is told apart: 2⁴⁵ a second.
const largest = 45 * perOctave

// Hist is the distribution of a rate: how often it was how large, in buckets
// that grow with it. Only buckets that were met take memory, 8 octets each.
type Hist struct {
	buckets []bucket // by at
	n       uint64
	max     float64
}

// bucket holds the values above the edge before its own, up to it.
type bucket struct {
	at uint16 // its edge is 2^(at ÷ perOctave); 0: below 1
	n  uint32
}

// edge is the largest value of a bucket.
func edge(at uint16) float64 { return math.Exp2(float64(at) / perOctave) }

func bucketOf(v float64) uint16 {
	if !(v > 1) {
		return 0
	}
	return uint16(min(math.Ceil(math.Log2(v)*perOctave-1e-9), largest))
}

// Add counts a value once.
func (h *Hist) Add(v float64) { h.add(bucketOf(v), 1, v) }

func (h *Hist) add(at uint16, n uint32, largest float64) {
	h.n += uint64(n)
	h.max = max(h.max, largest)
	i, ok := slices.BinarySearchFunc(h.buckets, at, func(b bucket, at uint16) int { return cmp.Compare(b.at, at) })
	if !ok {
		h.buckets = slices.Insert(h.buckets, i, bucket{at: at})
	}
	if b := &h.buckets[i]; b.n < math.MaxUint32-n {
		b.n += n
	}
}

// Merge adds what another distribution holds.
func (h *Hist) Merge(o *Hist) {
	for _, b := range o.buckets {
		h.add(b.at, b.n, 0)
	}
	h.max = max(h.max, o.max)
}

// N is how many values there are.
func (h *Hist) N() uint64 { return h.n }

// Max is the largest value.
func (h *Hist) Max() float64 { return h.max }

// Quantile is a value that the share q of all does not exceed: the edge of its
// bucket, up to 9.1 % above it. Of too few values it is the largest.
func (h *Hist) Quantile(q float64) float64 {
	want := uint64(math.Ceil(q * float64(h.n)))
	var seen uint64
	for _, b := range h.buckets {
		if seen += uint64(b.n); seen >= want {
			return min(edge(b.at), h.max)
		}
	}
	return h.max
}

// Above is how many values exceed v. Values of v's own bucket do not count,
// unless the largest tells that there is one.
func (h *Hist) Above(v float64) (n uint64) {
	if h.max <= v {
		return 0
	}
	at := bucketOf(v)
	for _, b := range h.buckets {
		if b.at > at {
			n += uint64(b.n)
		}
	}
	return max(n, 1)
}
