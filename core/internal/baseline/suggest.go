package baseline

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Suggestion is limits for hostgroups, and the evidence for them.
type Suggestion struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Seconds float64           `json:"seconds"` // watched
	Source  string            `json:"source"`  // what was watched, for people
	Bursts  bool              `json:"bursts"`  // burst rules were tried on the input; else only averages are known
	Notes   []string          `json:"notes"`   // what else is to be known
	Thin    []string          `json:"thin"`    // why the evidence is too thin to act on; empty: it is not
	Groups  []GroupSuggestion `json:"hostgroups"`
	Unseen  []string          `json:"unseen"` // hostgroups without traffic, left as they are
}

// GroupSuggestion is the limits of one hostgroup.
type GroupSuggestion struct {
	Name       string      `json:"hostgroup"`
	Hosts      int         `json:"hosts"`           // with traffic at a time, at most
	HostDays   float64     `json:"host_days"`       // watched
	Attacked   [2]float64  `json:"attack_seconds"`  // hosts × time left out, incoming and outgoing
	Thresholds []Threshold `json:"thresholds"`      //
	Own        []OwnGroup  `json:"own_hostgroups"`  // hosts that need limits of their own
	NotSeen    []string    `json:"counters_unseen"` // that were counted and had no traffic
	Thin       []string    `json:"thin"`
	Rates      []Rates     `json:"rates"`   // of each host
	Total      []Rates     `json:"total"`   // of all together
	Busiest    []HostRates `json:"busiest"` // hosts, the largest rate first
	Week       []HourRates `json:"week"`    // the largest rates of all together, by hour of the week that was watched
}

// HourRates is the largest rates of an hour of the week, incoming and outgoing.
type HourRates struct {
	Hour string     `json:"hour"` // "Mon 13", UTC
	PPS  [2]float32 `json:"pps"`
	BPS  [2]float32 `json:"bps"`
}

var days = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// hours lists the hours of the week that were watched.
func (w *Week) hours() []HourRates {
	out := []HourRates{}
	for i := range w {
		if r := w[i]; w.watched(i) {
			out = append(out, HourRates{
				fmt.Sprintf("%s %02d", days[i/24], i%24),
				[2]float32{max(r[0][0], 0), max(r[1][0], 0)},
				[2]float32{max(r[0][1], 0), max(r[1][1], 0)},
			})
		}
	}
	return out
}

// unwatched lists the days of the week of which less than half was watched.
func (w *Week) unwatched() (out []string) {
	for day, name := range days {
		n := 0
		for h := range 24 {
			if w.watched(day*24 + h) {
				n++
			}
		}
		if n < 12 {
			out = append(out, name)
		}
	}
	return out
}

// Rates is how one rate was distributed.
type Rates struct {
	Direction string  `json:"direction"`
	Counter   string  `json:"counter"`
	Unit      string  `json:"unit"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	P999      float64 `json:"p99_9"`
	Max       float64 `json:"max"`
	Samples   uint64  `json:"samples"`
}

// HostRates is how the rates of one host were distributed.
type HostRates struct {
	Host     netip.Prefix `json:"host"`
	Seconds  float64      `json:"seconds"`        // watched
	Attacked [2]float64   `json:"attack_seconds"` // left out, incoming and outgoing
	Rates    []Rates      `json:"rates"`
}

// mostBusiest is how many hosts of a hostgroup are told of one by one.
const mostBusiest = 10

// rates lists all that is known of a host or hostgroup.
func (p *Profile) rates(s *Set) []Rates {
	out := []Rates{}
	for dir, direction := range directions {
		for counter, c := range p.Counters {
			for u := range FPS + 1 {
				if k := (Series{uint16(counter), u, uint8(dir)}); s.Series[k] != nil {
					l := evidence(s, k, 0)
					out = append(out, Rates{direction, c, u.String(), l.P50, l.P99, l.P999, l.Max, l.Samples})
				}
			}
		}
	}
	return out
}

// busiest lists the hosts with the largest rates.
func (p *Profile) busiest(g *Group) []HostRates {
	out := []HostRates{}
	for k, h := range g.Hosts {
		out = append(out, HostRates{Host: k, Seconds: h.Seconds, Attacked: h.Attacked})
	}
	slices.SortFunc(out, func(a, b HostRates) int {
		return cmp.Or(cmp.Compare(g.Hosts[b.Host].weight, g.Hosts[a.Host].weight), a.Host.Addr().Compare(b.Host.Addr()))
	})
	out = out[:min(len(out), mostBusiest)]
	for i := range out {
		out[i].Rates = p.rates(&g.Hosts[out[i].Host].Set)
	}
	return out
}

// OwnGroup is a host far above the others of its hostgroup.
type OwnGroup struct {
	Name       string       `json:"hostgroup"`
	Host       netip.Prefix `json:"host"`
	HostDays   float64      `json:"host_days"`
	Thresholds []Threshold  `json:"thresholds"` // in which it differs
}

// Threshold is the limits on one counter in one direction.
type Threshold struct {
	Name      string  `json:"threshold"`
	Scope     string  `json:"scope"` // host or hostgroup
	Direction string  `json:"direction"`
	Counter   string  `json:"counter"`
	Limits    []Limit `json:"limits"`
}

// Limit is one number and why.
type Limit struct {
	Unit    string       `json:"unit"`
	Limit   float64      `json:"limit"`
	P50     float64      `json:"p50"` // of all samples: of each host, or of the hostgroup together
	P99     float64      `json:"p99"`
	P999    float64      `json:"p99_9"`
	Max     float64      `json:"max"`
	Samples uint64       `json:"samples"`
	Hosts   int          `json:"hosts"`            // that had any of it
	Busiest netip.Prefix `json:"busiest,omitzero"` // the host with the largest p99.9
	Top     float64      `json:"busiest_p99_9"`    //
	Rule    string       `json:"rule"`
	Fires   int          `json:"fires"`            // in the input, or samples above the limit
	AtMost  float64      `json:"at_most"`          // false positives per host (hostgroup) and day, 95 % upper bound
	Days    float64      `json:"watched"`          // host-days (days) in which they were counted
	Raised  float64      `json:"before,omitempty"` // the limit before bursts of the input had it raised
}

// The rules. A limit is the largest of the three, rounded up to two digits.
const (
	RuleBusiest = "2 x p99.9 of the busiest host"
	RuleGroup   = "2 x p99.9 of the hostgroup"
	RuleHost    = "2 x p99.9 of the host"
	RuleLargest = "1.25 x the largest value"
	RuleFloor   = "the least that is worth a limit"
	RuleBurst   = "raised so that no burst of the input fires"
)

const (
	factorQuantile = 2
	factorLargest  = 1.25
	apart          = 4 // times the next host's p99.9: a host needs a group of its own
	fewest         = 5 // hosts of which one can stand apart
	mostApart      = 8 // hosts of a group
	thinDays       = 1 // of watching
	thinSamples    = 1000
)

// builtins that are no cause for a limit of their own.
var ignored = []string{"dropped", "exempt"}

// floors are the least limits, in the order of the units: below them ordinary
// traffic that was not seen yet would fire.
func floor(counter string, u Unit) float64 {
	switch {
	case u == BPS:
		return 10e6
	case u == FPS:
		return 500
	case counter == "total" || counter == "tcp" || counter == "udp" || counter == "ack":
		return 1000
	case counter == "tcp_syn" || counter == "syn_ack" || counter == "rst" || counter == "fin":
		return 500
	}
	return 100
}

// unitsOf are the units in which a counter is worth a limit.
func unitsOf(counter string) []Unit {
	switch counter {
	case "total":
		return []Unit{PPS, BPS, FPS}
	case "tcp", "udp", "icmp", "fragmented":
		return []Unit{PPS, BPS}
	}
	return []Unit{PPS}
}

var directions = [2]string{"incoming", "outgoing"}

// Suggest makes limits of a profile: for the hostgroups that it is asked for,
// in their order.
func Suggest(p *Profile, groups []string) *Suggestion {
	s := &Suggestion{From: p.From, To: p.To, Seconds: p.Seconds, Notes: []string{}, Thin: []string{}, Groups: []GroupSuggestion{}, Unseen: []string{}}
	if days := p.Seconds / 86400; p.Seconds == 0 {
		s.Thin = append(s.Thin, "nothing has been watched yet")
	} else if days < thinDays {
		s.Thin = append(s.Thin, "watched for "+Span(p.Seconds)+": limits hold for what happened in that time; watch for a day at least, a week is better")
	}
	if p.Full {
		s.Thin = append(s.Thin, "there are more hostgroups than are watched")
	}
	for _, name := range groups {
		g := p.Groups[name]
		if g == nil || len(g.All.Series) == 0 {
			s.Unseen = append(s.Unseen, name)
			continue
		}
		s.Groups = append(s.Groups, p.suggestGroup(name, g))
	}
	return s
}

func (p *Profile) suggestGroup(name string, g *Group) GroupSuggestion {
	out := GroupSuggestion{
		Name: name, Hosts: g.Most, HostDays: g.HostSeconds / 86400, Attacked: g.Attacked,
		Thresholds: []Threshold{}, Own: []OwnGroup{}, NotSeen: []string{}, Thin: []string{},
		Rates: p.rates(&g.All), Total: p.rates(&g.Total), Busiest: p.busiest(g), Week: g.Week.hours(),
	}
	v := p.view(g)
	for counter, c := range p.Counters {
		seen := false
		for dir := range directions {
			if t := v.threshold(c, uint16(counter), uint8(dir)); t != nil {
				seen = true
				if t = worth(t, out.Thresholds); t != nil {
					out.Thresholds = append(out.Thresholds, *t)
				}
			}
		}
		if !seen && !slices.Contains(ignored, c) {
			out.NotSeen = append(out.NotSeen, c)
		}
	}
	for dir := range directions {
		if t := v.together(uint8(dir), out.Thresholds); t != nil && len(g.Hosts) > 1 {
			out.Thresholds = append(out.Thresholds, *t)
		}
	}
	for _, h := range v.own {
		out.Own = append(out.Own, v.ownGroup(name, h, out.Thresholds))
	}
	slices.SortFunc(out.Own, func(a, b OwnGroup) int { return a.Host.Addr().Compare(b.Host.Addr()) })
	if gone := g.Week.unwatched(); p.Seconds >= thinDays*86400 && len(gone) > 0 {
		out.Thin = append(out.Thin, "of these days of the week less than half was watched: "+strings.Join(gone, ", "))
	}
	if len(g.Hosts) < 3 {
		out.Thin = append(out.Thin, "so few hosts had traffic that the next one may be quite different")
	}
	if n := max(g.All.N[0], g.All.N[1]); n < thinSamples {
		out.Thin = append(out.Thin, "so few samples that p99.9 is the largest of them")
	}
	return out
}

// worth drops limits that the total's own limit makes pointless: a counter is a
// part of it.
func worth(t *Threshold, before []Threshold) *Threshold {
	for i := range before {
		total := &before[i]
		if total.Counter != "total" || total.Direction != t.Direction || t.Counter == "total" {
			continue
		}
		t.Limits = slices.DeleteFunc(t.Limits, func(l Limit) bool {
			return slices.ContainsFunc(total.Limits, func(o Limit) bool { return o.Unit == l.Unit && l.Limit >= 0.8*o.Limit })
		})
	}
	if len(t.Limits) == 0 {
		return nil
	}
	return t
}

// view is a group without the hosts that stand apart.
type view struct {
	p     *Profile
	group *Group
	set   *Set // of the hosts that are left
	hosts map[netip.Prefix]*Host
	own   []netip.Prefix
	days  float64
}

func (p *Profile) view(g *Group) *view {
	v := &view{p: p, group: g, set: &g.All, hosts: g.Hosts, days: g.HostSeconds / 86400}
	v.own = p.standApart(g)
	if len(v.own) == 0 {
		return v
	}
	v.set, v.hosts, v.days = &Set{}, map[netip.Prefix]*Host{}, 0
	for k, h := range g.Hosts {
		if !slices.Contains(v.own, k) {
			v.hosts[k] = h
			v.set.merge(&h.Set)
			v.days += h.Seconds / 86400
		}
	}
	return v
}

// ranked is a host's p99.9 of a series.
type ranked struct {
	host  netip.Prefix
	value float64
}

// rank lists the hosts by their p99.9, the largest first.
func rank(hosts map[netip.Prefix]*Host, k Series) []ranked {
	var out []ranked
	for host, h := range hosts {
		if v := h.Quantile(k, 0.999); v > 0 {
			out = append(out, ranked{host, v})
		}
	}
	slices.SortFunc(out, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.value, a.value), a.host.Addr().Compare(b.host.Addr()))
	})
	return out
}

// standApart finds hosts so far above all others in some rate that one limit
// for all would leave the others without protection.
func (p *Profile) standApart(g *Group) (out []netip.Prefix) {
	if len(g.Hosts) < fewest {
		return nil
	}
	ratio := map[netip.Prefix]float64{}
	for counter, c := range p.Counters {
		if slices.Contains(ignored, c) {
			continue
		}
		for _, u := range unitsOf(c) {
			for dir := range directions {
				list := rank(g.Hosts, Series{uint16(counter), u, uint8(dir)})
				// Of one host in twenty, or one, the last that is far above the next.
				for i := max(1, min(len(g.Hosts)/20, mostApart)) - 1; i >= 0; i-- {
					if i >= len(list) || list[i].value*factorQuantile < 2*floor(c, u) {
						continue
					}
					next := floor(c, u) / factorQuantile
					if i+1 < len(list) {
						next = max(next, list[i+1].value)
					}
					if list[i].value < apart*next {
						continue
					}
					for _, r := range list[:i+1] {
						ratio[r.host] = max(ratio[r.host], r.value/next)
					}
					break
				}
			}
		}
	}
	for host := range ratio {
		out = append(out, host)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(ratio[b], ratio[a]), a.Addr().Compare(b.Addr()))
	})
	return out[:min(len(out), mostApart)]
}

// threshold suggests the limits of a counter and direction, nil where there
// was no such traffic.
func (v *view) threshold(counter string, index uint16, dir uint8) *Threshold {
	if slices.Contains(ignored, counter) || strings.Contains(counter, ".") { // exemption.NAME has its own
		return nil
	}
	t := &Threshold{Name: counter + "_" + directions[dir], Scope: "host", Direction: directions[dir], Counter: counter}
	for _, u := range unitsOf(counter) {
		k := Series{index, u, dir}
		if v.set.Max(k) == 0 {
			continue
		}
		hosts := rank(v.hosts, k)
		l := evidence(v.set, k, len(hosts))
		if len(hosts) > 0 {
			l.Busiest, l.Top = hosts[0].host, hosts[0].value
		}
		l.decide(RuleBusiest, max(l.Top, l.P999), floor(counter, u))
		l.expect(v.days, v.set.Series[k].Above(l.Limit))
		t.Limits = append(t.Limits, l)
	}
	if len(t.Limits) == 0 {
		return nil
	}
	return t
}

// together suggests the limit of a hostgroup's hosts taken together: half as
// much again as one host's at least, which else would be the narrower one.
func (v *view) together(dir uint8, hosts []Threshold) *Threshold {
	t := &Threshold{Name: "total_" + directions[dir] + "_hostgroup", Scope: "hostgroup", Direction: directions[dir], Counter: "total"}
	total := &v.group.Total
	for _, u := range []Unit{PPS, BPS} {
		k := Series{0, u, dir}
		if total.Max(k) == 0 {
			continue
		}
		least := floor("total", u)
		for i := range hosts {
			for _, l := range hosts[i].Limits {
				if hosts[i].Counter == "total" && hosts[i].Direction == t.Direction && l.Unit == u.String() {
					least = max(least, 1.5*l.Limit)
				}
			}
		}
		l := evidence(total, k, len(v.group.Hosts))
		l.decide(RuleGroup, l.P999, least)
		l.expect(v.p.Seconds/86400, total.Series[k].Above(l.Limit))
		t.Limits = append(t.Limits, l)
	}
	if len(t.Limits) == 0 {
		return nil
	}
	return t
}

// ownGroup suggests the limits in which a host differs from its group.
func (v *view) ownGroup(group string, host netip.Prefix, common []Threshold) OwnGroup {
	h := v.group.Hosts[host]
	name := group + "_" + strings.NewReplacer(".", "_", ":", "_", "/", "_").Replace(host.Addr().String())
	out := OwnGroup{Name: name, Host: host, HostDays: h.Seconds / 86400, Thresholds: []Threshold{}}
	one := &view{p: v.p, set: &h.Set, hosts: map[netip.Prefix]*Host{host: h}, days: h.Seconds / 86400}
	for counter, c := range v.p.Counters {
		for dir := range directions {
			t := one.threshold(c, uint16(counter), uint8(dir))
			if t == nil {
				continue
			}
			t.Limits = slices.DeleteFunc(t.Limits, func(l Limit) bool { return !exceeds(l, t, common) })
			for i := range t.Limits {
				l := &t.Limits[i]
				l.Busiest, l.Top = netip.Prefix{}, 0
				if l.Rule == RuleBusiest {
					l.Rule = RuleHost
				}
			}
			if len(t.Limits) > 0 {
				out.Thresholds = append(out.Thresholds, *t)
			}
		}
	}
	return out
}

// exceeds tells whether a limit is above that of the group, or the group has
// none although another limit of the counter holds.
func exceeds(l Limit, t *Threshold, common []Threshold) bool {
	for i := range common {
		if common[i].Name != t.Name {
			continue
		}
		for _, o := range common[i].Limits {
			if o.Unit == l.Unit {
				return l.Limit > o.Limit
			}
		}
	}
	return false
}

func evidence(s *Set, k Series, hosts int) Limit {
	return Limit{
		Unit: k.Unit.String(), P50: s.Quantile(k, 0.5), P99: s.Quantile(k, 0.99), P999: s.Quantile(k, 0.999), Max: s.Max(k),
		Samples: s.N[k.Dir], Hosts: hosts,
	}
}

// decide sets the limit: top is the p99.9 that the rule is about.
func (l *Limit) decide(rule string, top, least float64) {
	v := factorQuantile * top
	l.Rule = rule
	if factorLargest*l.Max > v {
		v, l.Rule = factorLargest*l.Max, RuleLargest
	}
	if least > v {
		v, l.Rule = least, RuleFloor
	}
	l.Limit = RoundUp(v)
}

// RoundUp rounds up to two digits.
func RoundUp(v float64) float64 {
	if v <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	if unit < 1 {
		unit = 1
	}
	return math.Ceil(v/unit-1e-9) * unit
}

// expect says how many false positives a host has a day at most, 95 of 100
// times, when n were seen in so many days: the upper bound of a Poisson mean
// (Wilson and Hilferty's approximation; 3 ÷ days for none).
func (l *Limit) expect(days float64, n uint64) {
	l.Fires, l.Days = int(n), days
	if days <= 0 {
		return
	}
	k := float64(n) + 1
	c := 1 - 1/(9*k) + 1.645/(3*math.Sqrt(k))
	l.AtMost = k * c * c * c / days
}

// Expect is told how many false positives a limit had when it was tried.
func (l *Limit) Expect(fires uint64) { l.expect(l.Days, fires) }

// EachLimit gives all limits.
func (s *Suggestion) EachLimit(give func(*Limit)) {
	each := func(list []Threshold) {
		for i := range list {
			for j := range list[i].Limits {
				give(&list[i].Limits[j])
			}
		}
	}
	for i := range s.Groups {
		each(s.Groups[i].Thresholds)
		for j := range s.Groups[i].Own {
			each(s.Groups[i].Own[j].Thresholds)
		}
	}
}
