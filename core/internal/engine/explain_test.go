package engine

import (
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// What LimitRates says is what Rates and the alarms say, limit by limit; a
// host without a row stands at 0 with all limits of its group.
func TestLimitRates(t *testing.T) {
	limits := []Limit{
		{ID: 7, Counter: FirstUser, Value: 100}, // user counters are kept apart, but the order is the group's
		ppsLimit(3, 1000),
		{ID: 4, Unit: ByteRate, Value: 1e9},
		{ID: 5, Direction: 1, Value: 50},
	}
	e := newEngine(t, Options{}, testPlan(1, limits...))
	f := newFeeder(t, e, 1)
	now := origin
	for range 100 {
		d := hostDelta(1, false, 50, 100, 100000)
		user := hostDelta(1, false, 50, 10, 1000)
		user.Kind = ring.KindCounter
		f.flush(now, d, user)
		now += 50 * ms
	}
	got, row := e.LimitRates(hostPrefix(1, false), e.Clock())
	if !row || len(got) != len(limits) {
		t.Fatalf("%v %+v", row, got)
	}
	r, _ := e.Rates(hostPrefix(1, false), e.Clock())
	for i, want := range []struct {
		value float64
		fired bool
	}{{r.Dir[0].Packets[0] / 10, true}, {r.Dir[0].Packets[0], true}, {r.Dir[0].Bytes[0], false}, {0, false}} {
		if g := got[i]; g.Limit.ID != limits[i].ID || g.Fired != want.fired || g.Value < want.value*0.98 || g.Value > want.value*1.02 {
			t.Errorf("limit %d: %+v, want %+v", i, g, want)
		}
	}
	got, row = e.LimitRates(hostPrefix(2, true), e.Clock()+int64(time.Second))
	if row || len(got) != len(limits) || got[1].Value != 0 {
		t.Errorf("a host without a row: %v %+v", row, got)
	}
	if got, _ := e.LimitRates(hostPrefix(200<<24, false), e.Clock()); len(got) != 0 {
		t.Errorf("an address that is not ours: %+v", got)
	}
}
