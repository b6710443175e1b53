package traffic

import (
	"math"
	"testing"
)

func TestRescale(t *testing.T) {
	for _, c := range []struct {
		packets, bytes uint64
		from, to       uint32
		want           [2]uint64
	}{
		{100, 6000, 100, 1000, [2]uint64{1000, 60000}},
		{100, 6000, 100, 1, [2]uint64{1, 60}},
		{1, 60, 0, 4096, [2]uint64{4096, 245760}},
		{5, 7, 3, 2, [2]uint64{3, 4}},
		{math.MaxUint64, 1 << 40, 1, math.MaxUint32, [2]uint64{math.MaxUint64, math.MaxUint64}},
		{7, 8, 9, 0, [2]uint64{0, 0}},
	} {
		r := Record{Packets: c.packets, Bytes: c.bytes, Sampling: c.from}
		if r.Rescale(c.to); r.Packets != c.want[0] || r.Bytes != c.want[1] || r.Sampling != c.to {
			t.Errorf("%+v: %d packets, %d octets at %d", c, r.Packets, r.Bytes, r.Sampling)
		}
	}
}
