package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// movingPlan puts 10.0.0.0/8 in another network and group at each revision,
// and gives user counter bit 0 another meaning. Limit 1 stays, limit 2 alone
// changes.
func movingPlan(revision uint64) *Plan {
	id := uint32(revision)
	return &Plan{
		Revision: revision,
		Groups: []Group{{ID: id, Limits: []Limit{
			ppsLimit(1, 20000),
			{ID: 2, Unit: ByteRate, Value: 1e9 + float64(revision), Rules: DefaultRules()},
			{ID: 100 + id, Counter: FirstUser, Value: 1e6},
		}}},
		Prefixes: []Prefix{
			{netip.MustParsePrefix("10.0.0.0/8"), id, id},
			{netip.MustParsePrefix("2001:db8::/32"), id, id},
		},
		Counters: []uint32{id},
	}
}

// Plans change under load, two rings adopting them at different times: every
// delta is counted under its own plan, no rate is lost.
func TestPlanChangesUnderLoad(t *testing.T) {
	e := newEngine(t, Options{Seed: 3}, movingPlan(1))
	rng := rand.New(rand.NewPCG(1, 9))
	rings := []*feeder{newFeeder(t, e, 1), newFeeder(t, e, 1)}
	lists := map[uint32][]sent{}
	perNetwork := map[uint32]uint64{}
	user := map[uint32]uint64{}
	newest := uint64(1)
	for s := int64(1); s <= 600; s++ {
		end := origin + s*50*ms
		if s%20 == 0 {
			newest++
			if err := e.SetPlan(movingPlan(newest)); err != nil {
				t.Fatal(err)
			}
		}
		for i, f := range rings {
			if f.revision < newest && s%20 > int64(3+i*8) {
				f.revision = newest
			}
			var ds []ring.Delta
			for h := range uint32(8) {
				d := hostDelta(h, h%2 == 1, 50, uint64(rng.IntN(400)), uint64(rng.IntN(50000)))
				d.Network, d.Group = uint32(f.revision), uint32(f.revision)
				c := d
				c.Kind, c.ID = ring.KindCounter, 0
				ds = append(ds, d, c)
				lists[h] = append(lists[h], sent{end, d})
				perNetwork[d.Network] += d.Packets
				user[d.Network] += d.Packets
			}
			f.flush(end, ds...)
		}
	}
	for h, list := range lists {
		got, ok := e.Rates(hostPrefix(h, h%2 == 1), e.Clock())
		if !ok || got.Group != uint32(newest) {
			t.Fatalf("host %d: %+v %v", h, got, ok)
		}
		near(t, "pps", got.Dir[0].Packets[0], oracleRate(list, 0, PacketRate, 5, e.Clock()))
	}
	for _, c := range e.cells {
		if c.key.network != 0 && c.key.family == 4 {
			got := c.lanes[0].packets[0] + e.cell(c.key.network, c.key.group, 6).lanes[0].packets[0]
			if got != perNetwork[c.key.network] {
				t.Fatalf("network %d has %d packets, want %d", c.key.network, got, perNetwork[c.key.network])
			}
		}
	}
	for _, u := range e.UserTotals() {
		user[u.Counter] -= u.Packets
	}
	for id, left := range user {
		if left != 0 {
			t.Fatalf("user counter %d misses %d packets", id, left)
		}
	}
	if s := e.Stats(); s.Refused != 0 || len(e.plans) > 3 {
		t.Fatalf("%+v, %d plans", s, len(e.plans))
	}
}

// A run of ticks goes on over a plan that keeps its limit, and over one that
// moves the limit to another place.
func TestPlanKeepsRuns(t *testing.T) {
	e := newEngine(t, Options{}, movingPlan(1))
	f := newFeeder(t, e, 1)
	n := uint64(1)
	for s := int64(1); s <= 40; s++ {
		if s%4 == 0 {
			n++
			p := movingPlan(n)
			if n%2 == 0 {
				l := p.Groups[0].Limits
				l[0], l[1] = l[1], l[0]
			}
			if err := e.SetPlan(p); err != nil {
				t.Fatal(err)
			}
		}
		f.revision = n
		d := hostDelta(1, false, 50, 2000, 2000) // 2 × the limit
		d.Network, d.Group = uint32(n), uint32(n)
		f.flush(origin+s*50*ms, d)
		if c := e.Crossings(); len(c) > 0 {
			if c[0].Rule != (Rule{7, 1.5}) || s != 14 {
				t.Fatalf("fired at step %d: %+v", s, c)
			}
			return
		}
	}
	t.Fatal("nothing fired")
}

func TestPlanErrors(t *testing.T) {
	for name, spoil := range map[string]func(*Plan){
		"revision":     func(p *Plan) { p.Revision = 1 },
		"group":        func(p *Plan) { p.Prefixes[0].Group = 9 },
		"network":      func(p *Plan) { p.Prefixes[0].Network = 0 },
		"unmasked":     func(p *Plan) { p.Prefixes[0].Prefix = netip.MustParsePrefix("10.0.0.1/8") },
		"value":        func(p *Plan) { p.Groups[0].Limits[0].Value = 0 },
		"ticks":        func(p *Plan) { p.Groups[0].Limits[0].Rules = []Rule{{16, 2}} },
		"rules":        func(p *Plan) { p.Groups[0].Limits[0].Rules = make([]Rule, 4) },
		"direction":    func(p *Plan) { p.Groups[0].Limits[0].Direction = ring.Internal },
		"flows":        func(p *Plan) { p.Groups[0].Limits[0].Unit = FlowRate },
		"user counter": func(p *Plan) { p.Counters = []uint32{0}; p.Groups[0].Limits[0].Counter = FirstUser },
		"tau":          func(p *Plan) { p.Groups[0].Tau = time.Millisecond },
		"twice":        func(p *Plan) { p.Groups = append(p.Groups, p.Groups[0]) },
	} {
		e := newEngine(t, Options{}, testPlan(1))
		p := testPlan(2, ppsLimit(1, 100))
		spoil(p)
		if err := e.SetPlan(p); err == nil {
			t.Errorf("%s: no error", name)
		}
		newFeeder(t, e, 1).flush(origin, hostDelta(1, false, 50, 1, 1)) // the old plan still holds
	}
}

// Layouts are forgotten when too many were ever used, rows keep theirs.
func TestCompactLayouts(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, 1)))
	f := newFeeder(t, e, 1)
	for n := uint64(2); n < 50; n++ {
		if err := e.SetPlan(testPlan(n, ppsLimit(1, 20000+float64(n%5)), ppsLimit(uint32(n), float64(1e6+n)))); err != nil {
			t.Fatal(err)
		}
		f.revision = n
		f.flush(origin+int64(n)*50*ms, hostDelta(uint32(n), false, 50, 2000, 2000), hostDelta(1, true, 50, 10, 10))
		before := len(e.layouts)
		e.compactLayouts()
		if len(e.layouts) > before || len(e.layouts) > 8 {
			t.Fatalf("%d layouts after compacting %d", len(e.layouts), before)
		}
		if r := e.row(0); e.layouts[r.layout].n != e.cur.groups[1].lay.n {
			t.Fatal("a row has lost its layout")
		}
	}
}

// The run of a user counter goes on over plans that keep its limit.
func TestPlanKeepsUserRuns(t *testing.T) {
	for _, step := range []float64{0, 1} {
		e := newEngine(t, Options{}, testPlan(1))
		f := newFeeder(t, e, 1)
		fired := int64(0)
		for s := int64(1); s <= 40 && fired == 0; s++ {
			if s%4 == 1 {
				f.revision++
				l := Limit{ID: 5, Counter: FirstUser, Value: 20000 + step*float64(s), Rules: []Rule{{7, 1.5}}}
				if err := e.SetPlan(testPlan(f.revision, l)); err != nil {
					t.Fatal(err)
				}
			}
			d := hostDelta(1, false, 50, 1800, 1800)
			d.Kind = ring.KindCounter
			f.flush(origin+s*50*ms, d)
			if len(e.Crossings()) > 0 {
				fired = s
			}
		}
		if want := map[float64]int64{0: 14, 1: 0}[step]; fired != want {
			t.Fatalf("limit moving by %v: fired at step %d, want %d", step, fired, want)
		}
	}
}

// Limits that go take their extra records with them, others keep theirs.
func TestPlanDropsExtras(t *testing.T) {
	a := Limit{ID: 5, Counter: FirstUser, Value: 1e6, Rules: DefaultRules()}
	b := Limit{ID: 6, Counter: FirstUser + 1, Value: 1e6}
	e := newEngine(t, Options{}, testPlan(1, a, b))
	f := newFeeder(t, e, 1)
	for n, want := range []uint32{3, 1, 0} {
		ds := []ring.Delta{hostDelta(1, false, 50, 1, 1)}
		if n == 0 {
			for bit := range uint8(2) {
				d := hostDelta(1, false, 50, 1, 1)
				d.Kind, d.ID = ring.KindCounter, bit
				ds = append(ds, d)
			}
		}
		f.flush(origin+int64(n)*50*ms, ds...)
		if s := e.Stats(); s.Extras != want {
			t.Fatalf("plan %d: %d extras, want %d", n+1, s.Extras, want)
		}
		if err := e.SetPlan(testPlan(uint64(n+2), [][]Limit{{b}, nil, nil}[n]...)); err != nil {
			t.Fatal(err)
		}
		f.revision = uint64(n + 2)
	}
}
