package main

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// ownSeries is how many series about itself the plugin always has room for.
const ownSeries = 9

var (
	buildInfo    = gauge("fastnetmon_export_build_info", "Version of this plugin; the value is always 1.", "version", "goversion")
	scrapes      = counter("fastnetmon_export_scrapes_total", "Requests for metrics, this one included.")
	scrapeErrors = counter("fastnetmon_export_scrape_errors_total", "Requests for metrics that were not answered in full.")
	snapshots    = counter("fastnetmon_snapshots_total", "Snapshots received from FastNetMon.")
	snapshotAge  = gauge("fastnetmon_snapshot_age_seconds", "Time since the newest snapshot was received; without one, since the plugin was started.")
	series       = gauge("fastnetmon_series", "Series in this scrape.")
	seriesLimit  = gauge("fastnetmon_series_limit", "Most series that a scrape may have: max_series of the configuration.")
	dropped      = gauge("fastnetmon_series_dropped", "Series missing in this scrape: over the limit, or without a usable name, labels or value.", "reason")

	received    = counter("fastnetmon_input_records_received_total", "Records that an input took in.", "input")
	used        = counter("fastnetmon_input_records_used_total", "Records of an input that were counted.", "input")
	inFlight    = gauge("fastnetmon_input_records_in_flight", "Records of an input that are neither counted nor dropped so far.", "input")
	lostRecords = counter("fastnetmon_input_records_dropped_total", "Records of an input that were not counted, by cause.", "input", "cause")

	attacksStarted = counter("fastnetmon_attacks_started_total", "Attacks that have started since the plugin was started.", "hostgroup", "direction", "attack_type")
	attacksEnded   = counter("fastnetmon_attacks_ended_total", "Attacks that have ended since the plugin was started; the type is that at the end.", "hostgroup", "direction", "attack_type")
	attacksOpen    = gauge("fastnetmon_attacks_open", "Attacks in progress.", "hostgroup", "direction", "attack_type")
	attackPeak     = gauge("fastnetmon_attack_peak_packets_per_second", "Peak of an attack in progress; the largest attacks only.",
		"target", "hostgroup", "network", "direction", "threshold", "attack_type", "mode")

	totalRates   = rates("total", "All traffic", "direction", "family")
	networkRates = rates("network", "Traffic of a network", "network", "direction")
	groupRates   = rates("hostgroup", "Traffic of a hostgroup", "hostgroup", "direction")
	hostRates    = rates("host", "Traffic of a host, the largest ones only", "host", "hostgroup", "network", "direction")
)

// rateFamilies are the rates of one kind of thing.
type rateFamilies struct{ packets, bytes, flows family }

func rates(name, help string, labels ...string) rateFamilies {
	prefix, counted := "fastnetmon_"+name, append(slices.Clone(labels), "counter")
	return rateFamilies{
		packets: gauge(prefix+"_packets_per_second", help+", in packets.", counted...),
		bytes:   gauge(prefix+"_bytes_per_second", help+", in bytes.", counted...),
		flows:   gauge(prefix+"_flows_per_second", help+", in new flows.", labels...),
	}
}

// add sends the rates of one thing. only names the counters to be shown; nil
// means all.
func (f *rateFamilies) add(b *batch, counters []sdk.CounterRate, flows float64, only map[string]bool, labels ...string) {
	for _, c := range counters {
		if only == nil || only[c.Counter] {
			counted := append(slices.Clone(labels), c.Counter)
			b.add(f.packets, c.PPS, counted...)
			b.add(f.bytes, c.BPS/8, slices.Clone(counted)...)
		}
	}
	b.add(f.flows, flows, slices.Clone(labels)...)
}

// collector gives the registry a scrape's series. It describes none of them
// beforehand, since those of Snapshot.System are not known.
type collector struct{ e *exporter }

// Describe is prometheus.Collector's.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is most needed first: where there are too many series,
// hosts go without.
func (c collector) Collect(out chan<- prometheus.Metric) {
	e := c.e
	b := &batch{out: out, room: e.cfg.MaxSeries - ownSeries}
	v := e.newest.Load()
	if v != nil {
		b.refused = v.cut
		addSystem(b, v.System)
		v.addLedger(b)
	}
	e.addAttacks(b, v)
	if v != nil {
		v.addRates(b, e.only)
	}
	b.room += ownSeries
	e.addOwn(b, v)
}

func (e *exporter) addOwn(b *batch, v *view) {
	since := e.started
	if v != nil {
		since = v.received
	}
	b.add(buildInfo, 1, version, runtime.Version())
	b.add(scrapes, float64(e.scrapes.Load()))
	b.add(scrapeErrors, float64(e.errors.Load()))
	b.add(snapshots, float64(e.snapshots.Load()))
	b.add(snapshotAge, time.Since(since).Seconds())
	b.add(seriesLimit, float64(e.cfg.MaxSeries))
	b.add(dropped, float64(b.refused), "limit")
	b.add(dropped, float64(b.invalid), "invalid")
	b.add(series, float64(b.sent+1))
}

func (v *view) addLedger(b *batch) {
	for i := range v.Ledger {
		row := &v.Ledger[i]
		b.add(received, float64(row.Received), row.Input)
		b.add(used, float64(row.Used), row.Input)
		b.add(inFlight, float64(row.InFlight), row.Input)
		for _, cause := range slices.Sorted(maps.Keys(row.Dropped)) {
			b.add(lostRecords, float64(row.Dropped[cause]), row.Input, cause)
		}
	}
}

func (e *exporter) addAttacks(b *batch, v *view) {
	e.mu.Lock()
	begun, closed := e.begun.rows(), e.closed.rows()
	e.mu.Unlock()
	addCounts(b, attacksStarted, begun)
	addCounts(b, attacksEnded, closed)
	if v != nil {
		addCounts(b, attacksOpen, v.open.rows())
	}
}

func addCounts(b *batch, f family, rows []attackRow) {
	for _, r := range rows {
		b.add(f, float64(r.n), r.hostgroup, r.direction, r.attackType)
	}
}

func (v *view) addRates(b *batch, only map[string]bool) {
	for i := range v.Totals {
		t := &v.Totals[i]
		totalRates.add(b, t.Counters, t.Flows, nil, t.Direction, familyText(t.Family))
	}
	for i := range v.Networks {
		n := &v.Networks[i]
		networkRates.add(b, n.Counters, n.Flows, nil, n.Name, n.Direction)
	}
	for i := range v.Groups {
		g := &v.Groups[i]
		groupRates.add(b, g.Counters, g.Flows, nil, g.Name, g.Direction)
	}
	for i := range v.Attacks {
		a := &v.Attacks[i]
		b.add(attackPeak, a.PeakPPS, sdk.TargetText(a.Target), a.HostGroup, a.Network, a.Direction, a.Threshold, a.AttackType, a.Mode)
	}
	for i := range v.Hosts {
		h := &v.Hosts[i]
		hostRates.add(b, h.Counters, h.Flows, only, sdk.TargetText(h.Host), h.Group, h.Network, h.Direction)
	}
}

func familyText(family int) string { return "ipv" + strconv.Itoa(family) }
