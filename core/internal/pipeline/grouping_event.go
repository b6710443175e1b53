package pipeline

import (
	"cmp"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// tell makes the next event of a summary.
func (sum *summary) tell(kind sdk.EventType, at int64, now time.Time) sdk.Event {
	parts := slices.Clone(sum.parts)
	slices.SortStableFunc(parts, func(a, b *member) int {
		return cmp.Or(compareBool(!a.ended.IsZero(), !b.ended.IsZero()), cmp.Compare(b.event.PeakPPS, a.event.PeakPPS),
			a.event.Target.Addr().Compare(b.event.Target.Addr()), cmp.Compare(a.event.ID, b.event.ID))
	})
	sum.seq++
	largest := &parts[0].event
	out := sdk.Event{
		Type: kind, ID: sum.id, Seq: sum.seq, Time: now, Started: sum.started, Target: sum.prefix, Direction: sum.direction,
		HostGroup: largest.HostGroup, Network: largest.Network, Pipeline: largest.Pipeline, Revision: largest.Revision,
		Mode: largest.Mode, WouldHave: true, Crossing: largest.Crossing, Crossed: largest.Crossed,
		Label: largest.Label, AttackType: largest.AttackType, Protocol: largest.Protocol, LossRatio: largest.LossRatio,
		Summary: &sdk.Summary{Attacks: sum.attacks, Open: sum.open},
	}
	peak := 0.0
	for _, p := range parts {
		e := &p.event
		differ(&out.HostGroup, e.HostGroup)
		differ(&out.Network, e.Network)
		differ(&out.Threshold, e.Threshold)
		differ(&out.Label, e.Label)
		differ(&out.AttackType, e.AttackType)
		differ(&out.Protocol, e.Protocol)
		if p.ended.IsZero() || sum.open == 0 {
			out.WouldHave = out.WouldHave && e.WouldHave
			peak += e.PeakPPS
		}
		if p.ended.IsZero() {
			addRates(&out.Incoming, e.Incoming)
			addRates(&out.Outgoing, e.Outgoing)
			out.Flows[0], out.Flows[1] = out.Flows[0]+e.Flows[0], out.Flows[1]+e.Flows[1]
		}
		if len(out.Summary.Parts) < summaryParts {
			out.Summary.Parts = append(out.Summary.Parts, sdk.Part{
				ID: e.ID, Target: e.Target, HostGroup: e.HostGroup, Threshold: e.Threshold, AttackType: e.AttackType,
				PeakPPS: e.PeakPPS, Started: e.Started, Ended: p.ended,
			})
		}
	}
	if sum.open > 0 {
		sum.suspended = sum.isSuspended()
		if sum.suspended {
			out.Suspended = largest.Suspended
		}
		sum.peak = max(sum.peak, peak)
	}
	if kind == sdk.AttackStarted {
		sum.initial = peak
	}
	out.InitialPPS, out.PeakPPS = sum.initial, sum.peak
	sum.toldOf, sum.toldAt, sum.next = sum.attacks, at, at+int64(sum.wait)
	return out
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// differ empties what is not the same for all.
func differ(all *string, one string) {
	if *all != one {
		*all = ""
	}
}

// addRates adds rates, counter by counter.
func addRates(to *[]sdk.CounterRate, rates []sdk.CounterRate) {
	for _, r := range rates {
		i := slices.IndexFunc(*to, func(x sdk.CounterRate) bool { return x.Counter == r.Counter })
		if i < 0 {
			*to = append(*to, r)
			continue
		}
		(*to)[i].PPS += r.PPS
		(*to)[i].BPS += r.BPS
	}
}
