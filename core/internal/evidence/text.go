package evidence

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// Text is the report of an attack for people: what it is and why, who sends it,
// how it began, and then the original's own report.
func Text(e *sdk.Event) []byte {
	var b strings.Builder
	Summary(&b, e)
	b.WriteString("\n")
	b.Write(report.Text(e))
	return []byte(b.String())
}

// titles are the lists of a report.
var titles = map[string]string{
	"sources": "sources", "source_ports": "source ports", "destinations": "destinations", "destination_ports": "destination ports",
	"protocols": "protocols", "icmp_types": "ICMP types", "tcp_flags": "TCP flags", "sizes": "packet sizes", "ttls": "TTLs", "fragments": "fragments",
	"exporters": "exporters", "interfaces": "interfaces", "as": "AS", "countries": "countries",
}

// Summary writes what an attack is, without its packets.
func Summary(b *strings.Builder, e *sdk.Event) {
	fmt.Fprintf(b, "Attack %s on %s, %s\n", e.ID, printable(e.TargetName()), e.Direction)
	fmt.Fprintf(b, "  began       %s UTC, hostgroup %s, network %s\n", e.Started.UTC().Format("2006-01-02 15:04:05"), printable(e.HostGroup), printable(e.Network))
	fmt.Fprintf(b, "  crossed     %s: %s %s of %s, limit %s (%s)\n", printable(e.Threshold), number(e.Value), e.Unit, printable(e.Counter), number(e.Limit), e.Rule)
	fmt.Fprintf(b, "  peak        %s packets a second\n", number(e.PeakPPS))
	label := e.Label
	if label == "" {
		label = labelUnknown
	}
	fmt.Fprintf(b, "  label       %s, confidence %s\n", label, percent(e.Confidence))
	r := e.Evidence
	if r == nil {
		b.WriteString("  evidence    none: no packets of it were sampled\n")
		return
	}
	for _, p := range r.Parts {
		fmt.Fprintf(b, "              %s %s\n", percent(p.Share), p.Label)
	}
	for _, s := range r.Reasons {
		fmt.Fprintf(b, "  because     %s\n", s)
	}
	fmt.Fprintf(b, "  evidence    %d samples (%d with octets, %d flow records) of %d packets, %s\n",
		r.Samples, r.Frames, r.Flows, r.Packets, r.Last.Sub(r.First).Round(time.Millisecond))
	fmt.Fprintf(b, "  sources     entropy %.2f, forged addresses: %s\n", r.SourceEntropy, r.Spoofed)
	for _, f := range r.Findings {
		label := printable(f.Label)
		if label != "" {
			label += ", "
		}
		fmt.Fprintf(b, "  finding     %sconfidence %s: %s\n", label, percent(f.Confidence), printable(f.Detail))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(b, "  problem     %s\n", p)
	}
	if r.PCAP != "" {
		fmt.Fprintf(b, "  packets in  %s\n", r.PCAP)
	}
	for i := range r.Tops {
		writeTop(b, &r.Tops[i])
	}
	writeTimeline(b, r.Timeline)
}

func writeTop(b *strings.Builder, t *sdk.Top) {
	count := fmt.Sprint(t.Distinct)
	if t.AtLeast {
		count = "more than " + count
	}
	fmt.Fprintf(b, "\n%s (%s)\n", titles[t.Name], count)
	for _, r := range t.Rows {
		fmt.Fprintf(b, "  %7s  %s\n", percent(r.Share), r.Value)
	}
}

// writeTimeline draws the first minute.
func writeTimeline(b *strings.Builder, points []sdk.TimelinePoint) {
	if len(points) == 0 {
		return
	}
	most := 0.0
	for _, p := range points {
		most = max(most, p.PPS)
	}
	b.WriteString("\nfirst minute (second, packets a second)\n")
	for _, p := range points {
		bar := 0
		if most > 0 && !math.IsNaN(p.PPS) {
			bar = int(40 * min(max(p.PPS/most, 0), 1))
		}
		fmt.Fprintf(b, "  %3d %12s  %s\n", p.Second, number(p.PPS), strings.Repeat("#", bar))
	}
}

// number writes a rate with thousands apart, without decimals.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) >= 1e18 {
		return fmt.Sprint(v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
