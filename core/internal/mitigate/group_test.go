package mitigate

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// onSeveral is an attack on a hostgroup of these prefixes.
func (s *stage) onSeveral(id, tooMuch string, prefixes ...string) {
	a := Attack{
		Event: sdk.Event{ID: id, Direction: "incoming", HostGroup: "g"}, Whole: "hostgroup g", TooMuch: tooMuch,
		Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAfterHold)}},
	}
	for _, p := range prefixes {
		a.Parts = append(a.Parts, Part{Target: netip.MustParsePrefix(p)})
	}
	s.m.Attack(&a)
	s.turn()
}

func (s *stage) wantAll(state sdk.MitigationState, cause, when string, targets ...string) {
	s.t.Helper()
	for _, target := range targets {
		s.want(target, state, when)
	}
	for _, r := range s.m.Reports() {
		if r.State == state && !strings.Contains(r.Cause, cause) {
			s.t.Errorf("%s: %v is %s because %q, not %q", when, r.Target, r.State, r.Cause, cause)
		}
	}
}

// An attack on what has several prefixes has a mitigation of each, in both
// families, and each knows its own target.
func TestATargetOfSeveralPrefixes(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	three := []string{"10.0.1.0/24", "10.0.2.0/24", "2001:db8:1::/64"}
	s.onSeveral("a", "", three...)
	s.wantAll(sdk.MitigationActive, "", "announced", three...)
	set, _ := s.m.Set(block)
	for _, m := range set {
		if m.Event.Target != m.Target || m.AttackID != "a" {
			t.Errorf("%+v", m)
		}
	}
	s.onSeveral("a", "", three[:2]...) // the configuration has one less
	s.m.Attack(&Attack{Event: sdk.Event{ID: "a", Direction: "incoming"}, Over: true})
	s.wantAll(sdk.MitigationActive, "", "the attack is over, the hold time is not", three...)
	s.pass(11 * time.Second)
	if left := s.m.Reports(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// What several prefixes come to together is judged, not one after the other until
// there is no room: all of them are held, and a person decides about all.
func TestTheSumIsJudged(t *testing.T) {
	three := []string{"10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"}
	for name, c := range map[string]struct {
		guard *Guard
		cause string
	}{
		"active": {wide(2, 100, 1), "the attack is on 3 prefixes: together more than max_active, 2"},
		"minute": {wide(10, 2, 1), "the attack is on 3 prefixes: together more than max_new_per_minute, 2"},
		"share":  {wide(10, 100, 2.5*256/(1<<24)), "more than max_share"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.guard)
			s.onSeveral("a", "", three...)
			s.wantAll(sdk.MitigationHeld, c.cause, "beyond the guard", three...)
			if err := s.m.Free(s.m.Reports()[1].ID, "ada"); err != nil {
				t.Fatal(err)
			}
			s.turn()
			s.wantAll(sdk.MitigationActive, "", "let pass", three...)

			s.onSeveral("b", "", "10.0.11.0/24", "10.0.12.0/24", "10.0.13.0/24")
			s.wantAll(sdk.MitigationHeld, "", "another", "10.0.11.0/24", "10.0.12.0/24", "10.0.13.0/24")
			for _, r := range s.m.Reports() {
				if r.State == sdk.MitigationHeld {
					if err := s.m.Refuse(r.ID, "ada"); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			s.onSeveral("b", "", "10.0.11.0/24", "10.0.12.0/24", "10.0.13.0/24")
			s.wantAll("", "", "refused", "10.0.11.0/24", "10.0.12.0/24", "10.0.13.0/24")
			s.wantAll(sdk.MitigationActive, "", "the first", three...)
		})
	}
}

// What is forbidden of several prefixes, cannot be previewed, or goes before it is
// judged, keeps the others neither back nor waiting.
func TestPartsDoNotWaitForever(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.onSeveral("a", "", "10.0.1.0/24", "10.9.9.0/24")
	s.wantAll(sdk.MitigationActive, "", "the others", "10.0.1.0/24")
	s.wantAll(sdk.MitigationHeld, "protected", "the protected one", "10.9.9.0/24")

	a := Attack{
		Event: sdk.Event{ID: "b", Direction: "incoming"}, Parts: []Part{{Target: netip.MustParsePrefix("10.0.4.0/24")}, {Target: netip.MustParsePrefix("10.0.5.0/24")}},
		Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAfterHold)}},
	}
	s.m.Attack(&a)
	jobs := s.m.Previews(block, 10)
	if len(jobs) != 2 {
		t.Fatalf("%d previews", len(jobs))
	}
	s.m.Previewed(jobs[0], []sdk.Announcement{{Prefix: jobs[0].mitigation.Target, Discard: true}}, nil)
	if set, _ := s.m.Set(block); len(set) != 1 {
		t.Errorf("announced before the other was looked at: %+v", set)
	}
	s.m.Unban([]string{jobs[1].id}, "a person took it back")
	s.m.Tick(s.now)
	if set, _ := s.m.Set(block); len(set) != 2 {
		t.Errorf("it waits for one that has gone: %+v", s.m.Reports())
	}
}

// A target that cannot be expressed is told of with the cause, for as long as its
// attack lasts, and nobody is asked to announce it.
func TestATargetThatIsTooMuch(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.onSeveral("a", "it has 300 prefixes", "10.0.1.0/24")
	s.onSeveral("a", "it has 300 prefixes", "10.0.1.0/24")
	list := s.m.Reports()
	if len(list) != 1 || list[0].State != sdk.MitigationHeld || list[0].Cause != "it has 300 prefixes" || list[0].Target.IsValid() {
		t.Fatalf("%+v", list)
	}
	if err := s.m.Free(list[0].ID, "ada"); err == nil {
		t.Error("a person let it pass")
	}
	s.m.Reconfigure(s.m.guard, stays)
	s.turn()
	if s.m.previewDue(block) || len(s.m.Previews(block, 10)) != 0 {
		t.Error("the plugin is asked about it")
	}
	s.onSeveral("a", "", "10.0.1.0/24", "10.0.2.0/24") // after a reload
	s.wantAll(sdk.MitigationActive, "", "expressible", "10.0.1.0/24", "10.0.2.0/24")
	if n := len(s.m.Reports()); n != 2 {
		t.Errorf("%+v", s.m.Reports())
	}
}

// A label that has the same mitigation touch more of our space is judged again:
// what is in force stays, and the cause says what is kept back.
func TestALabelThatTouchesMore(t *testing.T) {
	s := newStage(t, wide(10, 100, 10.0/(1<<24)))
	s.attack("a", "10.0.0.1/32", ReleaseAfterHold)
	s.attack("b", "10.0.0.2/32", ReleaseAfterHold)
	relabel := func(label, announced string) {
		s.m.Attack(&Attack{
			Event: sdk.Event{ID: "b", Target: netip.MustParsePrefix("10.0.0.2/32"), Direction: "incoming", Label: label},
			Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAfterHold)}},
		})
		for _, j := range s.m.Previews(block, 10) {
			s.m.Previewed(j, []sdk.Announcement{{Prefix: netip.MustParsePrefix(announced), Discard: true}}, nil)
		}
		s.turn()
	}
	touched := func() netip.Prefix {
		for _, e := range s.m.of(block) {
			if e.AttackID == "b" {
				return e.Announced[0].Prefix
			}
		}
		return netip.Prefix{}
	}
	relabel("udp_flood", "10.0.0.0/24")
	if p := touched(); p.Bits() != 32 {
		t.Errorf("%v is announced, more than max_share", p)
	}
	cause := ""
	for _, r := range s.m.Reports() {
		if r.AttackID == "b" {
			cause = r.Cause
		}
	}
	if s.state("10.0.0.2/32") != sdk.MitigationActive || !strings.Contains(cause, "max_share") {
		t.Errorf("it is %s: %s", s.state("10.0.0.2/32"), cause)
	}
	relabel("dns_reflection", "10.0.0.0/30")
	if p := touched(); p.Bits() != 30 {
		t.Errorf("%v is announced, and less than max_share was asked for", p)
	}
}

// Nothing new is announced before all actions have said what they protect, and
// one that never does is not awaited for ever.
func TestWhatProtectsIsAwaited(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.m.Await([]string{"action.rib.b"})
	s.attack("a", "10.0.0.1/32", ReleaseAfterHold)
	s.want("10.0.0.1/32", sdk.MitigationRequested, "another has not said what it protects")
	if c := s.m.Reports()[0].Cause; !strings.Contains(c, "action.rib.b") {
		t.Errorf("the cause is %q", c)
	}
	s.m.Await(nil)
	s.m.Reconfigure(forbidding("10.0.0.1/32"), stays)
	s.pass(time.Second)
	s.want("10.0.0.1/32", sdk.MitigationHeld, "the other protects it")

	s.m.Await([]string{"action.rib.b"})
	s.attack("b", "10.0.0.2/32", ReleaseAfterHold)
	s.pass(awaitTime - 2*time.Second)
	s.want("10.0.0.2/32", sdk.MitigationRequested, "not for so long")
	s.pass(3 * time.Second)
	s.want("10.0.0.2/32", sdk.MitigationActive, "it did not say in time")
}

// How many began in the last minute is known after a restart.
func TestNewOnesAreCountedOverARestart(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "journal.db")
	begin := func() *desk {
		d := newDesk(t, path, c, "boot")
		d.Reconfigure(wide(200, 3, 1), stays, nil)
		d.Up(block, &fakePlugin{}, 0, true)
		return d
	}
	d := begin()
	d.flood(3, block)
	eventually(t, "three pass", func() bool { return d.counts()[sdk.MitigationActive] == 3 })
	d.stop()
	c.move(30*time.Second, 30*time.Second)
	d = begin()
	d.Offer(Attack{
		Event: sdk.Event{ID: "next", Target: target(99), Direction: "incoming"},
		Wants: []Want{{Action: Action{Block: block}, Rules: Rules{Hold: 10 * time.Minute, Max: time.Hour, Backoff: 2}}},
	})
	eventually(t, "the fourth of a minute is held", func() bool { return d.counts()[sdk.MitigationHeld] == 1 })
	d.stop()
	c.move(31*time.Second, 31*time.Second)
	d = begin()
	d.Offer(Attack{
		Event: sdk.Event{ID: "later", Target: target(100), Direction: "incoming"},
		Wants: []Want{{Action: Action{Block: block}, Rules: Rules{Hold: 10 * time.Minute, Max: time.Hour, Backoff: 2}}},
	})
	eventually(t, "after a minute there is room", func() bool { return d.counts()[sdk.MitigationActive] == 4 })
}
