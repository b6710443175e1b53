package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("url = \"http://127.0.0.1:%d\"", sdktest.FreePort(t)))
}

func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`url = "127.0.0.1:8086"`:       "url",
		`url = "http://a:b@127.0.0.1"`: "url",
		`url = "http://a/?db=x"`:       "url",
		`version = 3`:                  "version",
		`token = "x"`:                  "version",
		"version = 2\nuser = \"x\"":    "version",
		`database = ""`:                "database",
		"version = 2\nbucket = \"\"":   "bucket",
		`layout = "old"`:               "layout",
		"tls {}":                       "tls",
		"url = \"https://x\"\ntls {\n cert_file = \"x\"\n}": "tls",
		"delivery {\n timeout = \"1ms\"\n}":                 "delivery.timeout",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
}
