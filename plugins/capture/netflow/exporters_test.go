//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// Real exporters: what they send of known traffic must be that traffic, in
// packets and octets. The tests run them in a network namespace of their own.

// recording is a capture file of ordinary traffic and what is in it.
type recording struct {
	file            string
	packets, octets uint64
	frames          uint64 // octets with Ethernet headers and padding
	payload         uint64 // octets without the headers, but with padding
}

func record(t *testing.T, packets int, ipv6 float64) (r recording) {
	t.Helper()
	networks := []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16"), netip.MustParsePrefix("2001:db8::/64")}
	if ipv6 == 0 {
		networks = networks[:1]
	}
	s := gen.Scenario{
		Seed: 1, Duration: time.Second, Networks: networks, Hosts: 20, Benign: gen.Benign{PPS: float64(packets), IPv6: ipv6},
	}
	var b bytes.Buffer
	if _, err := gen.WritePcap(&b, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Packets(func(p *gen.Packet) bool {
		r.packets++
		r.octets += p.Record.Bytes
		r.frames += uint64(len(p.Frame))
		r.payload += uint64(len(p.Frame) - 14)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	r.file = filepath.Join(t.TempDir(), "traffic.pcap")
	if err := os.WriteFile(r.file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// collector receives an exporter's datagrams and decodes them.
type collector struct {
	t               *testing.T
	conn            *net.UDPConn
	r               *rig
	raw             [][]byte
	packets, octets uint64
}

func newCollector(t *testing.T, blocks ...exporter.Block) *collector {
	t.Helper()
	set, err := exporter.NewSet(exporter.Options{Blocks: blocks})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(4 << 20) // as much as there is
	c := &collector{t: t, conn: conn, r: newRig(t, 64, nil)}
	c.r.set, c.r.view = set, set.View()
	return c
}

func (c *collector) address() string { return c.conn.LocalAddr().String() }

func (c *collector) port() string { return strconv.Itoa(c.conn.LocalAddr().(*net.UDPAddr).Port) }

// drain decodes what has come, and what comes within a time.
func (c *collector) drain(wait time.Duration) {
	c.t.Helper()
	buf := make([]byte, 65536)
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			break
		}
		c.raw = append(c.raw, bytes.Clone(buf[:n]))
		c.r.give(from, buf[:n])
	}
	for _, r := range c.r.take() {
		if a := r.DstAddr(); ours.Contains(a) || ours.Contains(r.SrcAddr()) || ours6.Contains(a) || ours6.Contains(r.SrcAddr()) {
			c.packets += r.Packets
			c.octets += r.Bytes
		}
	}
}

var (
	ours  = netip.MustParsePrefix("10.10.0.0/16")
	ours6 = netip.MustParsePrefix("2001:db8::/64")
)

// until decodes until so many packets have been counted.
func (c *collector) until(packets uint64) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); c.packets < packets && time.Now().Before(end); {
		c.drain(100 * time.Millisecond)
	}
}

// want wants the totals of a recording, decoded without loss.
func (c *collector) want(packets, octets uint64) {
	c.t.Helper()
	c.drain(200 * time.Millisecond)
	lost := c.r.losses()
	delete(lost, exporter.CauseDirection) // asked for
	if c.packets != packets || c.octets != octets || len(lost) > 0 {
		c.t.Errorf("%d packets, %d octets in %d datagrams, lost %v; sent were %d and %d", c.packets, c.octets, len(c.raw), lost, packets, octets)
	}
	if rows := c.r.set.Rows(); len(rows.Rows) == 0 {
		c.t.Error("no exporter is known")
	}
}

var nfdumpTotals = regexp.MustCompile(`(?m)^(Packets|Bytes): (\d+)`)

// crossCheck gives the same datagrams to nfcapd and compares what it counts.
func (c *collector) crossCheck() {
	t := c.t
	t.Helper()
	dir := t.TempDir()
	probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := probe.LocalAddr().(*net.UDPAddr)
	probe.Close()
	stop := start(t, nil, syscall.SIGTERM, "nfcapd", "-l", dir, "-p", strconv.Itoa(to.Port), "-b", "127.0.0.1", "-t", "3600", "-4")
	waitFor(t, func() bool {
		b, err := os.ReadFile("/proc/net/udp")
		return err == nil && strings.Contains(string(b), fmt.Sprintf("0100007F:%04X", to.Port))
	})
	s, err := net.DialUDP("udp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, d := range c.raw {
		if _, err := s.Write(d); err != nil {
			t.Fatal(err)
		}
		if i%16 == 15 { // its buffer is small
			time.Sleep(5 * time.Millisecond)
		}
	}
	waitFor(t, func() bool { // until its queue is empty
		b, err := os.ReadFile("/proc/net/udp")
		return err == nil && regexp.MustCompile(fmt.Sprintf(`0100007F:%04X \S+ \S+ 00000000:00000000`, to.Port)).Match(b)
	})
	time.Sleep(200 * time.Millisecond)
	stop()
	got := map[string]uint64{}
	for _, m := range nfdumpTotals.FindAllStringSubmatch(command(t, nil, "nfdump", "-R", dir, "-I"), -1) {
		got[m[1]], _ = strconv.ParseUint(m[2], 10, 64) // digits
	}
	if got["Packets"] != c.packets || got["Bytes"] != c.octets {
		t.Errorf("nfcapd counts %d packets and %d octets of the same datagrams, we %d and %d", got["Packets"], got["Bytes"], c.packets, c.octets)
	}
}

func TestSoftflowd(t *testing.T) {
	if !sdktest.InNamespace(t, "softflowd", "nfcapd", "nfdump") {
		return
	}
	for _, version := range []int{5, 9, 10} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			ipv6 := 0.3
			if version == 5 {
				ipv6 = 0
			}
			sent, c, dir := record(t, 3000, ipv6), newCollector(t), t.TempDir()
			command(t, nil, "softflowd", "-r", sent.file, "-n", c.address(), "-v", strconv.Itoa(version), "-d", "-p", dir+"/pid", "-c", "none") // with a control socket it may wait for somebody
			c.until(sent.packets)
			c.want(sent.packets, sent.payload) // it counts the padding of short frames
			c.crossCheck()
		})
	}
}

func TestPmacctd(t *testing.T) {
	if !sdktest.InNamespace(t, "pmacctd", "tcpreplay", "nfcapd", "nfdump") {
		return
	}
	cables(t, "wire")
	for _, version := range []int{5, 9, 10} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			ipv6 := 0.3
			if version == 5 {
				ipv6 = 0
			}
			sent, c := record(t, 1500, ipv6), newCollector(t)
			conf := filepath.Join(t.TempDir(), "pmacctd.conf")
			if err := os.WriteFile(conf, fmt.Appendf(nil, `daemonize: false
pcap_interface: wire
aggregate: src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface
plugins: nfprobe
nfprobe_receiver: %s
nfprobe_version: %d
nfprobe_timeouts: tcp=1:udp=1:general=1:maxlife=2:expint=1
nfprobe_source_ip: 127.0.0.1
`, c.address(), version), 0o600); err != nil {
				t.Fatal(err)
			}
			stop := start(t, nil, syscall.SIGINT, "pmacctd", "-f", conf)
			waitFor(t, func() bool { return packetSockets() > 0 })
			time.Sleep(300 * time.Millisecond) // its plugin starts behind that
			command(t, nil, "tcpreplay", "-q", "-i", "wirepeer", "--pps", "1500", sent.file)
			c.drain(time.Second)
			stop()
			c.until(sent.packets)
			c.want(sent.packets, sent.octets)
			c.crossCheck()
		})
	}
}

func TestNfreplay(t *testing.T) {
	if !sdktest.InNamespace(t, "nfpcapd", "nfreplay") {
		return
	}
	sent, dir := record(t, 3000, 0), t.TempDir()
	command(t, nil, "nfpcapd", "-r", sent.file, "-w", dir)
	files, err := filepath.Glob(filepath.Join(dir, "nfcapd.2*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nfpcapd wrote %v, %v", files, err)
	}
	for _, version := range []string{"5", "9"} {
		t.Run(version, func(t *testing.T) {
			c := newCollector(t)
			for _, f := range files {
				command(t, nil, "nfreplay", "-r", f, "-H", "127.0.0.1", "-p", c.port(), "-v", version)
			}
			c.until(sent.packets)
			c.want(sent.packets, sent.octets)
		})
	}
}

// cables makes pairs of interfaces: what goes into one end, name + "peer",
// comes out of the other.
func cables(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		command(t, nil, "ip", "link", "add", name, "type", "veth", "peer", "name", name+"peer")
		for _, end := range []string{name, name + "peer"} {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+end+"/disable_ipv6", []byte("1"), 0) // it is quiet then; not all systems have it
			command(t, nil, "ip", "link", "set", end, "up")
		}
	}
}

// packetSockets is how many programs listen on interfaces of the namespace.
func packetSockets() int {
	b, _ := os.ReadFile("/proc/net/packet")
	return bytes.Count(b, []byte("\n")) - 1
}

func TestFprobe(t *testing.T) {
	if !sdktest.InNamespace(t, "fprobe", "tcpreplay", "nfcapd", "nfdump") {
		return
	}
	cables(t, "wire")
	sent, c := record(t, 1500, 0), newCollector(t)
	stop := start(t, nil, syscall.SIGTERM, "fprobe", "-i", "wire", "-n", "5", "-e", "1", "-d", "3", "-g", "2", "-s", "1", "-l", "2", "-q", "5000", "-B", "4096", "-f", "ip", c.address())
	waitFor(t, func() bool { return packetSockets() > 0 })
	time.Sleep(300 * time.Millisecond) // its threads start behind that
	command(t, nil, "tcpreplay", "-q", "-i", "wirepeer", "--pps", "1500", sent.file)
	c.until(sent.packets)
	stop()
	c.want(sent.packets, sent.octets)
	c.crossCheck()
}

// vswitch starts Open vSwitch with its userspace datapath and returns how it
// is spoken to.
func vswitch(t *testing.T) (vsctl func(args ...string)) {
	t.Helper()
	dir := t.TempDir()
	env := []string{"OVS_RUNDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_SYSCONFDIR=" + dir}
	socket := filepath.Join(dir, "db.sock")
	command(t, env, "ovsdb-tool", "create", filepath.Join(dir, "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	start(t, env, syscall.SIGTERM, "ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=punix:"+socket, "--unixctl="+filepath.Join(dir, "ovsdb.ctl"), "-vconsole:warn", "-vfile:off")
	waitFor(t, func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	vsctl = func(args ...string) {
		t.Helper()
		command(t, env, "ovs-vsctl", append([]string{"--db=unix:" + socket, "--timeout=20"}, args...)...)
	}
	vsctl("--no-wait", "init")
	start(t, env, syscall.SIGTERM, "ovs-vswitchd", "unix:"+socket, "--unixctl="+filepath.Join(dir, "vswitchd.ctl"), "-vconsole:warn", "-vfile:off")
	return vsctl
}

// Open vSwitch counts whole frames in NetFlow, and what follows the Ethernet
// header, padding included, in IPFIX.
func TestOpenVSwitch(t *testing.T) {
	if !sdktest.InNamespace(t, "ovs-vswitchd", "ovs-vsctl", "ovsdb-server", "ovsdb-tool", "tcpreplay") {
		return
	}
	cables(t, "left", "right")
	vsctl := vswitch(t)
	vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--", "add-port", "br0", "left", "--", "add-port", "br0", "right")
	t.Run("NetFlow", func(t *testing.T) {
		sent, c := record(t, 1500, 0), newCollector(t)
		vsctl("--", "set", "bridge", "br0", "netflow=@n", "--", "--id=@n", "create", "netflow", fmt.Sprintf("targets=\"%s\"", c.address()), "active-timeout=1")
		command(t, nil, "tcpreplay", "-q", "-i", "leftpeer", "--pps", "1500", sent.file)
		c.until(sent.packets)
		vsctl("clear", "bridge", "br0", "netflow")
		c.want(sent.packets, sent.frames)
	})
	t.Run("IPFIX", func(t *testing.T) {
		// It tells of each packet where it comes in, and for each port it leaves by.
		sent, c := record(t, 1500, 0.3), newCollector(t, exporter.Block{Name: "br0", Count: exporter.CountIngress})
		vsctl("--", "set", "bridge", "br0", "ipfix=@i", "--", "--id=@i", "create", "ipfix", fmt.Sprintf("targets=\"%s\"", c.address()),
			"obs_domain_id=123", "obs_point_id=456", "sampling=1", "cache_active_timeout=1", "cache_max_flows=1000")
		command(t, nil, "tcpreplay", "-q", "-i", "leftpeer", "--pps", "1500", sent.file)
		c.until(sent.packets)
		vsctl("clear", "bridge", "br0", "ipfix")
		c.want(sent.packets, sent.payload)
	})
}
