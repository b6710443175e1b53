package detect

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// CounterNames are the built-in counters in the order of rates.
var CounterNames = [engine.Counters]string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"}

// SDK returns an event as plugins see it. clock turns a time of the stream's
// clock into one that people know. Pipeline, Mode, WouldHave, Suspended and
// LossRatio are the caller's to fill in.
func (e *Event) SDK(clock func(int64) time.Time) sdk.Event {
	a := &e.Attack
	out := sdk.Event{
		Type: e.Type.sdk(), ID: a.ID, Seq: a.Seq, Time: clock(e.Time), Started: clock(a.Started),
		Target: a.Target, Direction: a.Direction.String(), HostGroup: a.Group, Network: a.Network,
		Revision: a.Revision, AttackType: a.Type, Protocol: a.Protocol,
		PeakPPS: a.PeakPPS, InitialPPS: a.InitialPPS,
		Incoming: CounterRates(&a.Rates.Dir[ring.Incoming]), Outgoing: CounterRates(&a.Rates.Dir[ring.Outgoing]),
		Lifted: e.Lifted,
		Flows:  [2]float64{a.Rates.Dir[ring.Incoming].Flows, a.Rates.Dir[ring.Outgoing].Flows},
	}
	for i := range a.Crossed {
		out.Crossed = append(out.Crossed, a.Crossed[i].sdk(a.Scope, clock))
	}
	if len(out.Crossed) > 0 {
		out.Crossing = out.Crossed[0]
	}
	return out
}

func (t EventType) sdk() sdk.EventType {
	switch t {
	case Started:
		return sdk.AttackStarted
	case Updated:
		return sdk.AttackUpdated
	}
	return sdk.AttackEnded
}

func (c *Crossed) sdk(scope engine.ScopeKind, clock func(int64) time.Time) sdk.Crossing {
	out := sdk.Crossing{
		Threshold: c.Threshold, Scope: scope.String(), Counter: c.Counter, Unit: "pps",
		Value: c.Value, Limit: c.Bound, Window: c.Window, Rule: c.Rule.String(), At: clock(c.At),
	}
	switch c.Unit {
	case engine.ByteRate:
		out.Unit, out.Value, out.Limit = "bps", 8*c.Value, 8*c.Bound
	case engine.FlowRate:
		out.Unit = "fps"
	}
	return out
}

// CounterRates names the rates of one direction, bytes turned into bits.
func CounterRates(r *engine.DirRates) []sdk.CounterRate {
	return AppendCounterRates(make([]sdk.CounterRate, 0, len(CounterNames)), r)
}

// AppendCounterRates is CounterRates, appended to a slice.
func AppendCounterRates(to []sdk.CounterRate, r *engine.DirRates) []sdk.CounterRate {
	for i, name := range CounterNames {
		to = append(to, sdk.CounterRate{Counter: name, PPS: r.Packets[i], BPS: 8 * r.Bytes[i]})
	}
	return to
}
