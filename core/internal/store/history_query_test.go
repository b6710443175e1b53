package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// wants is what a query should find, by looking at every attack.
func wants(events []sdk.Event, q Query, dead bool) (ids []string) {
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		state := StateEnded
		if e.Type != sdk.AttackEnded {
			state = StateOpen
			if dead {
				state = StateInterrupted
			}
		}
		crossed := slices.ContainsFunc(e.Crossed, func(c sdk.Crossing) bool { return c.Threshold == q.Threshold })
		if (!q.Since.IsZero() && e.Started.Before(q.Since)) || (!q.Until.IsZero() && !e.Started.Before(q.Until)) ||
			(q.Label != "" && labelOf(e) != q.Label) || (q.Group != "" && e.HostGroup != q.Group) || (q.Threshold != "" && !crossed) ||
			(q.State != 0 && state != q.State) || e.PeakPPS < q.MinPeak || (q.Target.IsValid() && !q.Target.Overlaps(e.Target)) {
			continue
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func idsOf(attacks []Attack) (ids []string) {
	for i := range attacks {
		ids = append(ids, attacks[i].Event.ID)
	}
	return ids
}

// all turns the pages of a query.
func all(t *testing.T, r *Reader, q Query) (ids []string) {
	t.Helper()
	for range 10_000 {
		p, err := r.List(context.Background(), q)
		if err != nil || p.Damaged > 0 {
			t.Fatal(err, p.Damaged)
		}
		ids = append(ids, idsOf(p.Attacks)...)
		if p.Next == "" {
			return ids
		}
		if len(p.Attacks) != q.Limit {
			t.Fatalf("a page of %d, wanted %d", len(p.Attacks), q.Limit)
		}
		q.After = p.Next
	}
	t.Fatal("pages without end")
	return nil
}

func TestQueriesFindWhatLookingAtAllFinds(t *testing.T) {
	path := historyPath(t)
	m := &made{r: rand.New(rand.NewPCG(1, 1)), gap: time.Minute}
	events := fill(t, path, 1000, m.next)
	r := reader(t, path)
	pick := rand.New(rand.NewPCG(2, 2))
	one := func() *sdk.Event { return &events[pick.IntN(len(events))] }
	found := 0
	for range 40 {
		q := Query{Limit: 20 + pick.IntN(100)}
		if pick.IntN(3) == 0 {
			q.Since = one().Started
		}
		if pick.IntN(3) == 0 {
			q.Until = one().Started
		}
		if pick.IntN(3) == 0 {
			q.Label = labelOf(one())
		}
		if pick.IntN(3) == 0 {
			q.Group = one().HostGroup
		}
		if pick.IntN(4) == 0 {
			q.Threshold = "act"
		}
		if pick.IntN(4) == 0 {
			q.MinPeak = one().PeakPPS
		}
		if pick.IntN(5) == 0 {
			q.State = []State{StateOpen, StateEnded, StateInterrupted}[pick.IntN(3)]
		}
		if target := one().Target; pick.IntN(3) == 0 && target.IsValid() {
			q.Target = netip.PrefixFrom(target.Addr(), pick.IntN(target.Addr().BitLen()+1))
		}
		want := wants(events, q, true)
		found += len(want)
		if got := all(t, r, q); !slices.Equal(got, want) {
			t.Fatalf("%+v: %d found, want %d", q, len(got), len(want))
		}
	}
	if found < 1_000 {
		t.Errorf("only %d attacks were found in all", found)
	}
}

func TestGet(t *testing.T) {
	path := historyPath(t)
	m := &made{r: rand.New(rand.NewPCG(1, 1)), gap: time.Minute, long: true}
	events := fill(t, path, 50, m.next)
	r := reader(t, path)
	for i := range events {
		e := events[i]
		if e.Evidence != nil {
			e.Evidence.Dump = nil
		}
		a, err := r.Get(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		a.Event.Evidence.Dump = nil
		if diff := cmp.Diff(e, a.Event, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Fatalf("it is not what was written:\n%s", diff)
		}
	}
	if a, err := r.Get(events[7].ID[:10]); err != nil || a.Event.ID != events[7].ID {
		t.Errorf("the beginning of an id: %v %v", a.Event.ID, err)
	}
	for _, id := range []string{"", "x", "zzzzzzzzzzzzzzzz", events[7].ID[:3]} {
		if _, err := r.Get(id); !errors.Is(err, ErrNoAttack) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := r.List(context.Background(), Query{After: "zz"}); !errors.Is(err, ErrBadCursor) {
		t.Error(err)
	}
}

// Ids that begin alike are not guessed at.
func TestAmbiguous(t *testing.T) {
	path := historyPath(t)
	n := 0
	fill(t, path, 2, func() sdk.Event {
		n++
		return sdk.Event{Type: sdk.AttackEnded, ID: fmt.Sprintf("abcdef%d", n), Started: epoch, Time: epoch}
	})
	r := reader(t, path)
	if _, err := r.Get("abcdef"); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
	if a, err := r.Get("abcdef2"); err != nil || a.Event.ID != "abcdef2" {
		t.Error(err)
	}
}

func TestSummary(t *testing.T) {
	path := historyPath(t)
	m := &made{r: rand.New(rand.NewPCG(5, 5)), gap: 20 * time.Minute}
	events := fill(t, path, 1400, m.next)
	r := reader(t, path)
	since, until := epoch.AddDate(0, 0, 8), epoch.AddDate(0, 0, 15)
	s, err := r.Summarize(context.Background(), since, until)
	if err != nil {
		t.Fatal(err)
	}
	now, before := wants(events, Query{Since: since, Until: until}, true), wants(events, Query{Since: since.AddDate(0, 0, -7), Until: since}, true)
	if s.Now.Attacks != len(now) || s.Before.Attacks != len(before) || len(now) == 0 || len(before) == 0 {
		t.Errorf("%d and %d attacks, want %d and %d", s.Now.Attacks, s.Before.Attacks, len(now), len(before))
	}
	sum := func(list []Tally) (n, m int) {
		for _, c := range list {
			n, m = n+c.Attacks, m+c.Before
		}
		return n, m
	}
	for name, list := range map[string][]Tally{"labels": s.Labels, "groups": s.Groups} {
		if n, m := sum(list); n != len(now) || m != len(before) {
			t.Errorf("%s add up to %d and %d", name, n, m)
		}
		if !slices.IsSortedFunc(list, func(a, b Tally) int { return b.Attacks - a.Attacks }) {
			t.Errorf("%s are not in order", name)
		}
	}
	if n, _ := sum(s.Days); n != len(now) || len(s.Days) != 7 || s.Days[0].Name != "2026-03-09" {
		t.Errorf("days: %+v", s.Days)
	}
	for _, c := range s.Labels {
		if want := wants(events, Query{Since: since, Until: until, Label: c.Name}, true); len(want) != c.Attacks {
			t.Errorf("%s: %d, want %d", c.Name, c.Attacks, len(want))
		}
	}
	peak := 0.0
	var longest time.Duration
	for i := range events {
		if e := &events[i]; !e.Started.Before(since) && e.Started.Before(until) {
			peak, longest = max(peak, e.PeakPPS), max(longest, e.Time.Sub(e.Started))
		}
	}
	if len(s.Largest) != TopAttacks || s.Largest[0].Event.PeakPPS != peak || s.Now.PeakPPS != peak {
		t.Errorf("the largest: %v, want %v", s.Now.PeakPPS, peak)
	}
	if l := s.Longest; len(l) != TopAttacks || l[0].Ended.Sub(l[0].Event.Started) != longest {
		t.Errorf("the longest is not %s", longest)
	}
	if len(s.Targets) != TopTargets || s.Now.Targets < TopTargets {
		t.Errorf("%d targets, %d shown", s.Now.Targets, len(s.Targets))
	}
}

// BenchmarkPageOfAMillion lists fifty attacks of a million, filter by filter:
// the slowest is to take less than 200 ms.
func BenchmarkPageOfAMillion(b *testing.B) {
	path := historyPath(b)
	m := &made{r: rand.New(rand.NewPCG(9, 9)), gap: time.Minute}
	began := time.Now()
	const n = 1_000_000
	first := fill(b, path, n, func() sdk.Event { // a label that went, and a hostgroup that came
		e := m.next()
		if e.Label == "udp_flood" {
			if m.n < n/2 {
				e.Label = "went"
			} else {
				e.HostGroup = "came"
			}
		}
		return e
	})
	b.Logf("%d attacks written in %s", n, time.Since(began).Round(time.Millisecond))
	r := reader(b, path)
	size, _, err := r.db.Size()
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d octets for an attack without evidence", size/n)
	middle := epoch.Add(n / 2 * time.Minute)
	for _, q := range []struct {
		name string
		Query
	}{
		{"newest", Query{}},
		{"time", Query{Since: middle, Until: middle.AddDate(0, 0, 7)}},
		{"host", Query{Target: first[100].Target}},
		{"prefix", Query{Target: netip.MustParsePrefix("10.0.0.0/12")}},
		{"rare_prefix", Query{Target: netip.MustParsePrefix("10.6.7.0/24")}},
		{"nowhere", Query{Target: netip.MustParsePrefix("192.0.2.0/24")}},
		{"ipv6", Query{Target: netip.MustParsePrefix("2001:db8::/32")}},
		{"label", Query{Label: "syn_flood"}},
		{"rare_label", Query{Label: "memcached_reflection"}},
		{"group", Query{Group: "group0"}},
		{"rare_group", Query{Group: "group39"}},
		{"threshold", Query{Threshold: "act"}},
		{"open", Query{State: StateInterrupted}},
		{"ended", Query{State: StateEnded}},
		{"peak", Query{MinPeak: 1e5}},
		{"high_peak", Query{MinPeak: 1e8}},
		{"everything_rare", Query{Label: "memcached_reflection", Group: "group39", Threshold: "act", MinPeak: 1e6}},
		{"everything_common_and_none", Query{Label: "syn_flood", Group: "group0", State: StateEnded, MinPeak: 5e8, Target: netip.MustParsePrefix("10.0.0.0/8")}},
		{"all_looked_at_for_nothing", Query{Label: "went", Group: "came"}},
		{"nothing_of_the_last_page", Query{Label: "syn_flood", After: "00000000000000000000000000000000"}},
	} {
		b.Run(q.name, func(b *testing.B) {
			var slowest time.Duration
			found := 0
			for b.Loop() {
				began := time.Now()
				p, err := r.List(context.Background(), q.Query)
				if err != nil {
					b.Fatal(err)
				}
				found = len(p.Attacks)
				slowest = max(slowest, time.Since(began))
			}
			b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-ms")
			b.ReportMetric(float64(found), "found")
		})
	}
	b.Run("summary_of_a_year", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.Summarize(context.Background(), middle, middle.Add(MaxPeriod)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
