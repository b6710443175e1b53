package pipeline

import (
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

func TestDefaultBurstIsTheEngines(t *testing.T) {
	var rules []engine.Rule
	for _, r := range config.DefaultBurst() {
		rules = append(rules, engine.Rule(r))
	}
	if !slices.Equal(rules, engine.DefaultRules()) {
		t.Errorf("%v and %v", rules, engine.DefaultRules())
	}
}

// Burst rules of a group hold for its thresholds, but for one that has its
// own, and for its children; what fires is what they say.
func TestBurstRules(t *testing.T) {
	b := newCountBed(t, load(t, `
network "n" { prefixes = ["10.0.0.0/8"] }
hostgroup "slow" {
  networks = [network.n]
  average  = "1m"
  burst    = ["10x2"]
  threshold "group" {
    direction = "incoming"
    pps       = 1000
  }
  threshold "own" {
    direction = "incoming"
    counter   = counter.udp
    burst     = ["3x4"]
    pps       = 1000
  }
  threshold "average" {
    direction = "incoming"
    counter   = counter.fragmented
    burst     = []
    pps       = 1
    fps       = null
  }
}
hostgroup "child" {
  base     = hostgroup.slow
  prefixes = ["10.1.0.0/16"]
  threshold "own" {
    pps = 1000
  }
}
`))
	b.run(time.Second, flow{src: "192.0.2.1", dst: "10.0.0.9", proto: 6, pps: 20}) // the clock runs
	start := b.now
	for b.now < start+int64(2*time.Second) {
		b.run(50*time.Millisecond,
			flow{src: "192.0.2.1", dst: "10.0.0.1", proto: 6, pps: 2400},
			flow{src: "192.0.2.1", dst: "10.0.0.2", proto: 17, pps: 4800},
			flow{src: "192.0.2.1", dst: "10.1.0.2", proto: 17, pps: 4800},
			flow{src: "192.0.2.1", dst: "10.0.0.3", proto: 6, pps: 1800})
	}
	want := map[string]string{"10.0.0.1": "group 10x2", "10.0.0.2": "own 3x4", "10.1.0.2": "own 3x4"}
	got := map[string]string{}
	for _, a := range b.det.Attacks(b.now) {
		got[a.Target.Addr().String()] = a.Crossed[0].Threshold + " " + a.Crossed[0].Rule.String()
		if after := time.Duration(a.Started - start); after > 1100*time.Millisecond {
			t.Errorf("%v after %v", a.Target, after)
		}
	}
	if len(got) != len(want) {
		t.Errorf("attacks %v, want %v", got, want)
	}
	for host, rule := range want {
		if got[host] != rule {
			t.Errorf("%s: %q, want %q", host, got[host], rule)
		}
	}
}
