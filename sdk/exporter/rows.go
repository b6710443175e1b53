package exporter

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// The names of the tables that a flow capture gives (sdk.Table).
const (
	TableExporters = "exporters"
	TableDoctor    = "doctor"
	TableAddresses = "addresses"
	TableForward   = "forward"
)

// columns of the table "exporters". Those of counts are totals since the
// exporter was first seen.
var columns = []string{
	"exporter", "address", "agent", "site", "protocol", "domain", "records/s", "datagrams", "octets",
	"sampling", "sampling from", "sampling age", "visible pps", "templates", "no template",
	"lost", "late", "restarts", "unknown", "malformed", "impossible times",
	"clock skew", "active timeout", "export delay", "last seen", "notes",
}

// TextColumns are the columns of the table "exporters" that are not numbers or
// times, for whoever aligns them.
var TextColumns = []string{"exporter", "address", "agent", "site", "protocol", "sampling from", "notes"}

// Rows is the table "exporters".
//
//   - sampling: the rate applied, or the lowest and the highest; sampling from:
//     record, options, block, default or unknown; sampling age: since options
//     last told one.
//   - visible pps: packets a second of one host and counter from which on the
//     sampled packets suffice for a decision within 5 seconds (30 of them).
//   - lost: gaps in the sequence numbers, in the protocol's own units (records
//     in v5 and IPFIX, datagrams in v9 and sFlow).
//   - clock skew: this machine's clock minus the exporter's; export delay: mean
//     time from a flow's end to its export.
func (s *Set) Rows() sdk.Rows {
	rows := sdk.Rows{Columns: columns}
	now := s.now()
	for _, e := range s.All() {
		rows.Rows = append(rows.Rows, e.row(now))
	}
	return rows
}

func (e *Exporter) row(now int64) []string {
	low, high, from := e.rates.applied()
	source, age := sources(from), ""
	if at := e.rates.learnAt.Load(); at > 0 {
		age = seconds(now - at)
	}
	agent := ""
	if e.id.Agent.IsValid() {
		agent = e.id.Agent.String()
	}
	e.seq.mu.Lock()
	lost, late, restarts := e.seq.lost, e.seq.late, e.seq.restarts
	e.seq.mu.Unlock()
	skew, timeout, delay := e.times.shown()
	return []string{
		e.Name(), e.id.Source.String(), agent, e.Site(), protocol(e.id.Version), number(uint64(e.id.Domain)),
		strconv.FormatFloat(e.recordsPerSecond(now), 'f', 1, 64), number(e.datagrams.Load()), number(e.octets.Load()),
		rateText(low, high), source, age, visible(high), strconv.Itoa(int(e.templates.Load())), number(e.missing.Load()),
		number(lost), number(late), number(restarts), number(e.unknown.Load()), number(e.malformed.Load()), number(e.times.clamped.Load()),
		skew, timeout, delay, seconds(now - e.seen.Load()), e.notes(now),
	}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// seconds writes an age.
func seconds(ns int64) string { return time.Duration(ns).Round(time.Second).String() }

// recordsPerSecond is the rate of the last window, or since then when it has
// been silent, or since the exporter came.
func (e *Exporter) recordsPerSecond(now int64) float64 {
	start := e.rotated.Load()
	elapsed := float64(now-start) / 1e9
	if start > e.since && elapsed < 2*float64(window)/1e9 {
		return float64(e.perSecond.Load()) / 1000
	}
	return float64(e.records.Load()-e.before.Load()) / max(elapsed, 1)
}

func rateText(low, high uint32) string {
	switch {
	case high == 0:
		return ""
	case low == high:
		return strconv.Itoa(int(low))
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// needed is how many sampled packets a decision takes, in how many seconds
// (the average unless told otherwise).
const (
	needed  = 30
	average = 5
)

// visible is the smallest packet rate that is decided on in time.
func visible(rate uint32) string {
	if rate <= 1 {
		return ""
	}
	return number(uint64(rate) * needed / average)
}

// sources names where the rates of a window came from, the weakest last.
func sources(from uint32) string {
	out := ""
	for i, name := range []string{"record", "options", "block", "default", "unknown"} {
		if from&(1<<i) == 0 {
			continue
		}
		if out != "" {
			out += ", "
		}
		out += name
	}
	return out
}

// shown returns clock skew, active timeout and export delay as text.
func (t *times) shown() (skew, timeout, delay string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ms, ok := t.skew.get(); ok {
		skew = (time.Duration(ms) * time.Millisecond).Round(100 * time.Millisecond).String()
	}
	if ms := t.timeout(); ms > 0 {
		timeout = (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
	}
	mean, known := t.meanMs, t.meanKnown
	if t.delayed > 0 && !known {
		mean, known = t.delays/t.delayed, true
	}
	if known {
		delay = (time.Duration(mean) * time.Millisecond).Round(100 * time.Millisecond).String()
	}
	return skew, timeout, delay
}

// notes says what is wrong with the exporter.
func (e *Exporter) notes(now int64) string {
	out := ""
	add := func(s string) {
		if out != "" {
			out += "; "
		}
		out += s
	}
	e.seq.mu.Lock()
	if e.seq.several && now-e.seq.severalAt < 10*minute {
		add("more than one sequence space")
	}
	e.seq.mu.Unlock()
	if e.rates.sources()&fromNowhere != 0 {
		add("exporter_sampling_unknown")
	}
	if e.rates.sources()&disbelieved != 0 {
		add("exporter_sampling_implausible")
	}
	if f := e.filter.Load(); f != nil && f.missing > 0 {
		add(fmt.Sprintf("%d of its interfaces' names not told yet", f.missing))
	}
	if e.block != nil && e.block.group != nil && e.member == 0 {
		add("not de-duplicated: more than " + strconv.Itoa(members) + " devices share the word")
	}
	return out
}

// Addresses is the table "addresses": of a sample of records (View.Observe) the
// prefixes (/24, /48) that they come from and go to, the most frequent first,
// with how many records had them of so many; and behind them the source and
// destination prefixes of the last records, each its own row.
func (s *Set) Addresses() sdk.Rows {
	rows := sdk.Rows{Columns: []string{"prefix", "records", "of", "source", "destination"}}
	cells, total, last := s.sketch.top()
	for _, c := range cells[:min(len(cells), 64)] {
		rows.Rows = append(rows.Rows, []string{c.prefix.String(), number(c.count), number(total), "", ""})
	}
	for _, r := range last {
		rows.Rows = append(rows.Rows, []string{"", "", "", r[0].String(), r[1].String()})
	}
	return rows
}
