package main

import (
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// Complaints point at the attribute that is wrong.
func TestComplaints(t *testing.T) {
	for body, want := range map[string]string{
		`listen = "9209"`:                         "listen",
		`listen = "127.0.0.1"`:                    "listen",
		`listen = "127.0.0.1:metrics"`:            "listen",
		`listen = "127.0.0.1:70000"`:              "listen",
		`listen = "example.net:9209"`:             "listen",
		`listen = "[::g]:9209"`:                   "listen",
		`path = "metrics"`:                        "path",
		`path = "/"`:                              "path",
		`path = "/a/"`:                            "path",
		`path = "/a/../b"`:                        "path",
		`path = "/a?b"`:                           "path",
		`path = "/<script>"`:                      "path",
		`top_hosts = -1`:                          "top_hosts",
		`top_hosts = 10001`:                       "top_hosts",
		`max_series = 99`:                         "max_series",
		`max_series = 1000001`:                    "max_series",
		`host_counters = ["total", ""]`:           "host_counters[1]",
		`host_counters = ["total", "udp", "udp"]`: "host_counters[2]",
	} {
		ds := sdktest.New(t, plugin(), body).Validate()
		if len(ds) != 1 || ds[0].Path.String() != want {
			t.Errorf("%s: %v, want one complaint at %s", body, ds, want)
		}
	}
	for _, body := range []string{
		``, `listen = ":9209"`, `listen = "[::1]:0"`, `listen = "localhost:1"`, `path = "/fastnetmon/metrics"`, `top_hosts = 0`, `host_counters = []`,
	} {
		if ds := sdktest.New(t, plugin(), body).Validate(); len(ds) > 0 {
			t.Errorf("%s: %v", body, ds)
		}
	}
}

// The port is opened at the start, not by a check; one in use is said to be.
func TestAddressInUse(t *testing.T) {
	e, _ := serve(t, defaults())
	taken := defaults()
	taken.Listen = e.server.address.String()
	again := newExporter(taken, e.log)
	if err := again.Validate(t.Context()); err != nil {
		t.Errorf("a check opens the port: %v", err)
	}
	err := again.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Another program listens on "+taken.Listen) {
		t.Errorf("%v", err)
	}
	for _, address := range []string{"192.0.2.1:9209"} {
		c := defaults()
		c.Listen = address
		if err := newExporter(c, e.log).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "not an address of this host") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
