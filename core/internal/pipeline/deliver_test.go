package pipeline

import (
	"context"
	"errors"
	"net/netip"
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
	for range 3 * deliveryQueue {
		d.offer(event("x"))
	}
	if d.dropped.Load() < deliveryQueue {
		t.Fatalf("%d dropped, want at least %d", d.dropped.Load(), deliveryQueue)
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
