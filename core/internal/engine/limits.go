package engine

import (
	"net/netip"
	"slices"
)

// LimitRate is where a host, or what its traffic counts for, stands with a
// limit.
type LimitRate struct {
	Limit Limit
	Value float64 // the average; of sampled traffic the larger of both averages
	Above bool    // Value is above the limit, as the hostgroup's rule takes it
	Fired bool    // its alarm is open
}

// LimitRates tells how far a host, and the prefixes, hostgroup and network that
// its traffic counts for, are from each of their limits at a time: host limits
// first, then wider ones, each in the order in which they name an attack. The
// prefix is as for Rates. row is false where the engine has no row for the
// host: then it stands at 0.
func (e *Engine) LimitRates(host netip.Prefix, now int64) (out []LimitRate, row bool) {
	if e.cur == nil || !host.IsValid() {
		return nil, false
	}
	r := e.rowOf(host)
	ent := &e.cur.entries[e.cur.lookup(host)]
	out = e.limitRates(out, r, ent.plan, now)
	if ent.scopes != nil {
		c := &ent.scopes[host.Addr().BitLen()/128] // IPv4, IPv6
		for i := range c.refs {
			out = e.limitRates(out, e.scopeRow(host, &c.refs[i]), e.cur.scoped[c.refs[i].id].plan, now)
		}
	}
	return out, r != nil
}

// limitRates adds the limits of one row, which may be nil.
func (e *Engine) limitRates(out []LimitRate, r *row, g *groupPlan, now int64) []LimitRate {
	var order []uint16
	first := len(out)
	if r != nil {
		_ = e.lutOf(r) // brings it under the plan in force
	}
	for dir := range g.dirs {
		for _, list := range [2][]limitPlan{g.dirs[dir].limits, g.dirs[dir].user} {
			for i := range list {
				l := LimitRate{Limit: list[i].Limit}
				if r != nil {
					l.Value = e.level(r, &list[i], 1, now).Value
					l.Above = l.Value > list[i].Value
					if e.periodic(r, &list[i]) {
						l.Above = list[i].exceeded(l.Value)
					}
					l.Fired = e.hasFired(r.alarm[0], list[i].ID) || e.hasFired(r.alarm[1], list[i].ID)
				}
				at, _ := slices.BinarySearch(order, list[i].order)
				order, out = slices.Insert(order, at, list[i].order), slices.Insert(out, first+at, l)
			}
		}
	}
	return out
}

// scopeRow is the wider row that a host counts for, nil where there is none.
func (e *Engine) scopeRow(host netip.Prefix, ref *scopeRef) *row {
	addr := host.Addr().As16()
	k0, k1 := words(&addr)
	k0, k1 = k0&ref.mask[0], k1&ref.mask[1]
	entry := scopedEntry | ref.id
	x := &e.idx
	tag := e.scopeHash(k0, k1, ref.kind, entry)
	for i := x.home(tag); x.slots[i] != 0; i = (i + 1) % uint32(len(x.slots)) {
		if uint32(x.slots[i]>>32) == tag {
			if r := e.row(uint32(x.slots[i]) - 1); r.k0 == k0 && r.k1 == k1 && r.kind == ref.kind && r.entry == entry {
				return r
			}
		}
	}
	return nil
}
