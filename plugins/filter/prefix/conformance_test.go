package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sdktest.Conformance(t, plugin(), "prefixes = [\"198.51.100.7\"]\nfiles = ["+strconv.Quote(list)+"]")
}
