package pipeline

import (
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// bounds are the upper bounds of the buckets of every histogram.
var bounds = [...]time.Duration{
	100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	75 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 10 * time.Second,
}

// histogram counts durations; the loop's goroutine owns it.
type histogram struct {
	buckets [len(bounds) + 1]uint64
	sum     time.Duration
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i]++
	h.sum += max(d, 0)
}

// metrics appends the histogram under a name, as exporters expect it:
// cumulative buckets, sum and count, in seconds.
func (h *histogram) metrics(name string, to []sdk.Metric) []sdk.Metric {
	total := uint64(0)
	for i, n := range h.buckets {
		total += n
		le := "+Inf"
		if i < len(bounds) {
			le = fmt.Sprintf("%g", bounds[i].Seconds())
		}
		to = append(to, sdk.Metric{Name: name + "_bucket:le=" + le, Value: float64(total)})
	}
	return append(to, sdk.Metric{Name: name + "_sum", Value: h.sum.Seconds()}, sdk.Metric{Name: name + "_count", Value: float64(total)})
}
