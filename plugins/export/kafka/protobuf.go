package main

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fastnetmon-go/fastnetmon/plugins/export/kafka/exportv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// nanoseconds is how protobuf messages have times.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func ratesProtobuf(rates []sdk.CounterRate) []*pb.CounterRate {
	out := make([]*pb.CounterRate, len(rates))
	for i, r := range rates {
		out[i] = &pb.CounterRate{Counter: r.Counter, Pps: r.PPS, Bps: r.BPS}
	}
	return out
}

func rowProtobuf(r *row, s *sdk.Snapshot) ([]byte, error) {
	m := &pb.Row{
		Kind: r.Kind, TimeNs: nanoseconds(s.Time), Name: r.Name, Family: uint32(r.Family), Direction: r.Direction, Hostgroup: r.HostGroup, Network: r.Network,
		Counters: ratesProtobuf(r.counters), Flows: at(r.Flows), Received: at(r.Received), Used: at(r.Used), InFlight: at(r.InFlight), Dropped: r.Dropped, Value: at(r.Value),
	}
	return proto.Marshal(m)
}

// at is what a pointer leads to, the zero value where it is nil.
func at[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func crossingProtobuf(c *sdk.Crossing) *pb.Crossing {
	return &pb.Crossing{
		Threshold: c.Threshold, Scope: c.Scope, Counter: c.Counter, Unit: c.Unit, Value: c.Value, Limit: c.Limit,
		WindowSeconds: c.Window.Seconds(), Rule: c.Rule, AtNs: nanoseconds(c.At),
	}
}

func eventProtobuf(e *sdk.Event) ([]byte, error) {
	m := &pb.Event{
		Event: string(e.Type), Id: e.ID, Seq: e.Seq, TimeNs: nanoseconds(e.Time), StartedNs: nanoseconds(e.Started),
		Target: sdk.TargetText(e.Target), Direction: e.Direction, Hostgroup: e.HostGroup, Network: e.Network, Pipeline: e.Pipeline,
		Mode: e.Mode, WouldHave: e.WouldHave, Suspended: e.Suspended, Lifted: e.Lifted, Revision: e.Revision,
		Crossing: crossingProtobuf(&e.Crossing), Label: e.Label, LabelConfidence: e.Confidence, AttackType: e.AttackType, Protocol: e.Protocol,
		PeakPps: e.PeakPPS, InitialPps: e.InitialPPS, Incoming: ratesProtobuf(e.Incoming), Outgoing: ratesProtobuf(e.Outgoing),
		FlowsIncoming: e.Flows[0], FlowsOutgoing: e.Flows[1], LossRatio: e.LossRatio, Mitigation: mitigationProtobuf(e.Mitigation),
	}
	for i := range e.Crossed {
		m.ThresholdsCrossed = append(m.ThresholdsCrossed, crossingProtobuf(&e.Crossed[i]))
	}
	if e.Evidence != nil {
		var parts struct{ Evidence json.RawMessage }
		text, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(text, &parts)
		}
		if err != nil {
			return nil, err
		}
		m.EvidenceJson = string(parts.Evidence)
	}
	return proto.Marshal(m)
}

func mitigationProtobuf(m *sdk.MitigationReport) *pb.Mitigation {
	if m == nil {
		return nil
	}
	out := &pb.Mitigation{
		Id: m.ID, Attack: m.AttackID, Target: sdk.TargetText(m.Target), Direction: m.Direction, Hostgroup: m.HostGroup, Action: m.Action,
		State: string(m.State), Cause: m.Cause, TimeNs: nanoseconds(m.Time), RequestedNs: nanoseconds(m.Requested), ExpiresNs: nanoseconds(m.Expires),
		By: m.By, Reason: m.Reason, Announcements: m.Announcements,
	}
	for _, p := range m.Peers {
		out.Peers = append(out.Peers, &pb.Peer{Peer: p.Peer, State: string(p.State), Cause: p.Cause})
	}
	return out
}
