package store

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Summary is what a period had, beside the one of the same length before it.
// Attacks belong to the period in which they began.
type Summary struct {
	Since, Until time.Time
	Now, Before  Totals
	Labels       []Tally // all, the most common first
	Groups       []Tally
	Targets      []Tally // the first TopTargets
	Days         []Tally // in UTC, each of the period
	Longest      []Attack
	Largest      []Attack
	// AtLeast says that there were more targets than are told apart.
	AtLeast bool
}

// Totals are figures of a period.
type Totals struct {
	Attacks     int
	Open        int
	Interrupted int
	Targets     int
	Duration    time.Duration // of all attacks together, as far as they were seen
	PeakPPS     float64       // of the largest
}

// Tally is a part of a period's attacks.
type Tally struct {
	Name     string
	Attacks  int
	Before   int // in the period before
	Duration time.Duration
	PeakPPS  float64 // of the largest
}

// Bounds of a summary.
const (
	TopTargets = 10
	TopAttacks = 5
	maxTargets = 200_000 // told apart
	maxNames   = 10_000
	MaxPeriod  = 366 * 24 * time.Hour
)

// Summarize sums up the attacks that began from since on and before until,
// which are MaxPeriod apart at most.
func (r *Reader) Summarize(ctx context.Context, since, until time.Time) (s Summary, err error) {
	since, until = since.UTC(), until.UTC()
	s = Summary{Since: since, Until: until}
	err = r.db.View(func(tx *bbolt.Tx) error {
		t := tablesOf(tx)
		x := newTallies(r, &t, until)
		length := until.Sub(since)
		f := &filter{t: &t, from: newKey(since.Add(-length), 0), to: newKey(until, 0)}
		boundary := newKey(since, 0)
		var at row
		if err := f.scan(ctx, &at, func(k key, found *row) bool {
			x.add(k, found, bytes.Compare(k[:], boundary[:]) >= 0)
			return true
		}); err != nil {
			return err
		}
		x.fill(&s)
		return nil
	})
	return s, err
}

// tallies count a summary's attacks.
type tallies struct {
	r       *Reader
	t       *tables
	until   time.Time
	totals  [2]Totals // of the period, and of the one before
	labels  map[uint32]*Tally
	groups  map[uint32]*Tally
	targets map[netip.Prefix]*Tally
	days    map[string]*Tally
	longest []ranked
	largest []ranked
	atLeast bool
}

// ranked is one of the attacks that are named.
type ranked struct {
	k      key
	weight float64
}

func newTallies(r *Reader, t *tables, until time.Time) *tallies {
	return &tallies{
		r: r, t: t, until: until, labels: map[uint32]*Tally{}, groups: map[uint32]*Tally{},
		targets: map[netip.Prefix]*Tally{}, days: map[string]*Tally{},
	}
}

// tallyOf finds or makes a tally; nil where there are too many.
func tallyOf[K comparable](m map[K]*Tally, k K, most int) *Tally {
	c := m[k]
	if c == nil && len(m) < most {
		c = &Tally{}
		m[k] = c
	}
	return c
}

func (c *Tally) add(now bool, length time.Duration, peak float64) {
	if c == nil {
		return
	}
	if !now {
		c.Before++
		return
	}
	c.Attacks++
	c.Duration += length
	c.PeakPPS = max(c.PeakPPS, peak)
}

func (x *tallies) add(k key, a *row, now bool) {
	started := time.Unix(0, k.started()).UTC()
	end := time.Unix(0, a.last)
	state := x.r.stateOf(a)
	if state == StateOpen {
		end = x.until
	}
	length := max(0, end.Sub(started))
	total := &x.totals[0]
	if !now {
		total = &x.totals[1]
	}
	total.Attacks++
	total.Duration += length
	total.PeakPPS = max(total.PeakPPS, a.peak)
	switch state {
	case StateOpen:
		total.Open++
	case StateInterrupted:
		total.Interrupted++
	}
	tallyOf(x.labels, a.label, maxNames).add(now, length, a.peak)
	tallyOf(x.groups, a.group, maxNames).add(now, length, a.peak)
	target := tallyOf(x.targets, a.target, maxTargets)
	x.atLeast = x.atLeast || target == nil
	target.add(now, length, a.peak)
	if now {
		tallyOf(x.days, started.Format(time.DateOnly), maxNames).add(now, length, a.peak)
		x.longest = rank(x.longest, ranked{k, length.Seconds()})
		x.largest = rank(x.largest, ranked{k, a.peak})
	}
}

// rank keeps the heaviest.
func rank(list []ranked, one ranked) []ranked {
	at, _ := slices.BinarySearchFunc(list, one, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), bytes.Compare(a.k[:], b.k[:]))
	})
	if at >= TopAttacks {
		return list
	}
	list = slices.Insert(list, at, one)
	return list[:min(len(list), TopAttacks)]
}

func (x *tallies) fill(s *Summary) {
	s.Now, s.Before, s.AtLeast = x.totals[0], x.totals[1], x.atLeast
	for _, c := range x.targets {
		if c.Attacks > 0 {
			s.Now.Targets++
		}
		if c.Before > 0 {
			s.Before.Targets++
		}
	}
	named := func(m map[uint32]*Tally) []Tally {
		for n, c := range m {
			c.Name = x.t.name(n)
		}
		return ordered(m)
	}
	s.Labels, s.Groups = named(x.labels), named(x.groups)
	for target, c := range x.targets {
		if target.IsValid() {
			c.Name = target.String()
			if target.IsSingleIP() {
				c.Name = target.Addr().String()
			}
		}
	}
	s.Targets = ordered(x.targets)
	s.Targets = slices.DeleteFunc(s.Targets, func(c Tally) bool { return c.Attacks == 0 })
	s.Targets = s.Targets[:min(len(s.Targets), TopTargets)]
	for day := s.Since.Truncate(24 * time.Hour); day.Before(s.Until); day = day.AddDate(0, 0, 1) {
		c := tallyOf(x.days, day.Format(time.DateOnly), maxNames)
		if c != nil {
			c.Name = day.Format(time.DateOnly)
			s.Days = append(s.Days, *c)
		}
	}
	s.Longest, s.Largest = x.attacks(x.longest), x.attacks(x.largest)
}

// ordered lists tallies, the most common first.
func ordered[K comparable](m map[K]*Tally) []Tally {
	out := make([]Tally, 0, len(m))
	for c := range maps.Values(m) {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(b.Attacks, a.Attacks), cmp.Compare(b.Before, a.Before), cmp.Compare(b.PeakPPS, a.PeakPPS), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// attacks reads those that are named.
func (x *tallies) attacks(list []ranked) (out []Attack) {
	for _, one := range list {
		var at row
		if at.read(x.t.rows.Get(one.k[:])) != nil {
			continue
		}
		if e, err := decode(x.t.records.Get(one.k[:])); err == nil {
			out = append(out, x.r.attack(e, &at))
		}
	}
	return out
}
