package pipeline

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// maxArea is how many prefixes of a hostgroup or network are sampled at a time.
const maxArea = 16

// places knows which hostgroup and network an address belongs to. It is not
// changed once it is made.
type places struct {
	groups, networks   bart.Table[string]
	ofGroup, ofNetwork map[string][]netip.Prefix // without those that lie in others
}

func newPlaces(cfg *config.Config) *places {
	p := &places{ofGroup: map[string][]netip.Prefix{}, ofNetwork: map[string][]netip.Prefix{}}
	for _, g := range cfg.Groups {
		for _, x := range g.Prefixes {
			p.groups.Insert(x, g.Name)
		}
		p.ofGroup[g.Name] = widest(g.Prefixes)
	}
	for _, n := range cfg.Networks {
		for _, x := range n.Prefixes {
			p.networks.Insert(x, n.Name)
		}
		p.ofNetwork[n.Name] = widest(n.Prefixes)
	}
	return p
}

// widest lists prefixes without those that lie in others of them.
func widest(list []netip.Prefix) (out []netip.Prefix) {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	for _, x := range sorted {
		if n := len(out); n == 0 || !out[n-1].Overlaps(x) {
			out = append(out, x)
		}
	}
	return out
}

// area is where the packets of an attack are: an attack on a prefix is one of its
// hostgroup's hosts there only. Of more than maxArea prefixes busiest picks those
// to sample.
func (p *places) area(e *sdk.Event, busiest func(table *bart.Table[string], name string, of []netip.Prefix) []netip.Prefix) evidence.Area {
	switch {
	case p == nil || e.Scope == engine.ScopeHost.String() || e.Scope == "":
		return evidence.Area{Prefixes: []netip.Prefix{e.Target}}
	case e.Scope == engine.ScopeNetwork.String():
		return within(&p.networks, e.Network, p.ofNetwork[e.Network], e, busiest)
	}
	return within(&p.groups, e.HostGroup, p.ofGroup[e.HostGroup], e, busiest)
}

func within(table *bart.Table[string], name string, of []netip.Prefix, e *sdk.Event, busiest func(*bart.Table[string], string, []netip.Prefix) []netip.Prefix) evidence.Area {
	a := evidence.Area{Prefixes: of}
	switch {
	case e.Target.IsValid():
		a.Prefixes = []netip.Prefix{e.Target}
	case len(of) > maxArea:
		a.Prefixes = busiest(table, name, of)
	}
	if !slices.ContainsFunc(a.Prefixes, func(x netip.Prefix) bool { return isShared(table, name, x) }) {
		return a
	}
	a.Mine = func(addr netip.Addr) bool {
		owner, ok := table.Lookup(addr)
		return ok && owner == name
	}
	return a
}

// isShared tells whether some of a prefix belongs to somebody else, or to nobody.
func isShared(table *bart.Table[string], name string, x netip.Prefix) bool {
	if owner, ok := table.LookupPrefix(x); !ok || owner != name {
		return true
	}
	for _, inside := range table.Subnets(x) {
		if inside != name {
			return true
		}
	}
	return false
}

// areaNow is area for the loop's goroutine, which does nothing else meanwhile.
func (d *Daemon) areaNow(e *sdk.Event) evidence.Area {
	return d.places.area(e, func(table *bart.Table[string], name string, of []netip.Prefix) []netip.Prefix {
		b := newBusy(table, name, of, e.Direction)
		d.sys.loop.engine.NewWalk().Step(everyRow, b.host)
		return b.most()
	})
}

// area tells where an attack's packets are now. It may take a while where there
// are many hosts, and must not be called by the loop's goroutine.
func (d *Daemon) area(e *sdk.Event) evidence.Area {
	var p *places
	d.sys.loop.do(func() { p = d.places })
	return p.area(e, func(table *bart.Table[string], name string, of []netip.Prefix) []netip.Prefix {
		b := newBusy(table, name, of, e.Direction)
		var walk *engine.Walk
		for done := false; !done; {
			if !d.sys.loop.do(func() {
				if walk == nil {
					walk = d.sys.loop.engine.NewWalk()
				}
				done = walk.Step(lookRows, b.host)
			}) {
				break
			}
		}
		return b.most()
	})
}

// busy adds up which prefixes of a hostgroup or network have how much traffic.
type busy struct {
	table *bart.Table[string]
	name  string
	of    bart.Table[*float64] // packets per second
	dir   int
}

func newBusy(table *bart.Table[string], name string, of []netip.Prefix, direction string) *busy {
	b := &busy{table: table, name: name}
	if direction == "outgoing" {
		b.dir = 1
	}
	for _, x := range of {
		b.of.Insert(x, new(float64))
	}
	return b
}

func (b *busy) host(h *engine.HostSample) {
	if rate, ok := b.of.Lookup(h.Host.Addr()); ok {
		if owner, _ := b.table.Lookup(h.Host.Addr()); owner == b.name {
			*rate += h.Dir[b.dir].Packets[engine.CounterTotal]
		}
	}
}

// most lists the busiest prefixes, no more than maxArea.
func (b *busy) most() []netip.Prefix {
	type one struct {
		prefix netip.Prefix
		rate   float64
	}
	var all []one
	for p, rate := range b.of.All() {
		all = append(all, one{p, *rate})
	}
	slices.SortFunc(all, func(x, y one) int {
		return cmp.Or(cmp.Compare(y.rate, x.rate), x.prefix.Addr().Compare(y.prefix.Addr()))
	})
	var out []netip.Prefix
	for _, x := range all[:min(len(all), maxArea)] {
		if x.rate > 0 || len(out) == 0 {
			out = append(out, x.prefix)
		}
	}
	return out
}

// everyRow is a Walk in one step.
const everyRow = math.MaxInt
