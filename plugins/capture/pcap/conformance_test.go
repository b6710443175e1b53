package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	var frames []frame
	for i := range int64(100) { // a packet every second: the plugin is stopped while it plays
		frames = append(frames, frame{noon + i*1e9, "x"})
	}
	file := filepath.Join(t.TempDir(), "slow.pcap")
	if err := os.WriteFile(file, classic(t, frames...), 0o600); err != nil {
		t.Fatal(err)
	}
	sdktest.Conformance(t, plugin(), "files = "+quoted(file))
}
