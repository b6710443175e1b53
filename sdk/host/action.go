package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// Notify tells a notifier of an event. sdk.IsRetry tells of the error whether
// another try is worth while: the plugin says so, or it is gone.
func (p *Plugin) Notify(ctx context.Context, e sdk.Event) error {
	resp, err := p.notifier.Notify(ctx, &pb.NotifyRequest{Event: eventToProto(&e)})
	if err != nil {
		return retryable(ctx, "Notify", err)
	}
	return outcome(resp.GetOutcome())
}

// Sync hands the whole desired set to a mitigator; errors as with Notify. What
// is as in the set before is not sent again: evidence makes sets large. So what
// desired refers to must not be changed later.
func (p *Plugin) Sync(ctx context.Context, desired []sdk.Mitigation) error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	before := p.told
	p.told = nil // not known what it has, until it has answered
	if d := p.known(); d == nil || !d.Has(FeatureUnchanged) {
		before = nil
	}
	req := &pb.SyncRequest{Desired: make([]*pb.Mitigation, 0, len(desired))}
	told := make(map[string]sdk.Mitigation, len(desired))
	for i := range desired {
		m := &desired[i]
		if old, ok := before[m.ID]; ok && reflect.DeepEqual(&old, m) {
			req.Desired = append(req.Desired, &pb.Mitigation{Id: m.ID, Unchanged: true})
		} else {
			req.Desired = append(req.Desired, mitigationToProto(m))
		}
		told[m.ID] = *m
	}
	resp, err := p.mitigator.Sync(ctx, req)
	if err != nil {
		return retryable(ctx, "Sync", err)
	}
	p.told = told
	return outcome(resp.GetOutcome())
}

// maxAnnouncements bounds what one mitigation may come to.
const maxAnnouncements = 1000

// Preview asks a mitigator with FeaturePreview what m would come to; errors
// as with Notify.
func (p *Plugin) Preview(ctx context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	resp, err := p.mitigator.Preview(ctx, &pb.PreviewRequest{Mitigation: mitigationToProto(&m)})
	if err != nil {
		return nil, retryable(ctx, "Preview", err)
	}
	if err := outcome(resp.GetOutcome()); err != nil {
		return nil, err
	}
	if n := len(resp.GetAnnouncements()); n > maxAnnouncements {
		return nil, fmt.Errorf("the plugin would make %d announcements of mitigation %s; at most %d are possible", n, m.ID, maxAnnouncements)
	}
	var out []sdk.Announcement
	for _, a := range resp.GetAnnouncements() {
		prefix, err := netip.ParsePrefix(a.GetPrefix())
		if err != nil {
			return nil, fmt.Errorf("the plugin would announce %q for mitigation %s: %w", wire.Clean(a.GetPrefix(), 64), m.ID, err)
		}
		out = append(out, sdk.Announcement{
			Prefix: prefix.Masked(), Text: wire.Clean(a.GetText(), maxText),
			FlowSpec: a.GetFlowSpec(), Discard: a.GetDiscard(), Matches: int(a.GetMatches()),
		})
	}
	return out, nil
}

func mitigationToProto(m *sdk.Mitigation) *pb.Mitigation {
	return &pb.Mitigation{
		Id: m.ID, AttackId: m.AttackID, Target: prefixToProto(m.Target), Direction: m.Direction, Profile: m.Profile,
		Event: eventToProto(&m.Event), RequestedUnixNano: nanos(m.Requested), Subnet: prefixToProto(m.Subnet),
		Attributes: wire.ValuesToProto(m.Attributes), By: m.By, Reason: m.Reason,
	}
}

// WatchMitigations reports what is truly there, until ctx is done or the
// plugin is drained (nil), or it fails or the connection breaks (an error).
func (p *Plugin) WatchMitigations(ctx context.Context, report func(sdk.MitigationStatus)) error {
	stream, err := p.mitigator.Watch(ctx, &pb.MitigationWatchRequest{})
	if err != nil {
		return callError(ctx, "Watch", err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return callError(ctx, "Watch", err)
		}
		report(sdk.MitigationStatus{
			ID: wire.Clean(m.GetId(), 256), State: sdk.MitigationState(wire.Clean(m.GetState(), 64)),
			Cause: wire.Clean(m.GetCause(), maxText), Time: instant(m.GetTimeUnixNano()), Peers: peersOf(m.GetPeers()),
		})
	}
}

// maxPeers bounds what a plugin tells of one mitigation's peers.
const maxPeers = 1000

func peersOf(in []*pb.PeerStatus) []sdk.PeerStatus {
	var out []sdk.PeerStatus
	for _, p := range in[:min(len(in), maxPeers)] {
		out = append(out, sdk.PeerStatus{
			Peer: wire.Clean(p.GetPeer(), 256), State: sdk.MitigationState(wire.Clean(p.GetState(), 64)), Cause: wire.Clean(p.GetCause(), maxText),
		})
	}
	return out
}

// Export hands a snapshot to an exporter, in parts of about 1 MiB; errors as
// with Notify.
func (p *Plugin) Export(ctx context.Context, s sdk.Snapshot) error {
	p.exporting.Lock()
	defer p.exporting.Unlock()
	parts := splitSnapshot(&s)
	for i, part := range parts {
		resp, err := p.export.Export(ctx, &pb.ExportRequest{Snapshot: part, Part: uint32(i), Last: i == len(parts)-1})
		if err != nil {
			return retryable(ctx, "Export", err)
		}
		if err := outcome(resp.GetOutcome()); err != nil {
			return err
		}
	}
	return nil
}

// Events tells an exporter of events, in order; errors as with Notify. Many
// events go in several calls, so that after an error some may have arrived.
func (p *Plugin) Events(ctx context.Context, events []sdk.Event) error {
	send := func(batch []*pb.Event) error {
		resp, err := p.export.Events(ctx, &pb.EventsRequest{Events: batch})
		if err != nil {
			return retryable(ctx, "Events", err)
		}
		return outcome(resp.GetOutcome())
	}
	var batch []*pb.Event
	size := 0
	for i := range events {
		e := eventToProto(&events[i])
		n := proto.Size(e)
		if len(batch) > 0 && size+n > wire.ChunkSize {
			if err := send(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
		batch, size = append(batch, e), size+n
	}
	if len(batch) == 0 {
		return nil
	}
	return send(batch)
}

// chunker deals rows out to snapshots of bounded size.
type chunker struct {
	parts []*pb.Snapshot
	size  int
}

// part returns the snapshot that has room for one more row of n bytes.
func (c *chunker) part(n int) *pb.Snapshot {
	if c.size > 0 && c.size+n > wire.ChunkSize {
		first := c.parts[0]
		c.parts = append(c.parts, &pb.Snapshot{TimeUnixNano: first.TimeUnixNano, PeriodMs: first.PeriodMs})
		c.size = 0
	}
	c.size += n + 8 // with the row's own tag and length
	return c.parts[len(c.parts)-1]
}

func splitSnapshot(s *sdk.Snapshot) []*pb.Snapshot {
	c := &chunker{parts: []*pb.Snapshot{{TimeUnixNano: nanos(s.Time), PeriodMs: s.Period.Milliseconds()}}}
	for i := range s.Totals {
		t := &s.Totals[i]
		row := &pb.TotalRate{Direction: t.Direction, Family: uint32(t.Family), Counters: ratesToProto(t.Counters), Fps: t.Flows}
		part := c.part(proto.Size(row))
		part.Totals = append(part.Totals, row)
	}
	for i := range s.Networks {
		row := scopeToProto(&s.Networks[i])
		part := c.part(proto.Size(row))
		part.Networks = append(part.Networks, row)
	}
	for i := range s.Groups {
		row := scopeToProto(&s.Groups[i])
		part := c.part(proto.Size(row))
		part.Groups = append(part.Groups, row)
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		row := &pb.HostRate{
			Host: prefixToProto(h.Host), Group: h.Group, Network: h.Network, Direction: h.Direction,
			Counters: ratesToProto(h.Counters), Fps: h.Flows,
		}
		part := c.part(proto.Size(row))
		part.Hosts = append(part.Hosts, row)
	}
	for i := range s.Attacks {
		row := eventToProto(&s.Attacks[i])
		part := c.part(proto.Size(row))
		part.Attacks = append(part.Attacks, row)
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		row := &pb.LedgerRow{Input: l.Input, Received: l.Received, Used: l.Used, InFlight: l.InFlight, Dropped: maps.Clone(l.Dropped)}
		part := c.part(proto.Size(row))
		part.Ledger = append(part.Ledger, row)
	}
	for _, m := range s.System {
		row := &pb.Metric{Name: m.Name, Value: m.Value}
		part := c.part(proto.Size(row))
		part.System = append(part.System, row)
	}
	for i := range s.Mitigations {
		row := reportToProto(&s.Mitigations[i])
		part := c.part(proto.Size(row))
		part.Mitigations = append(part.Mitigations, row)
	}
	return c.parts
}

func scopeToProto(r *sdk.ScopeRate) *pb.ScopeRate {
	out := &pb.ScopeRate{Name: r.Name, Direction: r.Direction, Counters: ratesToProto(r.Counters), Fps: r.Flows}
	for _, p := range r.Prefixes[:min(len(r.Prefixes), sdk.ScopePrefixes)] {
		out.Prefixes = append(out.Prefixes, prefixToProto(p))
	}
	return out
}

func ratesToProto(in []sdk.CounterRate) []*pb.CounterRate {
	var out []*pb.CounterRate
	for _, r := range in {
		out = append(out, &pb.CounterRate{Counter: r.Counter, Pps: r.PPS, Bps: r.BPS})
	}
	return out
}

func crossingToProto(c *sdk.Crossing) *pb.Crossing {
	return &pb.Crossing{
		Threshold: c.Threshold, Scope: c.Scope, Counter: c.Counter, Unit: c.Unit, Value: c.Value, Limit: c.Limit,
		WindowMs: c.Window.Milliseconds(), Rule: c.Rule, AtUnixNano: nanos(c.At),
	}
}

func eventToProto(e *sdk.Event) *pb.Event {
	out := &pb.Event{
		Type: string(e.Type), Id: e.ID, Seq: e.Seq, TimeUnixNano: nanos(e.Time), StartedUnixNano: nanos(e.Started),
		Target: prefixToProto(e.Target), Direction: e.Direction, Hostgroup: e.HostGroup, Network: e.Network,
		Pipeline: e.Pipeline, Mode: e.Mode, WouldHave: e.WouldHave, Revision: e.Revision,
		First: crossingToProto(&e.Crossing), Label: e.Label, AttackType: e.AttackType, Protocol: e.Protocol,
		PeakPps: e.PeakPPS, InitialPps: e.InitialPPS, Incoming: ratesToProto(e.Incoming), Outgoing: ratesToProto(e.Outgoing),
		IncomingFps: e.Flows[0], OutgoingFps: e.Flows[1], LossRatio: e.LossRatio,
		Suspended: e.Suspended, Lifted: e.Lifted, Confidence: e.Confidence, Evidence: evidenceToProto(e.Evidence),
	}
	for i := range e.Crossed {
		out.Crossed = append(out.Crossed, crossingToProto(&e.Crossed[i]))
	}
	out.Summary = summaryToProto(e.Summary)
	if e.Mitigation != nil {
		out.Mitigation = reportToProto(e.Mitigation)
	}
	return out
}

func reportToProto(m *sdk.MitigationReport) *pb.MitigationReport {
	out := &pb.MitigationReport{
		Id: m.ID, AttackId: m.AttackID, Target: prefixToProto(m.Target), Direction: m.Direction, Hostgroup: m.HostGroup, Action: m.Action,
		State: string(m.State), Cause: m.Cause, TimeUnixNano: nanos(m.Time), RequestedUnixNano: nanos(m.Requested), ExpiresUnixNano: nanos(m.Expires),
		By: m.By, Reason: m.Reason, Announcements: m.Announcements,
	}
	for _, p := range m.Peers {
		out.Peers = append(out.Peers, &pb.PeerStatus{Peer: p.Peer, State: string(p.State), Cause: p.Cause})
	}
	return out
}

func summaryToProto(s *sdk.Summary) *pb.Summary {
	if s == nil {
		return nil
	}
	out := &pb.Summary{Attacks: uint32(s.Attacks), Open: uint32(s.Open)}
	for i := range s.Parts {
		p := &s.Parts[i]
		out.Parts = append(out.Parts, &pb.Part{
			Id: p.ID, Target: prefixToProto(p.Target), Hostgroup: p.HostGroup, Threshold: p.Threshold, AttackType: p.AttackType,
			PeakPps: p.PeakPPS, StartedUnixNano: nanos(p.Started), EndedUnixNano: nanos(p.Ended),
		})
	}
	return out
}
