package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var attack = sdk.Event{Type: sdk.AttackStarted, ID: "a", Target: netip.MustParsePrefix("203.0.113.1/32"), PeakPPS: 12345}

func TestConformance(t *testing.T) { sdktest.Conformance(t, plugin, `greeting = "ahoy"`) }

// Through the contract, as the core calls it.
func TestNotify(t *testing.T) {
	if err := sdktest.New(t, plugin, ``).Notify(attack); err != nil {
		t.Error(err)
	}
}

// By itself, with a log that the test reads.
func TestGreeting(t *testing.T) {
	var log bytes.Buffer
	h, err := build(config{Greeting: "ahoy"}, sdk.Env{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Notify(t.Context(), attack); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ahoy", "attack.started", "203.0.113.1", "12345"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &log)
		}
	}
}
