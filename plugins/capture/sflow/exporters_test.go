//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// recorded writes a capture file of ordinary traffic of both families, and
// tells what is in it.
func recorded(t *testing.T, packets int) (file string, octets uint64) {
	t.Helper()
	s := gen.Scenario{
		Seed: 1, Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix(ourNetwork4), netip.MustParsePrefix(ourNetwork6)},
		Benign: gen.Benign{PPS: float64(packets), IPv6: 0.3},
	}
	var b bytes.Buffer
	if _, err := gen.WritePcap(&b, &s); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.Packets(func(p *gen.Packet) bool {
		n++
		octets += p.Record.Bytes
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if n != packets {
		t.Fatalf("%d packets in the scenario, want %d", n, packets)
	}
	file = filepath.Join(t.TempDir(), "traffic.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, octets
}

// run starts a program and ends it with the test, or with what it returns.
func run(t *testing.T, env []string, name string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, sdktest.Program(t, name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Logf("%s: %s", name, out.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

// command runs a program to its end.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(sdktest.Program(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// bound reports whether a program receives at a UDP port of 127.0.0.1.
func bound(t *testing.T, port uint16) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), fmt.Sprintf("0100007F:%04X", port))
}

// collector is sfcapd, to which the plugin forwards what it receives.
type collector struct {
	t    *testing.T
	dir  string
	port netip.AddrPort
	stop func()
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, dir: t.TempDir(), port: netip.MustParseAddrPort(freePort(t, "127.0.0.1"))}
	c.stop = run(t, nil, "sfcapd", "-l", c.dir, "-p", strconv.Itoa(int(c.port.Port())), "-b", "127.0.0.1", "-t", "3600", "-4", "-B", "1000000")
	until(t, "sfcapd receives", func() bool { return bound(t, c.port.Port()) })
	return c
}

var nfdumpPackets = regexp.MustCompile(`(?m)^Packets: (\d+)`)

// packets ends the collector and returns the packets that it has counted.
func (c *collector) packets() uint64 {
	c.t.Helper()
	c.stop()
	c.stop()
	m := nfdumpPackets.FindStringSubmatch(command(c.t, nil, "nfdump", "-R", c.dir, "-I"))
	if m == nil {
		c.t.Fatal("nfdump gives no packets")
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// settled waits until nothing has come for a second, after something has.
func settled(t *testing.T, c *sdktest.Collection) (packets, octets uint64, lost map[string]uint64) {
	t.Helper()
	last, since := uint64(0), time.Now()
	until(t, "the exporter has sent", func() bool {
		packets, octets, lost = totals(c.Deltas())
		if packets != last {
			last, since = packets, time.Now()
		}
		return packets > 0 && time.Since(since) > 1500*time.Millisecond
	})
	return packets, octets, lost
}

// near reports whether a sampled count is right within five standard
// deviations.
func near(got, truth uint64, rate float64) bool {
	diff := float64(got) - float64(truth)
	return diff*diff <= 25*float64(truth)*(rate-1)
}

// cables makes pairs of interfaces: what goes into one end, name + "peer",
// comes out of the other.
func cables(t *testing.T, names ...string) {
	t.Helper()
	command(t, nil, "ip", "link", "set", "lo", "up")
	for _, name := range names {
		command(t, nil, "ip", "link", "add", name, "type", "veth", "peer", "name", name+"peer")
		for _, end := range []string{name, name + "peer"} {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+end+"/disable_ipv6", []byte("1"), 0) // it is quiet then; not all systems have it
			command(t, nil, "ip", "link", "set", end, "up")
		}
	}
}

// agree tries a comparison up to three times: on a busy machine the exporter
// itself misses packets now and then, of which nobody here can know.
func agree(t *testing.T, compare func() (difference string)) {
	t.Helper()
	var why string
	for range 3 {
		if why = compare(); why == "" {
			return
		}
		t.Log(why)
	}
	t.Error(why)
}

// What pmacctd samples is what was on the wire, and what sfcapd counts of the
// same stream.
func TestPmacct(t *testing.T) {
	if !sdktest.InNamespace(t, "pmacctd", "sfcapd", "nfdump", "tcpreplay", "ip") {
		return
	}
	cables(t, "wire")
	for _, rate := range []int{1, 10} {
		t.Run(fmt.Sprintf("1 in %d", rate), func(t *testing.T) {
			packets := 1000 * min(rate, 4)
			file, octets := recorded(t, packets)
			c := startCollector(t)
			listen := freePort(t, "127.0.0.1")
			h := sdktest.New(t, plugin(), fmt.Sprintf("listen = [%q]\nforward \"sfcapd\" {\n  target = %q\n}", listen, c.port))
			col := h.StartCapture(sdktest.Plan(ourNetwork4, ourNetwork6))
			conf := filepath.Join(t.TempDir(), "pmacctd.conf")
			if err := os.WriteFile(conf, fmt.Appendf(nil, `daemonize: false
pcap_interface: wire
aggregate: src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface
plugins: sfprobe
sfprobe_receiver: %s
sfprobe_agentip: 127.0.0.9
sfprobe_source_ip: 127.0.0.1
sampling_rate: %d
`, listen, rate), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, nil, "pmacctd", "-f", conf)
			until(t, "pmacctd captures", func() bool {
				b, err := os.ReadFile("/proc/net/packet")
				return err == nil && bytes.Count(b, []byte("\n")) > 1
			})
			time.Sleep(300 * time.Millisecond) // its plugin takes a moment to start behind that
			var all uint64
			agree(t, func() string {
				command(t, nil, "tcpreplay", "-q", "-i", "wirepeer", "--pps", "1000", file)
				sum, sumOctets, lost := settled(t, col)
				got := sum - all
				all = sum
				// Its sampler leaves out one at 1 in 1 now and then.
				if len(lost) != 0 || !near(got, uint64(packets), float64(rate)) && got != uint64(packets-1) {
					return fmt.Sprintf("%d packets, lost %v; %d were in the traffic", got, lost, packets)
				}
				if rate == 1 && sum == uint64(packets) && sumOctets != octets {
					return fmt.Sprintf("%d octets; %d were in the traffic", sumOctets, octets)
				}
				return ""
			})
			if theirs := c.packets(); theirs != all {
				t.Errorf("%d packets; sfcapd counts %d of the same stream", all, theirs)
			}
			rows, err := h.Table("exporters")
			if err != nil || len(rows.Rows) != 1 || rows.Rows[0][0] != "127.0.0.9" {
				t.Errorf("%v: exporters %q", err, rows.Rows)
			}
		})
	}
}

// vswitch starts Open vSwitch with a bridge of its userspace datapath and
// returns how it is spoken to.
func vswitch(t *testing.T) (vsctl func(args ...string)) {
	t.Helper()
	dir := t.TempDir()
	env := []string{"OVS_RUNDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_SYSCONFDIR=" + dir}
	socket := filepath.Join(dir, "db.sock")
	command(t, env, "ovsdb-tool", "create", filepath.Join(dir, "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	run(t, env, "ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=punix:"+socket, "--unixctl="+filepath.Join(dir, "ovsdb.ctl"), "-vconsole:warn", "-vfile:off")
	until(t, "ovsdb-server answers", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	vsctl = func(args ...string) {
		t.Helper()
		command(t, env, "ovs-vsctl", append([]string{"--db=unix:" + socket, "--timeout=20"}, args...)...)
	}
	vsctl("--no-wait", "init")
	run(t, env, "ovs-vswitchd", "unix:"+socket, "--unixctl="+filepath.Join(dir, "vswitchd.ctl"), "-vconsole:warn", "-vfile:off")
	return vsctl
}

// What Open vSwitch samples of traffic through a bridge is that traffic.
func TestOpenVSwitch(t *testing.T) {
	if !sdktest.InNamespace(t, "ovs-vswitchd", "ovs-vsctl", "ovsdb-server", "ovsdb-tool", "tcpreplay", "ip") {
		return
	}
	cables(t, "left", "right")
	vsctl := vswitch(t)
	vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--", "add-port", "br0", "left", "--", "add-port", "br0", "right")
	for _, rate := range []int{1, 10} {
		t.Run(fmt.Sprintf("1 in %d", rate), func(t *testing.T) {
			packets := 1000 * min(rate, 4)
			file, octets := recorded(t, packets)
			listen := freePort(t, "127.0.0.1")
			h := sdktest.New(t, plugin(), fmt.Sprintf("listen = [%q]", listen))
			col := h.StartCapture(sdktest.Plan(ourNetwork4, ourNetwork6))
			vsctl("--", "--id=@s", "create", "sflow", "agent=lo", fmt.Sprintf(`target="%s"`, listen), "header=128",
				fmt.Sprintf("sampling=%d", rate), "polling=1", "--", "set", "bridge", "br0", "sflow=@s")
			var allPackets, allOctets uint64
			agree(t, func() string {
				command(t, nil, "tcpreplay", "-q", "-i", "leftpeer", "--pps", "1000", file)
				settled(t, col)
				var sumPackets, sumOctets uint64
				for _, d := range col.Deltas() { // a bridge has packets of its own, of other addresses
					if d.Kind == ring.KindHost {
						sumPackets += d.Packets
						sumOctets += d.Bytes
					}
				}
				gotPackets, gotOctets := sumPackets-allPackets, sumOctets-allOctets
				allPackets, allOctets = sumPackets, sumOctets
				if near(gotPackets, uint64(packets), float64(rate)) && (rate > 1 || gotOctets == octets) {
					return ""
				}
				_, _, lost := totals(col.Deltas())
				return fmt.Sprintf("%d packets, %d octets, lost %v; %d and %d were in the traffic", gotPackets, gotOctets, lost, packets, octets)
			})
			vsctl("clear", "bridge", "br0", "sflow")
			rows, err := h.Table("exporters")
			if err != nil || len(rows.Rows) != 1 {
				t.Errorf("%v: exporters %q", err, rows.Rows)
			}
		})
	}
}
