package sdk

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// Values that come from the core. Package host encodes what is decoded here;
// its tests send every field through both.

// instant carries a time as nanoseconds since the Unix epoch, 0 for none.
func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// prefixOf reads a prefix; an empty text is none.
func prefixOf(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	return netip.ParsePrefix(s)
}

func ratesOf(in []*pb.CounterRate) []CounterRate {
	var out []CounterRate
	for _, r := range in {
		out = append(out, CounterRate{Counter: r.GetCounter(), PPS: r.GetPps(), BPS: r.GetBps()})
	}
	return out
}

func crossingOf(c *pb.Crossing) Crossing {
	return Crossing{
		Threshold: c.GetThreshold(), Scope: c.GetScope(), Counter: c.GetCounter(), Unit: c.GetUnit(),
		Value: c.GetValue(), Limit: c.GetLimit(), Window: millis(c.GetWindowMs()), Rule: c.GetRule(), At: instant(c.GetAtUnixNano()),
	}
}

func eventOf(m *pb.Event) (Event, error) {
	target, err := prefixOf(m.GetTarget())
	if err != nil {
		return Event{}, fmt.Errorf("event %s: target: %w", m.GetId(), err)
	}
	e := Event{
		Type: EventType(m.GetType()), ID: m.GetId(), Seq: m.GetSeq(),
		Time: instant(m.GetTimeUnixNano()), Started: instant(m.GetStartedUnixNano()),
		Target: target, Direction: m.GetDirection(), HostGroup: m.GetHostgroup(), Network: m.GetNetwork(),
		Pipeline: m.GetPipeline(), Mode: m.GetMode(), WouldHave: m.GetWouldHave(), Revision: m.GetRevision(),
		Crossing: crossingOf(m.GetFirst()), Label: m.GetLabel(), AttackType: m.GetAttackType(), Protocol: m.GetProtocol(),
		PeakPPS: m.GetPeakPps(), InitialPPS: m.GetInitialPps(),
		Incoming: ratesOf(m.GetIncoming()), Outgoing: ratesOf(m.GetOutgoing()),
		Flows: [2]float64{m.GetIncomingFps(), m.GetOutgoingFps()}, LossRatio: m.GetLossRatio(),
		Suspended: m.GetSuspended(), Lifted: m.GetLifted(), Confidence: m.GetConfidence(), Evidence: evidenceOf(m.GetEvidence()),
	}
	for _, c := range m.GetCrossed() {
		e.Crossed = append(e.Crossed, crossingOf(c))
	}
	if e.Summary, err = summaryOf(m.GetSummary()); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", m.GetId(), err)
	}
	if told := m.GetMitigation(); told != nil {
		report, err := mitigationReportOf(told)
		if err != nil {
			return Event{}, fmt.Errorf("event %s: %w", m.GetId(), err)
		}
		e.Mitigation = &report
	}
	return e, nil
}

func mitigationReportOf(m *pb.MitigationReport) (MitigationReport, error) {
	target, err := prefixOf(m.GetTarget())
	if err != nil {
		return MitigationReport{}, fmt.Errorf("mitigation %s: target: %w", m.GetId(), err)
	}
	out := MitigationReport{
		ID: m.GetId(), AttackID: m.GetAttackId(), Target: target, Direction: m.GetDirection(), HostGroup: m.GetHostgroup(), Action: m.GetAction(),
		State: MitigationState(m.GetState()), Cause: m.GetCause(), Time: instant(m.GetTimeUnixNano()),
		Requested: instant(m.GetRequestedUnixNano()), Expires: instant(m.GetExpiresUnixNano()),
		By: m.GetBy(), Reason: m.GetReason(), Announcements: m.GetAnnouncements(),
	}
	for _, p := range m.GetPeers() {
		out.Peers = append(out.Peers, PeerStatus{p.GetPeer(), MitigationState(p.GetState()), p.GetCause()})
	}
	return out, nil
}

func summaryOf(m *pb.Summary) (*Summary, error) {
	if m == nil {
		return nil, nil
	}
	s := &Summary{Attacks: int(m.GetAttacks()), Open: int(m.GetOpen())}
	for _, p := range m.GetParts() {
		target, err := prefixOf(p.GetTarget())
		if err != nil {
			return nil, fmt.Errorf("part %s: target: %w", p.GetId(), err)
		}
		s.Parts = append(s.Parts, Part{
			ID: p.GetId(), Target: target, HostGroup: p.GetHostgroup(), Threshold: p.GetThreshold(), AttackType: p.GetAttackType(),
			PeakPPS: p.GetPeakPps(), Started: instant(p.GetStartedUnixNano()), Ended: instant(p.GetEndedUnixNano()),
		})
	}
	return s, nil
}

func eventsOf(in []*pb.Event) ([]Event, error) {
	var out []Event
	for _, m := range in {
		e, err := eventOf(m)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func mitigationOf(m *pb.Mitigation) (Mitigation, error) {
	target, err1 := prefixOf(m.GetTarget())
	event, err2 := eventOf(m.GetEvent())
	subnet, err3 := prefixOf(m.GetSubnet())
	if err := errors.Join(err1, err2, err3); err != nil {
		return Mitigation{}, fmt.Errorf("mitigation %s: %w", m.GetId(), err)
	}
	return Mitigation{
		ID: m.GetId(), AttackID: m.GetAttackId(), Target: target, Direction: m.GetDirection(), Profile: m.GetProfile(),
		Event: event, Requested: instant(m.GetRequestedUnixNano()), Subnet: subnet,
		Attributes: wire.ValuesFromProto(m.GetAttributes()), By: m.GetBy(), Reason: m.GetReason(),
	}, nil
}

// addSnapshot appends a part of a snapshot to s.
func addSnapshot(s *Snapshot, m *pb.Snapshot) error {
	s.Time, s.Period = instant(m.GetTimeUnixNano()), millis(m.GetPeriodMs())
	for _, t := range m.GetTotals() {
		s.Totals = append(s.Totals, TotalRate{
			Direction: t.GetDirection(), Family: int(t.GetFamily()), Counters: ratesOf(t.GetCounters()), Flows: t.GetFps(),
		})
	}
	for _, r := range m.GetNetworks() {
		row, err := scopeOf(r)
		if err != nil {
			return err
		}
		s.Networks = append(s.Networks, row)
	}
	for _, r := range m.GetGroups() {
		row, err := scopeOf(r)
		if err != nil {
			return err
		}
		s.Groups = append(s.Groups, row)
	}
	for _, h := range m.GetHosts() {
		host, err := prefixOf(h.GetHost())
		if err != nil {
			return fmt.Errorf("snapshot: host: %w", err)
		}
		s.Hosts = append(s.Hosts, HostRate{
			Host: host, Group: h.GetGroup(), Network: h.GetNetwork(), Direction: h.GetDirection(),
			Counters: ratesOf(h.GetCounters()), Flows: h.GetFps(),
		})
	}
	attacks, err := eventsOf(m.GetAttacks())
	if err != nil {
		return err
	}
	s.Attacks = append(s.Attacks, attacks...)
	for _, l := range m.GetLedger() {
		s.Ledger = append(s.Ledger, LedgerRow{
			Input: l.GetInput(), Received: l.GetReceived(), Used: l.GetUsed(), InFlight: l.GetInFlight(), Dropped: maps.Clone(l.GetDropped()),
		})
	}
	for _, x := range m.GetSystem() {
		s.System = append(s.System, Metric{Name: x.GetName(), Value: x.GetValue()})
	}
	for _, x := range m.GetMitigations() {
		report, err := mitigationReportOf(x)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		s.Mitigations = append(s.Mitigations, report)
	}
	return nil
}

func scopeOf(r *pb.ScopeRate) (ScopeRate, error) {
	out := ScopeRate{Name: r.GetName(), Direction: r.GetDirection(), Counters: ratesOf(r.GetCounters()), Flows: r.GetFps()}
	for _, text := range r.GetPrefixes() {
		p, err := prefixOf(text)
		if err != nil {
			return out, fmt.Errorf("snapshot: prefix of %s: %w", out.Name, err)
		}
		out.Prefixes = append(out.Prefixes, p)
	}
	return out, nil
}

// sampleRequestOf reads what a capture is asked for.
func sampleRequestOf(m *pb.SampleRequest) (SampleRequest, error) {
	target, err := prefixOf(m.GetTarget())
	if err != nil || !target.IsValid() {
		return SampleRequest{}, fmt.Errorf("target %q is no prefix", m.GetTarget())
	}
	switch m.GetDirection() {
	case "", "incoming", "outgoing":
	default:
		return SampleRequest{}, fmt.Errorf("direction %q is neither incoming nor outgoing", m.GetDirection())
	}
	return SampleRequest{
		Target: target, Direction: m.GetDirection(), Limit: int(min(m.GetLimit(), 1<<30)),
		For: millis(int64(m.GetForMs())), Since: instant(m.GetSinceUnixNano()),
	}, nil
}

func sampleOf(m *pb.Sample) Sample {
	return Sample{
		Time: instant(m.GetTimeUnixNano()), Link: int(m.GetLink()), Data: m.GetData(), WireLen: int(m.GetWireLen()), Record: m.GetRecord(),
		Exporter: m.GetExporter(), Before: m.GetBefore(),
	}
}

func evidenceOf(m *pb.Evidence) *EvidenceReport {
	if m == nil {
		return nil
	}
	out := &EvidenceReport{
		Samples: int(m.GetSamples()), Frames: int(m.GetFrames()), Flows: int(m.GetFlows()), Before: int(m.GetBefore()),
		Packets: m.GetPackets(), Bytes: m.GetBytes(), Complete: m.GetComplete(),
		First: instant(m.GetFirstUnixNano()), Last: instant(m.GetLastUnixNano()),
		Basis: m.GetBasis(), Reasons: m.GetReasons(), SourceEntropy: m.GetSourceEntropy(), Spoofed: m.GetSpoofed(),
		PCAP: m.GetPcap(), Report: m.GetReport(), Problems: m.GetProblems(),
	}
	for _, p := range m.GetParts() {
		out.Parts = append(out.Parts, LabelPart{p.GetLabel(), p.GetShare()})
	}
	for _, t := range m.GetTops() {
		top := Top{Name: t.GetName(), Distinct: int(t.GetDistinct()), AtLeast: t.GetAtLeast()}
		for _, r := range t.GetRows() {
			top.Rows = append(top.Rows, TopRow{r.GetValue(), r.GetPackets(), r.GetBytes(), r.GetShare()})
		}
		out.Tops = append(out.Tops, top)
	}
	for _, p := range m.GetTimeline() {
		out.Timeline = append(out.Timeline, TimelinePoint{int(p.GetSecond()), p.GetPps(), p.GetBps()})
	}
	for _, f := range m.GetFindings() {
		out.Findings = append(out.Findings, Finding{f.GetLabel(), f.GetConfidence(), f.GetDetail()})
	}
	for _, d := range m.GetDump() {
		out.Dump = append(out.Dump, sampleOf(d))
	}
	return out
}
