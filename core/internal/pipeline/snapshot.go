package pipeline

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// What the engine looks at, and gives the rates of, between two turns: each
// well under a millisecond.
const (
	snapshotSlice = 4096
	ratesSlice    = 1024
)

// Snapshot gathers rates, with the top hosts by packets in both directions and
// those under attack, without holding up deltas. False means that the daemon
// has ended.
func (d *Daemon) Snapshot(hosts int, period time.Duration) (sdk.Snapshot, bool) {
	out := sdk.Snapshot{Time: time.Now(), Period: period}
	top, ok := d.gather(engine.HostQuery{N: hosts})
	if !ok {
		return out, false
	}
	if out.Hosts, ok = d.hostsOf(top); !ok {
		return out, false
	}
	var networks []engine.Scope
	var attacked []engine.HostRates
	if ok = d.sys.loop.do(func() {
		e := d.sys.loop.engine
		out.Totals = totalRates(e)
		networks = e.Networks()
		out.Groups = scopeRates(e.Groups(), d.sys.names.groups, nil)
		out.Attacks = d.openAttacks()
		attacked = d.attacked(out.Attacks)
		out.Networks = scopeRates(networks, d.sys.names.networks, d.prefixesOf)
		out.Ledger = d.ledger()
		out.System = d.metrics()
	}); !ok {
		return out, false
	}
	out.Hosts = addHosts(out.Hosts, attacked, d.sys.names)
	out.Mitigations = d.sys.mitigation.shown()
	return out, true
}

// hostsOf reads the rates of the hosts that were gathered in slices, between
// which deltas go on.
func (d *Daemon) hostsOf(top *engine.Snapshot) (out []sdk.HostRate, ok bool) {
	top.Sort()
	rates := make([]engine.HostRates, 0, ratesSlice)
	for done := false; !done; {
		if !d.sys.loop.do(func() { rates, done = top.Read(rates[:0], ratesSlice, d.sys.loop.engine.Clock()) }) {
			return nil, false
		}
		out = append(out, hostRates(rates, d.sys.names)...)
	}
	return out, true
}

// attacked are the rates of the hosts that attacks are on; the loop's goroutine
// calls it.
func (d *Daemon) attacked(attacks []sdk.Event) (out []engine.HostRates) {
	e := d.sys.loop.engine
	for i := range attacks {
		if attacks[i].Scope != "host" {
			continue
		}
		if h, ok := e.Rates(attacks[i].Target, e.Clock()); ok {
			out = append(out, h)
		}
	}
	return out
}

// addHosts appends hosts that are not there yet.
func addHosts(to []sdk.HostRate, hosts []engine.HostRates, names *idSets) []sdk.HostRate {
	if len(hosts) == 0 {
		return to
	}
	known := make(map[netip.Prefix]bool, len(to)/2)
	for i := range to {
		known[to[i].Host] = true
	}
	hosts = slices.DeleteFunc(hosts, func(h engine.HostRates) bool {
		had := known[h.Host]
		known[h.Host] = true
		return had
	})
	return append(to, hostRates(hosts, names)...)
}

// prefixesOf are the first prefixes of a network; the loop's goroutine calls it.
func (d *Daemon) prefixesOf(network string) []netip.Prefix {
	for _, n := range d.cfg.Networks {
		if n.Name == network {
			return n.Prefixes[:min(len(n.Prefixes), sdk.ScopePrefixes)]
		}
	}
	return nil
}

// gather reads the engine's rows in slices, between which deltas go on.
func (d *Daemon) gather(q engine.HostQuery) (top *engine.Snapshot, ok bool) {
	done := false
	ok = d.sys.loop.do(func() { top = d.sys.loop.engine.NewSnapshot(q) })
	for ok && !done {
		ok = d.sys.loop.do(func() { done = top.Step(snapshotSlice) })
	}
	return top, ok
}

func totalRates(e *engine.Engine) []sdk.TotalRate {
	var out []sdk.TotalRate
	for _, t := range e.Totals() {
		out = append(out, sdk.TotalRate{
			Direction: t.Direction.String(), Family: int(t.Family), Counters: detect.CounterRates(&t.Rates), Flows: t.Rates.Flows,
		})
	}
	return out
}

func scopeRates(scopes []engine.Scope, names *ids, prefixes func(name string) []netip.Prefix) []sdk.ScopeRate {
	var out []sdk.ScopeRate
	for i := range scopes {
		var consists []netip.Prefix
		if prefixes != nil {
			consists = prefixes(names.name(scopes[i].ID))
		}
		for dir := range scopes[i].Dir {
			r := &scopes[i].Dir[dir]
			out = append(out, sdk.ScopeRate{
				Name: names.name(scopes[i].ID), Direction: directionName(dir), Counters: detect.CounterRates(r), Flows: r.Flows,
				Prefixes: consists,
			})
		}
	}
	return out
}

func hostRates(hosts []engine.HostRates, names *idSets) []sdk.HostRate {
	out := make([]sdk.HostRate, 0, 2*len(hosts))
	counters := make([]sdk.CounterRate, 0, 2*len(hosts)*len(detect.CounterNames)) // one piece of memory for all
	for i := range hosts {
		h := &hosts[i]
		for dir := range h.Dir {
			r := &h.Dir[dir]
			if r.Packets[engine.CounterTotal] == 0 && r.Flows == 0 {
				continue
			}
			from := len(counters)
			counters = detect.AppendCounterRates(counters, r)
			out = append(out, sdk.HostRate{
				Host: h.Host, Group: names.groups.name(h.Group), Network: names.networks.name(h.Network),
				Direction: directionName(dir), Counters: counters[from:len(counters):len(counters)], Flows: r.Flows,
			})
		}
	}
	return out
}

func directionName(dir int) string {
	if dir == 0 {
		return "incoming"
	}
	return "outgoing"
}

// metrics are figures about the program itself; the loop's goroutine calls it.
func (d *Daemon) metrics() []sdk.Metric {
	s := d.sys.loop.engine.Stats()
	out := []sdk.Metric{
		{Name: "hosts", Value: float64(s.Hosts)},
		{Name: "engine_bytes", Value: float64(s.MappedBytes)},
		{Name: "deltas", Value: float64(s.Deltas)},
		{Name: "deltas_late", Value: float64(s.Late)},
		{Name: "deltas_refused", Value: float64(s.Refused)},
		{Name: "hosts_evicted", Value: float64(s.Evicted)},
		{Name: "hosts_without_row", Value: float64(s.NoRow)},
		{Name: "hosts_displaced", Value: float64(s.Displaced)},
		{Name: "extras_refused", Value: float64(s.ExtrasRefused)},
		{Name: "alarms_held", Value: float64(s.AlarmsHeld)},
		{Name: "rings_quarantined", Value: float64(d.sys.quarantines.Load())},
		{Name: "enforcement_suspended", Value: truth(d.sys.loop.suspended() != "")},
		{Name: "loss_ratio", Value: d.loss.ratio(d.ledger())},
	}
	if d.opt.Metrics != nil {
		out = append(out, d.opt.Metrics()...)
	}
	out = append(out, sdk.Metric{Name: "daemon_troubles", Value: float64(len(d.sys.troubles()))})
	out = append(out, d.ringMetrics()...)
	out = append(out, d.pluginMetrics()...)
	out = append(out, d.sys.mitigation.metrics()...)
	out = d.sys.loop.turns.metrics("tick_seconds", out)
	out = d.sys.loop.applies.metrics("apply_seconds", out)
	return d.delays.metrics("detection_delay_seconds", out)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ringMetrics tell for how long each capture has received nothing, how full its
// fullest ring was in the last second, and how far the slowest lags behind.
func (d *Daemon) ringMetrics() []sdk.Metric {
	fills, lags := map[string]float64{}, map[string]float64{}
	for _, in := range d.sys.loop.inputs {
		name := in.capture.title()
		fills[name] = max(fills[name], float64(max(in.fill.was, in.fill.most))/deltaCapacity)
		if l, ok := d.sys.loop.engine.Ledger(in.id); ok {
			lags[name] = max(lags[name], time.Duration(l.LagNanos).Seconds())
		}
	}
	var out []sdk.Metric
	for _, c := range d.set.captures {
		out = append(out, sdk.Metric{Name: "input_quiet_seconds:input=" + c.title(), Value: c.quietFor().Seconds()})
	}
	for _, name := range slices.Sorted(maps.Keys(fills)) {
		out = append(out, sdk.Metric{Name: "ring_fill_ratio:input=" + name, Value: min(fills[name], 1)},
			sdk.Metric{Name: "ring_lag_seconds:input=" + name, Value: lags[name]})
	}
	return out
}

// ownMetrics are what plugins say of themselves, under no name that stands
// there already.
func (d *Daemon) ownMetrics(ours []sdk.Metric) (out []sdk.Metric) {
	taken := map[string]bool{"plugin_events_dropped_total": true, "plugin_snapshots_missed_total": true}
	for _, m := range ours {
		name, _, _ := strings.Cut(m.Name, ":")
		taken[name] = true
	}
	for _, stage := range d.set.stages() {
		for _, p := range stage {
			for _, m := range p.inst.Status().Health.Metrics {
				name, labels, labelled := strings.Cut(m.Name, ":")
				if name = "plugin_" + name; taken[name] {
					continue
				}
				full := name + ":plugin=" + blockName(p.block)
				if labelled {
					full += "," + labels
				}
				out = append(out, sdk.Metric{Name: full, Value: m.Value})
			}
		}
	}
	return out
}

// pluginMetrics tell how the plugins are, by the names of their blocks.
func (d *Daemon) pluginMetrics() []sdk.Metric {
	var out []sdk.Metric
	add := func(name, block string, v float64) {
		out = append(out, sdk.Metric{Name: name + ":plugin=" + block, Value: v})
	}
	for _, stage := range d.set.stages() {
		for _, p := range stage {
			status := p.inst.Status()
			add("plugin_up", blockName(p.block), truth(status.State == plugin.Running || status.State == plugin.Finished))
			add("plugin_restarts_total", blockName(p.block), float64(max(status.Launches-1, 0)))
			add("plugin_failures_total", blockName(p.block), float64(status.Failures.Count))
			if at := status.Failures.At; !at.IsZero() {
				add("plugin_last_failure_timestamp_seconds", blockName(p.block), float64(at.UnixMilli())/1000)
			}
		}
	}
	out = append(out, d.ownMetrics(out)...)
	for name, a := range d.set.actions {
		add("plugin_events_dropped_total", name, float64(a.queue.dropped.Load()))
		add("plugin_events_summarized_total", name, float64(a.summarized))
	}
	for name, x := range d.set.exports {
		add("plugin_events_dropped_total", name, float64(x.events.dropped.Load()))
		add("plugin_snapshots_missed_total", name, float64(x.missed.Load()))
	}
	return out
}
