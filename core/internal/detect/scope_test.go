package detect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// scopeBed limits hosts to 20,000 packets/s, /24s and /64s to 300,000, the
// hostgroup to 2 million and the network to 3 million.
func scopeBed(t *testing.T) *bed {
	rules := engine.DefaultRules()
	return bedWith(t, []engine.Limit{
		{ID: 1, Value: 20_000, Rules: rules},
		{ID: 2, Scope: engine.ScopePrefix, Length: [2]uint8{24, 64}, Value: 300_000, Rules: rules},
		{ID: 3, Scope: engine.ScopeGroup, Value: 2e6, Rules: rules},
		{ID: 4, Scope: engine.ScopeNetwork, Networks: []uint32{1}, Value: 3e6, Rules: rules},
	})
}

func bedWith(t *testing.T, ls []engine.Limit) *bed {
	t.Helper()
	b := newBed(t, testConfig())
	b.rev = 2
	if err := b.e.SetPlan(testPlan(2, ls)); err != nil {
		t.Fatal(err)
	}
	return b
}

// told lists events as people would tell them.
func (b *bed) told() string {
	var out []string
	for _, e := range b.events {
		a := &e.Attack
		out = append(out, fmt.Sprintf("%c %v %v", "SUE"[e.Type], a.Scope, a.Target))
	}
	return strings.Join(out, "\n")
}

func hosts(from, n uint32, pps float64) (out []flow) {
	for i := range n {
		out = append(out, flow{n: from + i, pps: pps, size: 100})
	}
	return out
}

func (b *bed) expect(what string, want ...string) {
	b.t.Helper()
	if got := b.told(); got != strings.Join(want, "\n") {
		b.t.Fatalf("%s: told\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
	}
	b.events = b.events[:0]
}

// A carpet is one attack for the prefix, whose hosts are all below their own
// limit.
func TestCarpetIsOneAttack(t *testing.T) {
	b := scopeBed(t)
	b.run(10*time.Second, hosts(0, 256, 3000)...)
	b.expect("256 hosts at 3 kpps", "S prefix 10.0.0.0/24")
	b.drain(false)
	b.expect("its end", "E prefix 10.0.0.0/24")
	if b.d.Watched() != 0 || b.e.Stats().Alarms != 0 {
		t.Errorf("%d attacks, %d alarms are left", b.d.Watched(), b.e.Stats().Alarms)
	}
}

// The same where each host is above its own limit too: they are part of it.
func TestHostsJoinTheirPrefix(t *testing.T) {
	for _, pps := range []float64{30_000, 250_000} { // found by the average, by bursts
		b := scopeBed(t)
		b.run(8*time.Second, hosts(0, 64, pps)...)
		// The group and the network are above their limits too in the second case,
		// but all of it is that prefix's.
		b.expect("64 hosts above their limit", "S prefix 10.0.0.0/24")
		if b.d.Open() != 1 || b.d.Watched() < 65 || len(b.d.Attacks(b.now)) != 1 {
			t.Fatalf("%d attacks told, %d watched", b.d.Open(), b.d.Watched())
		}
		// One of them goes on when the others have ended, and is an attack of its own.
		b.run(60*time.Second, hosts(7, 1, 30_000)...)
		b.expect("one host goes on", "S host 10.0.0.7/32", "E prefix 10.0.0.0/24")
		b.drain(false)
		if b.d.Watched() != 0 || b.e.Stats().Alarms != 0 {
			t.Errorf("%d attacks, %d alarms are left", b.d.Watched(), b.e.Stats().Alarms)
		}
	}
}

// Who has most of the little that is left when a carpet has ended is no attack
// of its own.
func TestNoHostAfterItsPrefix(t *testing.T) {
	b := scopeBed(t)
	b.run(8*time.Second, hosts(0, 64, 30_000)...)
	b.expect("64 hosts above their limit", "S prefix 10.0.0.0/24")
	b.run(60*time.Second, hosts(7, 1, 1000)...)
	b.expect("ordinary traffic", "E prefix 10.0.0.0/24")
}

// Half of the prefix's traffic on one host: the host is the attack, with
// traffic of others beside it.
func TestOneHostExplainsItsPrefix(t *testing.T) {
	for _, background := range []float64{0, 150_000} {
		b := scopeBed(t)
		around := hosts(100, 100, background/100)
		b.run(5*time.Second, around...)
		b.run(20*time.Second, append(around, flow{n: 7, pps: 500_000, size: 100})...)
		b.expect(fmt.Sprintf("background of %g", background), "S host 10.0.0.7/32")
		b.drain(false)
		b.expect("its end", "E host 10.0.0.7/32")
	}
}

// Where the host that explained a prefix ends while the prefix is still above
// its limit, the prefix is the attack.
func TestPrefixAfterItsHost(t *testing.T) {
	b := scopeBed(t)
	b.run(5*time.Second, flow{n: 7, pps: 400_000, size: 100})
	b.expect("the host", "S host 10.0.0.7/32")
	b.run(20*time.Second, hosts(0, 256, 3000)...)
	b.expect("then a carpet", "S prefix 10.0.0.0/24")
}

// Many prefixes are one attack for the hostgroup, and what fills the network is
// one for the network if no single group does.
func TestWidestScopes(t *testing.T) {
	b := scopeBed(t)
	var flows []flow
	for p := range uint32(32) {
		flows = append(flows, hosts(p<<8, 20, 4000)...) // 80,000 a prefix, 2.56 million in all
	}
	b.run(15*time.Second, flows...)
	b.expect("32 prefixes below their limit", "S hostgroup invalid Prefix")
}

// Deciding at every 100 ms or only when something is due gives the same.
func TestScopesAreDeterministic(t *testing.T) {
	run := func(fast bool) string {
		b := scopeBed(t)
		b.run(2*time.Second, hosts(0, 64, 30_000)...)
		b.run(5*time.Second, append(hosts(0, 64, 3000), flow{n: 300, pps: 900_000, size: 100}, flow{n: 301, six: true, pps: 90_000, size: 100})...)
		b.run(5*time.Second, hosts(0, 256, 9000)...)
		b.drain(fast)
		var out []string
		for _, e := range b.events {
			out = append(out, fmt.Sprint(e.Time, e.Attack.ID, e.Attack.Seq, e.Type, e.Attack.Scope, e.Attack.Target))
		}
		return strings.Join(out, "\n")
	}
	slow := run(false)
	if fast := run(true); fast != slow || slow == "" {
		t.Errorf("in steps:\n%s\nfrom deadline to deadline:\n%s", slow, fast)
	}
}

// A further threshold on the same counter is a tier: it is told when it is
// reached and when it is left, and may be reached again.
func TestTiers(t *testing.T) {
	rules := engine.DefaultRules()
	b := bedWith(t, []engine.Limit{
		{ID: 1, Value: 1000, Rules: rules}, {ID: 2, Value: 10_000, Rules: rules}, {ID: 3, Unit: engine.ByteRate, Value: 1e6, Rules: rules},
	})
	reached := func() string {
		var out []string
		for _, e := range b.events {
			s := string("SUE"[e.Type])
			for i := range e.Attack.Crossed {
				if c := &e.Attack.Crossed[i]; c.Left {
					s += fmt.Sprintf(" -%d", c.Limit)
				} else {
					s += fmt.Sprintf(" %d", c.Limit)
				}
			}
			out = append(out, s)
		}
		b.events = b.events[:0]
		return strings.Join(out, ", ")
	}
	for _, step := range []struct {
		dur  time.Duration
		pps  float64
		want string
	}{
		{10 * time.Second, 2000, "S 1"},
		{10 * time.Second, 15_000, "U 1 2, U 1 2 3"},
		{20 * time.Second, 2000, ""}, // below, but not for long
		{10 * time.Second, 9000, ""}, // above 0.75 of it again
		{60 * time.Second, 2000, "U 1 -2 3"},
		{10 * time.Second, 20_000, "U 1 2 3"},
		{90 * time.Second, 2000, "U 1 -2 3"},
		{90 * time.Second, 0, "E 1 -2 3"},
	} {
		b.run(step.dur, flow{n: 1, pps: step.pps, size: 80})
		if got := reached(); got != step.want {
			t.Errorf("%v at %g packets/s: %q, want %q", step.dur, step.pps, got, step.want)
		}
	}
}
