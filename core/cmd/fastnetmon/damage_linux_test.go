package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

const damageConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    pps = 20000
  }
}

capture "netflow" "flows" {
  listen   = ["127.0.0.1:%[2]d"]
  sampling = 1
}

capture "sflow" "samples" {
  listen = ["127.0.0.1:%[3]d"]
}

pipeline "main" {
  captures = [capture.netflow.flows, capture.sflow.samples]
}
`

// sound is datagrams to damage: of each protocol, of networks that are not
// ours, and those of vendors' devices where the fixtures are there.
func sound(t *testing.T) (flows, samples [][]byte) {
	t.Helper()
	s := &gen.Scenario{
		Seed: 1, Duration: 5 * time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:7::/64")},
		Benign: gen.Benign{PPS: 2000, IPv6: 0.4, VLAN: 0.2},
	}
	for _, x := range []gen.Telemetry{
		{Protocol: gen.NetFlow5},
		{Protocol: gen.NetFlow9, Sampling: 10, Domain: 2},
		{Protocol: gen.IPFIX, Sampling: 10, Domain: 3},
		{Protocol: gen.SFlow, Sampling: 10},
		{Protocol: gen.SFlow, Expanded: true, Counters: time.Second},
	} {
		pool, err := x.Pool(s, 500)
		if err != nil {
			t.Fatal(err)
		}
		list := &flows
		if x.Protocol == gen.SFlow {
			list = &samples
		}
		if pool.Templates != nil {
			*list = append(*list, pool.Templates.Data)
		}
		for _, d := range pool.Datagrams {
			*list = append(*list, d.Data)
		}
	}
	files, err := filepath.Glob(filepath.Join(sdktest.Fixtures(t, "vendor-flows"), "*.dat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && len(b) <= 65000 {
			flows = append(flows, b)
		}
	}
	return flows, samples
}

// damage sends 2,000 datagrams a second with a few octets changed, until it is
// told to stop.
func damage(t *testing.T, seed uint64, port int, of [][]byte) (stop func()) {
	t.Helper()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		rng := rand.New(rand.NewPCG(seed, seed))
		began := time.Now()
		for n := 0; ; n++ {
			b := append([]byte(nil), of[rng.IntN(len(of))]...)
			for range 1 + rng.IntN(4) {
				b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
			}
			_, _ = conn.Write(b) // it may be too much for a moment
			select {
			case <-end:
				return
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / 2000))):
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		conn.Close()
	}
}

// While somebody sends damaged datagrams to both flow captures, an attack that
// a sound exporter tells of is found as ever, no plugin ends, and every record
// is accounted for.
func TestDamageHidesNoAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the attacks' own time")
	}
	flows, samples := sound(t)
	netflow, sflow := freeUDP(t), freeUDP(t)
	config := write(t, "damage.hcl", fmt.Sprintf(damageConfig, t.TempDir(), netflow, sflow))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	attack := func(protocol, target string, port int) {
		t.Helper()
		const quiet = time.Second
		began := time.Now()
		router := startAs(t, program, "traffic", "--send", protocol, "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", "1m", "--network", "203.0.113.0/24",
			"--pps", "500", "--active", "1s", "--inactive", "100ms", "--attack", fmt.Sprintf("syn_flood,target=%s,pps=200000,start=%s", target, quiet))
		l.waitLog(t, "target="+target)
		t.Logf("%s at %s: found %.2f s after its first packet", protocol, target, (time.Since(began) - quiet).Seconds())
		if err := router.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	attack("netflow9", "203.0.113.11", netflow)
	attack("sflow", "203.0.113.12", sflow)
	before := captures(t, config)
	stopFlows, stopSamples := damage(t, 1, netflow, flows), damage(t, 2, sflow, samples)
	time.Sleep(time.Duration(counts(1, 60)) * time.Second)
	attack("netflow9", "203.0.113.21", netflow)
	attack("ipfix", "203.0.113.22", netflow)
	attack("netflow5", "203.0.113.23", netflow)
	attack("sflow", "203.0.113.24", sflow)
	stopFlows()
	stopSamples()
	if after := captures(t, config); after != before {
		t.Errorf("captures were %s and are %s\n%s", before, after, l.stderr)
	}
	accounted(t, config)
	l.stop(t)
}

// captures is which processes they are.
func captures(t *testing.T, config string) (all string) {
	t.Helper()
	var list []pluginRow
	if err := json.Unmarshal([]byte(mustRun(t, "plugins", "--config", config, "--json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		all += fmt.Sprintf("%s %d ", p.State, p.PID)
	}
	return all
}

// accounted wants the accounts of all inputs to add up.
func accounted(t *testing.T, config string) {
	t.Helper()
	var ledger []ledgerRow
	out := mustRun(t, "ledger", "--config", config, "--json").stdout
	if err := json.Unmarshal([]byte(out), &ledger); err != nil || len(ledger) != 2 {
		t.Fatalf("%v in %s", err, out)
	}
	for _, row := range ledger {
		lost := uint64(0)
		for _, n := range row.Dropped {
			lost += n
		}
		if row.Received != row.Used+row.InFlight+lost || row.Used == 0 || lost == 0 {
			t.Errorf("received %d, used %d, in flight %d, lost %d", row.Received, row.Used, row.InFlight, lost)
		}
	}
}
