package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// communityProgram is where Debian's package puts the original.
const communityProgram = "/usr/sbin/fastnetmon"

// ban is a decision.
type ban struct {
	direction string // "": none
	at        time.Time
}

// judge is a program that bans hosts, by what it logs.
type judge struct {
	ports map[string]int // netflow, sflow
	said  *regexp.Regexp // address and direction in a line of its log, named ip and dir
	log   stampedLog
}

// stampedLog notes when each line comes.
type stampedLog struct {
	mu    sync.Mutex
	lines []stampedLine
	rest  []byte
}

type stampedLine struct {
	at   time.Time
	text string
}

func (l *stampedLog) Write(p []byte) (int, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.lines = append(l.lines, stampedLine{now, string(line)})
		l.rest = rest
	}
}

func (l *stampedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines {
		fmt.Fprintf(&b, "%s %s\n", line.at.Format("05.000"), line.text)
	}
	return b.String()
}

// await waits until the log has a text so many times.
func (l *stampedLog) await(t *testing.T, text string, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(l.String(), text) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log:\n%s", text, l)
		}
	}
}

// bans reads the log. A host that is banned twice is an error.
func (j *judge) bans(t *testing.T) map[netip.Addr]ban {
	t.Helper()
	j.log.mu.Lock()
	defer j.log.mu.Unlock()
	out := map[netip.Addr]ban{}
	for _, line := range j.log.lines {
		m := j.said.FindStringSubmatch(line.text)
		if m == nil {
			continue
		}
		ip := netip.MustParseAddr(m[j.said.SubexpIndex("ip")])
		if out[ip].direction != "" {
			t.Errorf("%v is banned twice: %s", ip, line.text)
		}
		out[ip] = ban{m[j.said.SubexpIndex("dir")], line.at}
	}
	return out
}

// run starts a program until the test ends.
func (j *judge) run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &j.log, &j.log
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		j.stop(cmd)
		if t.Failed() {
			t.Logf("%s:\n%s", name, &j.log)
		}
	})
}

// stop ends a program: the original crashes when it is asked to.
func (j *judge) stop(cmd *exec.Cmd) {
	signal := os.Interrupt
	if cmd.Path == communityProgram {
		signal = os.Kill
	}
	_ = cmd.Process.Signal(signal) // it may have ended
	_ = cmd.Wait()                 // what it says about that is no matter
}

const communityRuleConfig = `logging_level = info
disable_usage_report = on
enable_ban = on
process_incoming_traffic = on
process_outgoing_traffic = on
ban_time = 1900
networks_list_path = %[1]s/networks
white_list_path = %[1]s/white
enable_connection_tracking = on
average_calculation_time = 5
speed_calculation_delay = 1
netflow = on
netflow_port = %[2]d
netflow_host = 127.0.0.1
netflow_sampling_ratio = 1
sflow = on
sflow_port = %[3]d
sflow_host = 127.0.0.1
sflow_read_packet_length_from_ip_header = on
notify_script_path = %[1]s/none
monitor_local_ip_addresses = off
pid_path = %[1]s/pid
cli_stats_file_path = %[1]s/stats
cli_stats_ipv6_file_path = %[1]s/stats6
enable_api = off
prometheus = off
`

// startCommunity starts the original with a hostgroup for each limit.
func startCommunity(t *testing.T, groups []communityGroup) *judge {
	t.Helper()
	if _, err := os.Stat(communityProgram); err != nil {
		sdktest.Absent(t, "Debian's fastnetmon is not installed: .ci/install does so")
	}
	j := &judge{
		ports: map[string]int{"netflow": freeUDP(t), "sflow": freeUDP(t)},
		said:  regexp.MustCompile(`Attack with direction: (?P<dir>\w+) IP: (?P<ip>[0-9.]+) Power: \d+$`),
	}
	dir := t.TempDir()
	var conf, networks strings.Builder
	fmt.Fprintf(&conf, communityRuleConfig, dir, j.ports["netflow"], j.ports["sflow"])
	for _, g := range groups {
		fmt.Fprintln(&networks, g.network)
		kind := strings.Replace(g.theirs, "mbps", "bandwidth", 1)
		fmt.Fprintf(&conf, "hostgroup = %[1]s:%[2]s\n%[1]s_enable_ban = on\n%[1]s_ban_for_%[3]s = on\n%[1]s_threshold_%[4]s = %[5]g\n", g.name, g.network, kind, g.theirs, g.limit)
	}
	for name, text := range map[string]string{"conf": conf.String(), "networks": networks.String(), "white": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j.run(t, communityProgram, "--configuration_file", filepath.Join(dir, "conf"), "--log_to_console", "--disable_pid_logic")
	j.log.await(t, "listen on 127.0.0.1", 2)
	return j
}

const itselfRuleConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["10.60.0.0/16"]
}

hostgroup "base" {
  detection = "fastnetmon"
}

capture "netflow" "flows" {
  listen = ["127.0.0.1:%[2]d"]
}

capture "sflow" "samples" {
  listen = ["127.0.0.1:%[3]d"]
}

pipeline "main" {
  captures = [capture.netflow.flows, capture.sflow.samples]
}
`

// startItself starts this program with the same limits.
func startItself(t *testing.T, groups []communityGroup) *judge {
	t.Helper()
	j := &judge{
		ports: map[string]int{"netflow": freeUDP(t), "sflow": freeUDP(t)},
		said:  regexp.MustCompile(`attack started: .*target=(?P<ip>[0-9.]+)(/32)? direction=(?P<dir>\w+)`),
	}
	var text strings.Builder
	fmt.Fprintf(&text, itselfRuleConfig, t.TempDir(), j.ports["netflow"], j.ports["sflow"])
	for _, g := range groups {
		fmt.Fprintf(&text, "\nhostgroup %q {\n  base     = hostgroup.base\n  prefixes = [%q]\n\n  threshold \"limit\" {\n%s\n  }\n}\n", g.name, g.network, g.ours)
	}
	j.run(t, program, "run", "--config", write(t, "rule.hcl", text.String()))
	j.log.await(t, "running: captures", 1)
	return j
}

// flow5 is a NetFlow 5 record.
type flow5 struct {
	src, dst       netip.Addr
	sport, dport   uint16
	proto, flags   uint8
	packets, bytes uint32
	lasted         time.Duration
}

// netflow5 writes NetFlow 5 datagrams.
type netflow5 struct {
	boot    time.Time
	send    func([]byte)
	buf     []byte
	records uint32
}

const (
	header5 = 24
	record5 = 48
	most5   = 30 // records in a datagram
)

func (w *netflow5) add(f *flow5) {
	if f.packets == 0 {
		return
	}
	if len(w.buf) == 0 {
		w.buf = make([]byte, header5, header5+most5*record5)
	}
	end := uint32(time.Since(w.boot).Milliseconds())
	r := make([]byte, record5)
	src, dst := f.src.As4(), f.dst.As4()
	copy(r, src[:])
	copy(r[4:], dst[:])
	be := binary.BigEndian
	be.PutUint32(r[16:], f.packets)
	be.PutUint32(r[20:], f.bytes)
	be.PutUint32(r[24:], end-uint32(f.lasted.Milliseconds()))
	be.PutUint32(r[28:], end)
	be.PutUint16(r[32:], f.sport)
	be.PutUint16(r[34:], f.dport)
	r[37], r[38] = f.flags, f.proto
	if w.buf = append(w.buf, r...); len(w.buf) == cap(w.buf) {
		w.flush()
	}
}

// flush sends what there is.
func (w *netflow5) flush() {
	if len(w.buf) == 0 {
		return
	}
	be, now, n := binary.BigEndian, time.Now(), uint32(len(w.buf)-header5)/record5
	be.PutUint16(w.buf, 5)
	be.PutUint16(w.buf[2:], uint16(n))
	be.PutUint32(w.buf[4:], uint32(now.Sub(w.boot).Milliseconds()))
	be.PutUint32(w.buf[8:], uint32(now.Unix()))
	be.PutUint32(w.buf[12:], uint32(now.Nanosecond()))
	be.PutUint32(w.buf[16:], w.records)
	w.records += n
	w.send(w.buf)
	w.buf = w.buf[:0]
}
