package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Many hosts are ordered as few are: by value, of any size, and equal ones by
// address.
func TestSnapshotSort(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	values := []float64{math.SmallestNonzeroFloat64, 1e-300, 1, 1, math.Nextafter(1, 2), 1e6, math.MaxFloat64, math.Inf(1)}
	for _, n := range []int{0, 1, radixFrom - 1, radixFrom, 5 * radixFrom} {
		s := &Snapshot{}
		for i := range n {
			h := heapRow{no: uint32(i), hi: rng.Uint64() % 3, lo: rng.Uint64()}
			if h.value = math.Exp(rng.NormFloat64() * 20); i%3 == 0 {
				h.value = values[rng.IntN(len(values))]
			}
			s.heap = append(s.heap, h)
		}
		want := slices.Clone(s.heap)
		slices.SortFunc(want, compareRows)
		if s.Sort(); !slices.Equal(s.heap, want) {
			t.Errorf("%d hosts are in another order", n)
		}
	}
}
