package mitigate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func forbidding(target string) *Guard {
	return NewGuard(Limits{MaxActive: 10, MaxShare: 1, MaxPerMinute: 100, Shortest: [2]int{24, 64}},
		[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, []Protected{{netip.MustParsePrefix(target), "by now"}}, nil, nil)
}

func stays(*sdk.MitigationReport, *sdk.Event, bool) Verdict { return Verdict{} }

// What a reload has forbidden is not wanted again by the next word on its attack,
// nor by a person, while the plugin has not taken it back yet.
func TestWhatIsForbiddenByNowIsNotRecalled(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.m.Reconfigure(forbidding("10.0.0.1/32"), stays)
	s.want("10.0.0.1/32", sdk.MitigationReleasing, "protected by a reload")
	again := func() {
		s.m.Attack(&Attack{
			Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming"},
			Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAuto)}},
		})
	}
	again()
	if _, err := s.m.Ban(&Ban{Action: Action{block, "p"}, Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming", For: time.Hour, Rules: s.rules(ReleaseAuto)}); err == nil {
		t.Error("a person has wanted it again")
	}
	s.want("10.0.0.1/32", sdk.MitigationReleasing, "wanted again")
	if set, _ := s.m.Set(block); len(set) != 0 {
		t.Fatalf("the plugin is to hold %+v", set)
	}
	s.turn()
	s.want("10.0.0.1/32", "", "gone")
	again()
	s.turn()
	s.want("10.0.0.1/32", sdk.MitigationHeld, "asked for once it is gone")
}

// A plugin that starts anew with other profiles may announce something else for
// what is in force: where the guards forbid that it is not handed over.
func TestAnotherConfigurationOfThePluginIsGuarded(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.m.Down(block)
	s.conn = s.m.Up(block)
	for _, j := range s.m.Previews(block, 10) {
		s.m.Previewed(j, []sdk.Announcement{{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Discard: true}}, nil)
	}
	if set, _ := s.m.Set(block); len(set) != 0 {
		t.Errorf("the plugin is to hold %+v", set)
	}
	s.want("10.0.0.1/32", sdk.MitigationReleasing, "wider than it may be")
}

// Nor is what an attack's new label comes to looked at instead.
func TestWhatIsInForceIsJudgedBeforeALabel(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.m.Down(block)
	s.m.Attack(&Attack{
		Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming", Label: "udp_flood"},
		Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAuto)}},
	})
	s.conn = s.m.Up(block)
	for i, label := range []string{"", "udp_flood"} {
		jobs := s.m.Previews(block, 10)
		if len(jobs) != 1 || jobs[0].mitigation.Event.Label != label {
			t.Fatalf("%d: previewed %+v", i, jobs)
		}
		s.m.Previewed(jobs[0], []sdk.Announcement{{Prefix: jobs[0].mitigation.Target, Discard: true}}, nil)
	}
	if set, _ := s.m.Set(block); len(set) != 1 || set[0].Event.Label != "udp_flood" {
		t.Errorf("%+v", set)
	}
}

// The answer of a process that has been replaced says nothing of its successor.
func TestAPreviewOfAProcessThatIsGone(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.m.Attack(&Attack{
		Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming"},
		Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAuto)}},
	})
	jobs := s.m.Previews(block, 10)
	s.m.Down(block)
	s.conn = s.m.Up(block)
	s.m.Previewed(jobs[0], []sdk.Announcement{{Prefix: jobs[0].mitigation.Target, Discard: true}}, nil)
	if set, _ := s.m.Set(block); len(set) != 0 {
		t.Errorf("handed over before it was asked about: %+v", set)
	}
}

// History says why something was released, not what kept that from being so.
func TestWhyItWasReleased(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.m.Unban([]string{"m1"}, "released by eve")
	s.m.Down(block)
	s.want("10.0.0.1/32", sdk.MitigationReleasing, "the plugin is gone")
	s.conn = s.m.Up(block)
	s.turn()
	s.pass(2 * time.Second)
	if len(s.m.past) != 1 || s.m.past[0].Cause != "released by eve" {
		t.Errorf("%+v", s.m.past)
	}
}

// A plugin that goes on saying that it holds what it need not is told its set once
// a second, not each time.
func TestAPluginThatLies(t *testing.T) {
	s := newStage(t, wide(1, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.attack("b", "10.0.0.2/32", ReleaseAuto)
	s.want("10.0.0.2/32", sdk.MitigationHeld, "one at a time")
	sets := 0
	for n := range 1000 {
		if n%100 == 0 {
			s.now.Boot += time.Second
			s.m.Tick(s.now)
		}
		s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "m2", State: sdk.MitigationActive})
		s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "strange", State: sdk.MitigationState(fmt.Sprint("odd", n))})
		s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "strange", State: sdk.MitigationReleased})
		s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "m1", State: "nonsense"})
		if s.m.Retry(); s.m.Behind(block) {
			sets++
			_, version := s.m.Set(block)
			s.m.Synced(block, s.conn, version, nil)
		}
	}
	if sets > 10 {
		t.Errorf("told %d times within ten seconds", sets)
	}
	s.want("10.0.0.1/32", sdk.MitigationActive, "after nonsense")
	s.want("10.0.0.2/32", sdk.MitigationHeld, "though the plugin says that it is there")
}

// What is over is found by its id at once, also of very many and without a journal.
func TestReportsOfWhatIsOver(t *testing.T) {
	d := newDesk(t, "", nil, "boot")
	var ids []string
	for n := range 500 {
		id, err := d.Ban(Ban{Action: Action{Block: block}, Target: target(n), Direction: "incoming", For: time.Hour, By: "eve"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	d.Unban("", netip.Prefix{}, true, "eve", "")
	for _, id := range ids {
		if r, ok := d.Report(id); !ok || r.State != sdk.MitigationReleased || r.Cause != "released by eve" {
			t.Fatalf("%s: %+v %v", id, r, ok)
		}
	}
	if _, ok := d.Report("none"); ok {
		t.Error("there is one of no such id")
	}
}

// An action that is removed and comes back is not taken for the one it was.
func TestALateWordOfARemovedAction(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.m.Abandon(block)
	if again := s.m.Up(block); again == s.conn {
		t.Errorf("both are connection %d", again)
	}
}

// What a person sets stands beside what the hostgroup has set, of a mitigation that is
// there as of a new one.
func TestABanSetsBesideTheHostGroup(t *testing.T) {
	for name, there := range map[string]bool{"new": false, "there": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, wide(10, 100, 1))
			rules := s.rules(ReleaseAuto)
			rules.Attributes = map[string][]string{"next_hop": {"192.0.2.1"}, "med": {"5"}}
			if there {
				s.m.Attack(&Attack{
					Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming"},
					Wants: []Want{{Action: Action{block, "p"}, Rules: rules}},
				})
				s.turn()
			}
			if _, err := s.m.Ban(&Ban{
				Action: Action{block, "p"}, Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming", For: time.Hour, Rules: rules,
				Attributes: map[string][]string{"med": {"10"}},
			}); err != nil {
				t.Fatal(err)
			}
			s.turn()
			set, _ := s.m.Set(block)
			if len(set) != 1 || fmt.Sprint(set[0].Attributes) != "map[med:[10] next_hop:[192.0.2.1]]" {
				t.Errorf("%+v", set)
			}
			if fmt.Sprint(rules.Attributes["med"]) != "[5]" {
				t.Error("the hostgroup's own are changed")
			}
		})
	}
}
