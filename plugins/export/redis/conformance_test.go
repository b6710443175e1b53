package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%d\"", sdktest.FreePort(t)))
}

func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`address = "6379"`:                 "address",
		"socket = \"/run/s\"\ntls {}":      "tls",
		`database = -1`:                    "database",
		`keep = "1ms"`:                     "keep",
		`max_events = 0`:                   "max_events",
		`layout = "old"`:                   "layout",
		"tls {\n key_file = \"x\"\n}":      "tls",
		"delivery {\n backoff = \"1h\"\n}": "delivery.max_backoff",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
}
