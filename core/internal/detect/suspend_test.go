package detect

import (
	"testing"
	"time"
)

// After something that may have inflated rates an attack is told, but not to
// be enforced; one that goes on is, once the doubt is over.
func TestSuspendedUntilProved(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(3*time.Second, flow{n: 1, pps: 100, size: 100}, flow{n: 2, pps: 100, size: 100})
	b.e.Disturb(10 * time.Second)
	const doubt = 10 * time.Second
	// Host 1 is attacked, host 2 has but a backlog.
	b.run(500*time.Millisecond, flow{n: 1, pps: 20000, size: 100}, flow{n: 2, pps: 20000, size: 100})
	if b.kinds() != "SS" || !b.events[0].Attack.Suspended || !b.events[1].Attack.Suspended {
		t.Fatalf("%s, suspended %v", b.kinds(), b.events)
	}
	b.run(doubt-500*time.Millisecond, flow{n: 1, pps: 20000, size: 100}, flow{n: 2, pps: 100, size: 100})
	for _, e := range b.events {
		if e.Lifted {
			t.Fatalf("lifted %v before the doubt was over", doubt)
		}
	}
	b.events = b.events[:0]
	b.run(2*time.Second, flow{n: 1, pps: 20000, size: 100}, flow{n: 2, pps: 100, size: 100})
	if b.kinds() != "U" || !b.events[0].Lifted || b.events[0].Attack.Suspended || b.events[0].Attack.Target.Addr() != address(1, false) {
		t.Fatalf("%s after the doubt: %+v", b.kinds(), b.events)
	}
	b.events = b.events[:0]
	b.drain(false)
	if b.kinds() != "EE" {
		t.Fatalf("%s at the end", b.kinds())
	}
	for _, e := range b.events {
		if e.Lifted || e.Attack.Suspended != (e.Attack.Target.Addr() == address(2, false)) {
			t.Errorf("%v ended suspended %v, lifted %v", e.Attack.Target, e.Attack.Suspended, e.Lifted)
		}
	}
}

// A further limit that is crossed without doubt lifts the suspension; one that
// is crossed in doubt suspends nothing that was not.
func TestFurtherCrossings(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(3*time.Second, flow{n: 1, pps: 100, size: 100})
	b.e.Disturb(0)
	b.run(time.Second, flow{n: 1, pps: 5000, size: 100})
	b.run(3*time.Second, flow{n: 1, pps: 10, size: 100})
	b.events = b.events[:0]
	b.run(500*time.Millisecond, flow{n: 1, pps: 8000, size: 1000})
	if len(b.events) == 0 || !b.events[0].Lifted || b.events[0].Attack.Suspended {
		t.Fatalf("after the doubt: %+v", b.events)
	}
	b.e.Disturb(0)
	b.run(time.Second, flow{n: 1, pps: 20000, size: 1000, udp: 1})
	if last := b.events[len(b.events)-1]; last.Attack.Suspended || last.Lifted || len(last.Attack.Crossed) != 3 {
		t.Errorf("crossed in doubt: %+v", last)
	}
}

// Where one disturbance follows the other nothing ever settles. An attack that
// goes on all the same is enforced in the end, one that only a backlog shows is
// not.
func TestLastingAttackIsProved(t *testing.T) {
	for _, c := range []struct {
		pps    float64
		lifted bool
	}{{3000, true}, {900, false}} {
		b := newBed(t, testConfig())
		b.run(3*time.Second, flow{n: 1, pps: c.pps / 10, size: 10})
		b.e.Disturb(10 * time.Second)
		b.run(500*time.Millisecond, flow{n: 1, pps: 20 * c.pps, size: 10})
		if b.kinds() != "S" || !b.events[0].Attack.Suspended {
			t.Fatalf("%s at first", b.kinds())
		}
		began, at := b.now, int64(0)
		for b.now < began+80*int64(time.Second) {
			b.e.Disturb(1500 * time.Millisecond)
			b.events = b.events[:0]
			b.run(1500*time.Millisecond, flow{n: 1, pps: c.pps, size: 10})
			for _, e := range b.events {
				if e.Lifted {
					at = e.Time
				}
			}
		}
		if (at != 0) != c.lifted || c.lifted && at-began < lastsFor-int64(time.Second) {
			t.Errorf("%.0f pps: lifted after %v", c.pps, time.Duration(at-began))
		}
	}
}

// What nobody has looked at for a while has not lasted.
func TestStoppedMeanwhileProvesNothing(t *testing.T) {
	b := newBed(t, testConfig())
	b.run(3*time.Second, flow{n: 1, pps: 100, size: 10})
	b.e.Disturb(10 * time.Second)
	b.run(2*time.Second, flow{n: 1, pps: 20000, size: 10})
	if b.kinds() != "S" {
		t.Fatalf("%s at first", b.kinds())
	}
	a := b.d.list[0]
	if a.seen == 0 || b.d.lasts(a, b.now+lastsFor) {
		t.Errorf("seen %d, above since %d, now %d", a.seen, a.above, b.now)
	}
}

// What a disturbance shows of a prefix hides no attack on one of its hosts that
// another input tells of.
func TestPrefixInDoubtHidesNobody(t *testing.T) {
	b := scopeBed(t)
	b.run(3*time.Second, hosts(0, 64, 100)...)
	b.e.Disturb(10 * time.Second)
	b.run(500*time.Millisecond, hosts(0, 64, 250_000)...)
	b.expect("a backlog", "S prefix 10.0.0.0/24")
	if all := b.d.Attacks(b.now); len(all) != 1 || !all[0].Suspended {
		t.Fatalf("the attack of a backlog: %+v", all)
	}
	b.id, b.number = b.e.AddRing(1), 0
	b.run(2*time.Second, append(hosts(100, 50, 4000), flow{n: 200, pps: 100_000, size: 100})...)
	if len(b.events) != 1 || b.events[0].Attack.Suspended {
		t.Errorf("events %+v", b.events)
	}
	b.expect("a host that another input tells of", "S host 10.0.0.200/32")
}
