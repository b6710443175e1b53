package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const scopeConfig = `
network "home" {
  prefixes = ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.home]
  quiet    = "2s"

  threshold "flood" {
    direction = "incoming"
    pps       = 200
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 64]
    direction     = "incoming"
    pps           = 1000
  }
  threshold "all" {
    scope     = "hostgroup"
    direction = "incoming"
    pps       = 1200
  }
  threshold "uplink" {
    scope     = "network"
    direction = "incoming"
    pps       = 1300
  }
}
`

// A carpet over a prefix, and one over the whole network, are one attack each;
// half of a prefix's traffic on one host is the host's attack.
func TestReplayOfCarpets(t *testing.T) {
	config := write(t, "scopes.hcl", scopeConfig)
	each := func(network string, hosts, pps int) (out []string) {
		for i := range hosts {
			out = append(out, "--attack", fmt.Sprintf("udp_flood,target=%s.%d,pps=%d,start=2s,for=6s", network, 10+i, pps))
		}
		return out
	}
	for _, c := range []struct {
		name    string
		attacks []string
		want    string

		prefixes int // that the ten busiest addresses of the samples lie in, at least
	}{
		{"carpet", each("203.0.113", 64, 30), "prefix carpet 203.0.113.0/24", 1},
		{"one host", append(each("203.0.113", 20, 30), "--attack", "udp_flood,target=203.0.113.200,pps=2000,start=2s,for=6s"), "host flood 203.0.113.200", 1},
		{"all prefixes", slices.Concat(each("203.0.113", 30, 30), each("198.51.100", 30, 30), each("192.0.2", 30, 30)), "hostgroup all ", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			capture := filepath.Join(t.TempDir(), "carpet.pcap")
			args := append([]string{"traffic", "--out", capture, "--network", "203.0.113.0/24", "--network", "198.51.100.0/24", "--network", "192.0.2.0/24", "--pps", "50", "--duration", "10s"}, c.attacks...)
			mustRun(t, args...)
			out := mustRun(t, "replay", "--config", config, "--json", capture).stdout
			var got []string
			for _, e := range parseEvents(t, out) {
				switch e.Event {
				case "attack.started":
					got = append(got, strings.Join([]string{e.Scope, e.Threshold, e.Target}, " "))
				case "attack.ended":
					checkCarpetEvidence(t, &e, c.prefixes)
				}
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("attacks: %s; want %s", strings.Join(got, ", "), c.want)
			}
			if again := mustRun(t, "replay", "--config", config, "--json", capture).stdout; again != out {
				t.Error("the second replay differs")
			}
		})
	}
}

// checkCarpetEvidence looks at the samples of an attack: what it is, and where
// they are from.
func checkCarpetEvidence(t *testing.T, e *replayEvent, prefixes int) {
	t.Helper()
	want := "carpet"
	if e.Scope == "host" {
		want = "udp_flood"
	}
	if e.Evidence == nil || e.Label == nil || *e.Label != want || e.Evidence.Samples < 90 {
		t.Errorf("%s: label %v, want %s; evidence %+v", e.Scope, e.Label, want, e.Evidence)
		return
	}
	in := map[string]bool{}
	for _, top := range e.Evidence.Tops["destinations"].Rows {
		in[top.Value[:strings.LastIndexByte(top.Value, '.')]] = true
	}
	if len(in) < prefixes {
		t.Errorf("%s: samples from %v, want %d prefixes", e.Scope, in, prefixes)
	}
}
