package pipeline

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func event(id string) sdk.Event { return sdk.Event{Type: sdk.AttackStarted, ID: id} }

func TestDeliveryKeepsOrderAndFinishes(t *testing.T) {
	var got []string
	d := newDelivery("a", 1, time.Second, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
		got = append(got, e.ID)
		return nil
	})
	for _, id := range []string{"1", "2", "3"} {
		d.offer(event(id))
	}
	d.finish()
	d.run(t.Context())
	if len(got) != 3 || got[0] != "1" || got[2] != "3" {
		t.Fatalf("delivered %v", got)
	}
	if d.delivered.Load() != 3 || d.failed.Load() != 0 || d.dropped.Load() != 0 {
		t.Fatalf("counts %d %d %d", d.delivered.Load(), d.failed.Load(), d.dropped.Load())
	}
}

func TestDeliveryRetriesOnlyWhenAsked(t *testing.T) {
	calls := map[string]int{}
	d := newDelivery("a", 1, time.Second, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
		calls[e.ID]++
		switch {
		case e.ID == "never":
			return errors.New("refused")
		case calls[e.ID] < 2:
			return sdk.Retry(errors.New("busy"))
		}
		return nil
	})
	d.offer(event("again"))
	d.offer(event("never"))
	d.finish()
	d.run(t.Context())
	if calls["again"] != 2 || calls["never"] != 1 {
		t.Fatalf("calls %v", calls)
	}
	if d.delivered.Load() != 1 || d.failed.Load() != 1 {
		t.Fatalf("counts %d %d", d.delivered.Load(), d.failed.Load())
	}
}

// A plugin that never answers costs its own queue and nothing else.
func TestDeliveryNeverBlocksTheOfferer(t *testing.T) {
	d := newDelivery("hung", 1, time.Hour, hclog.NewNullLogger(), func(ctx context.Context, _ sdk.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.run(ctx) }()
	for i := range 3 * laneQueue {
		d.offer(event(strconv.Itoa(i)))
	}
	if d.dropped.Load() < laneQueue {
		t.Fatalf("%d dropped, want at least %d", d.dropped.Load(), laneQueue)
	}
	cancel()
	<-done
}

// A script that hangs for one target holds up that target's lane only.
func TestDeliveryTargetsDoNotWaitForEachOther(t *testing.T) {
	release := make(chan struct{})
	done := make(chan string, 256)
	slow := netip.MustParsePrefix("203.0.113.1/32")
	d := newDelivery("a", actionLanes, time.Minute, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
		if e.Target == slow {
			<-release
		}
		done <- e.ID
		return nil
	})
	d.offer(sdk.Event{ID: "slow", Target: slow})
	for i := range byte(64) {
		d.offer(sdk.Event{ID: "quick", Target: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, i}), 32)})
	}
	finished := make(chan struct{})
	go func() { defer close(finished); d.run(t.Context()) }()
	for range 32 {
		if id := <-done; id != "quick" {
			t.Errorf("%s came first", id)
		}
	}
	close(release)
	d.finish()
	<-finished
}

// Nobody is told the end of an attack whose start was dropped, and no start
// that was told stays without its end.
func TestDeliveryDropsWholeAttacks(t *testing.T) {
	open := map[string]int{}
	d := newDelivery("a", 1, time.Second, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
		if e.Type == sdk.AttackStarted {
			open[e.ID]++
		} else {
			open[e.ID]--
		}
		return nil
	})
	const attacks = 2 * laneQueue
	for _, kind := range []sdk.EventType{sdk.AttackStarted, sdk.AttackEnded} {
		for i := range attacks {
			d.offer(sdk.Event{Type: kind, ID: strconv.Itoa(i)})
		}
	}
	d.finish()
	d.run(t.Context())
	for id, n := range open {
		if n != 0 {
			t.Fatalf("attack %s: %d more starts than ends", id, n)
		}
	}
	if got := d.delivered.Load() + d.dropped.Load(); got != 2*attacks || d.delivered.Load() != uint64(2*len(open)) {
		t.Errorf("%d delivered and %d dropped of %d", d.delivered.Load(), d.dropped.Load(), 2*attacks)
	}
}

// A plugin that is down gets its events when it is back.
func TestDeliveryWaitsForAPluginThatIsDown(t *testing.T) {
	calls := 0
	d := newDelivery("a", 1, time.Second, hclog.NewNullLogger(), func(context.Context, sdk.Event) error {
		if calls++; calls < deliveryTries+3 {
			return errNotRunning
		}
		return nil
	})
	d.offer(event("1"))
	d.finish()
	d.run(t.Context())
	if d.delivered.Load() != 1 {
		t.Errorf("%d delivered after %d calls", d.delivered.Load(), calls)
	}
}
