package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// limited is a configuration with one limit for incoming packets.
func limited(t *testing.T, name string, pps int) string {
	return write(t, name, fmt.Sprintf(`
network "n" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.n]
  threshold "flood" {
    direction = "incoming"
    pps       = %d
  }
}
`, pps))
}

// twoAttacks are the flags of traffic with one attack of 10,000 and one of
// 50,000 packets a second.
var twoAttacks = []string{
	"--network", "203.0.113.0/24", "--seed", "7", "--attack", "syn_flood,target=203.0.113.7,pps=10000,start=3s,for=5s",
	"--attack", "udp_flood,target=203.0.113.8,pps=50000,start=6s,for=5s",
}

func TestReplayAgainst(t *testing.T) {
	low, high := limited(t, "low.hcl", 5000), limited(t, "high.hcl", 20000)
	capture := filepath.Join(t.TempDir(), "two.pcap")
	mustRun(t, append([]string{"traffic", "--out", capture}, twoAttacks...)...)
	text := mustRun(t, "replay", "--config", low, "--against", high, capture).stdout
	sdktest.Golden(t, filepath.Join("testdata", "compare.golden"), strings.NewReplacer(low, "low.hcl", high, "high.hcl").Replace(unpadded(text)), *update)
	out := mustRun(t, "replay", "--config", low, "--against", high, "--json", capture).stdout
	if again := mustRun(t, "replay", "--config", low, "--against", high, "--json", capture).stdout; again != out {
		t.Errorf("the second comparison differs:\n%s\n%s", out, again)
	}
	var fires []string
	for line := range strings.Lines(out) {
		var d struct {
			Event, Fires, Target string
			Config, Against      []struct {
				Threshold, Started string
				Value, Limit       float64
			}
			Only  int `json:"only_config"`
			Other int `json:"only_against"`
			Both  int
		}
		if strings.Contains(line, "compare.finished") {
			var sums map[string]any
			if err := json.Unmarshal([]byte(line), &sums); err != nil || sums["both"] != 1.0 || sums["only_config"] != 1.0 || sums["only_against"] != 0.0 {
				t.Errorf("%v: %s", err, line)
			}
			continue
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		fires = append(fires, fmt.Sprintf("%s %s %d %d", d.Target, d.Fires, len(d.Config), len(d.Against)))
	}
	if got := strings.Join(fires, ", "); got != "203.0.113.7 config 1 0, 203.0.113.8 both 1 1" {
		t.Error(got)
	}
}

// unpadded takes out the spaces that align a table whose names are paths of
// unknown length.
func unpadded(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		out.WriteString(line[:indent] + strings.Join(strings.Fields(line), " ") + "\n")
	}
	return out.String()
}

// Recorded telemetry of the same traffic gives the same attacks in every
// protocol, with the settings of the configuration's own capture.
func TestReplayFlows(t *testing.T) {
	dir := t.TempDir()
	config := write(t, "flows.hcl", `
network "n" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.n]
  threshold "flood" {
    direction = "incoming"
    pps       = 5000
  }
}
exporter "r1" {
  source   = ["192.0.2.1"]
  sampling = 10
}
capture "netflow" "routers" {
  exporters = [exporter.r1]
}
capture "netflow" "others" {
  listen = ["127.0.0.1:9995"]
}
pipeline "main" {
  captures = [capture.netflow.routers, capture.netflow.others]
}
`)
	for _, protocol := range []string{"netflow5", "netflow9", "ipfix", "sflow"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, protocol+".pcap")
			mustRun(t, append([]string{"traffic", "--send", protocol, "--active", "1s", "--sampling", "10", "--out", file}, twoAttacks...)...)
			through := "netflow.routers"
			if protocol == "sflow" {
				through = "sflow" // of which the configuration has none
			}
			out := mustRun(t, "replay", "--config", config, "--json", "--flows", through, file).stdout
			if again := mustRun(t, "replay", "--config", config, "--json", "--flows", through, file).stdout; again != out {
				t.Errorf("the second replay differs:\n%s\n%s", out, again)
			}
			started := map[string]bool{}
			events := parseEvents(t, out)
			for _, e := range events[:len(events)-1] {
				if e.Event == "attack.started" {
					started[e.Target] = true
				}
			}
			if len(started) != 2 || !started["203.0.113.7"] || !started["203.0.113.8"] {
				t.Errorf("attacks on %v", started)
			}
			if n := events[len(events)-1].Packets; n < 330000 || n > 350000 {
				t.Errorf("%d packets count of 340,000 sampled 1 in 10", n)
			}
		})
	}
	file := filepath.Join(dir, "some.pcap")
	mustRun(t, append([]string{"traffic", "--send", "netflow9", "--out", file}, twoAttacks...)...)
	for through, want := range map[string]string{
		"netflow":         `several captures of "netflow"`,
		"netflow.missing": `no capture "netflow" "missing"`,
		"nothing":         "nothing",
	} {
		if r := run(t, "replay", "--config", config, "--flows", through, file); r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("--flows %s: exit %d, %s", through, r.code, r.stderr)
		}
	}
	// What went to another port than the capture listens on is accounted for.
	out := mustRun(t, "replay", "--config", config, "--json", "--flows", "netflow.others", file).stdout
	events := parseEvents(t, out)
	if end := events[len(events)-1]; end.Packets != 0 || end.Ledger[0].Dropped["file_other_port"] == 0 {
		t.Errorf("%+v", end)
	}
}
