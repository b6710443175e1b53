package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// scopeSpace is nested random prefixes, each with a network and a hostgroup.
type scopeSpace struct {
	plan  *Plan
	owner []uint32 // of each network but [0]: the group that gives it limits
}

func randomPrefix(rng *rand.Rand) netip.Prefix {
	var a [16]byte
	binary.BigEndian.PutUint64(a[8:], rng.Uint64()) // few high bits differ, so that many nest
	if rng.IntN(2) == 0 {
		four := [4]byte{10, a[13] & 3, a[14], a[15]}
		return netip.PrefixFrom(netip.AddrFrom4(four), 8+rng.IntN(25)).Masked()
	}
	copy(a[:], []byte{0x20, 1, 0xd, 0xb8, 0, a[9] & 3, a[10] & 7})
	return netip.PrefixFrom(netip.AddrFrom16(a), 32+rng.IntN(97)).Masked()
}

func randomSpace(rng *rand.Rand, prefixes, groups, networks int) *scopeSpace {
	s := &scopeSpace{plan: &Plan{Revision: 1}, owner: make([]uint32, networks+1)}
	taken := map[netip.Prefix]bool{}
	for len(taken) < prefixes {
		p := randomPrefix(rng)
		if taken[p] {
			continue
		}
		taken[p] = true
		s.plan.Prefixes = append(s.plan.Prefixes, Prefix{p, uint32(1 + rng.IntN(networks)), uint32(1 + rng.IntN(groups))})
	}
	for n := range s.owner {
		s.owner[n] = uint32(1 + rng.IntN(groups))
	}
	id := uint32(0)
	for g := uint32(1); g <= uint32(groups); g++ {
		group := Group{ID: g, Tau: time.Hour}
		add := func(l Limit) {
			for dir := range ring.Direction(2) {
				id++
				l.ID, l.Direction, l.Rules = id, dir, DefaultRules()
				group.Limits = append(group.Limits, l)
			}
		}
		add(Limit{Value: 2000})
		add(Limit{Scope: ScopePrefix, Length: [2]uint8{uint8(8 + rng.IntN(25)), uint8(32 + rng.IntN(97))}, Value: 4000})
		add(Limit{Scope: ScopePrefix, Length: [2]uint8{uint8(8 + rng.IntN(25)), 0}, Unit: ByteRate, Value: 2e6})
		add(Limit{Scope: ScopeGroup, Value: 9000})
		add(Limit{Scope: ScopeGroup, Counter: 1 + ring.CounterUDP, Value: 4000})
		for n := 1; n < len(s.owner); n++ {
			if s.owner[n] == g {
				add(Limit{Scope: ScopeNetwork, Networks: []uint32{uint32(n)}, Value: 40000})
			}
		}
		s.plan.Groups = append(s.plan.Groups, group)
	}
	return s
}

// of looks an address up as one reads a list from top to bottom.
func (s *scopeSpace) of(a netip.Addr) (best Prefix) {
	for _, p := range s.plan.Prefixes {
		if p.Prefix.Contains(a) && (!best.Prefix.IsValid() || p.Prefix.Bits() > best.Prefix.Bits()) {
			best = p
		}
	}
	return best
}

// inside returns a random address in a prefix.
func inside(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= byte(rng.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (s *scopeSpace) hosts(rng *rand.Rand, n int) (out []ring.Delta) {
	for range n {
		a := inside(rng, s.plan.Prefixes[rng.IntN(len(s.plan.Prefixes))].Prefix)
		of := s.of(a)
		d := ring.Delta{Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: of.Network, Group: of.Group, Sampling: 1, Direction: ring.Direction(rng.IntN(2))}
		d.Addr = a.As16()
		if a.Is6() {
			d.Family, d.PrefixLen = 6, 128
		}
		out = append(out, d)
	}
	return out
}

// scopeTarget names what a limit is about, for one delta; "" when the delta does not
// count for it.
func scopeTarget(l *Limit, group uint32, d *ring.Delta) string {
	a := netip.AddrFrom16(d.Addr).Unmap()
	if d.Direction != l.Direction {
		return ""
	}
	switch l.Scope {
	case ScopeHost:
		if d.Group == group {
			return a.String()
		}
	case ScopePrefix:
		if n := l.Length[family(d)]; d.Group == group && n > 0 {
			return netip.PrefixFrom(a, int(n)).Masked().String()
		}
	case ScopeGroup:
		if d.Group == group {
			return "all"
		}
	case ScopeNetwork:
		if d.Network == l.Networks[0] {
			return "all"
		}
	}
	return ""
}

// Nested random networks, groups and prefixes of both families: what fires is
// what a naive reader of the definitions finds.
func TestScopesAgainstOracle(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { scopesAgainstOracle(t, rand.New(rand.NewPCG(seed, 9))) })
	}
}

type scopeFired struct {
	limit  uint32
	target string
}

func scopesAgainstOracle(t *testing.T, rng *rand.Rand) {
	s := randomSpace(rng, 1000, 150, 12)
	e := newEngine(t, Options{Seed: 3}, s.plan)
	hosts := s.hosts(rng, 600)
	feeders := []*feeder{newFeeder(t, e, 1), newFeeder(t, e, 1)}
	level := make([]float64, len(hosts))
	var all []sent
	for step := range int64(50) {
		end := origin + (step+1)*50*ms
		for r, f := range feeders {
			var ds []ring.Delta
			for i := range hosts {
				if rng.IntN(16) == 0 {
					level[i] = []float64{0, 0, 0.1, 0.4, 1.2, 2, 4}[rng.IntN(7)]
				}
				if level[i] == 0 || i%2 != r && rng.IntN(2) == 0 {
					continue
				}
				d := hosts[i]
				d.SpanMs = []uint32{50, 50, 50, 100, 200}[rng.IntN(5)]
				d.Packets = 1 + uint64(level[i]*2000*float64(d.SpanMs)/1000*(0.5+rng.Float64()))
				d.Bytes = d.Packets * uint64(60+rng.IntN(1400))
				d.CounterPackets[ring.CounterUDP] = uint32(rng.Uint64N(d.Packets + 1))
				if rng.IntN(12) == 0 {
					d.Flags = ring.FlagSmeared
				}
				ds = append(ds, d)
				all = append(all, sent{end, d})
			}
			f.flush(end, ds...)
		}
	}
	checkScopes(t, e, s, all)
	checkScopeRates(t, e, s, all)
}

func checkScopes(t *testing.T, e *Engine, s *scopeSpace, all []sent) {
	got := map[scopeFired]Rule{}
	for _, c := range e.Crossings() {
		k := scopeFired{c.Limit.ID, "all"}
		switch c.Scope {
		case ScopeHost:
			k.target = c.Target.Addr().String()
		case ScopePrefix:
			k.target = c.Target.String()
		}
		if _, twice := got[k]; twice {
			t.Fatalf("%v reported twice", k)
		}
		got[k] = c.Rule
	}
	var fired, held [ScopeNetwork + 1]int
	byGroup, byNetwork := map[uint32][]sent{}, map[uint32][]sent{}
	for _, x := range all {
		byGroup[x.d.Group] = append(byGroup[x.d.Group], x)
		byNetwork[x.d.Network] = append(byNetwork[x.d.Network], x)
	}
	for _, g := range s.plan.Groups {
		for i := range g.Limits {
			l := &g.Limits[i]
			lists := map[string][]sent{}
			mine := byGroup[g.ID]
			if l.Scope == ScopeNetwork {
				mine = byNetwork[l.Networks[0]]
			}
			for k := range mine {
				if target := scopeTarget(l, g.ID, &mine[k].d); target != "" {
					lists[target] = append(lists[target], mine[k])
				}
			}
			for target, list := range lists {
				k := scopeFired{l.ID, target}
				want := oracleBurst(list, *l)
				rule, did := got[k]
				if did != (len(want) > 0) || did && !want[rule] {
					t.Fatalf("%v limit %+v: fired %v by %v, the oracle says %v", k, *l, did, rule, want)
				}
				if did {
					fired[l.Scope]++
				} else {
					held[l.Scope]++
				}
				delete(got, k)
			}
		}
	}
	if len(got) > 0 {
		t.Fatalf("fired for what no delta is about: %v", got)
	}
	for k := range fired {
		if fired[k] == 0 || held[k] == 0 {
			t.Errorf("scope %v: %d fired, %d did not; the input decides nothing", ScopeKind(k), fired[k], held[k])
		}
	}
}

// checkScopeRates compares the averages of all wider rows.
func checkScopeRates(t *testing.T, e *Engine, s *scopeSpace, all []sent) {
	rows := 0
	byGroup := map[uint32][]sent{}
	for _, x := range all {
		byGroup[x.d.Group] = append(byGroup[x.d.Group], x)
	}
	for no := range e.rows.top {
		r := e.row(no)
		if !isScoped(r.kind) {
			continue
		}
		rows++
		kind, target, _, group := e.place(r)
		var key scopeKey
		for k, id := range e.scopeIDs {
			if scopedEntry|id == r.entry {
				key = k
			}
		}
		var lists [2][]sent
		mine := byGroup[group]
		if kind == ScopeNetwork {
			mine = all
		}
		for _, x := range mine {
			a := netip.AddrFrom16(x.d.Addr).Unmap()
			switch {
			case kind == ScopePrefix && (x.d.Group != group || !target.Contains(a)),
				kind == ScopeGroup && x.d.Group != key.id, kind == ScopeNetwork && x.d.Network != key.id:
				continue
			}
			lists[x.d.Direction] = append(lists[x.d.Direction], x)
		}
		rates := e.rates(r, e.clock)
		for dir := range lists {
			what := fmt.Sprintf("%v %v of group %d", kind, target, group)
			near(t, what, rates.Dir[dir].Packets[0], oracleRate(lists[dir], 0, PacketRate, 3600, e.Clock()))
			near(t, what, rates.Dir[dir].Bytes[0], oracleRate(lists[dir], 0, ByteRate, 3600, e.Clock()))
		}
	}
	if st := e.Stats(); int(st.Scopes) != rows || rows < 500 || st.NoScope != 0 {
		t.Errorf("%d wider rows, %+v", rows, st)
	}
}

// A row folded into its prefix counts for what is as wide or wider.
func TestFoldedRowsCountForWiderScopes(t *testing.T) {
	limits := []Limit{
		{ID: 1, Scope: ScopePrefix, Length: [2]uint8{24, 0}, Value: 1000, Rules: DefaultRules()},
		{ID: 2, Scope: ScopePrefix, Length: [2]uint8{16, 0}, Value: 1000, Rules: DefaultRules()},
		{ID: 3, Scope: ScopeGroup, Value: 1000, Rules: DefaultRules()},
		{ID: 4, Scope: ScopeNetwork, Networks: []uint32{1}, Value: 1000, Rules: DefaultRules()},
	}
	e := newEngine(t, Options{}, testPlan(1, limits...))
	f := newFeeder(t, e, 1)
	for i := range int64(20) {
		d := hostDelta(0, false, 50, 1000, 60000)
		d.Kind, d.PrefixLen = ring.KindPrefix, 20
		f.flush(origin+i*50*ms, d)
	}
	got := map[uint32]string{}
	for _, c := range e.Crossings() {
		got[c.Limit.ID] = fmt.Sprint(c.Scope, c.Target, c.Network, c.Group)
	}
	want := map[uint32]string{2: "prefix 10.0.0.0/16 1 1", 3: "hostgroup invalid Prefix 1 1", 4: "network invalid Prefix 1 1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("fired %v, want %v", got, want)
	}
}

// User counters, flows and sampled traffic cross wider limits as they cross
// those of a host.
func TestScopesOfEveryUnit(t *testing.T) {
	limits := []Limit{
		{ID: 1, Scope: ScopePrefix, Length: [2]uint8{24, 64}, Counter: FirstUser, Value: 1000, Rules: DefaultRules()},
		{ID: 2, Scope: ScopeGroup, Unit: FlowRate, Value: 100},
		{ID: 3, Scope: ScopeNetwork, Networks: []uint32{1}, Unit: ByteRate, Value: 1e6, Rules: DefaultRules()},
	}
	for _, sampling := range []uint32{1, 1000} {
		e := newEngine(t, Options{}, testPlan(1, limits...))
		f := newFeeder(t, e, 1)
		for i := range int64(40) {
			var ds []ring.Delta
			for h := range uint32(8) {
				d := hostDelta(h, h%2 == 1, 50, 50, 20000)
				d.Flows, d.Sampling = 3, sampling
				c := d
				c.Kind, c.ID, c.Flows = ring.KindCounter, 0, 0
				ds = append(ds, d, c)
			}
			f.flush(origin+i*50*ms, ds...)
		}
		got := map[uint32]int{}
		for _, c := range e.Crossings() {
			got[c.Limit.ID]++
		}
		want := "map[1:2 2:1 3:1]"
		if sampling > 1 { // 8 packets of the 8000 a second that are seen tell nothing yet
			want = "map[]"
		}
		if fmt.Sprint(got) != want {
			t.Errorf("sampling %d: fired %v, want %s", sampling, got, want)
		}
	}
}

// Idle wider rows leave, a plan without their limits takes theirs away, and
// the memory limit holds.
func TestScopeRowsLeave(t *testing.T) {
	limit := Limit{ID: 1, Scope: ScopePrefix, Length: [2]uint8{32, 64}, Value: 1000, Rules: DefaultRules()}
	e := newEngine(t, Options{Idle: time.Minute}, testPlan(1, limit))
	f := newFeeder(t, e, 1)
	for i := range uint32(500) {
		f.flush(origin, hostDelta(i, i%2 == 1, 50, 1000, 1000))
	}
	if s := e.Stats(); s.Hosts != 500 || s.Scopes != 251 {
		t.Fatalf("%+v", s)
	}
	for _, c := range e.Crossings() {
		e.Release(c.Alarm)
	}
	for i := range int64(3000) {
		e.Advance(origin + i*50*ms)
	}
	if s := e.Stats(); s.Hosts != 0 || s.Scopes != 0 {
		t.Fatalf("after %v of silence: %+v", 150*time.Second, s)
	}
	at := origin + 3000*50*ms
	for i := range int64(10) {
		f.flush(at+i*50*ms, hostDelta(1, false, 50, 1000, 1000))
	}
	cs := e.Crossings()
	if len(cs) != 1 || cs[0].Scope != ScopePrefix {
		t.Fatalf("crossings %+v", cs)
	}
	if err := e.SetPlan(testPlan(2)); err != nil {
		t.Fatal(err)
	}
	if _, ok := e.Level(cs[0].Alarm, 1, 0.75, e.Clock()); ok {
		t.Error("a limit that is gone still has a level")
	}
	if err := e.SetPlan(testPlan(3, limit)); err != nil {
		t.Fatal(err)
	}
	if lv, ok := e.Level(cs[0].Alarm, 1, 0.75, e.Clock()); !ok || lv.Value < 1000 {
		t.Errorf("a limit that is back has %+v, %v", lv, ok)
	}
}

func TestScopeMistakes(t *testing.T) {
	for _, l := range []Limit{
		{ID: 1, Value: 1, Scope: ScopeNetwork + 1},
		{ID: 1, Value: 1, Scope: ScopePrefix},
		{ID: 1, Value: 1, Scope: ScopePrefix, Length: [2]uint8{33, 0}},
		{ID: 1, Value: 1, Scope: ScopePrefix, Length: [2]uint8{0, 129}},
	} {
		e := newEngine(t, Options{}, nil)
		if e.SetPlan(testPlan(1, l)) == nil {
			t.Errorf("taken: %+v", l)
		}
	}
	p := testPlan(1, Limit{ID: 1, Value: 1, Scope: ScopeNetwork, Networks: []uint32{1}})
	p.Groups = append(p.Groups, Group{ID: 2, Limits: []Limit{{ID: 2, Value: 1, Scope: ScopeNetwork, Networks: []uint32{1}}}})
	if newEngine(t, Options{}, nil).SetPlan(p) == nil {
		t.Error("two hostgroups give one network limits")
	}
}

// More sums than are held at a time, and sums wider than a delta.
func TestWideSums(t *testing.T) {
	limit := Limit{ID: 1, Scope: ScopePrefix, Length: [2]uint8{28, 0}, Value: 1e12}
	group := Limit{ID: 2, Scope: ScopeGroup, Value: 1e12}
	e := newEngine(t, Options{}, testPlan(1, limit, group))
	f := newFeeder(t, e, 1)
	var ds []ring.Delta
	for i := range uint32(3 * wideItems) {
		d := hostDelta(i*16, false, 50, 1<<25, 1<<28)
		d.CounterPackets[0], d.CounterBytes[0] = 1<<22, 1<<22
		ds = append(ds, d)
	}
	f.flush(origin, ds...)
	s := e.Stats()
	if int(s.Scopes) != 3*wideItems+1 {
		t.Fatalf("%+v", s)
	}
	gain := e.lut(DefaultTau).gainFor(1)
	for no := range e.rows.top {
		if r := e.row(no); r.kind == rowScope+uint8(ScopeGroup) {
			rates := e.rates(r, e.clock).Dir[0]
			for c, each := range []float64{1 << 25, 1 << 22} {
				// Sums for which there was no room were added one by one, each rounded.
				if want := each * 3 * wideItems * gain; math.Abs(rates.Packets[c]-want) > 1e-4*want {
					t.Errorf("counter %d: %g, want %g", c, rates.Packets[c], want)
				}
			}
		}
	}
}
