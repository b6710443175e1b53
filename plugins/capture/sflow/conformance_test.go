package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("listen = [%q]\nworkers = 2", freePort(t, "127.0.0.1")))
}
