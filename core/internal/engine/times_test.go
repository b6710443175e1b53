package engine

import (
	"math"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// detectionTime applies a step from background to background + attack, both
// multiples of the limit, that starts phase after a tick's start, and returns
// how long after it the limit fires.
func detectionTime(t *testing.T, six bool, background, attack float64, phase time.Duration) (time.Duration, Rule) {
	t.Helper()
	const limit = 20000
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, limit)))
	f := newFeeder(t, e, 1)
	start := origin + 40*int64(time.Second) + int64(phase)
	sent := func(at int64) float64 {
		return limit * (background*float64(at-origin) + attack*math.Max(0, float64(at-start))) / 1e9
	}
	from := origin
	if background == 0 {
		from = start - start%(50*ms)
	}
	for end := from + 50*ms; end < start+20*int64(time.Second); end += 50 * ms {
		n := uint64(sent(end)) - uint64(sent(end-50*ms))
		var ds []ring.Delta
		if n > 0 {
			ds = append(ds, hostDelta(1, six, 50, n, n*100))
		}
		f.flush(end, ds...)
		if c := e.Crossings(); len(c) > 0 {
			if c[0].At != end || end <= start {
				t.Fatalf("fired at %d, window end %d, attack from %d", c[0].At, end, start)
			}
			return time.Duration(end - start), c[0].Rule
		}
	}
	t.Fatalf("%g × the limit was never seen", attack)
	return 0, Rule{}
}

// Detection times of the design, on the stream's clock, for every phase.
func TestDetectionTimes(t *testing.T) {
	for _, c := range []struct {
		attack, background float64
		within             time.Duration
	}{
		{20, 0, 350 * time.Millisecond},
		{10, 0, 400 * time.Millisecond},
		{4, 0, 600 * time.Millisecond},
		{2, 0.3, 950 * time.Millisecond},
		{1.5, 0.3, 950 * time.Millisecond},
	} {
		var worst time.Duration
		best := time.Hour
		var rule Rule
		for phase := time.Duration(0); phase < 100*time.Millisecond; phase += 5 * time.Millisecond {
			for _, six := range []bool{false, true} {
				d, r := detectionTime(t, six, c.background, c.attack, phase)
				best = min(best, d)
				if d > worst {
					worst, rule = d, r
				}
			}
		}
		t.Logf("%4g × the limit on %.1f ×: %v to %v (worst by %v), bar %v", c.attack, c.background, best, worst, rule, c.within)
		if worst > c.within {
			t.Errorf("%g × the limit took %v, the bar is %v", c.attack, worst, c.within)
		}
	}
}

// A steady rate just below the limit never fires, above it the average does.
func TestAverageAlone(t *testing.T) {
	for _, factor := range []float64{0.98, 1.05} {
		d := testPlan(1, Limit{ID: 1, Value: 1000})
		e := newEngine(t, Options{}, d)
		f := newFeeder(t, e, 1)
		fired := 0
		for i := range int64(60 * 20) {
			f.flush(origin+i*50*ms, hostDelta(3, false, 50, uint64(1000*factor*0.05), 100))
			fired += len(e.Crossings())
		}
		if want := map[bool]int{true: 1}[factor > 1]; fired != want {
			t.Errorf("%g × the limit fired %d times, want %d", factor, fired, want)
		}
	}
}
