package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// The top hosts come out in order, whether or not the table moves meanwhile.
func TestSnapshot(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	f := newFeeder(t, e, 1)
	for i := range uint32(5000) {
		d := hostDelta(i, i%2 == 1, 50, uint64(i*7919%5000)+1, 100)
		d.Direction = ring.Direction(i % 3 % 2)
		f.flush(origin, d)
	}
	s := e.NewSnapshot(HostQuery{N: 10})
	steps := 0
	for !s.Step(512) {
		steps++
		if steps == 3 {
			f.flush(origin+50*ms, hostDelta(70000, false, 50, 1, 1))
		}
	}
	s.Sort()
	var hosts []HostRates
	for done := false; !done; {
		hosts, done = s.Read(hosts, 3, e.Clock())
	}
	if len(hosts) != 10 || steps < 9 {
		t.Fatalf("%d hosts in %d steps", len(hosts), steps)
	}
	for i, h := range hosts {
		want := uint64(5000 - i)
		got := h.Dir[0].Packets[0] + h.Dir[1].Packets[0]
		near(t, "rate", got, oracleRate([]sent{{origin, ring.Delta{SpanMs: 50, Packets: want}}}, 0, PacketRate, 5, e.Clock()))
	}
}

// A query takes hosts away before it chooses the top ones.
func TestSnapshotQuery(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	f := newFeeder(t, e, 1)
	for i := range uint32(100) {
		d := hostDelta(i, i%2 == 1, 50, uint64(i)+1, uint64(1000-i))
		d.Direction = ring.Direction(i / 50)
		d.Flows = 100 - i
		f.flush(origin, d)
	}
	first := func(q HostQuery) HostRates {
		t.Helper()
		q.N = 1
		s := e.NewSnapshot(q)
		for !s.Step(7) {
		}
		hosts := s.Hosts(e.Clock())
		if len(hosts) == 0 {
			return HostRates{}
		}
		return hosts[0]
	}
	all := first(HostQuery{})
	for name, c := range map[string]struct {
		q    HostQuery
		want netip.Prefix
	}{
		"incoming":        {HostQuery{Only: OnlyIncoming}, queried(49)},
		"outgoing":        {HostQuery{Only: OnlyOutgoing}, queried(99)},
		"by bytes":        {HostQuery{Unit: ByteRate}, queried(0)},
		"by flows":        {HostQuery{Unit: FlowRate}, queried(0)},
		"flows outgoing":  {HostQuery{Unit: FlowRate, Only: OnlyOutgoing}, queried(50)},
		"one prefix":      {HostQuery{Prefix: queried(3)}, queried(3)},
		"its network":     {HostQuery{Network: all.Network, Group: all.Group}, queried(99)},
		"another network": {HostQuery{Network: 1 << 20}, netip.Prefix{}},
		"another group":   {HostQuery{Group: 1 << 20}, netip.Prefix{}},
	} {
		if got := first(c.q).Host; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// queried is the host that hostDelta makes, every other one IPv6.
func queried(i uint32) netip.Prefix {
	return hostPrefix(i, i%2 == 1)
}

// Totals keep internal traffic that counts for hosts apart from the rest, once.
func TestScopes(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1))
	f := newFeeder(t, e, 1)
	in, out := hostDelta(1, false, 50, 100, 1000), hostDelta(2, false, 50, 100, 1000)
	out.Direction = ring.Outgoing
	in.Flags, out.Flags = ring.FlagInternalRow, ring.FlagInternalRow
	plain := hostDelta(3, true, 50, 7, 70)
	plain.Flows = 3
	ignored := ring.Delta{Kind: ring.KindTotal, Direction: ring.Internal, Family: 4, Packets: 11, Bytes: 110}
	for i := range int64(20 * 60) {
		f.flush(origin+i*50*ms, in, out, plain, ignored)
	}
	const n = 1200
	want := map[[2]int]uint64{{2, 4}: 111 * n, {0, 6}: 7 * n}
	for _, x := range e.Totals() {
		if x.Packets[0] != want[[2]int{int(x.Direction), int(x.Family)}] {
			t.Errorf("%v IPv%d: %d packets", x.Direction, x.Family, x.Packets[0])
		}
		if x.Direction == ring.Internal && x.Family == 4 && (x.Rates.Packets[0] < 2218 || x.Rates.Packets[0] > 2222) {
			t.Errorf("internal rate %v, want 2220", x.Rates.Packets[0])
		}
	}
	for _, list := range [][]Scope{e.Networks(), e.Groups()} {
		if len(list) != 1 || list[0].ID != 1 {
			t.Fatalf("%+v", list)
		}
		if in, out := list[0].Dir[0].Packets[0], list[0].Dir[1].Packets[0]; in < 2138 || in > 2142 || out < 1998 || out > 2002 {
			t.Errorf("rates %v in, %v out, want 2140 and 2000", in, out)
		}
		if fl := list[0].Dir[0].Flows; fl < 59 || fl > 61 {
			t.Errorf("%v flows, want 60", fl)
		}
	}
}

// A crossing is told once until it is released, and again after.
func TestCrossingOnce(t *testing.T) {
	e := newEngine(t, Options{MaxAlarms: 1}, testPlan(1, ppsLimit(1, 1000)))
	f := newFeeder(t, e, 1)
	for i := range int64(5) {
		f.flush(origin+i*50*ms, hostDelta(1, false, 50, 1e6, 1e6), hostDelta(2, false, 50, 1e6, 1e6))
	}
	c := e.Crossings()
	if len(c) != 1 || len(e.Crossings()) != 0 || e.Stats().AlarmsHeld == 0 {
		t.Fatalf("%+v", c)
	}
	lv, ok := e.Level(c[0].Alarm, 1, 0.75, e.Clock())
	quiet := lv.Quiet
	if !ok || quiet <= e.Clock() || quiet > e.Clock()+int64(60*time.Second) {
		t.Fatalf("%+v", lv)
	}
	if lv, _ := e.Level(c[0].Alarm, 1, 0.75, quiet-50*ms); lv.Value < 750 {
		t.Fatalf("quiet before its time: %+v", lv)
	}
	if lv, _ := e.Level(c[0].Alarm, 1, 0.75, quiet); lv.Value >= 750 || lv.Quiet != quiet {
		t.Fatalf("not quiet at its time: %+v", lv)
	}
	e.Release(c[0].Alarm)
	e.Release(c[0].Alarm)
	f.flush(e.Clock()+50*ms, hostDelta(2, false, 50, 1e6, 1e6))
	if c := e.Crossings(); len(c) != 1 || c[0].Target != hostPrefix(2, false) {
		t.Fatalf("%+v", c)
	}
}
