package main

import (
	"math"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// communityRows are the measurements of FastNetMon Community: whole numbers,
// which InfluxDB stores as floats, as the original writes them.
func communityRows(s *sdk.Snapshot) (out []row) {
	at := s.Time.UnixNano()
	for i := range s.Totals {
		out = append(out, communityTotal(&s.Totals[i], at))
	}
	networks := delivery.Scopes(s.Networks)
	for i := range networks {
		name := "networks_traffic"
		if networks[i].Family() == 6 {
			name = "networks_ipv6_traffic"
		}
		out = append(out, row{name, []tag{{"network", networks[i].CIDR()}}, communityPair(&networks[i]), at})
	}
	hosts := delivery.Hosts(s)
	for i := range hosts {
		name := "hosts_traffic"
		if hosts[i].Family() == 6 {
			name = "hosts_ipv6_traffic"
		}
		out = append(out, row{name, []tag{{"host", hosts[i].Host.Addr().String()}}, communityPair(&hosts[i]), at})
	}
	system := row{"system_counters", []tag{{"metric", "metric_value"}}, nil, at}
	for _, m := range delivery.CommunitySystem(s) {
		system.fields = append(system.fields, field{m.Name, math.Trunc(m.Value)})
	}
	return append(out, system)
}

func communityTotal(t *sdk.TotalRate, at int64) row {
	rates := delivery.Rates{Counters: t.Counters}
	all := rates.Of("total")
	r := row{"total_traffic", []tag{{"direction", t.Direction}}, []field{{"packets", math.Trunc(all.PPS)}, {"bits", math.Trunc(all.BPS)}}, at}
	switch {
	case t.Family == 6:
		r.measurement = "total_traffic_ipv6"
	case t.Direction == "incoming" || t.Direction == "outgoing":
		r.fields = append(r.fields, field{"flows", math.Trunc(t.Flows)})
	}
	for _, c := range delivery.CommunityCounters {
		v := rates.Of(c.Counter)
		r.fields = append(r.fields, field{c.Name + "_packets", math.Trunc(v.PPS)}, field{c.Name + "_bits", math.Trunc(v.BPS)})
	}
	return r
}

// communityPair are the fields of a host or network.
func communityPair(p *delivery.Pair) (out []field) {
	for _, d := range []struct {
		name  string
		rates *delivery.Rates
	}{{"incoming", &p.Incoming}, {"outgoing", &p.Outgoing}} {
		all := d.rates.Of("total")
		out = append(out, field{"packets_" + d.name, math.Trunc(all.PPS)}, field{"bits_" + d.name, math.Trunc(all.BPS)}, field{"flows_" + d.name, math.Trunc(d.rates.Flows)})
		for _, c := range delivery.CommunityCounters {
			v := d.rates.Of(c.Counter)
			out = append(out, field{c.Name + "_packets_" + d.name, math.Trunc(v.PPS)}, field{c.Name + "_bits_" + d.name, math.Trunc(v.BPS)})
		}
	}
	return out
}
