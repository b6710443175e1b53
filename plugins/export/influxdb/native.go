package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// nativeRows are our own measurements.
func nativeRows(s *sdk.Snapshot) (out []row) {
	at := s.Time.UnixNano()
	for i := range s.Totals {
		t := &s.Totals[i]
		out = append(out, row{"fastnetmon_total", []tag{{"direction", t.Direction}, {"family", "ipv" + strconv.Itoa(t.Family)}}, rateFields(t.Counters, t.Flows), at})
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		out = append(out, row{"fastnetmon_network", []tag{{"direction", r.Direction}, {"network", r.Name}}, rateFields(r.Counters, r.Flows), at})
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		out = append(out, row{"fastnetmon_hostgroup", []tag{{"direction", r.Direction}, {"hostgroup", r.Name}}, rateFields(r.Counters, r.Flows), at})
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		out = append(out, row{
			"fastnetmon_host",
			[]tag{{"direction", h.Direction}, {"host", sdk.TargetText(h.Host)}, {"hostgroup", h.Group}, {"network", h.Network}},
			rateFields(h.Counters, h.Flows), at,
		})
	}
	for i := range s.Attacks {
		a := &s.Attacks[i]
		fields := append(rateFields(direct(a), 0), field{"peak_pps", a.PeakPPS}, field{"id", a.ID}, field{"attack_type", a.AttackType}, field{"label", a.Label})
		out = append(out, row{"fastnetmon_attack", attackTags(a), fields, at})
	}
	for i := range s.Ledger {
		out = append(out, ledgerRow(&s.Ledger[i], at))
	}
	for _, m := range s.System {
		out = append(out, row{"fastnetmon_system", systemTags(m.Name), []field{{"value", m.Value}}, at})
	}
	return append(out, row{"fastnetmon_state", nil, []field{{"attacks", int64(len(s.Attacks))}, {"mitigations", int64(len(s.Mitigations))}}, at})
}

// rateFields are the counters in which something moves, and all traffic always.
func rateFields(counters []sdk.CounterRate, flows float64) []field {
	out := make([]field, 0, 2*len(counters)+1)
	for _, c := range counters {
		if c.Counter == "total" || c.PPS != 0 || c.BPS != 0 {
			out = append(out, field{c.Counter + "_pps", c.PPS}, field{c.Counter + "_bps", c.BPS})
		}
	}
	return append(out, field{"flows", flows})
}

// direct are an attack's rates in its direction.
func direct(e *sdk.Event) []sdk.CounterRate {
	if e.Direction == "outgoing" {
		return e.Outgoing
	}
	return e.Incoming
}

func attackTags(e *sdk.Event) []tag {
	return []tag{
		{"direction", e.Direction}, {"hostgroup", e.HostGroup}, {"mode", e.Mode}, {"network", e.Network}, {"target", e.TargetName()}, {"threshold", e.Threshold},
	}
}

func ledgerRow(l *sdk.LedgerRow, at int64) row {
	r := row{"fastnetmon_input", []tag{{"input", l.Input}}, []field{
		{"received", float64(l.Received)}, {"used", float64(l.Used)}, {"in_flight", float64(l.InFlight)},
	}, at}
	for _, cause := range slices.Sorted(maps.Keys(l.Dropped)) {
		r.fields = append(r.fields, field{"dropped_" + cause, float64(l.Dropped[cause])})
	}
	return r
}

// systemTags takes a name of Snapshot.System, NAME:KEY=VALUE,…, apart.
func systemTags(name string) []tag {
	name, labels, more := strings.Cut(name, ":")
	out := []tag{{"name", name}}
	for more {
		var label string
		label, labels, more = strings.Cut(labels, ",")
		key, value, _ := strings.Cut(label, "=")
		out = append(out, tag{key, value})
	}
	return out
}

// eventRow is an event at its time. Written again it replaces itself.
func eventRow(e *sdk.Event) row {
	if m := e.Mitigation; e.Type == sdk.MitigationChanged && m != nil {
		return row{
			"fastnetmon_mitigation",
			[]tag{{"action", m.Action}, {"direction", m.Direction}, {"hostgroup", m.HostGroup}, {"state", string(m.State)}, {"target", sdk.TargetText(m.Target)}},
			[]field{{"id", m.ID}, {"attack", m.AttackID}, {"cause", m.Cause}, {"by", m.By}, {"reason", m.Reason}},
			m.Time.UnixNano(),
		}
	}
	return row{"fastnetmon_event", append([]tag{{"event", string(e.Type)}}, attackTags(e)...), []field{
		{"id", e.ID},
		{"seq", int64(e.Seq)},
		{"event_id", e.Key()},
		{"counter", e.Counter},
		{"unit", e.Unit},
		{"value", e.Value},
		{"limit", e.Limit},
		{"peak_pps", e.PeakPPS},
		{"attack_type", e.AttackType},
		{"protocol", e.Protocol},
		{"label", e.Label},
		{"label_confidence", e.Confidence},
		{"started", e.Started.UnixNano()},
	}, e.Time.UnixNano()}
}
