package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Bounds of a name in Snapshot.System.
const (
	maxName    = 100
	maxLabels  = 8
	maxBuckets = 100
)

// knownMetric is how a metric of Snapshot.System is shown.
type knownMetric struct{ name, help string }

// known are the metrics of Snapshot.System with a description, by their names
// there. Others are shown under their own names.
var known = map[string]knownMetric{
	"hosts":             {"hosts", "Hosts that FastNetMon keeps rates of."},
	"engine_bytes":      {"engine_bytes", "Memory mapped for the rates of hosts."},
	"deltas":            {"deltas_total", "Counts received from captures."},
	"deltas_late":       {"deltas_late_total", "Counts that came too late for the burst rules."},
	"deltas_refused":    {"deltas_refused_total", "Counts that were not believed."},
	"hosts_evicted":     {"hosts_evicted_total", "Idle hosts that made room for others."},
	"hosts_without_row": {"hosts_without_row_total", "Counts that only network and hostgroup have, for lack of room for the host."},
	"hosts_displaced":   {"hosts_displaced_total", "Hosts that made room for heavier ones."},
	"extras_refused":    {"extras_refused_total", "Configured counters and burst records of a host that found no room."},
	"alarms_held":       {"alarms_held_total", "Crossings of a limit that were not reported because too many attacks were open."},
	"rings_quarantined": {"rings_quarantined_total", "Rings that were given up because what they held made no sense."},

	"plugin_up":                             {"plugin_up", "1 while a plugin is running, else 0."},
	"plugin_restarts_total":                 {"plugin_restarts_total", "Times a plugin was started again after it had ended."},
	"plugin_failures_total":                 {"plugin_failures_total", "Times a plugin could not be started, or ended without being asked to."},
	"plugin_last_failure_timestamp_seconds": {"plugin_last_failure_timestamp_seconds", "When a plugin last failed, Unix time."},
	"input_quiet_seconds":                   {"input_quiet_seconds", "Time for which a running capture has received nothing, 0 while it receives."},
	"daemon_troubles":                       {"daemon_troubles", "Things wrong with the daemon itself, such as a log that cannot be written: fastnetmon status names them."},
	"log_lines_lost_total":                  {"log_lines_lost_total", "Lines of the log that were lost because its output failed or was too slow."},
	"history_up":                            {"history_up", "1 while the history of attacks is written, else 0: fastnetmon status says why."},
	"history_bytes":                         {"history_bytes", "Size of the history of attacks, without its free room."},
	"history_pending":                       {"history_pending", "Attacks that wait to be written into the history."},
	"history_writes_total":                  {"history_writes_total", "Attacks written into the history, each time anew."},
	"history_lost_total":                    {"history_lost_total", "Events of attacks that the history lacks, since too many waited."},
	"plugin_events_dropped_total":           {"plugin_events_dropped_total", "Events that a plugin was not told of because it did not keep up."},
	"plugin_events_summarized_total":        {"plugin_events_summarized_total", "Events of attacks that an action was told of as part of a summary only."},
	"plugin_snapshots_missed_total":         {"plugin_snapshots_missed_total", "Snapshots that an export could not be given."},
	"plugin_delivered_total":                {"plugin_delivered_total", "Events and snapshots that the store behind a plugin has taken."},
	"plugin_retried_total":                  {"plugin_retried_total", "Writes to the store behind a plugin that failed and are made again."},
	"plugin_dropped_total":                  {"plugin_dropped_total", "Events and snapshots that the store behind a plugin never got, by reason."},
	"plugin_waiting":                        {"plugin_waiting", "Events and snapshots that a plugin has not delivered so far."},
	"plugin_lag_seconds":                    {"plugin_lag_seconds", "Age of the oldest event or snapshot that waits, 0 without one."},
	"plugin_spool_bytes":                    {"plugin_spool_bytes", "Events that wait, in bytes."},
	"loss_ratio":                            {"loss_ratio", "Share of records lost on all inputs in the last ten seconds, 0 to 1."},
	"mitigations":                           {"mitigations", "What is done about attacks, by how far it has got."},
	"mitigation_pending_seconds":            {"mitigation_pending_seconds", "For which the mitigation that waits longest is not in force, or not gone."},
	"mitigation_journal_up":                 {"mitigation_journal_up", "1 while mitigations are written down, else 0."},
	"mitigations_lost_total":                {"mitigations_lost_total", "Requests for mitigations that found no room."},
	"enforcement_suspended":                 {"enforcement_suspended", "1 while attacks that some input shows are not enforced, because it was disturbed, else 0."},
	"ring_fill_ratio":                       {"ring_fill_ratio", "How full the memory between a capture and the core was at most in the last second, 0 to 1."},
	"ring_lag_seconds":                      {"ring_lag_seconds", "Time by which a capture handed its newest counts over late."},
	"tick_seconds":                          {"tick_seconds", "Time that a turn of the detection loop took."},
	"apply_seconds":                         {"apply_seconds", "Time that adding a batch of counts to the rates took."},
	"detection_delay_seconds":               {"detection_delay_seconds", "Time from the end of the counts that made a rule true to the event."},
}

// shown is the name and the description under which a metric is shown.
func shown(name string) knownMetric {
	k, ok := known[name]
	if !ok {
		k = knownMetric{name, "State of FastNetMon itself: " + name + "."}
	}
	k.name = "fastnetmon_" + k.name
	return k
}

// systemName is a name in Snapshot.System, taken apart:
//
//	NAME
//	NAME:KEY=VALUE,KEY=VALUE…
//
// A NAME that ends in _total is a counter. NAME_bucket with the label le,
// NAME_sum and NAME_count are a histogram; its buckets are cumulative. All
// else is a gauge.
type systemName struct {
	name         string
	keys, values []string // of the labels, but for le
	le           string
	bucket       bool
}

func parseSystemName(s string) (out systemName, ok bool) {
	name, labels, labelled := strings.Cut(s, ":")
	if !identifier(name) {
		return out, false
	}
	out.name = name
	for more := labelled; more; {
		var label string
		label, labels, more = strings.Cut(labels, ",")
		key, value, found := strings.Cut(label, "=")
		if !found || !identifier(key) || slices.Contains(out.keys, key) || len(out.keys) == maxLabels {
			return out, false
		}
		if key == "le" {
			if out.bucket {
				return out, false
			}
			out.le, out.bucket = value, true
			continue
		}
		out.keys, out.values = append(out.keys, key), append(out.values, value)
	}
	if out.bucket {
		out.name, ok = strings.CutSuffix(name, "_bucket")
		return out, ok && out.name != ""
	}
	return out, true
}

// identifier tells names that mean the same to everybody: small letters,
// digits and underscores, a letter first.
func identifier(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// id tells histograms apart, whatever the order of their labels.
func (n *systemName) id(name string) string {
	labels := make([]string, len(n.keys))
	for i, key := range n.keys {
		labels[i] = key + "=" + n.values[i]
	}
	slices.Sort(labels)
	return name + ":" + strings.Join(labels, ",")
}

// histogram is gathered from its parts.
type histogram struct {
	name         string
	keys, values []string
	buckets      map[float64]uint64 // cumulative, by upper bound; without the last
	last         float64            // of the bucket without bound
	count, sum   float64
	parts        int
	has, bad     bool // a count; a part that makes no sense
}

// addSystem sends the metrics of Snapshot.System.
func addSystem(b *batch, metrics []sdk.Metric) {
	names := make([]systemName, len(metrics))
	good := make([]bool, len(metrics))
	histograms := map[string]*histogram{}
	var order []*histogram
	for i := range metrics {
		n := &names[i]
		if *n, good[i] = parseSystemName(metrics[i].Name); !good[i] {
			b.invalid++
			continue
		}
		if n.bucket {
			h := histograms[n.id(n.name)]
			if h == nil {
				h = &histogram{name: n.name, keys: n.keys, values: n.values, buckets: map[float64]uint64{}, last: -1}
				histograms[n.id(n.name)] = h
				order = append(order, h)
			}
			h.addBucket(n.le, metrics[i].Value)
		}
	}
	for i := range metrics {
		if !good[i] || names[i].bucket || names[i].partOf(histograms, metrics[i].Value) {
			continue
		}
		addMetric(b, &names[i], metrics[i].Value)
	}
	for _, h := range order {
		h.send(b)
	}
}

func addMetric(b *batch, n *systemName, value float64) {
	k := shown(n.name)
	kind := gauge
	if strings.HasSuffix(k.name, "_total") {
		kind = counter
	}
	b.add(kind(k.name, k.help, n.keys...), value, slices.Clone(n.values)...)
}

// partOf takes a sum or a count into its histogram, if there is one.
func (n *systemName) partOf(histograms map[string]*histogram, value float64) bool {
	for _, suffix := range []string{"_sum", "_count"} {
		name, ok := strings.CutSuffix(n.name, suffix)
		if !ok {
			continue
		}
		if h := histograms[n.id(name)]; h != nil {
			h.parts++
			if suffix == "_sum" {
				h.sum = value
			} else {
				h.count, h.has = value, true
			}
			return true
		}
	}
	return false
}

func (h *histogram) addBucket(le string, value float64) {
	h.parts++
	bound, err := strconv.ParseFloat(le, 64)
	n, ok := whole(value)
	_, twice := h.buckets[bound]
	switch {
	case err != nil || math.IsNaN(bound) || !ok || twice || len(h.buckets) == maxBuckets:
		h.bad = true
	case math.IsInf(bound, 1):
		h.last = value
	default:
		h.buckets[bound] = n
	}
}

// whole turns a value into a count.
func whole(value float64) (uint64, bool) {
	const exact = 1 << 53 // larger ones are no longer told apart
	if !(value >= 0 && value <= exact) || value != math.Trunc(value) {
		return 0, false
	}
	return uint64(value), true
}

// send sends a histogram that is whole: with a count, at least that of its
// last bucket, and buckets that do not fall.
func (h *histogram) send(b *batch) {
	if !h.has {
		h.count = h.last
	}
	count, ok := whole(h.count)
	if h.bad || !ok || h.last >= 0 && h.last != h.count || math.IsNaN(h.sum) || math.IsInf(h.sum, 0) || !rising(h.buckets, count) {
		b.invalid += h.parts
		return
	}
	k := shown(h.name)
	b.addHistogram(prometheus.NewDesc(k.name, k.help, h.keys, nil), count, h.sum, h.buckets, slices.Clone(h.values)...)
}

// rising tells whether cumulative buckets do not fall and end at most at count.
func rising(buckets map[float64]uint64, count uint64) bool {
	type bucket struct {
		bound float64
		n     uint64
	}
	var sorted []bucket
	for bound, n := range buckets {
		sorted = append(sorted, bucket{bound, n})
	}
	slices.SortFunc(sorted, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	sorted = append(sorted, bucket{math.Inf(1), count})
	return slices.IsSortedFunc(sorted, func(a, b bucket) int { return cmp.Compare(a.n, b.n) })
}
