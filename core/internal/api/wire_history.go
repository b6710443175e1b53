package api

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

func historyOut(q *store.Query) *apiv1.HistoryRequest {
	req := &apiv1.HistoryRequest{
		SinceUnixNano: nanos(q.Since), UntilUnixNano: nanos(q.Until), Target: prefixText(q.Target), Label: text(q.Label), Hostgroup: text(q.Group), Threshold: text(q.Threshold),
		MinPeakPps: q.MinPeak, Limit: uint32(max(0, q.Limit)), After: text(q.After),
	}
	if q.State != 0 {
		req.State = q.State.String()
	}
	return req
}

func pastOut(a store.Attack) *apiv1.PastAttack {
	return &apiv1.PastAttack{Event: eventOut(&a.Event), State: a.State.String(), EndedUnixNano: nanos(a.Ended)}
}

func pastIn(a *apiv1.PastAttack) store.Attack {
	return store.Attack{Event: eventIn(a.GetEvent()), State: store.ParseState(a.GetState()), Ended: timeOf(a.GetEndedUnixNano())}
}

func tallyOut(c store.Tally) *apiv1.Tally {
	return &apiv1.Tally{Name: text(c.Name), Attacks: uint64(c.Attacks), Before: uint64(c.Before), DurationNano: int64(c.Duration), PeakPps: c.PeakPPS}
}

func tallyIn(c *apiv1.Tally) store.Tally {
	return store.Tally{Name: c.GetName(), Attacks: int(c.GetAttacks()), Before: int(c.GetBefore()), Duration: time.Duration(c.GetDurationNano()), PeakPPS: c.GetPeakPps()}
}

func periodOut(p store.Totals) *apiv1.PeriodTotals {
	return &apiv1.PeriodTotals{
		Attacks: uint64(p.Attacks), Open: uint64(p.Open), Interrupted: uint64(p.Interrupted), Targets: uint64(p.Targets), DurationNano: int64(p.Duration), PeakPps: p.PeakPPS,
	}
}

func periodIn(p *apiv1.PeriodTotals) store.Totals {
	return store.Totals{
		Attacks: int(p.GetAttacks()), Open: int(p.GetOpen()), Interrupted: int(p.GetInterrupted()), Targets: int(p.GetTargets()),
		Duration: time.Duration(p.GetDurationNano()), PeakPPS: p.GetPeakPps(),
	}
}

func summaryOut(s *store.Summary) *apiv1.HistorySummaryResponse {
	return &apiv1.HistorySummaryResponse{
		SinceUnixNano: nanos(s.Since), UntilUnixNano: nanos(s.Until), Now: periodOut(s.Now), Before: periodOut(s.Before),
		Labels: each(s.Labels, tallyOut), Hostgroups: each(s.Groups, tallyOut), Targets: each(s.Targets, tallyOut), Days: each(s.Days, tallyOut),
		Longest: each(s.Longest, pastOut), Largest: each(s.Largest, pastOut), TargetsAtLeast: s.AtLeast,
	}
}

func summaryIn(s *apiv1.HistorySummaryResponse) store.Summary {
	return store.Summary{
		Since: timeOf(s.GetSinceUnixNano()), Until: timeOf(s.GetUntilUnixNano()), Now: periodIn(s.GetNow()), Before: periodIn(s.GetBefore()),
		Labels: each(s.GetLabels(), tallyIn), Groups: each(s.GetHostgroups(), tallyIn), Targets: each(s.GetTargets(), tallyIn), Days: each(s.GetDays(), tallyIn),
		Longest: each(s.GetLongest(), pastIn), Largest: each(s.GetLargest(), pastIn), AtLeast: s.GetTargetsAtLeast(),
	}
}
