package main

import (
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestConformance(t *testing.T) { sdktest.Conformance(t, plugin, `port = 53`) }

// What uses the port is dropped, everything else passes.
func TestJudge(t *testing.T) {
	records := []traffic.Record{{SrcPort: 53, DstPort: 4000}, {SrcPort: 4000, DstPort: 53}, {SrcPort: 4000, DstPort: 80}, {}}
	judged, err := sdktest.New(t, plugin, `port = 53`).Judge(records)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false} {
		if got := judged[i].Verdict == traffic.VerdictDrop; got != want {
			t.Errorf("record %d: dropped %v, want %v", i, got, want)
		}
	}
}
