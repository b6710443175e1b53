package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The comparison with Debian's fastnetmon in what is banned, and when: both
// programs get the same datagrams, and call the same script.

const (
	rulePlay   = 17 * time.Second // 1.06 times a limit is seen after 14.4 s
	ruleSlice  = 100 * time.Millisecond
	rulePeriod = time.Second
	// ruleSlack is what starting a script and a busy machine may add.
	ruleSlack = 500 * time.Millisecond
	ruleNear  = 0.05 // of a limit: there either decision is right
)

// ruleGroup is a hostgroup with one kind of limit.
type ruleGroup struct {
	name    string
	theirs  string  // name of its limit in the original
	ours    string  // attributes of the threshold
	limit   float64 // in the original's unit
	proto   uint8
	size    int // octets of a packet
	network netip.Prefix
}

func ruleGroups() []ruleGroup {
	groups := []ruleGroup{
		{name: "pps", theirs: "pps", ours: "pps = 2000", limit: 2000, proto: traffic.ProtoUDP, size: 100},
		{name: "mbps", theirs: "mbps", ours: `bps = "200M"`, limit: 200, proto: traffic.ProtoUDP, size: 1250},
		{name: "flows", theirs: "flows", ours: "fps = 300", limit: 300, proto: traffic.ProtoTCP, size: 40},
		{name: "tcppps", theirs: "tcp_pps", ours: "counter = counter.tcp\npps = 1500", limit: 1500, proto: traffic.ProtoTCP, size: 40},
		{name: "udppps", theirs: "udp_pps", ours: "counter = counter.udp\npps = 3000", limit: 3000, proto: traffic.ProtoUDP, size: 60},
		{name: "icmppps", theirs: "icmp_pps", ours: "counter = counter.icmp\npps = 500", limit: 500, proto: traffic.ProtoICMP, size: 84},
		{name: "tcpmbps", theirs: "tcp_mbps", ours: "counter = counter.tcp\nbps = \"300M\"", limit: 300, proto: traffic.ProtoTCP, size: 1500},
		{name: "udpmbps", theirs: "udp_mbps", ours: "counter = counter.udp\nbps = \"100M\"", limit: 100, proto: traffic.ProtoUDP, size: 500},
		{name: "icmpmbps", theirs: "icmp_mbps", ours: "counter = counter.icmp\nbps = \"50M\"", limit: 50, proto: traffic.ProtoICMP, size: 1000},
	}
	for i := range groups {
		groups[i].network = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 60, byte(i), 0}), 24)
	}
	return groups
}

// ruleHost is one host of the comparison: what it gets, as multiples of its
// group's limit.
type ruleHost struct {
	addr     netip.Addr
	group    *ruleGroup
	outgoing bool
	shape    func(t time.Duration) float64
	peak     float64 // of the average that a limit is compared with, in multiples of the limit
	owed     float64
}

func steady(multiple float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return multiple }
}

func ruleHosts(groups []ruleGroup) (hosts []*ruleHost) {
	for g := range groups {
		multiples := []float64{0.3, 0.6, 0.8, 0.9, 1.06, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7, 10, 30}
		for i, m := range multiples {
			a := groups[g].network.Addr().As4()
			a[3] = byte(10 + i)
			hosts = append(hosts, &ruleHost{addr: netip.AddrFrom4(a), group: &groups[g], outgoing: i%3 == 2, shape: steady(m), peak: m})
		}
	}
	return hosts
}

// v5 writes NetFlow 5 datagrams.
type v5 struct {
	buf     []byte
	records uint32
	boot    time.Time
	send    func([]byte)
}

func (w *v5) add(src, dst netip.Addr, sport, dport uint16, proto, flags uint8, packets, bytes uint32) {
	if len(w.buf) == 0 {
		w.buf = make([]byte, 24, 1464)
	}
	be := binary.BigEndian
	now := uint32(time.Since(w.boot).Milliseconds())
	r := make([]byte, 48)
	s, d := src.As4(), dst.As4()
	copy(r, s[:])
	copy(r[4:], d[:])
	be.PutUint16(r[12:], 1)
	be.PutUint16(r[14:], 2)
	be.PutUint32(r[16:], packets)
	be.PutUint32(r[20:], bytes)
	be.PutUint32(r[24:], now)
	be.PutUint32(r[28:], now)
	be.PutUint16(r[32:], sport)
	be.PutUint16(r[34:], dport)
	r[37], r[38] = flags, proto
	w.buf = append(w.buf, r...)
	if len(w.buf) == 1464 {
		w.flush()
	}
}

func (w *v5) flush() {
	if len(w.buf) == 0 {
		return
	}
	be, n, now := binary.BigEndian, uint32(len(w.buf)-24)/48, time.Now()
	be.PutUint16(w.buf, 5)
	be.PutUint16(w.buf[2:], uint16(n))
	be.PutUint32(w.buf[4:], uint32(now.Sub(w.boot).Milliseconds()))
	be.PutUint32(w.buf[8:], uint32(now.Unix()))
	be.PutUint32(w.buf[12:], uint32(now.Nanosecond()))
	be.PutUint32(w.buf[16:], w.records)
	w.records += n
	w.send(w.buf)
	w.buf = w.buf[:0]
	w.buf = append(w.buf, make([]byte, 24)...)
	w.buf = w.buf[:0]
}

// slice tells of a host's traffic in one slice.
func (h *ruleHost) slice(w *v5, at time.Duration) {
	g := h.group
	rate := h.shape(at) * g.limit
	if strings.HasSuffix(g.theirs, "mbps") {
		rate = rate * 1e6 / 8 / float64(g.size)
	}
	h.owed += rate * ruleSlice.Seconds()
	n := math.Floor(h.owed)
	h.owed -= n
	remote := netip.AddrFrom4([4]byte{198, 51, 100, 9})
	src, dst := remote, h.addr
	if h.outgoing {
		src, dst = dst, src
	}
	flags := uint8(0)
	if g.proto == traffic.ProtoTCP {
		flags = traffic.FlagACK
	}
	if g.theirs != "flows" {
		if n > 0 {
			w.add(src, dst, 4000, 80, g.proto, flags, uint32(n), uint32(n)*uint32(g.size))
		}
		return
	}
	for i := range int(n) {
		port := uint16(1024 + (int(at/ruleSlice)*1000+i)%60000)
		w.add(src, dst, port, 80, g.proto, flags, 1, uint32(g.size))
	}
}

// ruleScript writes a line a call.
func ruleScript(t *testing.T) (script, calls string) {
	dir := t.TempDir()
	script, calls = filepath.Join(dir, "notify.sh"), filepath.Join(dir, "calls")
	text := fmt.Sprintf("#!/bin/sh\nprintf '%%s %%s\\n' \"$(date +%%s.%%N)\" \"$*\" >> %s\n[ \"$4\" = unban ] || cat > /dev/null\n", calls)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script, calls
}

// ruleBan is what a script was told.
type ruleBan struct {
	at        time.Time
	direction string
	pps       int
}

func ruleBans(t *testing.T, calls string) map[string]ruleBan {
	t.Helper()
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	bans := map[string]ruleBan{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Fields(line)
		if len(f) != 5 {
			t.Fatalf("call %q", line)
		}
		if f[4] != "ban" {
			continue
		}
		if _, twice := bans[f[1]]; twice {
			t.Errorf("%s is banned twice", f[1])
			continue
		}
		at, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		pps, err := strconv.Atoi(f[3])
		if err != nil {
			t.Fatal(err)
		}
		bans[f[1]] = ruleBan{time.Unix(0, int64(at*1e9)), f[2], pps}
	}
	return bans
}

func ruleCommunity(t *testing.T, groups []ruleGroup, port int, script string) {
	t.Helper()
	dir := t.TempDir()
	var conf, networks strings.Builder
	fmt.Fprintf(&conf, `logging_level = info
disable_usage_report = on
enable_ban = on
enable_ban_ipv6 = on
process_incoming_traffic = on
process_outgoing_traffic = on
ban_details_records_count = 1
ban_time = 1900
networks_list_path = %[1]s/networks
white_list_path = %[1]s/white
check_period = 1
enable_connection_tracking = on
average_calculation_time = 5
speed_calculation_delay = 1
netflow = on
netflow_port = %[2]d
netflow_host = 127.0.0.1
netflow_sampling_ratio = 1
sflow = off
notify_script_path = %[3]s
monitor_local_ip_addresses = off
pid_path = %[1]s/pid
cli_stats_file_path = %[1]s/stats
cli_stats_ipv6_file_path = %[1]s/stats6
enable_api = off
prometheus = off
`, dir, port, script)
	for _, g := range groups {
		fmt.Fprintf(&networks, "%s\n", g.network)
		kind := strings.Replace(g.theirs, "mbps", "bandwidth", 1)
		fmt.Fprintf(&conf, "hostgroup = %[1]s:%[2]s\n%[1]s_enable_ban = on\n%[1]s_ban_for_%[3]s = on\n%[1]s_threshold_%[4]s = %[5]g\n", g.name, g.network, kind, g.theirs, g.limit)
	}
	for name, text := range map[string]string{"conf": conf.String(), "networks": networks.String(), "white": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "/usr/sbin/fastnetmon", "--configuration_file", filepath.Join(dir, "conf"), "--log_to_console", "--disable_pid_logic")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() || os.Getenv("RULE_LOG") != "" {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), "listen on 127.0.0.1"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the original does not start:\n%s", log)
		}
	}
}

func TestFastNetMonRule(t *testing.T) {
	groups := ruleGroups()
	hosts := ruleHosts(groups)
	port := freeUDP(t)
	script, calls := ruleScript(t)
	began := time.Now()
	ruleCommunity(t, groups, port, script)
	t.Log("started after", time.Since(began))
	time.Sleep(1500 * time.Millisecond)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	w := &v5{boot: time.Now().Add(-time.Hour), send: func(b []byte) {
		if _, err := conn.WriteTo(b, to); err != nil {
			t.Error(err)
		}
	}}
	began = time.Now()
	for at := time.Duration(0); at < rulePlay; at += ruleSlice {
		time.Sleep(time.Until(began.Add(at)))
		for _, h := range hosts {
			h.slice(w, at)
		}
		w.flush()
	}
	bans := ruleBans(t, calls)
	for _, h := range hosts {
		b, ok := bans[h.addr.String()]
		if ok {
			t.Logf("%-9s %-12s x%-5g %-9s %8d %.3f", h.group.name, h.addr, h.peak, b.direction, b.pps, b.at.Sub(began).Seconds())
		} else {
			t.Logf("%-9s %-12s x%-5g -", h.group.name, h.addr, h.peak)
		}
	}
}
