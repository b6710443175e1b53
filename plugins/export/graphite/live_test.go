package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// bed is a carbon daemon with graphite-web, through which a test reads back.
type bed struct {
	*stores.Graphite
	t *testing.T
}

func newBed(t *testing.T) *bed {
	t.Helper()
	return &bed{stores.NewGraphite(t), t}
}

// points are the newest values of all paths, read through graphite-web.
func (b *bed) points() (map[string]float64, error) {
	var targets []string
	for depth := 1; depth < 8; depth++ {
		targets = append(targets, "fastnetmon"+strings.Repeat(".*", depth))
	}
	all, err := b.Render(targets...)
	out := map[string]float64{}
	for name, points := range all {
		out[name] = points[len(points)-1].Value
	}
	return out, err
}

// want waits until the store has exactly these points.
func (b *bed) want(points []point) {
	b.t.Helper()
	want := map[string]float64{}
	for _, p := range points {
		want[p.path] = p.value
	}
	sdktest.Until(b.t, "every point is read back", func() error {
		got, err := b.points()
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d paths, want %d", len(got), len(want))
		}
		for path, v := range want {
			if g, ok := got[path]; !ok || g != v {
				return fmt.Errorf("%s is %v (%v), want %v", path, g, ok, v)
			}
		}
		return nil
	})
}

// What is written is what graphite-web reads, in both layouts and protocols, and
// what happened while carbon was dead is there afterwards.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts carbon and graphite-web")
	}
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	t.Run("fastnetmon, pickle", func(t *testing.T) {
		b := newBed(t)
		h := sdktest.New(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%d\"\nprotocol = %q\nlayout = %q", b.Pickle, pickled, delivery.LayoutFastNetMon))
		s := sdktest.Snapshot(at, 10)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		b.want(communityPoints("fastnetmon", &s))
	})
	t.Run("native, plaintext, killed", func(t *testing.T) {
		b := newBed(t)
		h := sdktest.New(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%d\"\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", b.Plain))
		h.StateDir = t.TempDir()
		s := sdktest.Snapshot(at, 4)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		points := nativePoints("fastnetmon", &s)
		b.want(points)
		b.dashboard()
		b.Kill()
		s.Time = at.Add(10 * time.Second)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		send := func(from, to int) {
			t.Helper()
			var events []sdk.Event
			for n := from; n < to; n++ {
				events = append(append(events, sdktest.Attack(s.Time, n)...), sdktest.Mitigated(s.Time, n)...)
			}
			if err := h.Events(events); err != nil {
				t.Fatal(err)
			}
			for i := range events {
				points = append(points, eventPoints("fastnetmon", &events[i])...)
			}
		}
		send(0, 20)
		b.Start()
		b.want(points)
		stores.Paused(t, b.Server, func() { send(20, 30) }) // it acknowledges nothing
		send(30, 35)
		b.want(points)
	})
}
