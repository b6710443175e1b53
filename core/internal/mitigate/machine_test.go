package mitigate

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// stage is a machine with one plugin, step by step.
type stage struct {
	t    *testing.T
	m    *Machine
	now  Moment
	conn uint64
	n    int
}

const block = "action.rib.a"

func newStage(t *testing.T, guard *Guard) *stage {
	s := &stage{t: t, now: Moment{Boot: time.Hour, Wall: time.Unix(1_700_000_000, 0)}}
	s.m = NewMachine(guard, func() string { s.n++; return fmt.Sprintf("m%d", s.n) }, s.now)
	s.conn = s.m.Up(block)
	return s
}

func wide(active, minute int, share float64) *Guard {
	return NewGuard(Limits{MaxActive: active, MaxShare: share, MaxPerMinute: minute, Shortest: [2]int{24, 64}},
		[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")},
		[]Protected{{netip.MustParsePrefix("10.9.9.9/32"), "it is a neighbour"}}, nil,
		func(p netip.Prefix) string {
			if p.Addr() == netip.MustParseAddr("10.7.7.7") {
				return "vip"
			}
			return ""
		})
}

func (s *stage) rules(release string) Rules {
	return Rules{Hold: 10 * time.Second, Max: 2 * time.Minute, Release: release, Backoff: 2}
}

func (s *stage) attack(id, target, release string) {
	s.m.Attack(&Attack{
		Event: sdk.Event{ID: id, Target: netip.MustParsePrefix(target), Direction: "incoming"},
		Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(release)}},
	})
	s.turn()
}

func (s *stage) ended(id, target string) {
	s.m.Attack(&Attack{Event: sdk.Event{ID: id, Target: netip.MustParsePrefix(target), Direction: "incoming"}, Over: true})
	s.turn()
}

// turn previews, and has a plugin that is well take its set and say so.
func (s *stage) turn() {
	s.m.Retry()
	for jobs := s.m.Previews(block, 10); len(jobs) > 0; jobs = s.m.Previews(block, 10) {
		for _, j := range jobs {
			s.m.Previewed(j, []sdk.Announcement{{Prefix: j.mitigation.Target, Discard: true}}, nil)
		}
	}
	if !s.m.Behind(block) {
		return
	}
	set, version := s.m.Set(block)
	s.m.Synced(block, s.conn, version, nil)
	there := map[string]bool{}
	for _, x := range set {
		there[x.ID] = true
		s.m.Report(block, s.conn, sdk.MitigationStatus{ID: x.ID, State: sdk.MitigationActive})
	}
	for _, e := range s.m.of(block) {
		if e.State == sdk.MitigationReleasing && !there[e.ID] {
			s.m.Report(block, s.conn, sdk.MitigationStatus{ID: e.ID, State: sdk.MitigationReleased})
		}
	}
}

func (s *stage) pass(d time.Duration) {
	for end := s.now.Boot + d; s.now.Boot < end; {
		s.now.Boot += time.Second
		s.now.Wall = s.now.Wall.Add(time.Second)
		s.m.Tick(s.now)
		s.turn()
	}
}

// state is the state of the only mitigation of a target.
func (s *stage) state(target string) sdk.MitigationState {
	for _, r := range s.m.Reports() {
		if r.Target == netip.MustParsePrefix(target) {
			return r.State
		}
	}
	return ""
}

func (s *stage) want(target string, state sdk.MitigationState, when string) {
	s.t.Helper()
	if got := s.state(target); got != state {
		s.t.Errorf("%s: %s is %q, not %q: %+v", when, target, got, state, s.m.Reports())
	}
}

// What hides the traffic it stops is released by time, and for twice as long each
// time that the attack comes again.
func TestABlackholeIsReleasedByTime(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	for round, hold := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		id := fmt.Sprint("a", round)
		s.attack(id, "10.0.0.1/32", ReleaseAuto)
		s.want("10.0.0.1/32", sdk.MitigationActive, "announced")
		s.pass(time.Second)
		s.ended(id, "10.0.0.1/32") // it is hidden
		s.pass(hold - 2*time.Second)
		s.want("10.0.0.1/32", sdk.MitigationActive, fmt.Sprintf("round %d, before its time", round))
		s.pass(2 * time.Second)
		s.want("10.0.0.1/32", "", fmt.Sprintf("round %d, after its time", round))
	}
	s.pass(3 * time.Hour)
	s.attack("late", "10.0.0.1/32", ReleaseAuto)
	s.ended("late", "10.0.0.1/32")
	s.pass(11 * time.Second)
	s.want("10.0.0.1/32", "", "long after")
}

// An attack that is still seen when the hold time is over begins it anew, and max
// ends even that.
func TestAnAttackThatIsStillSeen(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAfterHold)
	s.pass(11 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "once more")
	s.ended("a", "10.0.0.1/32")
	s.pass(10 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "of twenty seconds")
	s.pass(10 * time.Second)
	s.want("10.0.0.1/32", "", "and over")

	s.attack("b", "10.0.0.2/32", ReleaseManual)
	s.pass(119 * time.Second)
	s.want("10.0.0.2/32", sdk.MitigationActive, "until max")
	s.pass(2 * time.Second)
	s.want("10.0.0.2/32", "", "max")
	s.attack("b", "10.0.0.2/32", ReleaseManual)
	s.want("10.0.0.2/32", "", "the same attack does not ask again")
	s.attack("c", "10.0.0.2/32", ReleaseManual)
	s.want("10.0.0.2/32", sdk.MitigationActive, "another does")
}

func TestReleaseWhenQuiet(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseWhenQuiet)
	s.pass(30 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "while it goes on")
	s.ended("a", "10.0.0.1/32")
	s.pass(time.Second)
	s.want("10.0.0.1/32", "", "over")
	s.attack("b", "10.0.0.1/32", ReleaseWhenQuiet)
	s.ended("b", "10.0.0.1/32")
	s.pass(18 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "it holds for its time all the same, twice of it now")
	s.pass(3 * time.Second)
	s.want("10.0.0.1/32", "", "over again")
}

// Two attacks on one target are one mitigation, and its end is the later one's.
func TestOneMitigationForTwoAttacks(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseWhenQuiet)
	s.attack("b", "10.0.0.1/32", ReleaseWhenQuiet)
	if n := len(s.m.Reports()); n != 1 {
		t.Fatalf("%d mitigations", n)
	}
	s.ended("a", "10.0.0.1/32")
	s.pass(20 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "one goes on")
	s.ended("b", "10.0.0.1/32")
	s.pass(time.Second)
	s.want("10.0.0.1/32", "", "both over")
}

// While something is released its attack comes again: it is announced once more
// under its old name.
func TestRecurrenceWhileReleasing(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseWhenQuiet)
	s.ended("a", "10.0.0.1/32")
	s.now.Boot += 20 * time.Second
	s.m.Tick(s.now)
	s.want("10.0.0.1/32", sdk.MitigationReleasing, "told to the plugin, which has not answered")
	s.attack("b", "10.0.0.1/32", ReleaseWhenQuiet)
	s.want("10.0.0.1/32", sdk.MitigationActive, "again")
	if r := s.m.Reports(); len(r) != 1 || r[0].ID != "m1" || r[0].AttackID != "b" {
		t.Errorf("%+v", r)
	}
}

func TestGuards(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		a      sdk.Announcement
		want   string
	}{
		"a default route":      {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, "default route"},
		"and of IPv6":          {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("::/0")}, "default route"},
		"outside":              {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, "not inside our networks"},
		"more than ours":       {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("8.0.0.0/6")}, "not inside our networks"},
		"too wide":             {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.0.0.0/23")}, "wider than the guard's shortest_prefix, /24"},
		"IPv6, too wide":       {"2001:db8::1/128", sdk.Announcement{Prefix: netip.MustParsePrefix("2001:db8::/63")}, "wider"},
		"IPv6":                 {"2001:db8::1/128", sdk.Announcement{Prefix: netip.MustParsePrefix("2001:db8::/64")}, ""},
		"a neighbour":          {"10.9.9.9/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.9.9.9/32")}, "neighbour"},
		"around a neighbour":   {"10.9.9.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.9.9.0/24")}, "neighbour"},
		"spared":               {"10.7.7.7/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.7.7.7/32")}, "do_not_act"},
		"a rule for all of it": {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.0.0.1/32"), FlowSpec: true, Discard: true}, "one more match"},
		"a rule":               {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.0.0.1/32"), FlowSpec: true, Discard: true, Matches: 1}, ""},
		"a limit for all":      {"10.0.0.1/32", sdk.Announcement{Prefix: netip.MustParsePrefix("10.0.0.1/32"), FlowSpec: true}, ""},
		"no destination":       {"10.0.0.1/32", sdk.Announcement{FlowSpec: true}, "no destination"},
	} {
		got := wide(1, 1, 1).forbidden(netip.MustParsePrefix(c.target), []sdk.Announcement{c.a})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What goes beyond a count waits for a person.
func TestWhatGuardsHold(t *testing.T) {
	s := newStage(t, wide(2, 100, 1))
	for i := range 3 {
		s.attack(fmt.Sprint("a", i), fmt.Sprintf("10.0.0.%d/32", i), ReleaseManual)
	}
	s.want("10.0.0.2/32", sdk.MitigationHeld, "max_active")
	if err := s.m.Free("m3", "root"); err != nil {
		t.Error(err)
	}
	s.turn()
	s.want("10.0.0.2/32", sdk.MitigationActive, "a person let it pass")

	s = newStage(t, wide(100, 2, 1))
	for i := range 3 {
		s.attack(fmt.Sprint("a", i), fmt.Sprintf("10.0.0.%d/32", i), ReleaseManual)
	}
	s.want("10.0.0.2/32", sdk.MitigationHeld, "max_new_per_minute")
	s.pass(time.Minute)
	s.attack("late", "10.0.0.9/32", ReleaseManual)
	s.want("10.0.0.9/32", sdk.MitigationActive, "a minute later")
	s.want("10.0.0.2/32", sdk.MitigationHeld, "what is held stays held")
	if err := s.m.Refuse("m3", "root"); err != nil {
		t.Error(err)
	}
	s.attack("a2", "10.0.0.2/32", ReleaseManual)
	s.want("10.0.0.2/32", "", "refused while the attack lasts")

	s = newStage(t, NewGuard(Limits{MaxActive: 100, MaxShare: 0.02, MaxPerMinute: 100, Shortest: [2]int{32, 128}},
		[]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, nil, nil, nil))
	for i := range 6 {
		s.attack(fmt.Sprint("a", i), fmt.Sprintf("203.0.113.%d/32", i), ReleaseManual)
	}
	s.want("203.0.113.4/32", sdk.MitigationActive, "5 of 256 are less than 2 %")
	s.want("203.0.113.5/32", sdk.MitigationHeld, "6 are more")

	s = newStage(t, wide(100, 100, 1))
	s.attack("a", "192.0.2.1/32", ReleaseManual)
	s.want("192.0.2.1/32", sdk.MitigationHeld, "not ours")
	if err := s.m.Free("m1", "root"); err == nil {
		t.Error("a person let pass what is not ours")
	}
}

// The share counts what is announced, each address once.
func TestTheShareCountsAddressesOnce(t *testing.T) {
	g := wide(100, 100, 0.5)
	if g.space[0] != 1<<24 || g.space[1] != addresses(netip.MustParsePrefix("2001:db8::/32")) {
		t.Errorf("space %v", g.space)
	}
	var tl tally
	same := []sdk.Announcement{{Prefix: netip.MustParsePrefix("10.0.0.0/24")}}
	for range 3 {
		tl.add(same)
	}
	if tl.sum[0] != 256 {
		t.Errorf("%v addresses", tl.sum)
	}
	for range 3 {
		tl.remove(same)
	}
	if tl.sum[0] != 0 || len(tl.prefixes) != 0 || tl.count[0] != 0 {
		t.Errorf("%+v", tl)
	}
}

// 10,000 attacks at once: a few are announced, the rest is held, and what comes
// beyond is counted.
func TestAStorm(t *testing.T) {
	s := newStage(t, wide(100, 20, 1))
	for i := range maxEntries + 5 {
		s.m.Attack(&Attack{
			Event: sdk.Event{ID: fmt.Sprint("a", i), Target: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32), Direction: "incoming"},
			Wants: []Want{{Action: Action{block, ""}, Rules: s.rules(ReleaseAuto)}},
		})
	}
	s.turn()
	counts := s.m.Counts()
	if counts[sdk.MitigationActive] != 20 || counts[sdk.MitigationHeld] != maxEntries-20 || s.m.lost != 5 {
		t.Errorf("%v, %d lost", counts, s.m.lost)
	}
	for i := range maxEntries + 5 {
		s.m.Attack(&Attack{Event: sdk.Event{ID: fmt.Sprint("a", i)}, Over: true})
	}
	if n := s.m.Counts(); n[sdk.MitigationHeld] != 0 {
		t.Errorf("what was held stays when its attack has ended: %v", n)
	}
}

// A mode that becomes monitor takes back at once, a doubt keeps what there is and
// begins nothing.
func TestModes(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	say := func(do Do) {
		s.m.Attack(&Attack{
			Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming"},
			Wants: []Want{{Action: Action{block, ""}, Rules: s.rules(ReleaseAuto), Do: do, Why: "the mode is monitor"}},
		})
		s.turn()
	}
	say(Keep)
	s.want("10.0.0.1/32", "", "suspended")
	say(Act)
	s.want("10.0.0.1/32", sdk.MitigationActive, "lifted")
	say(Keep)
	s.want("10.0.0.1/32", sdk.MitigationActive, "suspended again")
	say(Drop)
	s.want("10.0.0.1/32", "", "monitor")
	say(Act)
	s.want("10.0.0.1/32", sdk.MitigationActive, "enforce")
	s.m.Reconfigure(s.m.guard, func(*sdk.MitigationReport, *sdk.Event, bool) Verdict { return Verdict{Release: "the mode is monitor"} })
	s.turn()
	s.want("10.0.0.1/32", "", "monitor for all")
	say(Act)
	s.want("10.0.0.1/32", sdk.MitigationActive, "enforce for all")
}

// What a label changes is in force only once it has been previewed; where that
// fails, what was there stays.
func TestALabelIsPreviewedFirst(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	labelled := func(label string, err error) string {
		s.m.Attack(&Attack{
			Event: sdk.Event{ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming", Label: label},
			Wants: []Want{{Action: Action{block, "p"}, Rules: s.rules(ReleaseAuto)}},
		})
		for _, j := range s.m.Previews(block, 1) {
			if j.mitigation.Event.Label != label {
				t.Errorf("previewed %q", j.mitigation.Event.Label)
			}
			s.m.Previewed(j, []sdk.Announcement{{Prefix: j.mitigation.Target, Discard: true}}, err)
		}
		set, version := s.m.Set(block)
		s.m.Synced(block, s.conn, version, nil)
		return set[0].Event.Label
	}
	if got := labelled("dns_reflection", errors.New("no")); got != "" {
		t.Errorf("in force with %q", got)
	}
	if got := labelled("udp_flood", nil); got != "udp_flood" {
		t.Errorf("in force with %q", got)
	}
}

// A plugin that has lost something, given up or says nothing is told again.
func TestAPluginThatFails(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	s.attack("a", "10.0.0.1/32", ReleaseAuto)
	s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "m1", State: sdk.MitigationFailed, Cause: "the peer is gone"})
	s.want("10.0.0.1/32", sdk.MitigationFailed, "it says so")
	if late := s.m.Late(0)[block]; late.Count != 1 || late.Cause != "the peer is gone" {
		t.Errorf("%+v", late)
	}
	s.pass(2 * time.Second)
	s.want("10.0.0.1/32", sdk.MitigationActive, "told again")
	s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "strange", State: sdk.MitigationActive})
	if s.state("10.0.0.1/32"); len(s.m.Reports()) != 2 || !s.m.Behind(block) {
		t.Errorf("what it was never asked for is not shown, or not taken back: %+v", s.m.Reports())
	}
	s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "strange", State: sdk.MitigationReleased})
	if len(s.m.Reports()) != 1 {
		t.Errorf("%+v", s.m.Reports())
	}
	s.m.Down(block)
	s.want("10.0.0.1/32", sdk.MitigationRequested, "it does not run")
	s.m.Report(block, s.conn, sdk.MitigationStatus{ID: "m1", State: sdk.MitigationActive})
	s.want("10.0.0.1/32", sdk.MitigationRequested, "a word of a process that is gone")
}

// What was refused under an earlier daemon is so for one attack, also where that
// is over before it is heard of.
func TestRefusedForOneAttack(t *testing.T) {
	s := newStage(t, wide(10, 100, 1))
	k := keyOf(Action{block, "p"}, &Attack{Event: sdk.Event{Target: netip.MustParsePrefix("10.1.2.3/32"), Direction: "incoming"}})
	s.m.earlier[k] = s.now.Boot + time.Hour
	s.ended("a", "10.1.2.4/32")
	if s.attack("b", "10.1.2.3/32", ""); s.m.byKey[k] != nil {
		t.Error("it was refused for this attack")
	}
	s.ended("b", "10.1.2.3/32")
	s.m.earlier[k] = s.now.Boot + time.Hour
	s.ended("c", "10.1.2.3/32")
	if s.attack("d", "10.1.2.3/32", ""); s.m.byKey[k] == nil {
		t.Error("it was refused for the attack before")
	}
}
