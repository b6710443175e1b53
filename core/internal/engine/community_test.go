package engine

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// communityModel is the original's arithmetic for one host and direction, as it
// is documented: whole numbers, cut off once a second.
type communityModel struct {
	counter [tallied]uint64 // packets and bytes of total, tcp, udp, …
	average [tallied]uint64
	flows   uint64
	fps     uint64
}

func (m *communityModel) recalculate(seconds, averageTime float64) {
	w := math.Exp(-seconds / averageTime)
	mean := func(average, counter uint64) uint64 {
		speed := uint64(float64(counter) / seconds)
		return uint64(float64(speed) + float64(w*(float64(average)-float64(speed))))
	}
	for i := range m.average {
		m.average[i] = mean(m.average[i], m.counter[i])
		m.counter[i] = 0
	}
	m.fps = mean(m.fps, m.flows)
	m.fps = mean(m.fps, m.flows) // version 1.2.4 does it twice
	m.flows = 0
}

// communityLimits are the nine limits of the original, in its order.
func communityLimits(scale float64) (out []Limit) {
	tcp, udp, icmp := uint16(1+ring.CounterTCP), uint16(1+ring.CounterUDP), uint16(1+ring.CounterICMP)
	for _, l := range []Limit{
		{Unit: PacketRate, Value: 20000},
		{Unit: ByteRate, Value: 1000 * mbit},
		{Unit: FlowRate, Value: 3500},
		{Counter: tcp, Value: 15000},
		{Counter: udp, Value: 12000},
		{Counter: icmp, Value: 5000},
		{Counter: tcp, Unit: ByteRate, Value: 700 * mbit},
		{Counter: udp, Unit: ByteRate, Value: 600 * mbit},
		{Counter: icmp, Unit: ByteRate, Value: 300 * mbit},
	} {
		l.Value *= scale
		if l.Unit == ByteRate {
			l.Value = math.Trunc(l.Value/mbit) * mbit
		}
		for d := range ring.Direction(2) {
			l.ID, l.Direction = uint32(len(out)+1), d
			out = append(out, l)
		}
	}
	return out
}

// ban is what the original would do about a host: the first limit in its order
// of which either direction has more, and the direction by its heuristic.
func (m *communityModel) exceeds(l *Limit) bool {
	v := m.average[l.Counter*2+uint16(l.Unit&1)]
	switch l.Unit {
	case FlowRate:
		v = m.fps
	case ByteRate:
		return uint64(float64(v)/1000/1000*8) > uint64(l.Value*8/1e6)
	}
	return float64(v) > l.Value
}

func communityDirection(in, out *communityModel) ring.Direction {
	larger := in.average[0] > out.average[0]
	if d := int64(in.average[0]) - int64(out.average[0]); d > -1000 && d < 1000 {
		larger = in.average[1] > out.average[1]
	}
	if larger {
		return ring.Incoming
	}
	return ring.Outgoing
}

// communityHost is a host of the comparison: the model of its directions, and
// its traffic.
type communityHost struct {
	n     uint32
	six   bool
	row   uint32 // its number
	model [2]communityModel
	level [2]float64
	open  Alarm
}

func (h *communityHost) deltas(rng *rand.Rand) (out []ring.Delta) {
	for dir := range h.level {
		if rng.IntN(40) == 0 {
			h.level[dir] = []float64{0, 0, 0.01, 0.3, 0.9, 1.1, 2, 8, 40}[rng.IntN(9)]
		}
		if h.level[dir] == 0 || rng.IntN(3) == 0 {
			continue
		}
		var parts [6]uint32
		for i := range parts[:3] {
			parts[i] = uint32(h.level[dir] * 500 * rng.Float64())
		}
		for i := range parts[3:] {
			parts[3+i] = uint32(rng.Uint64N(uint64(parts[i]) + 1))
		}
		d := hostDelta(h.n, h.six, 50, uint64(parts[0]+parts[1]+parts[2])+uint64(rng.IntN(10)), 0)
		size := uint64(40 + rng.IntN(1400))
		d.Direction, d.Bytes, d.Flows = ring.Direction(dir), d.Packets*size, uint32(rng.IntN(1+int(d.Packets)))
		for i, n := range parts {
			d.CounterPackets[i], d.CounterBytes[i] = n, uint32(uint64(n)*size)
		}
		d.CounterPackets[ring.CounterExempt] = uint32(rng.IntN(100))
		m := &h.model[dir]
		m.counter[0], m.counter[1], m.flows = m.counter[0]+d.Packets, m.counter[1]+d.Bytes, m.flows+uint64(d.Flows)
		for i := range parts {
			m.counter[2+2*i] += uint64(d.CounterPackets[i])
			m.counter[3+2*i] += uint64(d.CounterBytes[i])
		}
		out = append(out, d)
	}
	return out
}

// Averages and decisions are those of the original's arithmetic, host by host
// and second by second.
func TestCommunityAgainstModel(t *testing.T) {
	for seed := range uint64(3) {
		tau := []time.Duration{5 * time.Second, 15 * time.Second, 2 * time.Second}[seed%3]
		t.Run(fmt.Sprintf("seed %d, average %v", seed, tau), func(t *testing.T) {
			communityAgainstModel(t, rand.New(rand.NewPCG(seed, 4)), tau)
		})
	}
}

func communityAgainstModel(t *testing.T, rng *rand.Rand, tau time.Duration) {
	limits := communityLimits(1)
	p := testPlan(1, limits...)
	p.Groups[0].Tau, p.Groups[0].Community = tau, true
	e := newEngine(t, Options{}, p)
	feeders := []*feeder{newFeeder(t, e, 1), newFeeder(t, e, 1)}
	hosts := make([]*communityHost, 150)
	for i := range hosts {
		hosts[i] = &communityHost{n: uint32(i), six: i%2 == 1}
		feeders[0].flush(origin, hostDelta(uint32(i), i%2 == 1, 50, 0, 0))
		hosts[i].row = rowNumber(e, uint32(i), i%2 == 1)
	}
	bans, named := 0, map[uint32]int{}
	for s := int64(1); s < 60*20; s++ {
		end := origin + s*50*ms
		var ds [2][]ring.Delta
		for i, h := range hosts {
			ds[i%2] = append(ds[i%2], h.deltas(rng)...)
		}
		for r, f := range feeders {
			f.flush(end, ds[r]...)
		}
		e.Advance(end + 50*ms) // closes the period that ends with this step
		crossed := e.Crossings()
		for _, h := range hosts {
			if !periodEnds(h.row, e.clock) {
				continue
			}
			for dir := range h.model {
				h.model[dir].recalculate(1, tau.Seconds())
			}
			compareCommunity(t, e, h)
			mine := slices.DeleteFunc(slices.Clone(crossed), func(c Crossing) bool { return c.Target != hostPrefix(h.n, h.six) })
			if id := h.decide(t, e, limits, mine, end+50*ms); id != 0 {
				bans++
				named[id]++
			}
		}
	}
	if bans < 150 || len(named) < 4 {
		t.Errorf("%d bans by %v: the input decides nothing", bans, named)
	}
}

// rowNumber finds the number of a host's row, which its period goes by.
func rowNumber(e *Engine, n uint32, six bool) uint32 {
	r := e.rowOf(hostPrefix(n, six))
	for no := range e.rows.top {
		if e.row(no) == r {
			return no
		}
	}
	panic("no row")
}

// compareCommunity demands that averages are the same numbers. What was once
// above 2²⁶ was rounded, and may be off by one when it has become less.
func compareCommunity(t *testing.T, e *Engine, h *communityHost) {
	t.Helper()
	r, _ := e.Rates(hostPrefix(h.n, h.six), e.Clock()+900*ms) // held until the period ends
	for dir := range h.model {
		m, got := &h.model[dir], &r.Dir[dir]
		same := func(what string, got float64, want uint64) {
			if diff := math.Abs(got - float64(want)); diff > float64(want)/1e6 && (diff > 1 || want < 10000) {
				t.Fatalf("host %d, direction %d, %s: %v, the original has %d", h.n, dir, what, got, want)
			}
		}
		for i := range tallied / 2 {
			same(fmt.Sprintf("packets of counter %d", i), got.Packets[i], m.average[2*i])
			same(fmt.Sprintf("bytes of counter %d", i), got.Bytes[i], m.average[2*i+1])
		}
		same("flows", got.Flows, m.fps)
	}
}

// decide compares what crossed at a period's end, and ends open attacks now and
// then. It returns the limit that names a new attack.
func (h *communityHost) decide(t *testing.T, e *Engine, limits []Limit, crossed []Crossing, at int64) (first uint32) {
	t.Helper()
	var want []uint32
	for i := range limits {
		if l := &limits[i]; h.model[l.Direction].exceeds(l) && !e.firedBefore(h.open, l.ID, crossed) {
			want = append(want, l.ID)
		}
	}
	var got []uint32
	for _, c := range crossed {
		got = append(got, c.Limit.ID)
		if c.At != at || c.Rule.Ticks != 0 {
			t.Fatalf("%+v at %d, want %d", c, c.At, at)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("host %d crossed %v, the original exceeds %v", h.n, got, want)
	}
	if len(got) == 0 {
		if h.open != 0 && at%int64(7*time.Second) < int64(time.Second) {
			e.Release(h.open)
			h.open = 0
		}
		return 0
	}
	if h.open == 0 {
		first, h.open = got[0], crossed[0].Alarm
		if d := communityDirection(&h.model[0], &h.model[1]); crossed[0].Direction != d {
			t.Fatalf("host %d: attack is %v, the original says %v", h.n, crossed[0].Direction, d)
		}
	}
	for _, c := range crossed {
		if c.Alarm != h.open || c.Direction != crossed[0].Direction {
			t.Fatalf("host %d is banned twice: %+v", h.n, crossed)
		}
	}
	return first
}

// firedBefore tells whether a limit of an alarm fired before the crossings.
func (e *Engine) firedBefore(a Alarm, id uint32, crossed []Crossing) bool {
	return e.hasFired(a, id) && !slices.ContainsFunc(crossed, func(c Crossing) bool { return c.Limit.ID == id })
}

// A clock that jumps over periods gives what it gives when it passes each.
func TestCommunityClockJumps(t *testing.T) {
	run := func(stride int64) (rates []HostRates, crossed []Crossing) {
		p := testPlan(1, communityLimits(0.01)...)
		p.Groups[0].Community = true
		e := newEngine(t, Options{Seed: 5}, p)
		f := newFeeder(t, e, 1)
		rng := rand.New(rand.NewPCG(1, 1))
		for s := range int64(3) {
			var ds []ring.Delta
			for n := range uint32(50) {
				ds = append(ds, hostDelta(n, n%2 == 1, 50, rng.Uint64N(3000), rng.Uint64N(1e6)))
			}
			f.flush(origin+s*50*ms, ds...)
			for at := int64(0); at < int64(40*time.Second); at += stride {
				e.Advance(origin + s*50*ms + at)
				crossed = append(crossed, e.Crossings()...)
				if at == 0 {
					break // the three flushes follow one another
				}
			}
		}
		for _, after := range []time.Duration{10 * time.Second, time.Minute} {
			for at := int64(0); at <= int64(after); at += stride {
				e.Advance(origin + at)
				crossed = append(crossed, e.Crossings()...)
			}
			e.Advance(origin + int64(after))
			crossed = append(crossed, e.Crossings()...)
			for n := range uint32(50) {
				r, _ := e.Rates(hostPrefix(n, n%2 == 1), e.Clock())
				rates = append(rates, r)
			}
		}
		slices.SortFunc(crossed, func(a, b Crossing) int {
			return cmp.Or(cmp.Compare(a.At, b.At), a.Target.Addr().Compare(b.Target.Addr()), cmp.Compare(a.Order, b.Order))
		})
		for i := range crossed {
			crossed[i].Alarm = 0
		}
		return rates, crossed
	}
	rates, crossed := run(50 * ms)
	for _, stride := range []int64{150 * ms, 950 * ms, int64(time.Second), int64(10 * time.Second)} {
		r, c := run(stride)
		if !slices.Equal(r, rates) {
			t.Errorf("in strides of %v the rates are others", time.Duration(stride))
		}
		if fmt.Sprint(c) != fmt.Sprint(crossed) {
			t.Errorf("in strides of %v what crosses is another", time.Duration(stride))
		}
	}
	if len(crossed) == 0 {
		t.Error("nothing crossed")
	}
}

// Sampled traffic is compared as it is scaled: the original asks for no number
// of samples.
func TestCommunityDecidesOnFewSamples(t *testing.T) {
	for _, community := range []bool{false, true} {
		p := testPlan(1, Limit{ID: 1, Value: 1000})
		p.Groups[0].Community = community
		e := newEngine(t, Options{}, p)
		f := newFeeder(t, e, 1)
		d := hostDelta(1, false, 50, 2*8192, 2*8192*500)
		d.Sampling, d.Samples = 8192, 2
		f.flush(origin, d)
		e.Advance(origin + int64(period) + 50*ms)
		if c := e.Crossings(); (len(c) == 1) != community {
			t.Errorf("community %v: %+v", community, c)
		}
		if r, _ := e.Rates(hostPrefix(1, false), e.Clock()); r.Sampling[0] != 8192 {
			t.Errorf("sampling %d", r.Sampling[0])
		}
	}
}

// A group may change from one rule to the other while traffic goes on: nobody
// fires who is below the limit, who is above goes on to be, and what is past is
// not taken for present.
func TestCommunityPlanChange(t *testing.T) {
	plans := func(revision uint64, community bool) *Plan {
		l := Limit{ID: 1, Value: 1000}
		if !community {
			l.Rules = DefaultRules()
		}
		p := testPlan(revision, l)
		p.Groups[0].Community = community
		return p
	}
	for _, first := range []bool{false, true} {
		e := newEngine(t, Options{}, plans(1, first))
		f := newFeeder(t, e, 1)
		var alarm Alarm
		for s := int64(0); s < 120*20; s++ {
			end := origin + s*50*ms
			if s%(10*20) == 199 {
				f.revision++
				if err := e.SetPlan(plans(f.revision, first == (f.revision%2 == 1))); err != nil {
					t.Fatal(err)
				}
			}
			ds := []ring.Delta{hostDelta(1, false, 50, 45, 45), hostDelta(2, true, 50, 75, 75)}
			if s < 40*20 { // has gone when it comes back
				ds = append(ds, hostDelta(3, false, 50, 47, 47))
			} else if s > 80*20 {
				ds = append(ds, hostDelta(3, false, 50, 15, 15))
			}
			f.flush(end, ds...)
			for _, c := range e.Crossings() {
				if c.Target != hostPrefix(2, true) || alarm != 0 {
					t.Fatalf("at %v: %+v", time.Duration(end-origin), c)
				}
				alarm = c.Alarm
			}
			if alarm != 0 {
				if lv, ok := e.Level(alarm, 1, 0.75, e.Clock()); !ok || lv.Quiet <= e.Clock() || lv.Value < 800 {
					t.Fatalf("at %v: level %+v, %v", time.Duration(end-origin), lv, ok)
				}
			}
			for n, rate := range map[uint32]float64{1: 900, 2: 1500} {
				r, _ := e.Rates(hostPrefix(n, n == 2), e.Clock())
				// The first period after a change is a part of one.
				if got := r.Dir[0].Packets[0]; s > 20*20 && s%(10*20) == 198 && math.Abs(got-rate) > rate*0.03 {
					t.Fatalf("at %v: host %d has %v, want %v", time.Duration(end-origin), n, got, rate)
				}
			}
		}
		if alarm == 0 {
			t.Error("the host above its limit did not fire")
		}
	}
}

// What has come since a time is measured over whole periods.
func TestCommunityFresh(t *testing.T) {
	for _, unit := range []Unit{PacketRate, ByteRate, FlowRate} {
		p := testPlan(1, Limit{ID: 1, Unit: unit, Value: mbit})
		if unit != ByteRate {
			p.Groups[0].Limits[0].Value = 1000
		}
		p.Groups[0].Community = true
		e := newEngine(t, Options{}, p)
		f := newFeeder(t, e, 1)
		var alarm Alarm
		var before Average
		for s := int64(0); s < 30*20; s++ {
			n := uint64(100_000)
			if s >= 20 { // a backlog, then what it really is
				n = 100
			}
			d := hostDelta(1, false, 50, n, n*1000)
			d.Flows = uint32(n)
			f.flush(origin+s*50*ms, d)
			for _, c := range e.Crossings() {
				alarm = c.Alarm
			}
			if s%20 != 0 || s < 60 {
				continue
			}
			now, ok := e.Average(alarm, 1, e.Clock())
			if !ok {
				t.Fatal("no average")
			}
			want := 2000.0
			if unit == ByteRate {
				want = 2e6
			}
			if got := Fresh(before, now); before.At != 0 && math.Abs(got-want) > want*0.01 {
				t.Fatalf("unit %d, second %d: fresh %v, want %v", unit, s/20, got, want)
			}
			before = now
		}
	}
}

func TestCommunityMistakes(t *testing.T) {
	e := newEngine(t, Options{}, nil)
	p := testPlan(1, ppsLimit(1, 1000))
	p.Groups[0].Community = true
	if e.SetPlan(p) == nil {
		t.Error("burst rules are taken")
	}
}
