package baseline

import (
	"net/netip"
	"slices"
	"time"
)

// Unit is what a rate is measured in.
type Unit uint8

// The units.
const (
	PPS Unit = iota // packets per second
	BPS             // bits per second
	FPS             // new flows per second
)

var unitNames = [...]string{"pps", "bps", "fps"}

func (u Unit) String() string { return unitNames[u] }

// Series names one rate of a host or hostgroup. Counter is an index into the
// profile's Counters.
type Series struct {
	Counter uint16
	Unit    Unit
	Dir     uint8 // 0 incoming, 1 outgoing
}

// Rate is a value of a series.
type Rate struct {
	Series
	Value float64 // in the unit; 0 need not be given
}

// Set is the distributions of a host or hostgroup. A sample without a rate for
// a series is a rate of 0: only others take memory.
type Set struct {
	N      [2]uint64 // samples, by direction
	Series map[Series]*Hist
}

func (s *Set) add(r Rate) {
	if s.Series == nil {
		s.Series = map[Series]*Hist{}
	}
	h := s.Series[r.Series]
	if h == nil {
		h = &Hist{}
		s.Series[r.Series] = h
	}
	h.Add(r.Value)
}

func (s *Set) merge(o *Set) {
	s.N[0], s.N[1] = s.N[0]+o.N[0], s.N[1]+o.N[1]
	for k, h := range o.Series {
		if s.Series == nil {
			s.Series = map[Series]*Hist{}
		}
		if s.Series[k] == nil {
			s.Series[k] = &Hist{}
		}
		s.Series[k].Merge(h)
	}
}

// Quantile is Hist.Quantile with the samples that were 0.
func (s *Set) Quantile(k Series, q float64) float64 {
	h := s.Series[k]
	if h == nil {
		return 0
	}
	all := max(s.N[k.Dir], h.n)
	zeros := all - h.n
	if want := q * float64(all); want <= float64(zeros) {
		return 0
	}
	return h.Quantile((q*float64(all) - float64(zeros)) / float64(h.n))
}

// Max is the largest value of a series.
func (s *Set) Max(k Series) float64 {
	if h := s.Series[k]; h != nil {
		return h.max
	}
	return 0
}

// Bounds on what a profile keeps.
const (
	MaxGroups = 256 // hostgroups; of others nothing is kept
	MaxHosts  = 128 // hosts one by one, of all hostgroups together: the busiest
)

// Profile is how rates were over some time. One goroutine uses it at a time.
type Profile struct {
	Counters []string  // names, by Series.Counter
	From, To time.Time // first and last pass; zero if there was none
	Seconds  float64   // for which hosts were looked at
	Groups   map[string]*Group
	Full     bool // some hostgroup found no room

	hosts int     // kept one by one
	least float64 // weight below which a new host finds no room; 0 to be found out
}

// Group is a hostgroup.
type Group struct {
	All   Set // of its hosts, a sample for each
	Total Set // of all of them together
	Hosts map[netip.Prefix]*Host

	HostSeconds float64    // hosts × time in All
	Attacked    [2]float64 // hosts × time left out since an attack was open, by direction
	Most        int        // hosts with a row at a time
	Week        Week       // of all of them together
	pass        int
}

// Week is the largest rates of total by hour of the week, which begins on
// Monday, UTC; by direction, pps and bps. An hour that was not watched is
// negative.
type Week [168][2][2]float32

// hourOf is the hour of the week of a time.
func hourOf(t time.Time) int {
	t = t.UTC()
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

func newWeek() (w Week) {
	for i := range w {
		w[i] = [2][2]float32{{-1, -1}, {-1, -1}}
	}
	return w
}

// watched tells whether an hour was.
func (w *Week) watched(hour int) bool { return w[hour][0][0] >= 0 || w[hour][1][0] >= 0 }

func (w *Week) merge(o *Week) {
	for i := range w {
		for d := range w[i] {
			for u := range w[i][d] {
				w[i][d][u] = max(w[i][d][u], o[i][d][u])
			}
		}
	}
}

// Host is one host.
type Host struct {
	Set
	Seconds  float64
	Attacked [2]float64 // seconds left out, by direction

	weight float64 // the largest rate so far, in packets a second
}

// NewProfile makes an empty profile.
func NewProfile(counters []string) *Profile {
	return &Profile{Counters: slices.Clone(counters), Groups: map[string]*Group{}}
}

// Counter returns the index of a counter, which it adds where it is new.
func (p *Profile) Counter(name string) uint16 {
	i := slices.Index(p.Counters, name)
	if i < 0 {
		i = len(p.Counters)
		p.Counters = append(p.Counters, name)
	}
	return uint16(i)
}

// group returns a hostgroup, nil where there are too many.
func (p *Profile) group(name string) *Group {
	g := p.Groups[name]
	if g == nil {
		if len(p.Groups) >= MaxGroups {
			p.Full = true
			return nil
		}
		g = &Group{Hosts: map[netip.Prefix]*Host{}, Week: newWeek()}
		p.Groups[name] = g
	}
	return g
}

// Sample is one look at a host.
type Sample struct {
	Group   string
	Host    netip.Prefix
	Seconds float64 // since the look before
	Open    [2]bool // an attack is under way: the direction does not count
	Rates   []Rate
}

// Add counts a look at a host.
func (p *Profile) Add(s *Sample) {
	g := p.group(s.Group)
	if g == nil {
		return
	}
	g.pass++
	g.HostSeconds += s.Seconds
	h := p.host(g, s)
	for dir, open := range s.Open {
		switch {
		case open:
			g.Attacked[dir] += s.Seconds
			if h != nil {
				h.Attacked[dir] += s.Seconds
			}
		default:
			g.All.N[dir]++
			if h != nil {
				h.N[dir]++
			}
		}
	}
	if h != nil {
		h.Seconds += s.Seconds
	}
	for _, r := range s.Rates {
		if s.Open[r.Dir] || r.Value < 0.5 {
			continue
		}
		g.All.add(r)
		if h != nil {
			h.add(r)
		}
	}
}

// AddTotal counts a look at a hostgroup as a whole. open says that an attack on
// one of its hosts is under way.
func (p *Profile) AddTotal(group string, now time.Time, open [2]bool, rates []Rate) {
	g := p.group(group)
	if g == nil {
		return
	}
	for dir := range g.Total.N {
		if !open[dir] {
			g.Total.N[dir]++
			hour := &g.Week[hourOf(now)][dir]
			*hour = [2]float32{max(hour[0], 0), max(hour[1], 0)}
		}
	}
	for _, r := range rates {
		if !open[r.Dir] && r.Value >= 0.5 {
			g.Total.add(r)
			if r.Counter == 0 && r.Unit <= BPS {
				most := &g.Week[hourOf(now)][r.Dir][r.Unit]
				*most = max(*most, float32(r.Value))
			}
		}
	}
}

// EndPass ends a look at all hosts, which stands for so many seconds.
func (p *Profile) EndPass(now time.Time, seconds float64) {
	if p.From.IsZero() {
		p.From = now
	}
	p.To = now
	p.Seconds += seconds
	p.least = 0
	for _, g := range p.Groups {
		g.Most = max(g.Most, g.pass)
		g.pass = 0
	}
}

// octetsAsPacket is how many octets a second weigh as much as a packet.
const octetsAsPacket = 500

// host returns the account of a host, nil where it is not among the busiest.
func (p *Profile) host(g *Group, s *Sample) *Host {
	var weight float64
	for _, r := range s.Rates {
		switch {
		case s.Open[r.Dir] || r.Counter != 0:
		case r.Unit == PPS:
			weight = max(weight, r.Value)
		case r.Unit == BPS:
			weight = max(weight, r.Value/8/octetsAsPacket)
		}
	}
	if h := g.Hosts[s.Host]; h != nil {
		h.weight = max(h.weight, weight)
		return h
	}
	if p.hosts >= MaxHosts && !p.makeRoom(weight) {
		return nil
	}
	h := &Host{weight: weight}
	g.Hosts[s.Host] = h
	p.hosts++
	return h
}

// makeRoom forgets the least busy host for one that is at least half as busy
// again. The search is made once for all that are not worth it.
func (p *Profile) makeRoom(weight float64) bool {
	if p.least > 0 && weight < p.least {
		return false
	}
	var from *Group
	var at netip.Prefix
	least := 0.0
	for _, g := range p.Groups {
		for k, h := range g.Hosts {
			if from == nil || h.weight < least || h.weight == least && k.Addr().Less(at.Addr()) {
				from, at, least = g, k, h.weight
			}
		}
	}
	p.least = max(1.5*least, 1)
	if from == nil || weight < p.least {
		return false
	}
	delete(from.Hosts, at)
	p.hosts--
	p.least = 0
	return true
}

// Merge adds what another profile holds. More hosts than MaxHosts may come of
// it: it is for reading.
func (p *Profile) Merge(o *Profile) {
	if p.From.IsZero() || !o.From.IsZero() && o.From.Before(p.From) {
		p.From = o.From
	}
	if o.To.After(p.To) {
		p.To = o.To
	}
	p.Seconds += o.Seconds
	p.Full = p.Full || o.Full
	index := make([]uint16, len(o.Counters))
	for i, name := range o.Counters {
		index[i] = p.Counter(name)
	}
	for name, from := range o.Groups {
		g := p.Groups[name]
		if g == nil {
			g = &Group{Hosts: map[netip.Prefix]*Host{}, Week: newWeek()}
			p.Groups[name] = g
		}
		g.All.merge(from.All.renumbered(index))
		g.Total.merge(from.Total.renumbered(index))
		g.Week.merge(&from.Week)
		g.HostSeconds += from.HostSeconds
		g.Most = max(g.Most, from.Most)
		for dir := range g.Attacked {
			g.Attacked[dir] += from.Attacked[dir]
		}
		for k, h := range from.Hosts {
			to := g.Hosts[k]
			if to == nil {
				to = &Host{}
				g.Hosts[k] = to
				p.hosts++
			}
			to.merge(h.renumbered(index))
			to.Seconds += h.Seconds
			to.weight = max(to.weight, h.weight)
			for dir := range to.Attacked {
				to.Attacked[dir] += h.Attacked[dir]
			}
		}
	}
}

// renumbered is a set with other numbers for its counters.
func (s *Set) renumbered(index []uint16) *Set {
	out := Set{N: s.N, Series: make(map[Series]*Hist, len(s.Series))}
	for k, h := range s.Series {
		k.Counter = index[k.Counter]
		out.Series[k] = h
	}
	return &out
}
