package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// jsonOutput prints one event a line.
func jsonOutput(w io.Writer) func(pipeline.Output) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(o pipeline.Output) error {
		if o.Finished != nil {
			return e.Encode(o.Finished)
		}
		return e.Encode(o.Event)
	}
}

// textOutput prints events and the summary for people.
func textOutput(w io.Writer) func(pipeline.Output) error {
	return func(o pipeline.Output) error {
		var text string
		if o.Finished != nil {
			text = summaryText(o.Finished)
		} else {
			text = eventText(o.Event)
		}
		_, err := io.WriteString(w, text)
		return err
	}
}

// eventText is one event in two or three lines.
func eventText(e *sdk.Event) string {
	if e.Mitigation != nil {
		return mitigationText(e)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-14s  %s %s, hostgroup %s", e.Time.UTC().Format("2006-01-02 15:04:05.000"), e.Type, e.TargetName(), e.Direction, e.HostGroup)
	label := cmp.Or(e.Label, e.AttackType)
	if e.Type == sdk.AttackEnded {
		fmt.Fprintf(&b, ", after %s, peak %s pps, %s\n", e.Time.Sub(e.Started).Round(time.Millisecond), count(e.PeakPPS), label)
		return b.String()
	}
	fmt.Fprintf(&b, ", %s%s\n", label, confidence(e))
	for _, c := range e.Crossed {
		fmt.Fprintf(&b, "    threshold %s: %s %s %s above %s (%s over %s)\n",
			c.Threshold, c.Counter, count(c.Value), c.Unit, count(c.Limit), ruleText(c.Rule), c.Window)
	}
	rates := e.Incoming
	if e.Direction == "outgoing" {
		rates = e.Outgoing
	}
	var parts []string
	for _, r := range rates {
		if r.PPS >= 1 {
			parts = append(parts, fmt.Sprintf("%s %s pps %s bps", r.Counter, count(r.PPS), count(r.BPS)))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(&b, "    rates: %s\n", strings.Join(parts, ", "))
	}
	if e.Evidence != nil {
		b.WriteString(evidenceText(e.Evidence))
	}
	return b.String()
}

// mitigationText is a mitigation's change in one line.
func mitigationText(e *sdk.Event) string {
	m := e.Mitigation
	return fmt.Sprintf("%s  %s  %s %s, %s: %s\n", e.Time.UTC().Format("2006-01-02 15:04:05.000"), e.Type, sdk.TargetText(m.Target), m.State, m.Action, because(m))
}

// confidence is how sure a label is, in brackets.
func confidence(e *sdk.Event) string {
	if e.Label == "" || e.Confidence == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.0f %%)", 100*e.Confidence)
}

// shownTops are the lists of evidence that an event shows.
var shownTops = []struct {
	name, title string
}{
	{"sources", "sources"},
	{"source_ports", "source ports"},
	{"destination_ports", "destination ports"},
	{"tcp_flags", "flags"},
	{"sizes", "sizes"},
	{"as", "AS"},
	{"countries", "countries"},
	{"exporters", "exporters"},
	{"interfaces", "interfaces"},
}

// shownRows is how many values of a list an event shows.
const shownRows = 3

// evidenceText is what is known of the packets, in a few lines.
func evidenceText(r *sdk.EvidenceReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    evidence: %d samples", r.Samples)
	switch r.Spoofed {
	case "likely":
		b.WriteString(", sources are likely forged")
	case "unlikely":
		b.WriteString(", sources are hardly forged")
	}
	b.WriteString("\n")
	for _, p := range r.Parts {
		fmt.Fprintf(&b, "      part: %.0f %% %s\n", 100*p.Share, p.Label)
	}
	for _, why := range r.Reasons {
		fmt.Fprintf(&b, "      because %s\n", why)
	}
	for _, shown := range shownTops {
		i := slices.IndexFunc(r.Tops, func(t sdk.Top) bool { return t.Name == shown.name })
		if i < 0 {
			continue
		}
		t := &r.Tops[i]
		var rows []string
		for _, row := range t.Rows[:min(len(t.Rows), shownRows)] {
			rows = append(rows, fmt.Sprintf("%s %.0f %%", row.Value, 100*row.Share))
		}
		if more := t.Distinct - len(rows); more > 0 {
			rows = append(rows, fmt.Sprintf("%d more", more))
		}
		fmt.Fprintf(&b, "      %s: %s\n", shown.title, strings.Join(rows, ", "))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "      finding: %s (%.0f %%) %s\n", f.Label, 100*f.Confidence, f.Detail)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "      problem: %s\n", p)
	}
	if r.PCAP != "" {
		fmt.Fprintf(&b, "      packets: %s\n", r.PCAP)
	}
	if r.Report != "" {
		fmt.Fprintf(&b, "      report: %s\n", r.Report)
	}
	return b.String()
}

func ruleText(rule string) string {
	if ticks, factor, ok := strings.Cut(rule, "x"); ok {
		return ticks + " ticks of 100 ms above " + factor + " times the limit"
	}
	return rule
}

// count writes a rate as people read it: 950, 12.5k, 1.2M.
func count(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if v >= unit.size {
			if unit.name == "k" {
				unit.size = 1e3
			}
			return fmt.Sprintf("%.1f%s", v/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.0f", v)
}

func summaryText(s *pipeline.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-14s  %d packets, %d bytes, %d attacks\n",
		s.Time.UTC().Format("2006-01-02 15:04:05.000"), sdk.ReplayFinished, s.Packets, s.Bytes, s.Attacks)
	for _, group := range []struct {
		name    string
		volumes map[string]pipeline.Volume
	}{{"direction", s.Directions}, {"family", s.Families}, {"protocol", s.Protocols}, {"counter", s.Counters}} {
		for _, name := range slices.Sorted(maps.Keys(group.volumes)) {
			if v := group.volumes[name]; v.Packets > 0 {
				fmt.Fprintf(&b, "    %-10s %-12s %12d packets %15d bytes\n", group.name, name, v.Packets, v.Bytes)
			}
		}
	}
	for _, row := range s.Ledger {
		fmt.Fprintf(&b, "    ledger     %s: received %d = used %d", row.Input, row.Received, row.Used)
		for _, cause := range slices.Sorted(maps.Keys(row.Dropped)) {
			fmt.Fprintf(&b, " + %s %d", cause, row.Dropped[cause])
		}
		if row.InFlight > 0 {
			fmt.Fprintf(&b, " + in flight %d", row.InFlight)
		}
		b.WriteString("\n")
	}
	return b.String()
}
