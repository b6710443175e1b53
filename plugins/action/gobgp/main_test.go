package main

import (
	"os"
	"testing"
)

// envPlugin makes the test program the plugin, for tests that kill it.
const envPlugin = "TEST_GOBGP_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(envPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
