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
	}{
		{"carpet", each("203.0.113", 64, 30), "prefix carpet 203.0.113.0/24"},
		{"one host", append(each("203.0.113", 20, 30), "--attack", "udp_flood,target=203.0.113.200,pps=2000,start=2s,for=6s"), "host flood 203.0.113.200"},
		{"all prefixes", slices.Concat(each("203.0.113", 30, 30), each("198.51.100", 30, 30), each("192.0.2", 30, 30)), "hostgroup all "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			capture := filepath.Join(t.TempDir(), "carpet.pcap")
			args := append([]string{"traffic", "--out", capture, "--network", "203.0.113.0/24", "--network", "198.51.100.0/24", "--network", "192.0.2.0/24", "--pps", "50", "--duration", "10s"}, c.attacks...)
			mustRun(t, args...)
			out := mustRun(t, "replay", "--config", config, "--json", capture).stdout
			var got []string
			for _, e := range parseEvents(t, out) {
				if e.Event == "attack.started" {
					got = append(got, strings.Join([]string{e.Scope, e.Threshold, e.Target}, " "))
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
