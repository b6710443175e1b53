package pipeline

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// summaryBed is an action that attacks are told to.
type summaryBed struct {
	t    *testing.T
	s    *summer
	cfg  config.Summary
	at   time.Duration
	told []sdk.Event
}

func newSummaryBed(t *testing.T) *summaryBed {
	return &summaryBed{t: t, s: newSummer(), cfg: config.Summary{
		Attacks: 3, Within: time.Minute, PrefixLen: [2]uint8{24, 48}, Update: 5 * time.Minute,
	}}
}

func (b *summaryBed) time() time.Time { return time.Unix(1_780_000_000, 0).Add(b.at) }

func (b *summaryBed) event(kind sdk.EventType, target string, change ...func(*sdk.Event)) {
	p := netip.MustParsePrefix(target)
	e := sdk.Event{
		Type: kind, ID: "id " + target, Time: b.time(), Started: b.time(), Target: p, Direction: "incoming", HostGroup: "g", Mode: "enforce",
		PeakPPS: 1000, Crossing: sdk.Crossing{Threshold: "flood"}, Incoming: []sdk.CounterRate{{Counter: "total", PPS: 500, BPS: 4000}},
	}
	for _, f := range change {
		f(&e)
	}
	b.told = append(b.told, b.s.take(&b.cfg, &e, int64(b.at))...)
}

// pass lets time pass, with a look each second.
func (b *summaryBed) pass(d time.Duration) {
	for until := b.at + d; b.at < until; {
		b.at += time.Second
		b.told = append(b.told, b.s.tick(int64(b.at), b.time())...)
	}
}

// expect compares what was told with a text, and forgets it.
func (b *summaryBed) expect(what, want string) {
	b.t.Helper()
	var out []string
	for _, e := range b.told {
		target := "many"
		if e.Target.IsValid() {
			target = e.Target.String()
		}
		s := strings.TrimPrefix(string(e.Type), "attack.") + " " + target
		if e.Summary != nil {
			s += fmt.Sprintf(" %d of %d", e.Summary.Open, e.Summary.Attacks)
		}
		out = append(out, s)
	}
	if got := strings.Join(out, ", "); got != want {
		b.t.Errorf("%s: told %q, want %q", what, got, want)
	}
	b.told = nil
}

func victim(net, n int) string { return fmt.Sprintf("203.%d.%d.%d/32", net/256, net%256, n) }

// An attack on 500 hosts of many prefixes that lasts an hour is few messages.
func TestManyVictimsAreOneSummary(t *testing.T) {
	b := newSummaryBed(t)
	for i := range 500 {
		b.event(sdk.AttackStarted, victim(i%25, i/25))
		if i%100 == 99 {
			b.pass(20 * time.Second)
		}
	}
	begun := len(b.told)
	b.pass(time.Hour)
	for i := range 500 {
		b.event(sdk.AttackUpdated, victim(i%25, i/25))
	}
	for i := range 500 {
		b.event(sdk.AttackEnded, victim(i%25, i/25))
	}
	b.pass(time.Minute)
	if len(b.told) > 20 || begun < 4 {
		t.Errorf("%d messages, %d of them at the start", len(b.told), begun)
	}
	open := map[string]int{}
	seq := map[string]uint32{}
	for _, e := range b.told {
		switch e.Type {
		case sdk.AttackStarted:
			open[e.ID]++
		case sdk.AttackEnded:
			open[e.ID]--
		}
		if e.Summary != nil {
			if seq[e.ID]++; e.Seq != seq[e.ID] {
				t.Errorf("event %d of %s has number %d", seq[e.ID], e.ID, e.Seq)
			}
		}
	}
	for id, n := range open {
		if n != 0 {
			t.Errorf("%s was told to begin and not to end, or the other way", id)
		}
	}
	last := b.told[len(b.told)-1]
	if s := last.Summary; s == nil || s.Attacks != 500 || s.Open != 0 || len(s.Parts) != summaryParts || last.PeakPPS != 500*1000 {
		t.Errorf("the end: %+v, peak %g", s, last.PeakPPS)
	}
	if len(b.s.attacks) != 0 || len(b.s.summaries) != 0 {
		t.Errorf("%d attacks and %d summaries are kept", len(b.s.attacks), len(b.s.summaries))
	}
}

// A few attacks are told as they are, and so are those that come slowly and far
// from each other.
func TestFewAttacksAreToldAsTheyAre(t *testing.T) {
	b := newSummaryBed(t)
	for i := range 10 {
		b.event(sdk.AttackStarted, victim(i, 1))
		b.event(sdk.AttackUpdated, victim(i, 1))
		b.pass(25 * time.Second)
	}
	for i := range 10 {
		b.event(sdk.AttackEnded, victim(i, 1))
	}
	if len(b.told) != 30 {
		t.Errorf("%d messages of 10 attacks", len(b.told))
	}
	for _, e := range b.told {
		if e.Summary != nil {
			t.Fatalf("a summary: %+v", e.Summary)
		}
	}
}

// Victims of one prefix become one summary of it however slowly they come; others
// are not part of it.
func TestVictimsOfAPrefix(t *testing.T) {
	b := newSummaryBed(t)
	for i := range 3 {
		b.event(sdk.AttackStarted, victim(7, i))
		b.pass(2 * time.Minute)
	}
	b.expect("three", "started 203.0.7.0/32, started 203.0.7.1/32, started 203.0.7.2/32")
	b.event(sdk.AttackStarted, victim(7, 3))
	b.event(sdk.AttackStarted, victim(8, 3))
	b.event(sdk.AttackStarted, "2001:db8::7/128")
	b.event(sdk.AttackStarted, victim(7, 9), func(e *sdk.Event) { e.Direction = "outgoing" })
	b.expect("a fourth, and others", "started 203.0.7.0/24 4 of 4, started 203.0.8.3/32, started 2001:db8::7/128, started 203.0.7.9/32")
	for i := range 60 {
		b.event(sdk.AttackStarted, victim(7, 10+i))
	}
	b.expect("more of them", "")
	b.pass(2 * time.Minute)
	b.expect("it has grown", "updated 203.0.7.0/24 64 of 64")
	b.pass(6 * time.Minute)
	b.expect("it goes on", "updated 203.0.7.0/24 64 of 64")
	for i := range 60 {
		b.event(sdk.AttackEnded, victim(7, 10+i))
	}
	b.event(sdk.AttackEnded, victim(7, 0))
	b.event(sdk.AttackEnded, victim(7, 1))
	b.event(sdk.AttackEnded, victim(7, 2))
	b.event(sdk.AttackEnded, victim(7, 3))
	b.expect("the end", "ended 203.0.7.0/32, ended 203.0.7.1/32, ended 203.0.7.2/32, ended 203.0.7.0/24 0 of 64")
}

// Where prefix after prefix is attacked within a minute, there is one summary for
// them, and not one each.
func TestPrefixAfterPrefix(t *testing.T) {
	b := newSummaryBed(t)
	for net := range 20 {
		for i := range 25 {
			b.event(sdk.AttackStarted, victim(net, i))
		}
		b.pass(time.Second)
	}
	if len(b.told) > 8 {
		t.Errorf("%d messages", len(b.told))
	}
}

// A summary is suspended while all of its attacks are.
func TestSuspendedSummary(t *testing.T) {
	b := newSummaryBed(t)
	doubt := func(e *sdk.Event) { e.Suspended, e.WouldHave = "capture x has just started", true }
	for i := range 5 {
		b.event(sdk.AttackStarted, victim(7, i), doubt)
	}
	if e := b.told[3]; e.Suspended == "" || !e.WouldHave {
		t.Errorf("all are suspended: %+v", e)
	}
	b.told = nil
	b.event(sdk.AttackUpdated, victim(7, 3), func(e *sdk.Event) { e.Lifted = true })
	if len(b.told) != 1 || b.told[0].Suspended != "" || !b.told[0].Lifted || b.told[0].WouldHave {
		t.Errorf("one is not any more: %+v", b.told)
	}
}

// However many attacks a summary sees, it keeps few that are over.
func TestSummaryForgets(t *testing.T) {
	b := newSummaryBed(t)
	for i := range 4 {
		b.event(sdk.AttackStarted, victim(7, i))
	}
	for i := range 3 * summaryPast {
		b.event(sdk.AttackStarted, victim(7, 4+i%200))
		b.event(sdk.AttackEnded, victim(7, 4+i%200))
	}
	if sum := b.s.summaries[0]; len(sum.parts) > summaryPast+sum.open+1 || sum.attacks != 4+3*summaryPast {
		t.Errorf("%d parts kept of %d", len(sum.parts), sum.attacks)
	}
}

// What is in common is told, what differs is not.
func TestSummaryTellsWhatIsCommon(t *testing.T) {
	b := newSummaryBed(t)
	for i := range 4 {
		b.event(sdk.AttackStarted, victim(7, i), func(e *sdk.Event) {
			e.PeakPPS = float64(1000 * (i + 1))
			e.AttackType = []string{"udp_flood", "syn_flood"}[i%2]
		})
	}
	e := b.told[3]
	if e.HostGroup != "g" || e.Threshold != "flood" || e.AttackType != "" || e.PeakPPS != 10_000 || e.InitialPPS != 10_000 || e.Incoming[0].PPS != 2000 {
		t.Errorf("%+v", e)
	}
	if s := e.Summary; s.Parts[0].Target.String() != victim(7, 3) || len(s.Parts) != 4 {
		t.Errorf("parts %+v", s.Parts)
	}
}
