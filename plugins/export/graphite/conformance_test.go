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
		`address = "2003"`:               "address",
		`address = ":2003"`:              "address",
		`address = "a:70000"`:            "address",
		`protocol = "udp"`:               "protocol",
		`prefix = "a..b"`:                "prefix",
		`prefix = "a b"`:                 "prefix",
		`layout = "old"`:                 "layout",
		"delivery {\n snapshots = 0\n}":  "delivery.snapshots",
		"delivery {\n spool = \"1k\"\n}": "delivery.spool",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
}
