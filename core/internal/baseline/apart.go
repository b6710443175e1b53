package baseline

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

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
