package pipeline

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, 60 * time.Millisecond, time.Hour} {
		h.observe(d)
	}
	got := map[string]float64{}
	for _, m := range h.metrics("x_seconds", nil) {
		got[m.Name] = m.Value
	}
	for name, want := range map[string]float64{
		"x_seconds_bucket:le=0.0001": 2, "x_seconds_bucket:le=0.001": 3, "x_seconds_bucket:le=0.05": 3, "x_seconds_bucket:le=0.075": 4,
		"x_seconds_bucket:le=10": 4, "x_seconds_bucket:le=+Inf": 5, "x_seconds_count": 5, "x_seconds_sum": 3600.061,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
