package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// A recording of datagrams counts what they tell of, the same twice, and only
// in a replay.
func TestFiles(t *testing.T) {
	s := &gen.Scenario{
		Seed: 3, Duration: 5 * time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Benign: gen.Benign{PPS: 2000},
	}
	var b bytes.Buffer
	told, err := (&gen.Telemetry{Protocol: gen.NetFlow9, Active: time.Second}).WritePcap(&b, s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "flows.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := "files = [\"" + path + "\"]\nsampling = 1"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := sdktest.New(t, plugin(), config).RunReplay(ctx, sdktest.Plan("203.0.113.0/24"))
	var packets uint64
	for _, d := range first.Deltas() {
		switch d.Kind {
		case ring.KindHost, ring.KindPrefix, ring.KindTotal:
			packets += d.Packets
		case ring.KindLoss:
			t.Errorf("%d lost, cause %d", d.Packets, d.ID)
		}
	}
	if packets != told.Packets {
		t.Errorf("%d packets, told %d", packets, told.Packets)
	}
	again := sdktest.New(t, plugin(), config).RunReplay(ctx, sdktest.Plan("203.0.113.0/24"))
	if !slices.Equal(first.Deltas(), again.Deltas()) {
		t.Error("a second replay gives other deltas")
	}
	ds := sdktest.New(t, plugin(), config).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "files" || !strings.Contains(ds[0].Detail, "replay --flows netflow") {
		t.Errorf("in run: %v", ds)
	}
}
