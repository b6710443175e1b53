package api

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// text makes a string that a message can carry: what plugins and files say may
// be no UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// prefixOf reads a prefix that the daemon has written; one that is none reads
// as not valid.
func prefixOf(s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func each[From, To any](list []From, convert func(From) To) []To {
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = convert(v)
	}
	return out
}

func ratesOut(rates []sdk.CounterRate) []*apiv1.CounterRate {
	return each(rates, func(r sdk.CounterRate) *apiv1.CounterRate {
		return &apiv1.CounterRate{Counter: text(r.Counter), Pps: r.PPS, Bps: r.BPS}
	})
}

func ratesIn(rates []*apiv1.CounterRate) []sdk.CounterRate {
	return each(rates, func(r *apiv1.CounterRate) sdk.CounterRate {
		return sdk.CounterRate{Counter: r.GetCounter(), PPS: r.GetPps(), BPS: r.GetBps()}
	})
}

func crossingOut(c sdk.Crossing) *apiv1.Crossing {
	return &apiv1.Crossing{
		Threshold: text(c.Threshold), Scope: text(c.Scope), Counter: text(c.Counter), Unit: text(c.Unit),
		Value: c.Value, Limit: c.Limit, WindowNano: int64(c.Window), Rule: text(c.Rule), AtUnixNano: nanos(c.At),
	}
}

func crossingIn(c *apiv1.Crossing) sdk.Crossing {
	return sdk.Crossing{
		Threshold: c.GetThreshold(), Scope: c.GetScope(), Counter: c.GetCounter(), Unit: c.GetUnit(),
		Value: c.GetValue(), Limit: c.GetLimit(), Window: time.Duration(c.GetWindowNano()), Rule: c.GetRule(), At: timeOf(c.GetAtUnixNano()),
	}
}

func eventOut(e *sdk.Event) *apiv1.Event {
	return &apiv1.Event{
		Type: text(string(e.Type)), Id: text(e.ID), Seq: e.Seq, TimeUnixNano: nanos(e.Time), StartedUnixNano: nanos(e.Started),
		Target: prefixText(e.Target), Direction: text(e.Direction), Hostgroup: text(e.HostGroup), Network: text(e.Network),
		Pipeline: text(e.Pipeline), Mode: text(e.Mode), WouldHave: e.WouldHave, Revision: text(e.Revision),
		First: crossingOut(e.Crossing), Label: text(e.Label), AttackType: text(e.AttackType), Protocol: text(e.Protocol),
		Crossed: each(e.Crossed, crossingOut), PeakPps: e.PeakPPS, InitialPps: e.InitialPPS,
		Incoming: ratesOut(e.Incoming), Outgoing: ratesOut(e.Outgoing),
		IncomingFps: e.Flows[0], OutgoingFps: e.Flows[1], LossRatio: e.LossRatio,
		Suspended: e.Suspended, Lifted: e.Lifted, LabelConfidence: e.Confidence, Evidence: evidenceOut(e.Evidence),
		Mitigation: mitigationOut(e.Mitigation),
	}
}

func eventIn(e *apiv1.Event) sdk.Event {
	return sdk.Event{
		Type: sdk.EventType(e.GetType()), ID: e.GetId(), Seq: e.GetSeq(), Time: timeOf(e.GetTimeUnixNano()), Started: timeOf(e.GetStartedUnixNano()),
		Target: prefixOf(e.GetTarget()), Direction: e.GetDirection(), HostGroup: e.GetHostgroup(), Network: e.GetNetwork(),
		Pipeline: e.GetPipeline(), Mode: e.GetMode(), WouldHave: e.GetWouldHave(), Revision: e.GetRevision(),
		Crossing: crossingIn(e.GetFirst()), Label: e.GetLabel(), AttackType: e.GetAttackType(), Protocol: e.GetProtocol(),
		Crossed: each(e.GetCrossed(), crossingIn), PeakPPS: e.GetPeakPps(), InitialPPS: e.GetInitialPps(),
		Incoming: ratesIn(e.GetIncoming()), Outgoing: ratesIn(e.GetOutgoing()),
		Flows: [2]float64{e.GetIncomingFps(), e.GetOutgoingFps()}, LossRatio: e.GetLossRatio(),
		Suspended: e.GetSuspended(), Lifted: e.GetLifted(), Confidence: e.GetLabelConfidence(), Evidence: evidenceIn(e.GetEvidence()),
		Mitigation: mitigationIn(e.GetMitigation()),
	}
}

// evidenceOut leaves the samples out: they are in the files that it names.
func evidenceOut(e *sdk.EvidenceReport) []byte {
	if e == nil {
		return nil
	}
	told := *e
	told.Dump = nil
	b, err := json.Marshal(told)
	if err != nil { // a number that is none
		return nil
	}
	return b
}

func evidenceIn(b []byte) *sdk.EvidenceReport {
	var e sdk.EvidenceReport
	if len(b) == 0 || json.Unmarshal(b, &e) != nil {
		return nil
	}
	return &e
}

// kinds are the kinds of plugin in the order of StatusResponse.plugins.
func (s *Status) kinds() []kindCount {
	return []kindCount{{"capture", &s.Captures}, {"filter", &s.Filters}, {"action", &s.Actions}, {"export", &s.Exports}}
}

type kindCount struct {
	kind  string
	count *Count
}

func statusOut(s *Status) *apiv1.StatusResponse {
	return &apiv1.StatusResponse{
		Version: text(s.Version), Revision: text(s.Revision), Mode: text(s.Mode),
		StartedUnixNano: nanos(s.Started), UptimeNano: int64(s.Uptime),
		Plugins: each(s.kinds(), func(k kindCount) *apiv1.KindCount {
			return &apiv1.KindCount{
				Kind: k.kind, Running: uint32(k.count.Running), NotRunning: uint32(k.count.NotRunning), Finished: uint32(k.count.Finished),
			}
		}),
		Hosts: s.Hosts, DeltasPerSecond: s.Deltas,
		Rates: each(s.Rates, func(r DirectionRate) *apiv1.DirectionRate {
			return &apiv1.DirectionRate{Direction: text(r.Direction), Pps: r.PPS, Bps: r.BPS}
		}),
		Attacks: uint32(s.Attacks), LossRatio: s.LossRatio, Suspended: s.Suspended, MemoryBytes: s.Memory, MemoryLimitBytes: s.MemoryLimit,
		Held: each(s.Held, text), Troubles: each(s.Troubles, text),
	}
}

func statusIn(s *apiv1.StatusResponse) Status {
	out := Status{
		Version: s.GetVersion(), Revision: s.GetRevision(), Mode: s.GetMode(),
		Started: timeOf(s.GetStartedUnixNano()), Uptime: time.Duration(s.GetUptimeNano()),
		Hosts: s.GetHosts(), Deltas: s.GetDeltasPerSecond(),
		Rates: each(s.GetRates(), func(r *apiv1.DirectionRate) DirectionRate {
			return DirectionRate{Direction: r.GetDirection(), PPS: r.GetPps(), BPS: r.GetBps()}
		}),
		Attacks: int(s.GetAttacks()), LossRatio: s.GetLossRatio(), Suspended: s.GetSuspended(), Memory: s.GetMemoryBytes(), MemoryLimit: s.GetMemoryLimitBytes(),
		Held: s.GetHeld(), Troubles: s.GetTroubles(),
	}
	for _, k := range out.kinds() {
		for _, told := range s.GetPlugins() {
			if told.GetKind() == k.kind {
				*k.count = Count{int(told.GetRunning()), int(told.GetNotRunning()), int(told.GetFinished())}
			}
		}
	}
	return out
}

func totalOut(t sdk.TotalRate) *apiv1.TotalRate {
	return &apiv1.TotalRate{Direction: text(t.Direction), Family: uint32(t.Family), Counters: ratesOut(t.Counters), Fps: t.Flows}
}

func totalIn(t *apiv1.TotalRate) sdk.TotalRate {
	return sdk.TotalRate{Direction: t.GetDirection(), Family: int(t.GetFamily()), Counters: ratesIn(t.GetCounters()), Flows: t.GetFps()}
}

func hostOut(h sdk.HostRate) *apiv1.HostRate {
	return &apiv1.HostRate{
		Host: prefixText(h.Host), Hostgroup: text(h.Group), Network: text(h.Network), Direction: text(h.Direction),
		Counters: ratesOut(h.Counters), Fps: h.Flows,
	}
}

func hostIn(h *apiv1.HostRate) sdk.HostRate {
	return sdk.HostRate{
		Host: prefixOf(h.GetHost()), Group: h.GetHostgroup(), Network: h.GetNetwork(), Direction: h.GetDirection(),
		Counters: ratesIn(h.GetCounters()), Flows: h.GetFps(),
	}
}

func pluginOut(p PluginStatus) *apiv1.PluginStatus {
	return &apiv1.PluginStatus{
		Kind: text(p.Kind), Name: text(p.Name), Instance: text(p.Instance), Version: text(p.Version),
		State: text(p.State), SinceUnixNano: nanos(p.Since), Message: text(p.Message),
		Pid: uint32(p.PID), Launches: uint64(p.Launches), RetryUnixNano: nanos(p.Retry),
		Delivered: p.Delivered, Failed: p.Failed, Dropped: p.Dropped, Queued: p.Queued, Pipeline: p.Pipeline, Rights: p.Rights,
		Failures: uint64(max(0, p.Failures)), LastFailure: text(p.LastFailure), LastFailureUnixNano: nanos(p.LastFailureAt),
		Figures: figuresOut(p.Figures),
	}
}

func figuresOut(in []sdk.Metric) (out []*apiv1.Figure) {
	for _, m := range in {
		out = append(out, &apiv1.Figure{Name: text(m.Name), Value: m.Value})
	}
	return out
}

func figuresIn(in []*apiv1.Figure) (out []sdk.Metric) {
	for _, m := range in {
		out = append(out, sdk.Metric{Name: m.GetName(), Value: m.GetValue()})
	}
	return out
}

func pluginIn(p *apiv1.PluginStatus) PluginStatus {
	return PluginStatus{
		Kind: p.GetKind(), Name: p.GetName(), Instance: p.GetInstance(), Version: p.GetVersion(),
		State: p.GetState(), Since: timeOf(p.GetSinceUnixNano()), Message: p.GetMessage(),
		PID: int(p.GetPid()), Launches: int(p.GetLaunches()), Retry: timeOf(p.GetRetryUnixNano()),
		Delivered: p.GetDelivered(), Failed: p.GetFailed(), Dropped: p.GetDropped(), Queued: p.GetQueued(), Pipeline: p.GetPipeline(), Rights: p.GetRights(),
		Failures: int(p.GetFailures()), LastFailure: p.GetLastFailure(), LastFailureAt: timeOf(p.GetLastFailureUnixNano()),
		Figures: figuresIn(p.GetFigures()),
	}
}

func ledgerOut(row sdk.LedgerRow) *apiv1.LedgerRow {
	dropped := make(map[string]uint64, len(row.Dropped))
	for cause, n := range row.Dropped {
		dropped[text(cause)] += n
	}
	return &apiv1.LedgerRow{Input: text(row.Input), Received: row.Received, Used: row.Used, InFlight: row.InFlight, Dropped: dropped}
}

func ledgerIn(row *apiv1.LedgerRow) sdk.LedgerRow {
	dropped := row.GetDropped()
	if dropped == nil {
		dropped = map[string]uint64{}
	}
	return sdk.LedgerRow{Input: row.GetInput(), Received: row.GetReceived(), Used: row.GetUsed(), InFlight: row.GetInFlight(), Dropped: dropped}
}

func queryOut(q HostQuery) *apiv1.HostsRequest {
	return &apiv1.HostsRequest{
		Top: uint32(q.Top), Counter: q.Counter, Unit: q.Unit, Direction: q.Direction,
		Hostgroup: q.Group, Network: q.Network, Prefix: prefixText(q.Prefix),
	}
}
