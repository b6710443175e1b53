package main

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// rows are values for the columns of a table.
type rows struct {
	table *table
	rows  [][]any
}

func (r *rows) add(values ...any) { r.rows = append(r.rows, values) }

// nativeRows are a snapshot in our own tables.
func nativeRows(s *sdk.Snapshot) []*rows {
	at := s.Time
	totals, networks, groups, hosts := &rows{table: totalTable}, &rows{table: networkTable}, &rows{table: groupTable}, &rows{table: hostTable}
	inputs, system := &rows{table: inputTable}, &rows{table: systemTable}
	for i := range s.Totals {
		t := &s.Totals[i]
		totals.add(rateValues(t.Counters, t.Flows, at, t.Direction, uint8(t.Family))...)
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		networks.add(rateValues(r.Counters, r.Flows, at, r.Name, r.Direction)...)
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		groups.add(rateValues(r.Counters, r.Flows, at, r.Name, r.Direction)...)
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		hosts.add(rateValues(h.Counters, h.Flows, at, sdk.TargetText(h.Host), h.Direction, h.Group, h.Network)...)
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		dropped := uint64(0)
		for _, n := range l.Dropped {
			dropped += n
		}
		inputs.add(at, l.Input, l.Received, l.Used, l.InFlight, dropped)
	}
	for _, m := range s.System {
		name, labels, _ := strings.Cut(m.Name, ":")
		system.add(at, name, labels, m.Value)
	}
	return []*rows{totals, networks, groups, hosts, inputs, system}
}

// rateValues are what withRates has columns for, behind others.
func rateValues(list []sdk.CounterRate, flows float64, first ...any) []any {
	rates := delivery.Rates{Counters: list}
	for _, name := range counters {
		c := rates.Of(name)
		first = append(first, c.PPS, c.BPS)
	}
	return append(first, flows)
}

// eventValues are the row of an event.
func eventValues(e *sdk.Event) ([]any, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	at, target, direction, group, state := e.Time, e.TargetName(), e.Direction, e.HostGroup, string(e.Type)
	if m := e.Mitigation; e.Type == sdk.MitigationChanged && m != nil {
		at, target, direction, group, state = m.Time, sdk.TargetText(m.Target), m.Direction, m.HostGroup, "mitigation."+string(m.State)
	}
	return []any{
		at, e.Key(), uint32(at.Nanosecond()), state, e.ID, e.Seq, target, direction, group, e.Network, e.Mode,
		e.Threshold, e.Counter, e.Unit, e.Value, e.Limit, e.PeakPPS, e.AttackType, e.Label, dateTime(e.Started), string(text),
	}, nil
}

// mitigationValues are the row of a mitigation that has come to another state.
func mitigationValues(e *sdk.Event) []any {
	m := e.Mitigation
	return []any{
		m.Time, e.Key(), uint32(m.Time.Nanosecond()), m.ID, m.AttackID, sdk.TargetText(m.Target), m.Direction, m.HostGroup, m.Action, string(m.State), m.Cause,
		dateTime(m.Requested), dateTime(m.Expires), m.By, m.Reason,
	}
}

// dateTime is a time that a column can have; 1970 where it is not set.
func dateTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0)
	}
	return t
}

// eventRows are events in our own tables.
func eventRows(list []sdk.Event) ([]*rows, error) {
	events, mitigations := &rows{table: eventTable}, &rows{table: mitigationTable}
	for i := range list {
		values, err := eventValues(&list[i])
		if err != nil {
			return nil, err
		}
		events.add(values...)
		if list[i].Type == sdk.MitigationChanged && list[i].Mitigation != nil {
			mitigations.add(mitigationValues(&list[i])...)
		}
	}
	return []*rows{events, mitigations}, nil
}

// number is a rate as the original writes it.
func number(v float64) uint64 {
	switch {
	case !(v > 0):
		return 0
	case v >= math.MaxInt64:
		return math.MaxInt64
	}
	return uint64(v)
}

// communityRows are a snapshot in the original's tables.
func communityRows(s *sdk.Snapshot) (out []*rows) {
	byTable := map[*table]*rows{}
	for _, t := range communityTables {
		r := &rows{table: t}
		byTable[t] = r
		out = append(out, r)
	}
	sums := map[string]sdk.TotalRate{}
	var order []string
	for i := range s.Totals {
		t := &s.Totals[i]
		byTable[communityTotals[t.Family]].add(totalValues(s.Time, t)...)
		sum, ok := sums[t.Direction]
		if !ok {
			order = append(order, t.Direction)
		}
		sums[t.Direction] = added(sum, t)
	}
	for _, direction := range order {
		sum := sums[direction]
		byTable[communityTotals[0]].add(totalValues(s.Time, &sum)...)
	}
	hosts := delivery.Hosts(s)
	for i := range hosts {
		byTable[communityHosts[hosts[i].Family()]].add(pairValues(s.Time, hosts[i].Host.Addr().String(), &hosts[i], true)...)
	}
	networks := delivery.Scopes(s.Networks)
	for i := range networks {
		byTable[communityNetworks[networks[i].Family()]].add(pairValues(s.Time, networks[i].CIDR(), &networks[i], false)...)
	}
	for _, m := range delivery.CommunitySystem(s) {
		kind := "gauge"
		if strings.HasSuffix(m.Name, "_processed") {
			kind = "counter"
		}
		byTable[communitySystem].add(s.Time, m.Name, kind, number(m.Value))
	}
	return out
}

// added is a sum of rates, counter by counter.
func added(sum sdk.TotalRate, t *sdk.TotalRate) sdk.TotalRate {
	rates := delivery.Rates{Counters: sum.Counters}
	out := sdk.TotalRate{Direction: t.Direction, Flows: sum.Flows + t.Flows}
	for _, c := range t.Counters {
		had := rates.Of(c.Counter)
		out.Counters = append(out.Counters, sdk.CounterRate{Counter: c.Counter, PPS: had.PPS + c.PPS, BPS: had.BPS + c.BPS})
	}
	return out
}

func totalValues(at time.Time, t *sdk.TotalRate) []any {
	rates := delivery.Rates{Counters: t.Counters}
	all := rates.Of("total")
	out := []any{at, t.Direction, number(t.Flows), number(all.PPS), number(all.BPS)}
	for _, c := range delivery.CommunityCounters {
		out = append(out, number(rates.Of(c.Counter).PPS))
	}
	for _, c := range delivery.CommunityCounters {
		out = append(out, number(rates.Of(c.Counter).BPS))
	}
	return out
}

func pairValues(at time.Time, name string, p *delivery.Pair, flows bool) []any {
	in, out := p.Incoming.Of("total"), p.Outgoing.Of("total")
	values := []any{at, name, number(in.PPS), number(out.PPS), number(in.BPS), number(out.BPS)}
	if flows {
		values = append(values, number(p.Incoming.Flows), number(p.Outgoing.Flows))
	}
	for _, c := range pairCounters {
		in, out := p.Incoming.Of(c.Counter), p.Outgoing.Of(c.Counter)
		values = append(values, number(in.PPS), number(out.PPS), number(in.BPS), number(out.BPS))
	}
	return values
}
