package baseline

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

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

// ignored are built-in counters that are no cause for a limit of their own.
var ignored = []string{"dropped", "exempt"}

// floor is the least limit of a counter: below it ordinary traffic that was not
// seen yet would fire.
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
