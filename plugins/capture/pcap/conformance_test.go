package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	b := classic(le, false, 1)
	for i := range int64(100) { // a packet every second: the plugin is stopped while it plays
		b.record(want{Time: noon + i*1e9, Wire: 60, Data: "x"}, 1000)
	}
	file := filepath.Join(t.TempDir(), "slow.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sdktest.Conformance(t, plugin(), "files = "+quoted(file))
}
