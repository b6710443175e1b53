package evidence

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	topRows = 10 // of each list
	// few samples say nothing about where sources lie.
	enough = 20
)

// Input is all that an analysis looks at.
type Input struct {
	Event    sdk.Event // the attack as it stands
	Samples  []sdk.Sample
	Timeline []sdk.TimelinePoint
	Geo      *Geo // nil: no countries, AS numbers of the records only
	Dump     int  // samples that the report keeps
}

// Finding is what Analyse makes of it.
type Finding struct {
	Label      string
	Confidence float64
	Report     *sdk.EvidenceReport // nil where there are no samples
}

// FromCounters labels an attack of which nothing but the rates is known.
func FromCounters(e *sdk.Event) (label string, confidence float64, reasons []string) {
	v := fromCounters(e)
	return v.label, v.confidence, v.reasons
}

// Analyse looks at an attack's samples. The same input gives the same finding.
func Analyse(in *Input) Finding {
	t := newTally(in)
	t.addAll(in.Samples)
	if t.ballot.all.samples == 0 {
		v := fromCounters(&in.Event)
		return Finding{Label: v.label, Confidence: v.confidence}
	}
	v := t.ballot.judge(&in.Event, t.report.Flows)
	r := t.report
	r.Basis, r.Reasons, r.Parts = v.basis, v.reasons, v.parts
	r.Tops = t.tops()
	r.SourceEntropy = t.entropy()
	r.Spoofed = t.spoofed(v.label)
	r.Timeline = in.Timeline
	return Finding{v.label, v.confidence, r}
}

// tally is everything that is counted of the samples.
type tally struct {
	in     *Input
	report *sdk.EvidenceReport
	ballot *ballot

	sourcePorts, ports    *sketch[uint16]
	protocols             *sketch[uint8]
	icmp                  *sketch[[3]uint8]
	flags                 *sketch[uint8]
	sizes                 *sketch[uint64]
	ttls                  *sketch[uint8]
	fragments             *sketch[string]
	exporters, interfaces *sketch[string]
	as, countries         *sketch[string]
	martians              uint64 // packets from addresses that nobody has
}

func newTally(in *Input) *tally {
	return &tally{
		in: in, report: &sdk.EvidenceReport{}, ballot: newBallot(),
		sourcePorts: newSketch[uint16](), ports: newSketch[uint16](), protocols: newSketch[uint8](), icmp: newSketch[[3]uint8](),
		flags: newSketch[uint8](), sizes: newSketch[uint64](), ttls: newSketch[uint8](), fragments: newSketch[string](),
		exporters: newSketch[string](), interfaces: newSketch[string](), as: newSketch[string](), countries: newSketch[string](),
	}
}

// addAll counts the samples. What was seen before the attack was found is what
// else the target gets as well: where enough came later, it only is kept.
func (t *tally) addAll(samples []sdk.Sample) {
	after := 0
	for i := range samples {
		if !samples[i].Before {
			after++
		}
	}
	for i := range samples {
		s := &samples[i]
		r, ok := s.Packet()
		if !ok || r.Packets == 0 {
			continue
		}
		t.count(s, &r)
		if s.Before && after >= enough {
			continue
		}
		t.ballot.add(&r, udpPayload(s, &r))
		t.add(s, &r)
	}
}

// count says how much there is.
func (t *tally) count(s *sdk.Sample, r *traffic.Record) {
	p := t.report
	p.Samples++
	if len(s.Data) > 0 {
		p.Frames++
	}
	if r.Marks&traffic.MarkFlow != 0 {
		p.Flows++
	}
	if s.Before {
		p.Before++
	}
	if p.First.IsZero() || s.Time.Before(p.First) {
		p.First = s.Time
	}
	if s.Time.After(p.Last) {
		p.Last = s.Time
	}
	if len(p.Dump) < t.in.Dump {
		p.Dump = append(p.Dump, sdk.Sample{Time: s.Time, Link: s.Link, WireLen: s.WireLen, Record: s.Record, Exporter: s.Exporter, Before: s.Before})
	}
}

func (t *tally) add(s *sdk.Sample, r *traffic.Record) {
	packets, bytes := r.Packets, r.Bytes
	t.report.Packets += packets
	t.report.Bytes += bytes
	src, dst := r.SrcAddr(), r.DstAddr()
	t.protocols.add(r.Protocol, packets, bytes)
	later := r.Marks&traffic.MarkLater != 0
	switch {
	case later:
	case r.Protocol == traffic.ProtoICMP || r.Protocol == traffic.ProtoICMPv6:
		t.icmp.add([3]uint8{r.Protocol, r.ICMPType, r.ICMPCode}, packets, bytes)
	case r.Protocol == traffic.ProtoTCP || r.Protocol == traffic.ProtoUDP:
		t.sourcePorts.add(r.SrcPort, packets, bytes)
		t.ports.add(r.DstPort, packets, bytes)
	}
	if r.Protocol == traffic.ProtoTCP && !later {
		t.flags.add(r.TCPFlags, packets, bytes)
	}
	t.sizes.add(bytes/packets, packets, bytes)
	if r.TTL != 0 {
		t.ttls.add(r.TTL, packets, bytes)
	}
	t.fragments.add(fragment(r), packets, bytes)
	if s.Exporter != "" {
		t.exporters.add(printable(s.Exporter), packets, bytes)
	}
	if r.InIf != 0 || r.OutIf != 0 {
		t.interfaces.add(strings.TrimSpace(fmt.Sprintf("%s in %d out %d", printable(s.Exporter), r.InIf, r.OutIf)), packets, bytes)
	}
	remote, as := src, r.SrcAS
	if t.in.Event.Direction == "outgoing" {
		remote, as = dst, r.DstAS
	}
	t.place(remote, as, packets, bytes)
	if martian(src) {
		t.martians += packets
	}
}

// place counts where the other side is.
func (t *tally) place(remote netip.Addr, as uint32, packets, bytes uint64) {
	at := t.in.Geo.Lookup(remote)
	if as != 0 && as != at.AS { // the router knows better
		at.AS, at.Organization = as, ""
	}
	if at.AS != 0 {
		t.as.add(strings.TrimSpace(fmt.Sprintf("AS%d %s", at.AS, printable(at.Organization))), packets, bytes)
	}
	if at.Country != "" {
		t.countries.add(printable(at.Country), packets, bytes)
	}
}

func fragment(r *traffic.Record) string {
	switch {
	case r.Marks&traffic.MarkLater != 0:
		return "later fragment"
	case r.Marks&traffic.MarkFragment != 0:
		return "first fragment"
	}
	return "whole"
}

// tops lists what is most common, in the order in which people read it.
func (t *tally) tops() (out []sdk.Top) {
	all := t.report.Packets
	number := func(n uint16) string { return strconv.Itoa(int(n)) }
	list(&out, "sources", all, t.ballot.targets[1], netip.Addr.Compare, netip.Addr.String)
	list(&out, "source_ports", all, t.sourcePorts, cmp.Compare, number)
	list(&out, "destinations", all, t.ballot.targets[0], netip.Addr.Compare, netip.Addr.String)
	list(&out, "destination_ports", all, t.ports, cmp.Compare, number)
	list(&out, "protocols", all, t.protocols, cmp.Compare, traffic.ProtocolName)
	list(&out, "icmp_types", all, t.icmp, func(a, b [3]uint8) int { return strings.Compare(string(a[:]), string(b[:])) },
		func(k [3]uint8) string {
			return fmt.Sprintf("%s type %d code %d", traffic.ProtocolName(k[0]), k[1], k[2])
		})
	list(&out, "tcp_flags", all, t.flags, cmp.Compare, traffic.FlagNames)
	list(&out, "sizes", all, t.sizes, cmp.Compare, func(n uint64) string { return strconv.FormatUint(n, 10) })
	list(&out, "ttls", all, t.ttls, cmp.Compare, func(n uint8) string { return strconv.Itoa(int(n)) })
	list(&out, "fragments", all, t.fragments, strings.Compare, strings.Clone)
	list(&out, "exporters", all, t.exporters, strings.Compare, strings.Clone)
	list(&out, "interfaces", all, t.interfaces, strings.Compare, strings.Clone)
	list(&out, "as", all, t.as, strings.Compare, strings.Clone)
	list(&out, "countries", all, t.countries, strings.Compare, strings.Clone)
	return out
}

// list adds a sketch's heaviest values, if there are any.
func list[K comparable](out *[]sdk.Top, name string, all uint64, s *sketch[K], order func(a, b K) int, text func(K) string) {
	if len(s.cells) == 0 {
		return
	}
	top := sdk.Top{Name: name, Distinct: len(s.cells), AtLeast: s.spilt}
	for _, e := range s.top(topRows, order) {
		top.Rows = append(top.Rows, sdk.TopRow{Value: text(e.key), Packets: e.packets, Bytes: e.bytes, Share: float64(e.packets) / float64(max(all, 1))})
	}
	*out = append(*out, top)
}

// entropy is Shannon's of the sources, by samples, as a share of the largest
// that so many samples can have.
func (t *tally) entropy() float64 {
	n := float64(t.ballot.all.samples)
	if n < 2 {
		return 0
	}
	h := 0.0
	for _, samples := range slices.Sorted(maps.Values(t.ballot.sources)) { // in order: sums of floats depend on it
		p := float64(samples) / n
		h -= p * math.Log2(p)
	}
	return min(1, h/math.Log2(n))
}

// spoofed judges whether the sources are those that the packets name. Servers
// that reflect are, however many; a connection too.
func (t *tally) spoofed(label string) string {
	n := t.ballot.all.samples
	switch {
	case t.in.Event.Direction == "outgoing", n < enough:
		return "unknown" // those are ours
	case float64(t.martians) > 0.02*float64(t.report.Packets):
		return "likely"
	case strings.HasSuffix(label, "_reflection"), t.entropy() < 0.6:
		return "unlikely"
	case strings.HasSuffix(label, "_flood") && float64(len(t.ballot.sources)) > 0.95*float64(n):
		return "likely"
	}
	return "unknown"
}

// martians are sources that no router should have let in (RFC 6890).
var martians = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.168.0.0/16", "224.0.0.0/3", "::/8", "fc00::/7", "fe80::/10", "ff00::/8")

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func martian(a netip.Addr) bool {
	for _, p := range martians {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// printable makes text from outside fit for a line of a report.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "")
	}
	return s
}

// Rates is the target's rate in one second of an attack.
func Rates(e *sdk.Event, second time.Duration) sdk.TimelinePoint {
	rates := e.Incoming
	if e.Direction == "outgoing" {
		rates = e.Outgoing
	}
	total := rateOf(rates, "total")
	return sdk.TimelinePoint{Second: int(second / time.Second), PPS: total.PPS, BPS: total.BPS}
}
