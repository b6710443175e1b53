package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) { sdktest.Conformance(t, plugin, `target = "203.0.113.1"`) }

// The traffic arrives as deltas of the target.
func TestTraffic(t *testing.T) {
	h := sdktest.New(t, plugin, `
		target = "203.0.113.1"
		pps    = 20000
	`)
	c := h.StartCapture(sdktest.Plan("203.0.113.0/24"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var packets, octets uint64
	err := c.Wait(ctx, func(deltas []ring.Delta) bool {
		packets, octets = 0, 0
		for _, d := range deltas {
			if d.Kind == ring.KindHost && d.Prefix().Addr() == netip.MustParseAddr("203.0.113.1") && d.Direction == ring.Incoming {
				packets += d.Packets
				octets += d.Bytes
			}
		}
		return packets >= 10000
	})
	if err != nil {
		t.Fatal(err)
	}
	if octets != packets*100 {
		t.Errorf("%d packets with %d octets", packets, octets)
	}
}

// A mistake is shown where it was made.
func TestBadTarget(t *testing.T) {
	ds := sdktest.New(t, plugin, `target = "somewhere"`).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "target" || !strings.Contains(ds[0].Detail, "somewhere") {
		t.Errorf("%v", ds)
	}
}
