package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// sent is one delta as the oracle sees it: every packet, in float64, with no
// table and no lazy state.
type sent struct {
	end int64
	d   ring.Delta
}

type flushPlan struct {
	ring int
	end  int64
	due  int64 // delivered in this order: end plus lateness
	ds   []ring.Delta
}

const oracleHosts = 24

// randomFlushes makes flushes of several rings over some seconds, each up to
// late milliseconds behind the others.
func randomFlushes(rng *rand.Rand, rings, steps int, late int64, limit float64) []flushPlan {
	var all []flushPlan
	level := make([]float64, oracleHosts) // current multiple of the limit
	for s := 1; s <= steps; s++ {
		end := origin + int64(s)*50*ms
		for h := range level {
			if rng.IntN(8) == 0 {
				level[h] = []float64{0, 0, 0.4, 1.2, 1.7, 2, 3.5, 9, 12}[rng.IntN(9)]
			}
		}
		for r := range rings {
			f := flushPlan{ring: r, end: end}
			for h := range level {
				if rng.IntN(10) == 0 || level[h] == 0 {
					continue
				}
				span := []uint32{50, 50, 50, 50, 100, 100, 200, 1000}[rng.IntN(8)]
				n := level[h] * limit * float64(span) / 1000 / float64(rings) * (0.8 + 0.4*rng.Float64())
				f.ds = append(f.ds, randomDelta(rng, uint32(h), span, uint64(n)+1))
			}
			all = append(all, f)
		}
	}
	due := make([]int64, rings)
	for i := range all {
		f := &all[i]
		f.due = max(due[f.ring], f.end+int64(rng.IntN(int(late/50)+1))*50*ms)
		due[f.ring] = f.due
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.due != b.due {
			return a.due < b.due
		}
		return a.ring == b.ring && a.end < b.end
	})
	return inRingOrder(all)
}

// inRingOrder keeps the rings' order of delivery but gives each its flushes in
// the order of their windows.
func inRingOrder(all []flushPlan) []flushPlan {
	byRing := map[int][]flushPlan{}
	for _, f := range all {
		byRing[f.ring] = append(byRing[f.ring], f)
	}
	for _, fs := range byRing {
		sort.SliceStable(fs, func(i, j int) bool { return fs[i].end < fs[j].end })
	}
	out := make([]flushPlan, 0, len(all))
	for _, f := range all {
		out = append(out, byRing[f.ring][0])
		byRing[f.ring] = byRing[f.ring][1:]
	}
	return out
}

func randomDelta(rng *rand.Rand, h, span uint32, packets uint64) ring.Delta {
	d := hostDelta(h, h%2 == 1, span, packets, packets*uint64(60+rng.IntN(1400)))
	d.Direction = ring.Direction(h / 2 % 2)
	for c := range d.CounterPackets {
		d.CounterPackets[c] = uint32(rng.Uint64N(packets + 1))
		d.CounterBytes[c] = uint32(rng.Uint64N(d.Bytes + 1))
	}
	d.Flows = uint32(rng.IntN(50))
	if rng.IntN(12) == 0 {
		d.Flags |= ring.FlagSmeared
	}
	return d
}

func value(d *ring.Delta, counter uint16, u Unit) float64 {
	switch {
	case u == FlowRate:
		return float64(d.Flows)
	case counter == 0 && u == PacketRate:
		return float64(d.Packets)
	case counter == 0:
		return float64(d.Bytes)
	case u == PacketRate:
		return float64(d.CounterPackets[counter-1])
	}
	return float64(d.CounterBytes[counter-1])
}

// oracleRate is the definition of the average, delta by delta.
func oracleRate(list []sent, counter uint16, u Unit, tau float64, at int64) float64 {
	sum := 0.0
	for _, s := range list {
		span := float64(s.d.SpanMs) / 1000
		sum += value(&s.d, counter, u) / span * (1 - math.Exp(-span/tau)) * math.Exp(-float64(at-s.end)/1e9/tau)
	}
	return sum
}

// oracleBurst tells which burst rules hold somewhere, from whole ticks.
func oracleBurst(list []sent, l Limit) map[Rule]bool {
	sums := map[int64]float64{}
	for _, s := range list {
		from := s.end - int64(s.d.SpanMs)*ms
		if first, last := from/(100*ms), (s.end-1)/(100*ms); first == last && s.d.Flags&ring.FlagSmeared == 0 {
			sums[first] += value(&s.d, l.Counter, l.Unit)
		}
	}
	out := map[Rule]bool{}
	for _, r := range l.Rules {
		for t := range sums {
			all := true
			for k := range int64(r.Ticks) {
				all = all && sums[t+k] > r.Factor*l.Value*0.1
			}
			if all {
				out[r] = true
			}
		}
	}
	return out
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*math.Max(want, 1) {
		t.Fatalf("%s: got %.9g, the oracle has %.9g", what, got, want)
	}
}

// oracleLimits has more burst limits than a row has room for.
func oracleLimits() []Limit {
	var out []Limit
	for dir := range ring.Direction(2) {
		for i, l := range []Limit{
			{Counter: 0, Unit: PacketRate, Value: 2000},
			{Counter: 0, Unit: ByteRate, Value: 1.6e6},
			{Counter: 1, Unit: PacketRate, Value: 1500},
			{Counter: 2, Unit: ByteRate, Value: 1e6},
			{Counter: 4, Unit: PacketRate, Value: 1800},
			{Counter: 5, Unit: ByteRate, Value: 2e6},
			{Counter: 0, Unit: PacketRate, Value: 3000},
		} {
			l.ID, l.Direction, l.Rules = uint32(i+1)+uint32(dir)*100, dir, DefaultRules()
			out = append(out, l)
		}
	}
	return out
}

// runOracle feeds flushes to an engine and compares all rates, totals and
// burst decisions with the oracle's.
func runOracle(t *testing.T, flushes []flushPlan, rings int, tau time.Duration, limits []Limit, decisions bool) *Engine {
	t.Helper()
	p := testPlan(1, limits...)
	p.Groups[0].Tau = tau
	e := newEngine(t, Options{Seed: 5}, p)
	feeders := make([]*feeder, rings)
	for i := range feeders {
		feeders[i] = newFeeder(t, e, 1)
	}
	lists := map[uint32][]sent{}
	var packets, bytes uint64
	for _, f := range flushes {
		feeders[f.ring].flush(f.end, f.ds...)
		for _, d := range f.ds {
			for h := range uint32(oracleHosts) {
				if d.Addr == host(h, h%2 == 1) {
					lists[h] = append(lists[h], sent{f.end, d})
				}
			}
			packets += d.Packets
			bytes += d.Bytes
		}
	}
	at := e.Clock() + 450*ms
	for h, list := range lists {
		got, ok := e.Rates(hostPrefix(h, h%2 == 1), at)
		if !ok {
			t.Fatalf("host %d has no row", h)
		}
		dir := h / 2 % 2
		for c := range uint16(Counters) {
			near(t, fmt.Sprintf("host %d counter %d pps", h, c), got.Dir[dir].Packets[c], oracleRate(list, c, PacketRate, tau.Seconds(), at))
			near(t, fmt.Sprintf("host %d counter %d Bps", h, c), got.Dir[dir].Bytes[c], oracleRate(list, c, ByteRate, tau.Seconds(), at))
		}
		near(t, "flows", got.Dir[dir].Flows, oracleRate(list, 0, FlowRate, tau.Seconds(), at))
	}
	var gp, gb uint64
	for _, x := range e.Totals() {
		gp += x.Packets[0]
		gb += x.Bytes[0]
	}
	if gp != packets || gb != bytes {
		t.Fatalf("totals %d packets %d bytes, want %d and %d", gp, gb, packets, bytes)
	}
	if decisions {
		checkDecisions(t, e, lists, limits)
	}
	return e
}

func checkDecisions(t *testing.T, e *Engine, lists map[uint32][]sent, limits []Limit) {
	t.Helper()
	type key struct {
		target string
		id     uint32
	}
	got := map[key]Rule{}
	for _, c := range e.Crossings() {
		k := key{c.Target.String(), c.Limit.ID}
		if _, twice := got[k]; twice {
			t.Fatalf("%v reported twice", k)
		}
		got[k] = c.Rule
	}
	held := 0
	for h, list := range lists {
		for _, l := range limits {
			if uint32(l.Direction) != h/2%2 {
				continue
			}
			k := key{hostPrefix(h, h%2 == 1).String(), l.ID}
			want := oracleBurst(list, l)
			rule, fired := got[k]
			if fired != (len(want) > 0) || fired && !want[rule] {
				t.Fatalf("%v: fired %v by %v, the oracle says %v", k, fired, rule, want)
			}
			if fired {
				held++
			}
		}
	}
	if held == 0 || held == len(lists)*len(limits)/2 {
		t.Fatalf("%d decisions of %d: the input decides nothing", held, len(lists)*len(limits)/2)
	}
}

// The averages do not depend on rings or order, and are the oracle's.
func TestRatesAgainstOracle(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rings := 1 + int(seed%5)
		late := int64(150)
		if seed%3 == 2 {
			late = 1000
		}
		runOracle(t, randomFlushes(rng, rings, 200, late, 2000), rings, 5*time.Second, nil, false)
	}
}

// Burst decisions are the oracle's while nothing is later than 150 ms. The
// average time is so long that no average fires.
func TestBurstsAgainstOracle(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		rings := 1 + int(seed%5)
		runOracle(t, randomFlushes(rng, rings, 60, 150, 2000), rings, time.Hour, oracleLimits(), true)
	}
}

// What comes later than the open ticks moves averages and totals only.
func TestTooLate(t *testing.T) {
	for _, six := range []bool{false, true} {
		p := testPlan(1, ppsLimit(1, 1000))
		p.Groups[0].Tau = time.Hour
		e := newEngine(t, Options{}, p)
		a, b := newFeeder(t, e, 1), newFeeder(t, e, 1)
		var list []sent
		for i := range int64(10) {
			end := origin + i*50*ms
			a.flush(end + 250*ms)
			d := hostDelta(1, six, 50, 5000, 5000)
			b.flush(end, d)
			list = append(list, sent{end, d})
		}
		if c := e.Crossings(); len(c) != 0 {
			t.Fatalf("late deltas fired %+v", c)
		}
		r, _ := e.Rates(hostPrefix(1, six), e.Clock())
		near(t, "rate", r.Dir[0].Packets[0], oracleRate(list, 0, PacketRate, 3600, e.Clock()))
		if s := e.Stats(); s.Late != 10 {
			t.Fatalf("%d late deltas counted, want 10", s.Late)
		}
	}
}

// Silence ends a run, also where the host's row was not touched meanwhile: four
// ticks above, four without a word, again and again.
func TestSilenceEndsRuns(t *testing.T) {
	rules := []Rule{{7, 1.5}}
	p := testPlan(1, Limit{ID: 1, Value: 1000, Rules: rules}, Limit{ID: 2, Counter: FirstUser, Value: 1000, Rules: rules})
	p.Groups[0].Tau = time.Hour
	e := newEngine(t, Options{}, p)
	f := newFeeder(t, e, 1)
	// The first windows come as late as may be, which puts them into the
	// oldest open tick; the last one comes in time, into the newest.
	due := map[int64][]int64{4: {1}, 5: {2}, 6: {3, 4, 5, 6}, 7: {7}}
	for s := int64(0); s < 400; s++ {
		e.Advance(origin + s*50*ms)
		for _, k := range due[s%16] {
			d := hostDelta(1, false, 50, 300, 300)
			c := d
			c.Kind = ring.KindCounter
			f.flush(origin+(s-s%16+k)*50*ms, d, c)
		}
	}
	if c := e.Crossings(); len(c) != 0 {
		t.Fatalf("fired over silence: %+v", c[0])
	}
}
