package main

import (
	"fmt"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), fmt.Sprintf("url = \"mongodb://127.0.0.1:%d\"", sdktest.FreePort(t)))
}

func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`url = "127.0.0.1:27017"`:                       "url",
		`url = "http://127.0.0.1"`:                      "url",
		`url = "mongodb://me:secret@127.0.0.1"`:         "url",
		`url = "mongodb://127.0.0.1/fastnetmon"`:        "url",
		`url = "mongodb://127.0.0.1/?w=1"`:              "url",
		`url = "mongodb://127.0.0.1/?authSource=x"`:     "url",
		`url = "mongodb://127.0.0.1/?readPreference=x"`: "url",
		`url = "mongodb://127.0.0.1/?%zz"`:              "url",
		`database = "a b"`:                              "database",
		`mechanism = "kerberos"`:                        "mechanism",
		`mechanism = "plain"`:                           "mechanism",
		`mechanism = "x509"`:                            "mechanism",
		`password = "x"`:                                "password",
		`user = "x"`:                                    "user",
		`write_concern = "0"`:                           "write_concern",
		`write_concern = "all"`:                         "write_concern",
		`keep = "1s"`:                                   "keep",
		`rates_size = "1K"`:                             "rates_size",
		`layout = "old"`:                                "layout",
		"tls {\n key_file = \"x\"\n}":                   "tls",
		"delivery {\n timeout = \"1ms\"\n}":             "delivery.timeout",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
	for _, body := range []string{
		`url = "mongodb://a.example.net,[2001:db8::1]:27018/?replicaSet=rs0"`,
		`url = "mongodb+srv://nowhere.invalid/?readPreference=primary"`, // which is not looked up
		`write_concern = "3"`,
		"mechanism = \"x509\"\ntls {\n cert_file = \"a\"\n key_file = \"b\"\n}",
	} {
		if ds := sdktest.New(t, plugin(), body).Validate(); len(ds) != 0 {
			t.Errorf("%s: %v", body, ds)
		}
	}
}
