package engine

import (
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// sampledRun sends samples of one packet each at a rate and returns the first
// crossing and the number of samples it took.
func sampledRun(t *testing.T, l Limit, sampling uint32, perSecond float64, size uint64, dur time.Duration) (c []Crossing, samples int) {
	t.Helper()
	e := newEngine(t, Options{}, testPlan(1, l))
	f := newFeeder(t, e, 1)
	due := 0.0
	for end := origin + 50*ms; end <= origin+int64(dur); end += 50 * ms {
		due += perSecond * 0.05
		var ds []ring.Delta
		if n := int(due); n > 0 {
			due -= float64(n)
			samples += n
			d := hostDelta(1, false, 50, uint64(n)*uint64(sampling), uint64(n)*uint64(sampling)*size)
			d.Sampling, d.Samples = sampling, uint32(n)
			d.CounterPackets[ring.CounterUDP], d.CounterBytes[ring.CounterUDP] = uint32(d.Packets), uint32(d.Bytes)
			u := d
			u.Kind, u.ID = ring.KindCounter, 3
			ds = append(ds, d, u)
		}
		f.flush(end, ds...)
		if c = e.Crossings(); len(c) > 0 {
			return c, samples
		}
	}
	return nil, samples
}

// No decision on fewer than 30 raw samples, whatever the rule and the counter.
func TestSampledNeedsSamples(t *testing.T) {
	const s = 4096
	for name, l := range map[string]Limit{
		"pps":      {ID: 1, Value: 20000, Rules: DefaultRules()},
		"bps":      {ID: 1, Unit: ByteRate, Value: 20000 * 500, Rules: DefaultRules()},
		"udp":      {ID: 1, Counter: 1 + ring.CounterUDP, Value: 20000, Rules: DefaultRules()},
		"user":     {ID: 1, Counter: FirstUser + 3, Value: 20000, Rules: DefaultRules()},
		"user bps": {ID: 1, Counter: FirstUser + 3, Unit: ByteRate, Value: 20000 * 500, Rules: DefaultRules()},
	} {
		for _, multiple := range []float64{1.3, 2, 10, 50} {
			c, n := sampledRun(t, l, s, multiple*20000/s, 500, 2*time.Minute)
			if len(c) != 1 || n < minSamples {
				t.Errorf("%s at %g × the limit: fired %v after %d samples", name, multiple, c, n)
				continue
			}
			// 30 samples of 4096 packets are 123k packets; 1.3 × 20000/s
			// bring the slow average over the limit after 44 s.
			if bound := map[float64]int{1.3: 330, 2: 210, 10: 60, 50: 60}[multiple]; n > bound {
				t.Errorf("%s at %g × the limit took %d samples by %v over %v", name, multiple, n, c[0].Rule, c[0].Window)
			}
		}
	}
	// One sample in a while is a rate above a small limit, but never 30 samples.
	if c, _ := sampledRun(t, Limit{ID: 1, Value: 100, Rules: DefaultRules()}, s, 0.5, 500, 5*time.Minute); len(c) != 0 {
		t.Errorf("fired on a sample every two seconds: %+v", c)
	}
	// The wider window decides where the average's own holds too few.
	c, n := sampledRun(t, Limit{ID: 1, Value: 4000}, s, 2, 500, 5*time.Minute)
	if len(c) != 1 || c[0].Window != slowTau || n < minSamples {
		t.Errorf("8192/s against 4000 at two samples a second: %+v after %d samples", c, n)
	}
}

// Unsampled sources pay nothing for it.
func TestUnsampledHasNoExtras(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, 20000)))
	f := newFeeder(t, e, 1)
	for i := range int64(100) {
		f.flush(origin+i*50*ms, hostDelta(1, false, 50, 100, 100))
	}
	d := hostDelta(2, false, 50, 4096*10, 4096*900)
	d.Sampling = 4096
	f.flush(origin+6000*ms, d)
	if s := e.Stats(); s.Extras != 2 {
		t.Fatalf("%d extras, want the slow average and the ticks of the sampled host", s.Extras)
	}
}

// User counters have averages and bursts of their own.
func TestUserCounter(t *testing.T) {
	for _, six := range []bool{false, true} {
		l := Limit{ID: 9, Direction: ring.Outgoing, Counter: FirstUser + 5, Value: 1000, Rules: DefaultRules()}
		e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, 1e6), l))
		f := newFeeder(t, e, 1)
		var at int64
		for i := int64(1); i <= 20 && at == 0; i++ {
			d := hostDelta(1, six, 50, 500, 500)
			d.Direction = ring.Outgoing
			c := d
			c.Kind, c.ID, c.Packets = ring.KindCounter, 5, 150 // 3 × the limit and a little
			c.CounterPackets = [ring.BuiltinCounters]uint32{}
			other := c
			other.ID, other.Packets = 6, 1e6
			c.Packets = 155
			f.flush(origin+i*50*ms, c, d, other)
			for _, x := range e.Crossings() {
				if x.Limit.ID != 9 || x.Direction != ring.Outgoing || x.Rule != (Rule{4, 3}) {
					t.Fatalf("%+v", x)
				}
				at = x.At
			}
		}
		if at != origin+8*50*ms {
			t.Fatalf("fired at %v, want 400ms", time.Duration(at-origin))
		}
		lv, ok := e.Level(1, 9, 0.75, at)
		if !ok || lv.Limit != 1000 || lv.Value < 200 || lv.Value > 260 {
			t.Fatalf("%+v", lv)
		}
	}
}

// One high rate is not believed for ever: what is unsampled from then on is
// seen as such within a minute, and a rate that stays is kept.
func TestSamplingAges(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(7, 1000)))
	f := newFeeder(t, e, 1)
	wild := hostDelta(5, false, 50, 1, 100)
	wild.Sampling = 1 << 31
	f.flush(origin, wild)
	var at int64
	for s := int64(1); s <= 120*20 && at == 0; s++ {
		steady := hostDelta(6, false, 50, 100, 100)
		steady.Sampling = 1 + uint32(s%400/399)*999 // a sampled record every 20 s
		f.flush(origin+s*step, hostDelta(5, false, 50, 100, 10000), steady)
		if r, _ := e.Rates(hostPrefix(6, false), e.Clock()); s >= 400 && r.Sampling[0] != 1000 {
			t.Fatalf("sampling rate %d at step %d", r.Sampling[0], s)
		}
		for _, c := range e.Crossings() {
			if c.Target == hostPrefix(5, false) {
				at = c.At
			}
		}
	}
	if at == 0 || at > origin+61*int64(time.Second) {
		t.Errorf("twice the limit fired after %v", time.Duration(at-origin))
	}
}

func TestSamplingCode(t *testing.T) {
	last := sampling(0)
	for rate := uint32(0); rate < 1<<21; rate += 1 + rate/5000 {
		c := encodeSampling(rate)
		got := decodeSampling(c)
		want := max(min(rate, maxSampling), 1)
		if c < last || c > samplingCode || got < want || float64(got) > float64(want)*1.001 || rate < 2048 && got != want {
			t.Fatalf("%d became %d by code %d, after %d", rate, got, c, last)
		}
		last = c
	}
	for _, rate := range []uint32{4096, 10000, 32768, 40000, 1 << 20} {
		if got := decodeSampling(encodeSampling(rate)); got != rate {
			t.Errorf("%d became %d", rate, got)
		}
	}
	if got := decodeSampling(encodeSampling(1<<32 - 1)); got != maxSampling {
		t.Errorf("the largest rate became %d", got)
	}
}
