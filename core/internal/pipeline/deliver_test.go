package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func event(id string) sdk.Event { return sdk.Event{Type: sdk.AttackStarted, ID: id} }

func TestDeliveryKeepsOrderAndFinishes(t *testing.T) {
	var got []string
	d := newDelivery("a", time.Second, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
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
	if ok, failed, dropped := d.counts(); ok != 3 || failed != 0 || dropped != 0 {
		t.Fatalf("counts %d %d %d", ok, failed, dropped)
	}
}

func TestDeliveryRetriesOnlyWhenAsked(t *testing.T) {
	calls := map[string]int{}
	d := newDelivery("a", time.Second, hclog.NewNullLogger(), func(_ context.Context, e sdk.Event) error {
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
	if ok, failed, _ := d.counts(); ok != 1 || failed != 1 {
		t.Fatalf("counts %d %d", ok, failed)
	}
}

// A plugin that never answers costs its own queue and nothing else.
func TestDeliveryNeverBlocksTheOfferer(t *testing.T) {
	d := newDelivery("hung", time.Hour, hclog.NewNullLogger(), func(ctx context.Context, _ sdk.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.run(ctx) }()
	for range 3 * deliveryQueue {
		d.offer(event("x"))
	}
	if _, _, dropped := d.counts(); dropped < deliveryQueue {
		t.Fatalf("%d dropped, want at least %d", dropped, deliveryQueue)
	}
	cancel()
	<-done
}
