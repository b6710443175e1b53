package main

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// node makes a text fit to be a part of a path.
func node(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_', r == '-':
			return r
		}
		return '_'
	}, s)
}

// builder gathers points of one time.
type builder struct {
	at  int64
	out []point
}

// add adds a point. What is no number is left out.
func (b *builder) add(value float64, parts ...string) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	b.out = append(b.out, point{strings.Join(parts, "."), b.at, math.Round(value*1000) / 1000})
}

// whole adds a point as the original does: cut off to an integer.
func (b *builder) whole(value float64, parts ...string) { b.add(math.Trunc(value), parts...) }

// communityPoints are the paths of FastNetMon Community. It tells of IPv4 only.
func communityPoints(prefix string, s *sdk.Snapshot) []point {
	b := &builder{at: s.Time.Unix()}
	hosts := delivery.Hosts(s)
	for i := range hosts {
		if h := &hosts[i]; h.Family() == 4 {
			name := node(h.Host.Addr().String())
			for _, d := range directions(h) {
				total := d.rates.Of("total")
				for _, v := range []named{{"pps", total.PPS}, {"bps", total.BPS}, {"flows", d.rates.Flows}} {
					if math.Trunc(v.value) != 0 {
						b.whole(v.value, prefix, "hosts", name, d.name, v.name)
					}
				}
			}
		}
	}
	for i := range s.Totals {
		t := &s.Totals[i]
		if t.Family != 4 {
			continue
		}
		rates := delivery.Rates{Counters: t.Counters}
		b.whole(rates.Of("total").PPS, prefix, "total", t.Direction, "pps")
		b.whole(rates.Of("total").BPS, prefix, "total", t.Direction, "bps")
		if t.Direction == "incoming" || t.Direction == "outgoing" {
			b.whole(t.Flows, prefix, "total", t.Direction, "flows")
		}
	}
	networks := delivery.Scopes(s.Networks)
	for i := range networks {
		if n := &networks[i]; n.Family() == 4 {
			for _, d := range directions(n) {
				b.whole(d.rates.Of("total").PPS, prefix, "networks", node(n.CIDR()), d.name, "pps")
				b.whole(d.rates.Of("total").BPS, prefix, "networks", node(n.CIDR()), d.name, "bps")
			}
		}
	}
	return b.out
}

type named struct {
	name  string
	value float64
}

type directed struct {
	name  string
	rates *delivery.Rates
}

func directions(p *delivery.Pair) [2]directed {
	return [2]directed{{"incoming", &p.Incoming}, {"outgoing", &p.Outgoing}}
}

// nativePoints are our own paths.
func nativePoints(prefix string, s *sdk.Snapshot) []point {
	b := &builder{at: s.Time.Unix()}
	for i := range s.Totals {
		t := &s.Totals[i]
		b.rates(t.Counters, t.Flows, prefix, "total", "ipv"+strconv.Itoa(t.Family), node(t.Direction))
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		b.rates(r.Counters, r.Flows, prefix, "network", node(r.Name), node(r.Direction))
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		b.rates(r.Counters, r.Flows, prefix, "hostgroup", node(r.Name), node(r.Direction))
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		b.rates(h.Counters, h.Flows, prefix, "host", node(sdk.TargetText(h.Host)), node(h.Direction))
	}
	for i := range s.Attacks {
		a := &s.Attacks[i]
		b.add(a.PeakPPS, prefix, "attack", target(a), node(a.Direction), "peak_pps")
	}
	b.add(float64(len(s.Attacks)), prefix, "attacks_open")
	b.add(float64(len(s.Mitigations)), prefix, "mitigations")
	for i := range s.Ledger {
		l := &s.Ledger[i]
		b.add(float64(l.Received), prefix, "input", node(l.Input), "received")
		b.add(float64(l.Used), prefix, "input", node(l.Input), "used")
		b.add(float64(l.InFlight), prefix, "input", node(l.Input), "in_flight")
		for _, cause := range slices.Sorted(maps.Keys(l.Dropped)) {
			b.add(float64(l.Dropped[cause]), prefix, "input", node(l.Input), "dropped", node(cause))
		}
	}
	for _, m := range s.System {
		b.add(m.Value, prefix, "system", systemPath(m.Name))
	}
	return b.out
}

// rates adds the counters in which something moves, and all traffic always.
func (b *builder) rates(counters []sdk.CounterRate, flows float64, parts ...string) {
	at := strings.Join(parts, ".")
	for _, c := range counters {
		if c.Counter == "total" || c.PPS != 0 || c.BPS != 0 {
			b.add(c.PPS, at, node(c.Counter), "pps")
			b.add(c.BPS, at, node(c.Counter), "bps")
		}
	}
	b.add(flows, at, "flows")
}

// systemPath turns a name of Snapshot.System, NAME:KEY=VALUE,…, into NAME.VALUE.…
func systemPath(name string) string {
	name, labels, labelled := strings.Cut(name, ":")
	parts := []string{node(name)}
	for more := labelled; more; {
		var label string
		label, labels, more = strings.Cut(labels, ",")
		_, value, _ := strings.Cut(label, "=")
		parts = append(parts, node(value))
	}
	return strings.Join(parts, ".")
}

// target names an attack's target in a path.
func target(e *sdk.Event) string {
	if e.Target != (netip.Prefix{}) {
		return node(sdk.TargetText(e.Target))
	}
	return node(e.TargetName())
}

// eventPoints tells of an event, at its time.
func eventPoints(prefix string, e *sdk.Event) []point {
	b := &builder{at: e.Time.Unix()}
	if m := e.Mitigation; e.Type == sdk.MitigationChanged && m != nil {
		b.at = m.Time.Unix()
		b.add(1, prefix, "event", "mitigation_"+node(string(m.State)), node(sdk.TargetText(m.Target)), node(m.Direction))
		return b.out
	}
	b.add(e.PeakPPS, prefix, "event", node(string(e.Type)), target(e), node(e.Direction))
	return b.out
}
