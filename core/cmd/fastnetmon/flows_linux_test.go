package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const flowsConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24", "2001:db8::/64"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "%[4]s"

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
  threshold "sends" {
    direction = "outgoing"
    bps       = "%[3]s"
  }
}

capture "netflow" "flows" {
  listen = ["127.0.0.1:%[2]d"]
}

pipeline "main" {
  captures = [capture.netflow.flows]
}
`

// What a router has told of its templates outlives the daemon, without being
// configured.
func TestTemplatesSurviveARestart(t *testing.T) {
	dir, port := t.TempDir(), freeUDP(t)
	config := write(t, "flows.hcl", fmt.Sprintf(flowsConfig, dir, port, "10G", "5s"))
	send := func() {
		mustRun(t, "traffic", "--send", "ipfix", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", "2s", "--active", "500ms", "--inactive", "100ms",
			"--attack", "udp_flood,target=203.0.113.7,pps=400000")
	}
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	send()
	l.waitLog(t, "attack started")
	l.stop(t)
	file := filepath.Join(dir, "state", "plugins", "capture-netflow-flows", "templates")
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Fatalf("templates are not kept: %v, %v", info, err)
	}
	l = start(t, "run", "--config", config)
	l.waitLog(t, "templates of the last run are used")
	l.waitLog(t, "running: captures")
	send()
	l.waitLog(t, "attack started")
	l.stop(t)
}

// TestSteadyFlowsLive is N5 with a router's flow cache in its own time: a
// steady rate reads as what it is, though it is told of once an active timeout.
// A long run has 1 Gbit/s and 60 s, and holds every reading to 5 %, which a
// machine that is busy with other things could not; a normal one demands that
// no lump is taken for an attack.
func TestSteadyFlowsLive(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the traffic's own time")
	}
	long := os.Getenv("FASTNETMON_SOAK") == "1"
	for _, flows := range []int{1, 1000} {
		t.Run(fmt.Sprintf("%d flows", flows), func(t *testing.T) {
			t.Parallel()
			active, average, pps, limit := 3*time.Second, "1s", 8333.0, "300M"
			if long {
				active, average, pps, limit = time.Minute, "5s", 83333, "1200M"
			}
			const size = 1500
			length := 4 * active
			dir, port := t.TempDir(), freeUDP(t)
			config := write(t, "flows.hcl", fmt.Sprintf(flowsConfig, dir, port, limit, average))
			l := start(t, "run", "--config", config)
			l.waitLog(t, "running: captures")

			args := []string{
				program, "traffic", "--send", "ipfix", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", length.String(), "--pps", "0",
				"--active", active.String(),
			}
			rng := rand.New(rand.NewPCG(5, uint64(flows)))
			for range flows { // each to a victim and a port of its own
				begins := time.Duration(rng.Int64N(int64(active)))
				if flows == 1 {
					begins = 0
				}
				args = append(args, "--attack", fmt.Sprintf("memcached_amplification,target=203.0.113.7,direction=outgoing,size=%d,pps=%g,start=%s", size, pps/float64(flows), begins))
			}
			began := time.Now()
			router := startAs(t, args...)
			var low, high float64 = math.MaxFloat64, 0
			for time.Since(began) < length-active/2 {
				time.Sleep(active / 40)
				bps := outgoingRate(t, config)
				// All flows have been told of twice, and the average has settled.
				if time.Since(began) > 2*active+active/2 {
					low, high = min(low, bps), max(high, bps)
				}
			}
			err := <-router.done
			close(router.done)
			if err != nil {
				t.Errorf("traffic: %v\n%s", err, router.stderr)
			}
			want := pps * size * 8
			t.Logf("%.0f Mbit/s read %.3f to %.3f of that", want/1e6, low/want, high/want)
			late := strings.Contains(router.stderr.String(), "fell behind")
			if late {
				t.Logf("the router itself was late: %s", router.stderr)
			}
			if low == 0 || high == 0 || long && !late && (low < 0.95*want || high > 1.05*want) {
				t.Errorf("%.0f Mbit/s read %.0f to %.0f", want/1e6, low/1e6, high/1e6)
			}
			if strings.Contains(l.stderr.String(), "attack started") {
				t.Errorf("steady traffic is taken for an attack:\n%s", l.stderr)
			}
			l.stop(t)
		})
	}
}

// outgoingRate is what the only host sends, in bits per second; 0 while there
// is none.
func outgoingRate(t *testing.T, config string) float64 {
	t.Helper()
	var out sdktest.Output
	if stderr, _, err := ask(t.Context(), &out, "hosts", "--direction", "outgoing", "--config", config, "--json"); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	var hosts []struct{ Counters []struct{ BPS float64 } }
	if err := json.Unmarshal([]byte(out.String()), &hosts); err != nil {
		t.Fatal(err)
	}
	if len(hosts) != 1 || len(hosts[0].Counters) == 0 {
		return 0
	}
	return hosts[0].Counters[0].BPS
}
