package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// Doctor names what is wrong first, in the real program, with the fault
// really there: one after the other what data passes on its way.

const doctorConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "3s"

  threshold "flood" {
    pps = 20000
  }
}

%[3]s

capture "netflow" "flows" {
  listen         = ["%[2]s"]
  receive_buffer = "1MiB" # any system grants that
  %[4]s
}

pipeline "main" {
  captures = [capture.netflow.flows]
}
`

// patient is a daemon that has a fault.
type patient struct {
	t       *testing.T
	to      netip.AddrPort // where its capture listens
	config  string
	network string   // whose traffic the router sees
	inside  []string // what runs a command in the daemon's network namespace
	beside  []string // and in that of the router
}

// exporters and options are of the configuration.
func newPatient(t *testing.T, to netip.AddrPort, exporters, options string) *patient {
	t.Helper()
	return &patient{t: t, to: to, network: "203.0.113.0/24", config: write(t, "doctor.hcl", fmt.Sprintf(doctorConfig, t.TempDir(), to, exporters, options))}
}

// begin starts the daemon and waits for a line of its log.
func (p *patient) begin(line string) {
	p.t.Helper()
	startAs(p.t, append(append([]string(nil), p.inside...), program, "run", "--config", p.config)...).waitLog(p.t, line)
}

// traffic plays a router until the test ends.
func (p *patient) traffic(protocol string, more ...string) {
	p.t.Helper()
	args := append(append([]string(nil), p.beside...), program, "traffic", "--send", protocol, "--to", p.to.String(), "--network", p.network,
		"--duration", "1m", "--pps", "1500", "--hosts", "20", "--active", "500ms", "--inactive", "300ms", "--templates", "300ms")
	startAs(p.t, append(args, more...)...)
}

// names waits until the check is named first, in a state.
func (p *patient) names(check, state, part string) {
	p.t.Helper()
	want := map[string]int{"ok": 0, "warn": exitWarning, "fault": exitFailure}[state]
	var r result
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		r = run(p.t, "doctor", "--config", p.config, "--json")
		var checks []api.Check
		if err := json.Unmarshal([]byte(r.stdout), &checks); err != nil || len(checks) == 0 {
			continue
		}
		if c := checks[0]; c.Name == check && c.State == state && strings.Contains(c.Detail, part) && r.code == want {
			p.t.Logf("%s: %s", c.Name, c.Detail)
			return
		}
	}
	p.t.Errorf("%s is not named first as %s (%q), exit status %d, but:\n%s", check, state, part, r.code, run(p.t, "doctor", "--config", p.config).stdout)
}

func loopback(t *testing.T) netip.AddrPort {
	t.Helper()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(freeUDP(t)))
}

// stream sends datagrams of ordinary traffic until the test ends, each as
// change makes it; where that returns nil it is left out.
func (p *patient) stream(x gen.Telemetry, change func(d *gen.Datagram) []byte) {
	p.t.Helper()
	pool, err := x.Pool(&gen.Scenario{
		Seed: 1, Duration: 10 * time.Second, Hosts: 20, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Benign: gen.Benign{PPS: 2000},
	}, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.to))
	if err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.t.Cleanup(func() { close(done); conn.Close() })
	go func() {
		for i := 0; ; i++ {
			for _, d := range []*gen.Datagram{pool.Templates, pool.Datagrams[i%len(pool.Datagrams)]} {
				if d == nil {
					continue
				}
				if b := change(d); b != nil {
					_, _ = conn.Write(b) // refused while nobody listens
				}
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
}

func TestDoctorNamesTheFault(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a daemon for each fault")
	}
	const listening = "running: captures"
	for name, sick := range map[string]func(t *testing.T){
		"nothing is wrong": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			p.traffic("netflow9")
			p.names("bound", "ok", "")
		},
		"bound": func(t *testing.T) {
			taken, to := listenUDP(t)
			defer taken.Close()
			p := newPatient(t, to, "", "")
			p.begin("another program has this port")
			p.names("running", "fault", "another program has this port")
		},
		"nothing comes": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "")
			p.begin(listening)
			p.names("datagrams", "fault", "no datagram has arrived")
		},
		"not listed": func(t *testing.T) {
			p := newPatient(t, loopback(t), "exporter \"r1\" {\n  source = [\"192.0.2.1\"]\n}\n", "exporters = [exporter.r1]")
			p.begin(listening)
			p.traffic("netflow9")
			p.names("listed", "fault", "127.0.0.1")
		},
		"another protocol": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "")
			p.begin(listening)
			p.traffic("sflow")
			p.names("decoded", "fault", "sFlow belongs to the capture sflow")
		},
		"no template": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "")
			p.begin(listening)
			p.stream(gen.Telemetry{Protocol: gen.IPFIX}, func(d *gen.Datagram) []byte {
				if d.Records == 0 {
					return nil
				}
				return d.Data
			})
			p.names("templates", "fault", "but no template")
		},
		"sampling": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "")
			p.begin(listening)
			p.traffic("netflow5", "--ipv6", "0")
			p.names("sampling", "warn", "count 1:1")
		},
		"addresses": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			p.network = "198.51.100.0/24"
			p.traffic("netflow9")
			p.names("addresses", "fault", "198.51.100.0/24")
		},
		"direction": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			p.traffic("netflow9", "--pps", "2", "--attack", "udp_flood,target=203.0.113.9,pps=2000,direction=outgoing")
			p.names("direction", "fault", "only outgoing traffic is seen")
		},
		"clock": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			var stamp gen.Stamper
			p.stream(gen.Telemetry{Protocol: gen.NetFlow9}, func(d *gen.Datagram) []byte {
				stamp.Stamp(d, time.Now().Add(-time.Hour).UnixNano())
				return d.Data
			})
			p.names("clock", "warn", "1h0m0s")
		},
		"lost on the way": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			var stamp gen.Stamper
			n := 0
			p.stream(gen.Telemetry{Protocol: gen.NetFlow9}, func(d *gen.Datagram) []byte {
				stamp.Stamp(d, time.Now().UnixNano())
				if n++; d.Records > 0 && n%8 == 0 {
					return nil
				}
				return d.Data
			})
			p.names("sequence", "warn", "show a loss")
		},
		"timeout": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "sampling = 1")
			p.begin(listening)
			p.traffic("netflow9", "--active", "8s", "--attack", "memcached_amplification,target=203.0.113.9,pps=5000")
			p.names("timeout", "warn", "averages over 3s")
		},
		"visible": func(t *testing.T) {
			p := newPatient(t, loopback(t), "", "")
			p.begin(listening)
			p.traffic("ipfix", "--sampling", "4000", "--pps", "20000")
			p.names("visible", "warn", "1:4000")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sick(t)
		})
	}
}

// namespace makes a network namespace for a test, and returns what runs a
// command in it.
func namespace(t *testing.T) (inside []string, pid int) {
	t.Helper()
	if os.Getuid() != 0 {
		sdktest.Absent(t, "only root makes network namespaces")
	}
	for _, need := range []string{"ip", "nsenter", "nft"} {
		if _, err := exec.LookPath(need); err != nil {
			sdktest.Absent(t, err.Error())
		}
	}
	hold := exec.Command("sleep", "600")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Process.Kill(); _ = hold.Wait() })
	return []string{"nsenter", "-t", strconv.Itoa(hold.Process.Pid), "-n"}, hold.Process.Pid
}

// in runs a shell script in a namespace.
func in(t *testing.T, inside []string, script string) {
	t.Helper()
	words := append(append([]string(nil), inside...), "sh", "-ec", script)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// What this machine itself drops is told apart, and named before the silence.
func TestDoctorOnDrops(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes network namespaces")
	}
	for name, script := range map[string]string{
		"firewall": "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0; }'; nft add rule inet t in udp dport 2055 drop",
		// The way back to the router leads elsewhere.
		"rp_filter": "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; ip route add 198.51.100.0/24 dev d0; " +
			"for i in all v0; do echo 1 > /proc/sys/net/ipv4/conf/$i/rp_filter; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside, _ := namespace(t)
			router, pid := namespace(t)
			in(t, inside, fmt.Sprintf("ip link set lo up; ip link add v0 type veth peer name v1 netns %d; ip addr add 192.0.2.1/24 dev v0; ip link set v0 up; %s", pid, script))
			in(t, router, "ip link set lo up; ip addr add 192.0.2.2/24 dev v1; ip link set v1 up; ip addr add 198.51.100.9/32 dev lo")
			if name == "rp_filter" {
				// Its packets come from afar, its ARP requests do not.
				in(t, router, "echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce; ip route change 192.0.2.0/24 dev v1 src 198.51.100.9")
			}
			p := newPatient(t, netip.MustParseAddrPort("192.0.2.1:2055"), "", "")
			p.inside, p.beside = inside, router
			p.begin("running: captures")
			p.traffic("netflow9")
			p.names(name, "fault", "since this capture started")
		})
	}
}

// startAs starts a command of several words; the program's own, or one that
// starts it elsewhere.
func startAs(t *testing.T, words ...string) *live {
	t.Helper()
	l := &live{cmd: exec.Command(words[0], words[1:]...), stderr: &sdktest.Output{}, done: make(chan error, 1)}
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = repository, l.stderr, l.stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.done <- l.cmd.Wait() }()
	t.Cleanup(func() {
		_ = l.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := <-l.done; err != nil && t.Failed() {
			t.Logf("%q: %v\n%s", words, err, l.stderr)
		}
	})
	return l
}
