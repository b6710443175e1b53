package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("brokers = [\"127.0.0.1:%d\"]", sdktest.FreePort(t)))
}

func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`brokers = []`:                                "brokers",
		`brokers = ["a:1", "b"]`:                      "brokers[1]",
		`events_topic = "a b"`:                        "events_topic",
		"events_topic = \"\"\nsnapshots_topic = \"\"": "events_topic",
		`compression = "zip"`:                         "compression",
		"user = \"a\"\nmechanism = \"md5\"":           "mechanism",
		`password = "x"`:                              "password",
		"tls {\n key_file = \"x\"\n}":                 "tls",
		"delivery {\n snapshots = 0\n}":               "delivery.snapshots",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
}
