package detect

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const (
	ms     = int64(time.Millisecond)
	second = int64(time.Second)
	origin = int64(1_780_000_000_000_000_000)
)

// bed is an engine, a detector and one ring.
type bed struct {
	t      *testing.T
	e      *engine.Engine
	d      *Detector
	id     engine.RingID
	number uint64
	rev    uint64
	now    int64
	events []Event
}

func limits() []engine.Limit {
	return []engine.Limit{
		{ID: 1, Value: 1000, Rules: engine.DefaultRules()},
		{ID: 2, Unit: engine.ByteRate, Value: 1e6, Rules: engine.DefaultRules()},
		{ID: 3, Counter: 1 + ring.CounterUDP, Value: 500, Rules: engine.DefaultRules()},
		{ID: 4, Direction: ring.Outgoing, Value: 1000, Rules: engine.DefaultRules()},
	}
}

func testPlan(revision uint64, ls []engine.Limit) *engine.Plan {
	return &engine.Plan{
		Revision: revision,
		Groups:   []engine.Group{{ID: 1, Limits: ls}},
		Prefixes: []engine.Prefix{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1, Group: 1},
			{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1, Group: 1},
		},
	}
}

func testConfig() Config {
	return Config{
		Revision: "r1", Groups: map[uint32]Group{1: {Name: "default"}}, Networks: map[uint32]string{1: "customers"},
		Limits: map[uint32]LimitName{1: {"flood", "total"}, 2: {"flood", "total"}, 3: {"udp", "udp"}, 4: {"out", "total"}},
	}
}

func newBed(t *testing.T, cfg Config) *bed {
	t.Helper()
	e, err := engine.New(engine.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if err := e.SetPlan(testPlan(1, limits())); err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, e: e, d: New(e, cfg), id: e.AddRing(1), rev: 1, now: origin}
}

func address(n uint32, six bool) netip.Addr {
	if six {
		a := netip.MustParseAddr("2001:db8::").As16()
		binary.BigEndian.PutUint32(a[12:], n)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// flow is traffic to (or from) one host.
type flow struct {
	n      uint32
	six    bool
	dir    ring.Direction
	pps    float64
	size   uint64
	tcp    float64 // shares of the packets
	udp    float64
	icmp   float64
	syn    float64
	fragme float64
}

func (f flow) delta() ring.Delta {
	a := address(f.n, f.six)
	p := uint64(f.pps * 0.05)
	d := ring.Delta{
		Kind: ring.KindHost, Direction: f.dir, Family: 4, PrefixLen: uint8(a.BitLen()), Network: 1, Group: 1,
		Addr: a.As16(), SpanMs: 50, Packets: p, Bytes: p * f.size, Sampling: 1,
	}
	if f.six {
		d.Family = 6
	}
	for c, share := range map[int]float64{
		ring.CounterTCP: f.tcp, ring.CounterUDP: f.udp, ring.CounterICMP: f.icmp,
		ring.CounterTCPSYN: f.syn, ring.CounterFragmented: f.fragme,
	} {
		d.CounterPackets[c] = uint32(float64(p) * share)
		d.CounterBytes[c] = d.CounterPackets[c] * uint32(f.size)
	}
	return d
}

// run lets traffic flow for a while.
func (b *bed) run(dur time.Duration, flows ...flow) {
	b.t.Helper()
	for until := b.now + int64(dur); b.now < until; {
		b.now += 50 * ms
		b.number++
		fl := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: b.number, Revision: b.rev, WindowEnd: b.now, Deltas: uint32(len(flows))}
		batch := []ring.Delta{*fl.AsDelta()}
		for _, f := range flows {
			batch = append(batch, f.delta())
		}
		if err := b.e.Apply(b.id, batch); err != nil {
			b.t.Fatal(err)
		}
		b.step(b.now)
	}
}

func (b *bed) step(now int64) {
	b.now = now
	b.e.Advance(now)
	b.events = append(b.events, b.d.Step(now)...)
}

// drain runs the clock on without traffic until no attack is open.
func (b *bed) drain(fast bool) {
	b.t.Helper()
	for range 100000 {
		if b.d.Open() == 0 {
			return
		}
		next := (b.now/(100*ms) + 1) * 100 * ms
		if at, ok := b.d.NextDeadline(); fast && ok {
			next = at
		}
		b.step(next)
	}
	b.t.Fatal("the attacks never end")
}

func (b *bed) kinds() string {
	s := ""
	for _, e := range b.events {
		s += [...]string{"S", "U", "E"}[e.Type]
	}
	return s
}

func TestLifeCycle(t *testing.T) {
	for _, six := range []bool{false, true} {
		b := newBed(t, testConfig())
		b.run(5*time.Second, flow{n: 7, six: six, pps: 200, size: 100, tcp: 1})
		begin := b.now
		b.run(10*time.Second, flow{n: 7, six: six, pps: 5000, size: 100, tcp: 1, syn: 0.98})
		if b.kinds() != "S" {
			t.Fatalf("events %q, want one start", b.kinds())
		}
		s := b.events[0]
		a := s.Attack
		if a.Target.Addr() != address(7, six) || a.Direction != ring.Incoming || a.Group != "default" || a.Network != "customers" ||
			a.Crossed[0].Threshold != "flood" || a.Crossed[0].Rule.String() != "4x3" || a.Seq != 1 || len(a.ID) != 16 {
			t.Fatalf("attack %+v", a)
		}
		if s.Time-begin > 600*ms || s.Time != a.Started {
			t.Fatalf("started %v after the attack", time.Duration(s.Time-begin))
		}
		if got := b.d.Attacks(b.now); len(got) != 1 || got[0].State != Active || got[0].Rates.Dir[0].Packets[0] < 4000 {
			t.Fatalf("open attacks %+v", got)
		}
		stop := b.now
		b.run(60*time.Second, flow{n: 7, six: six, pps: 200, size: 100, tcp: 1})
		if b.kinds() != "SE" {
			t.Fatalf("events %q, want start and end", b.kinds())
		}
		e := b.events[1].Attack
		after := time.Duration(b.events[1].Time - stop)
		// 4300 over the background's 200 decay to 750 in 5 s × ln(4300/550), then 30 s of quiet.
		if after < 39*time.Second || after > 42*time.Second || e.ID != a.ID || e.Seq != 2 || e.Cause != CauseQuiet {
			t.Fatalf("ended %v after the attack: %+v", after, e)
		}
		if e.PeakPPS < 4000 || e.PeakPPS > 5000 || e.Type != "syn_flood" || e.Protocol != "tcp" {
			t.Fatalf("peak %v type %s protocol %s", e.PeakPPS, e.Type, e.Protocol)
		}
		b.run(5*time.Second, flow{n: 7, six: six, pps: 5000, size: 100})
		if b.kinds() != "SES" || b.events[2].Attack.ID == a.ID {
			t.Fatalf("a second attack: events %q", b.kinds())
		}
	}
}

// Everything of one target and direction is one attack; the directions are two.
func TestOneAttackManyLimits(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(3*time.Second, flow{n: 1, pps: 20000, size: 60, tcp: 1}, flow{n: 1, dir: ring.Outgoing, pps: 20000, size: 60, tcp: 1})
	if b.kinds() != "SSUU" && b.kinds() != "SS" {
		t.Fatalf("events %q", b.kinds())
	}
	b.run(3*time.Second, flow{n: 1, pps: 20000, size: 1400, udp: 1})
	var in []Event
	for _, e := range b.events {
		if e.Attack.Direction == ring.Incoming {
			in = append(in, e)
		}
	}
	last := in[len(in)-1].Attack
	if len(last.Crossed) != 3 || last.Crossed[0].Limit != 1 || last.Crossed[0].Limit != in[0].Attack.Crossed[0].Limit || last.Seq != uint32(len(in)) {
		t.Fatalf("crossed %+v", last.Crossed)
	}
	for i := 1; i < len(in); i++ {
		if in[i].Type != Updated || len(in[i].Attack.Crossed) <= len(in[i-1].Attack.Crossed) {
			t.Fatalf("event %d brings nothing new: %+v", i, in[i])
		}
	}
	if b.d.Open() != 2 {
		t.Fatalf("%d attacks open, want 2", b.d.Open())
	}
	b.drain(false)
	if b.d.Open() != 0 || b.e.Stats().Alarms != 0 {
		t.Fatal("something is still open")
	}
}

// Half a second of three times the limit every eight seconds: the average is
// always quiet, the attack is not.
func TestPulsesAreOneAttack(t *testing.T) {
	b := newBed(t, testConfig())
	for range 10 {
		b.run(500*time.Millisecond, flow{n: 1, pps: 3200, size: 60, tcp: 1})
		b.run(7500 * time.Millisecond)
	}
	last := b.now - 7500*ms
	for b.d.Open() > 0 {
		b.run(time.Second)
	}
	var started, ended int
	for _, e := range b.events {
		switch e.Type {
		case Started:
			started++
		case Ended:
			ended++
			if quiet := e.Time - last; quiet < 30*second || quiet > 31*second {
				t.Errorf("ended %v after the last pulse", time.Duration(quiet))
			}
		}
	}
	if started != 1 || ended != 1 {
		t.Errorf("%d attacks started and %d ended, want one", started, ended)
	}
	if peak := b.events[len(b.events)-1].Attack.PeakPPS; peak != 3200 {
		t.Errorf("peak %v, want the pulses' 3200", peak)
	}
}

// Limits that cross at the same moment: the first in order names the attack.
func TestOrder(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(2*time.Second, flow{n: 9, pps: 200000, size: 1000, udp: 1}, flow{n: 2, pps: 200000, size: 1000, udp: 1}, flow{n: 2, six: true, pps: 200000, size: 1000, udp: 1})
	want := []netip.Addr{address(2, false), address(9, false), address(2, true)}
	for i, e := range b.events {
		if i >= len(want) || e.Type != Started || e.Attack.Target.Addr() != want[i] {
			t.Fatalf("event %d: %+v", i, e)
		}
		var ids []uint32
		for _, c := range e.Attack.Crossed {
			ids = append(ids, c.Limit)
		}
		if fmt.Sprint(ids) != "[1 2 3]" {
			t.Fatalf("crossed %v, want 1 2 3", ids)
		}
	}
	if len(b.events) != 3 {
		t.Fatalf("%d events", len(b.events))
	}
}

// Crossings of one moment are one event whatever lay between them in the ring.
func TestArrivalOrder(t *testing.T) {
	b := newBed(t, testConfig())
	if err := b.e.SetPlan(testPlan(2, append(limits(), engine.Limit{ID: 5, Counter: engine.FirstUser, Value: 100}))); err != nil {
		t.Fatal(err)
	}
	hot := flow{n: 2, pps: 200000, size: 10}.delta()
	counter, other := hot, flow{n: 9, pps: 200000, size: 10}.delta()
	counter.Kind = ring.KindCounter
	fl := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: 1, Revision: 2, WindowEnd: origin, Deltas: 3}
	if err := b.e.Apply(b.id, []ring.Delta{*fl.AsDelta(), counter, other, hot}); err != nil {
		t.Fatal(err)
	}
	b.step(origin)
	if b.kinds() != "SS" || len(b.events[0].Attack.Crossed) != 2 || b.events[0].Attack.Crossed[0].Limit != 1 {
		t.Fatalf("events %q: %+v", b.kinds(), b.events)
	}
}

func TestUpdatePeriod(t *testing.T) {
	cfg := testConfig()
	cfg.Update = 10 * time.Second
	b := newBed(t, cfg)
	b.run(35*time.Second, flow{n: 1, pps: 3000, size: 60})
	if b.kinds() != "SUUU" {
		t.Fatalf("events %q, want a start and three updates", b.kinds())
	}
}

// script is what a whole run says, for comparing runs.
func script(t *testing.T, fast bool, seed uint64) (string, []Event) {
	cfg := testConfig()
	cfg.Seed, cfg.Update = seed, 7*time.Second
	b := newBed(t, cfg)
	b.run(4*time.Second, flow{n: 1, pps: 9000, size: 60, tcp: 1}, flow{n: 2, six: true, pps: 400, size: 9000, udp: 1}, flow{n: 3, pps: 100, size: 60})
	b.run(3*time.Second, flow{n: 3, pps: 2000, size: 60, udp: 1})
	b.drain(fast)
	out, err := json.Marshal(b.events)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), b.events
}

// The same input gives the same bytes, and going from deadline to deadline the
// same as going in small steps.
func TestDeterminism(t *testing.T) {
	slow, events := script(t, false, 1)
	if again, _ := script(t, false, 1); again != slow {
		t.Fatal("two runs differ")
	}
	if fast, _ := script(t, true, 1); fast != slow {
		t.Fatalf("deadlines give other events:\n%s\n%s", fast, slow)
	}
	_, other := script(t, false, 2)
	if events[0].Attack.ID == other[0].Attack.ID {
		t.Fatal("another seed gives the same id")
	}
	ended := 0
	for i, e := range events {
		if i > 0 && e.Time < events[i-1].Time {
			t.Fatal("events are out of order")
		}
		if e.Type == Ended {
			ended++
		}
	}
	if ended != 3 {
		t.Fatalf("%d attacks ended, want 3", ended)
	}
}

// An open attack survives a plan: with the limit kept, changed or gone.
func TestPlanChange(t *testing.T) {
	for _, c := range []struct {
		name  string
		ls    []engine.Limit
		cause string
		max   time.Duration
	}{
		{"kept", limits(), CauseQuiet, 45 * time.Second},
		{"raised", []engine.Limit{{ID: 1, Value: 1e6}}, CauseQuiet, 31 * time.Second},
		{"gone", nil, CauseConfiguration, 31 * time.Second},
	} {
		b := newBed(t, testConfig())
		b.run(5*time.Second, flow{n: 1, pps: 5000, size: 60, tcp: 1})
		if err := b.e.SetPlan(testPlan(2, c.ls)); err != nil {
			t.Fatal(err)
		}
		b.d.SetConfig(Config{Revision: "r2"})
		b.rev = 2
		at := b.now
		b.run(time.Second, flow{n: 1, pps: 5000, size: 60, tcp: 1})
		if b.kinds() != "S" || b.d.Open() != 1 {
			t.Fatalf("%s: events %q after the plan", c.name, b.kinds())
		}
		b.drain(true)
		end := b.events[len(b.events)-1]
		if end.Type != Ended || end.Attack.Cause != c.cause || end.Attack.Group != "default" || end.Attack.Revision != "r1" || time.Duration(end.Time-at) > c.max {
			t.Fatalf("%s: ended after %v: %+v", c.name, time.Duration(end.Time-at), end)
		}
	}
}

// A group's own quiet time counts, and traffic above 0.75 of the limit holds
// an attack open.
func TestQuietTime(t *testing.T) {
	for _, c := range []struct {
		after float64
		open  int
	}{{800, 1}, {600, 0}} {
		cfg := testConfig()
		cfg.Groups = map[uint32]Group{1: {Name: "default", Quiet: 4 * time.Second}}
		b := newBed(t, cfg)
		b.run(3*time.Second, flow{n: 1, pps: 3000, size: 60})
		// Down from at most 1500 over either rate within 15 s, then 4 s of quiet.
		b.run(22*time.Second, flow{n: 1, pps: c.after, size: 60})
		if b.d.Open() != c.open {
			t.Errorf("%v packets/s after the attack: %d open, want %d", c.after, b.d.Open(), c.open)
		}
	}
}

func TestTypeAndProtocol(t *testing.T) {
	for _, c := range []struct {
		f         flow
		typ, prot string
	}{
		{flow{tcp: 1, syn: 0.95}, "syn_flood", "tcp"},
		{flow{icmp: 0.95}, "icmp_flood", "icmp"},
		{flow{udp: 0.95, fragme: 0.95}, "ip_fragmentation", "udp"},
		{flow{udp: 0.95}, "udp_flood", "udp"},
		{flow{udp: 0.89, tcp: 0.1}, "unknown", "udp"},
		{flow{tcp: 0.5, udp: 0.5}, "unknown", "tcp"},
		{flow{}, "unknown", "tcp"},
	} {
		c.f.n, c.f.pps, c.f.size = 1, 20000, 100
		b := newBed(t, testConfig())
		b.run(2*time.Second, c.f)
		if a := b.events[0].Attack; a.Type != c.typ || a.Protocol != c.prot {
			t.Errorf("%+v: %s %s, want %s %s", c.f, a.Type, a.Protocol, c.typ, c.prot)
		}
	}
}

func TestSDKEvent(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(2*time.Second, flow{n: 1, pps: 800, size: 9000, udp: 0.1}, flow{n: 1, dir: ring.Outgoing, pps: 100, size: 100})
	ev := b.events[0].SDK(func(n int64) time.Time { return time.Unix(0, n).UTC() })
	if ev.Type != sdk.AttackStarted || ev.Unit != "bps" || ev.Limit != 8e6 || ev.Value < 8*800*9000*0.9 || ev.Threshold != "flood" ||
		ev.Direction != "incoming" || len(ev.Crossed) != 1 || ev.Scope != "host" || len(ev.Incoming) != engine.Counters || ev.Rule == "" || ev.Window == 0 {
		t.Fatalf("event %+v", ev)
	}
	if ev.Incoming[0].Counter != "total" || ev.Incoming[0].BPS/ev.Incoming[0].PPS < 71999 || ev.Outgoing[0].PPS <= 0 || !ev.Started.Equal(ev.Time) {
		t.Fatalf("rates %+v", ev.Incoming)
	}
	b.drain(false)
	last := b.events[len(b.events)-1]
	if ev := last.SDK(time.UnixMilli); ev.Type != sdk.AttackEnded || ev.Seq < 2 {
		t.Fatalf("end %+v", ev)
	}
}
