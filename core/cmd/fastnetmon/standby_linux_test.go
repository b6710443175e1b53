package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// With an average over an hour a host's rate tells how many packets it was
// counted with since the test began.
const standbyConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1h"

  threshold "flood" {
    pps = 100000
  }
}

capture "afpacket" "primary" {
  interfaces = ["mirror1"]
  process {
    user         = "nobody"
    capabilities = ["CAP_NET_RAW"]
  }
}

capture "pcap" "second" {
  interface = "mirror2"
  process {
    capabilities = ["CAP_NET_RAW"]
    standby_for  = capture.afpacket.primary
  }
}

pipeline "main" {
  captures = [capture.afpacket.primary, capture.pcap.second]
}
`

// Two captures see one switch's traffic at two ports, and one stands by for
// the other: each packet counts once, by the first while it counts, by the
// second from three seconds after, until the first is back.
func TestMirrorStandby(t *testing.T) {
	t.Parallel()
	ownNetwork(t, [2]string{"switch1", "mirror1"}, [2]string{"switch2", "mirror2"})
	dir := shortDir(t)
	config := filepath.Join(dir, "standby.hcl")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(config, fmt.Appendf(nil, standbyConfig, dir), 0o600)); err != nil { // whose user may enter
		t.Fatal(err)
	}
	w := watch(t, config)
	awaitInterface(t, w, config)
	ownUserAlone(t, config)
	first, second := newWire(t, "switch1"), newWire(t, "switch2")
	const each = 50
	// to sends packets to a host of each family.
	to := func(host, packets int, wires ...*wire) {
		t.Helper()
		for _, prefix := range []string{"203.0.113.", "2001:db8::"} {
			s := gen.Scenario{
				Seed: uint64(host), Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}, Duration: time.Second,
				Attacks: []gen.Attack{{Kind: gen.UDPFlood, Target: netip.MustParseAddr(fmt.Sprint(prefix, host)), PPS: float64(packets)}},
			}
			if err := s.Packets(func(p *gen.Packet) bool {
				for _, x := range wires {
					x.send(p.Frame)
				}
				return true
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	counted := func(host int) (v4, v6 int) {
		return packetsCounted(t, config, "203.0.113.", host), packetsCounted(t, config, "2001:db8::", host)
	}
	expect := func(when string, host, want int) {
		t.Helper()
		w.await(t, latencyCeiling, when, func() bool { v4, v6 := counted(host); return v4 >= want && v6 >= want })
		if v4, v6 := counted(host); v4 != want || v6 != want {
			t.Errorf("%s: host %d was counted with %d and %d packets, not %d", when, host, v4, v6, want)
		}
	}
	link := func(state string) {
		t.Helper()
		if out, err := exec.Command("ip", "link", "set", "mirror1", state).CombinedOutput(); err != nil {
			t.Fatalf("ip link: %v: %s", err, out)
		}
	}
	turns := func() int { return len(w.log("a capture is silent: its standby counts")) }

	// A first capture that is slow to start was silent, too.
	w.await(t, latencyCeiling, "the first counts", func() bool { to(9, 1, first); v4, v6 := counted(9); return v4+v6 > 0 })
	before := turns()
	to(1, each, first, second)
	expect("both see it, the first counts", 1, each)
	link("down")
	to(2, each, second)
	early := turns() == before // but on a machine that stood still for three seconds
	w.await(t, latencyCeiling, "the standby takes over", func() bool { return turns() > before })
	if v4, v6 := counted(2); early && v4+v6 > 0 {
		t.Errorf("%d and %d packets count before the first capture was silent for 3 s", v4, v6)
	}
	to(3, each, second)
	expect("the standby counts", 3, each)

	link("up")
	stops := len(w.log("a capture counts again: its standby stops"))
	w.await(t, latencyCeiling, "the first counts again", func() bool {
		to(4, 1, first)
		return len(w.log("a capture counts again: its standby stops")) > stops
	})
	to(5, each, second)
	to(6, each, first, second)
	expect("both see it, the first counts again", 6, each)
	if v4, v6 := counted(5); v4+v6 > 0 {
		t.Errorf("%d and %d packets count twice", v4, v6)
	}
	w.stop(t)
}

// ownUserAlone checks that the capture afpacket runs as the user that its block
// names, with CAP_NET_RAW and nothing else.
func ownUserAlone(t *testing.T, config string) {
	t.Helper()
	var list []struct {
		Name string
		PID  int
	}
	if err := json.Unmarshal([]byte(mustRun(t, "plugins", "--config", config, "--json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Name != "afpacket" {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nUid:\t" + nobody.Uid + "\t" + nobody.Uid + "\t" + nobody.Uid, "\nCapPrm:\t0000000000002000\n", "\nCapEff:\t0000000000002000\n", "\nNoNewPrivs:\t1\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%q is not in\n%s", want, status)
			}
		}
		return
	}
	t.Errorf("no capture afpacket among %+v", list)
}

// packetsCounted is how many packets a host was counted with, whose average is
// taken over an hour.
func packetsCounted(t *testing.T, config, prefix string, host int) int {
	t.Helper()
	var hosts []sdk.HostRate
	out := mustRun(t, "hosts", "--config", config, "--json").stdout
	if err := json.Unmarshal([]byte(out), &hosts); err != nil && strings.TrimSpace(out) != "" {
		t.Fatalf("%v in %s", err, out)
	}
	for _, h := range hosts {
		if h.Host.Addr() == netip.MustParseAddr(fmt.Sprint(prefix, host)) && h.Direction == "incoming" {
			return int(math.Round(h.Counters[0].PPS * time.Hour.Seconds()))
		}
	}
	return 0
}

// Limits in flows are refused beside a fanout that splits flows over workers,
// where it stands, and beside nothing else.
func TestCheckFlowsOverWorkers(t *testing.T) {
	t.Parallel()
	for settings, refused := range map[string]bool{
		"workers = 2": false, "fanout = \"lb\"": false, "workers = 2\nfanout = \"lb\"": true,
		"workers = 2\nfanout = \"cbpf\"\nfanout_program = \"1,6 0 0 1\"": true,
	} {
		config := write(t, "flows.hcl", fmt.Sprintf(`
network "ours" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.ours]
  threshold "flood" {
    fps = 1000
  }
}
capture "afpacket" "mirror" {
  interfaces = ["lo"]
%s
}
pipeline "main" {
  captures = [capture.afpacket.mirror]
}
`, settings))
		r := run(t, "check", "--config", config)
		if told := strings.Contains(r.stdout+r.stderr, "Flows are split over workers") && strings.Contains(r.stdout+r.stderr, "flows.hcl line 11"); told != refused || (r.code != 0) != refused {
			t.Errorf("%s: exit status %d\n%s%s", settings, r.code, r.stdout, r.stderr)
		}
	}
}
