package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// An attack on a hostgroup of several prefixes, whose threshold names the action,
// is one mitigation for each of them; what is beyond the guards' counts together
// is held together.
func TestAHostgroupIsMitigated(t *testing.T) {
	b := newBed(t, "2s", "")
	text := strings.NewReplacer(`  threshold "flood" {
    direction = "incoming"
    pps       = 2000
  }`, `  threshold "flood" {
    direction = "incoming"
    pps       = 1000000
  }`).Replace(b.text) + `
hostgroup "shop" {
  prefixes = ["203.0.113.0/28", "203.0.113.32/28", "2001:db8:5::/64"]
  base     = hostgroup.default

  threshold "together" {
    scope     = "hostgroup"
    direction = "incoming"
    pps       = 2000
    actions   = [action.rib.edge.blackhole]
  }
}

guard {
  shortest_prefix = [28, 64]
  max_share       = "100%"
  max_active      = 2
}
`
	b.configure(text)
	b.run()
	b.flood(true)
	parts := []string{"203.0.113.0/28", "203.0.113.32/28", "2001:db8:5::/64"}
	for _, p := range parts {
		if m := b.await(p, "held"); !strings.Contains(m.Cause, "3 prefixes") {
			t.Errorf("%+v", m)
		}
	}
	mustRun(t, "held", "release", b.await(parts[0], "held").ID, "--config", b.config)
	for _, p := range parts {
		b.await(p, "active")
	}
	want := []string{"2001:db8:5::/64 discard", "203.0.113.0/28 discard", "203.0.113.32/28 discard"}
	got := b.routes()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the peer has %q", got)
	}
	b.flood(false)
	b.awaitRoutes(0)
	for deadline := time.Now().Add(20 * time.Second); len(b.list("--history")) != len(parts); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("history: %+v", b.list("--history"))
		}
	}
	b.daemon.stop(t)
}
