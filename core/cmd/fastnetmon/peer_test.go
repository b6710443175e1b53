package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// The comparison with FastNetMon Community runs both programs on one core and
// the sender on another: "make bench-peer". FASTNETMON_PEER names the peer's
// executable, FASTNETMON_PEER_ROUNDS how often each measurement is made.

const (
	peerHosts   = 100_000
	peerNetwork = "10.0.0.0/15"
	peerPlay    = 6 * time.Second
)

// contestant is a program that takes flow telemetry.
type contestant interface {
	notify(script string) // to call on an attack; before start
	start(b *testing.B, protocol string, port int)
	processed(b *testing.B) uint64 // records, since the start
	processes(b *testing.B) []int
	stop(b *testing.B)
}

// figures of one measurement.
type figures struct {
	offered   float64 // records a second
	processed float64 // records a second
	cost      float64 // seconds of processor time per million records processed
	memory    float64 // proportional set size, MB
}

// BenchmarkPeer prints a table of both programs, and their ratios.
func BenchmarkPeer(b *testing.B) {
	peer := os.Getenv("FASTNETMON_PEER")
	if peer == "" {
		b.Skip("FASTNETMON_PEER names no executable of FastNetMon Community; make bench-peer does")
	}
	if runtime.NumCPU() < 2 {
		b.Fatal("one core for the program and one for the sender are needed")
	}
	rounds := peerRounds()
	for b.Loop() {
		fmt.Printf("\n%-9s %-9s %-5s %26s %26s %23s %17s\n", "protocol", "load", "who", "offered Mrec/s", "processed Mrec/s", "s of CPU per Mrec", "memory MB")
		for _, protocol := range []string{"netflow5", "netflow9", "ipfix", "sflow"} {
			for _, rate := range []int{0, steadyRate(protocol)} {
				compare(b, peer, protocol, rate, rounds)
			}
		}
	}
}

// peerRounds is how often each measurement is made.
func peerRounds() int {
	if n, err := strconv.Atoi(os.Getenv("FASTNETMON_PEER_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 3
}

// steadyRate is the rate at which the processor time of a steady load is
// measured, records a second.
func steadyRate(protocol string) int {
	return map[string]int{"netflow5": 300_000, "netflow9": 200_000, "ipfix": 200_000, "sflow": 150_000}[protocol]
}

// compare measures both under one load, in turns.
func compare(b *testing.B, peer, protocol string, rate, rounds int) {
	var theirs, ours []figures
	for range rounds {
		theirs = append(theirs, measure(b, &community{path: peer}, protocol, rate))
		ours = append(ours, measure(b, &itself{}, protocol, rate))
	}
	load := "overload"
	if rate > 0 {
		load = fmt.Sprintf("%dk/s", rate/1000)
	}
	show := func(who string, all []figures) {
		fmt.Printf("%-9s %-9s %-5s %26s %26s %23s %17s\n", protocol, load, who,
			spread(all, func(f figures) float64 { return f.offered / 1e6 }), spread(all, func(f figures) float64 { return f.processed / 1e6 }),
			spread(all, func(f figures) float64 { return f.cost }), spread(all, func(f figures) float64 { return f.memory }))
	}
	show("peer", theirs)
	show("ours", ours)
	ratios := func(value func(f figures) float64) string {
		var all []figures
		for i := range ours {
			all = append(all, figures{cost: value(ours[i]) / value(theirs[i])})
		}
		return spread(all, func(f figures) float64 { return f.cost })
	}
	atLeast := ""
	for _, f := range ours {
		if rate == 0 && f.processed > 0.97*f.offered {
			atLeast = " (at least: the sender is the limit)"
		}
	}
	fmt.Printf("%-9s %-9s ratio processed %s%s, CPU %s, memory %s\n", protocol, load,
		ratios(func(f figures) float64 { return f.processed }), atLeast,
		ratios(func(f figures) float64 { return f.cost }), ratios(func(f figures) float64 { return f.memory }))
}

// spread is minimum, median and maximum.
func spread(all []figures, value func(figures) float64) string {
	var v []float64
	for _, f := range all {
		v = append(v, value(f))
	}
	slices.Sort(v)
	return fmt.Sprintf("%.3g/%.3g/%.3g", v[0], v[len(v)/2], v[len(v)-1])
}

// measure plays one load into one program.
func measure(b *testing.B, who contestant, protocol string, rate int) figures {
	b.Helper()
	port := freeUDP(b)
	who.start(b, protocol, port)
	defer who.stop(b)
	// The tables fill, and templates arrive, before it counts.
	play(b, protocol, port, max(rate, 100_000), peerHosts, 2*time.Second)
	settle(b, who)
	processes := who.processes(b)
	used := func() (sum time.Duration) {
		for _, pid := range processes {
			sum += cpu(b, pid)
		}
		return sum
	}
	before, busy := who.processed(b), used()
	s := play(b, protocol, port, rate, peerHosts, peerPlay)
	settle(b, who)
	n, busy := float64(who.processed(b)-before), used()-busy
	return figures{
		offered: s.records / s.seconds, processed: n / s.seconds,
		cost: busy.Seconds() / (n / 1e6), memory: proportional(b, processes) / 1e6,
	}
}

// settle waits until nothing more is processed.
func settle(b *testing.B, who contestant) {
	b.Helper()
	last := uint64(0)
	for still := 0; still < 3; time.Sleep(400 * time.Millisecond) {
		now := who.processed(b)
		if now == last {
			still++
		} else {
			last, still = now, 0
		}
	}
}

var sentLine = regexp.MustCompile(`: (\d+) datagrams, (\d+) records of .* in ([0-9.]+) s `)

// played is what the sender says of itself.
type played struct{ datagrams, records, seconds float64 }

// play sends for a while; rate 0 is as many as the sender can.
func play(b *testing.B, protocol string, port, rate, hosts int, wait time.Duration) (s played) {
	b.Helper()
	args := []string{
		"-c", "1", program, "traffic", "--send", protocol, "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", wait.String(),
		"--hosts", strconv.Itoa(hosts), "--even", "--network", peerNetwork, "--pps", "200000",
	}
	if rate == 0 {
		args = append(args, "--flood")
	} else {
		args = append(args, "--rate", strconv.Itoa(rate))
	}
	out, err := exec.Command("taskset", args...).CombinedOutput()
	m := sentLine.FindSubmatch(out)
	if err != nil || m == nil {
		b.Fatalf("traffic: %v\n%s", err, out)
	}
	for i, v := range []*float64{&s.datagrams, &s.records, &s.seconds} {
		if *v, err = strconv.ParseFloat(string(m[i+1]), 64); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func freeUDP(b testing.TB) int {
	b.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// proportional is the memory of processes, what they share counted once.
func proportional(b *testing.B, processes []int) (octets float64) {
	b.Helper()
	for _, pid := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "\nPss:")
		kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		octets += kib * 1024
	}
	return octets
}

// pinned starts a program on the first core.
func pinned(b *testing.B, log io.Writer, name string, args ...string) *exec.Cmd {
	b.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", "0", name}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// community is FastNetMon Community, as Debian configures it but for what is
// switched on.
type community struct {
	path    string
	script  string // "": limits that nothing reaches
	limit   int    // with a script: packets a second; 0 means detectionLimit
	cmd     *exec.Cmd
	metrics string
	log     sdktest.Output
}

const communityConfig = `logging_level = info
disable_usage_report = on
enable_ban = on
enable_ban_ipv6 = on
process_incoming_traffic = on
process_outgoing_traffic = on
ban_time = 1900
unban_only_if_attack_finished = on
networks_list_path = %[1]s/networks
white_list_path = %[1]s/white
check_period = 1
enable_connection_tracking = on
ban_for_pps = on
ban_for_bandwidth = on
threshold_pps = %[6]d
threshold_mbps = 100000000
average_calculation_time = 5
speed_calculation_delay = 1
netflow = %[2]s
netflow_port = %[3]d
netflow_host = 127.0.0.1
netflow_sampling_ratio = 1
sflow = %[4]s
sflow_port = %[3]d
sflow_host = 127.0.0.1
notify_script_path = %[7]s
monitor_local_ip_addresses = off
pid_path = %[1]s/pid
cli_stats_file_path = %[1]s/stats
cli_stats_ipv6_file_path = %[1]s/stats6
enable_api = off
prometheus = on
prometheus_host = 127.0.0.1
prometheus_port = %[5]d
`

func (c *community) start(b *testing.B, protocol string, port int) {
	dir := b.TempDir()
	scrape := freeUDP(b)
	netflow, sflow := "on", "off"
	if protocol == "sflow" {
		netflow, sflow = "off", "on"
	}
	limit := 100_000_000
	if c.script != "" {
		limit = cmp.Or(c.limit, detectionLimit)
	}
	for name, text := range map[string]string{
		"conf": fmt.Sprintf(communityConfig, dir, netflow, port, sflow, scrape, limit, c.script), "networks": peerNetwork + "\n", "white": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	c.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", scrape)
	c.cmd = pinned(b, &c.log, c.path, "--configuration_file", filepath.Join(dir, "conf"), "--log_to_console", "--disable_pid_logic")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := c.counter(); err == nil && strings.Contains(c.log.String(), "listen on 127.0.0.1") {
			return
		}
	}
	b.Fatalf("%s does not start:\n%s", c.path, &c.log)
}

func (c *community) notify(script string) { c.script = script }

var simplePackets = regexp.MustCompile(`(?m)^fastnetmon_total_simple_packets_processed (\d+)`)

func (c *community) counter() (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, c.metrics, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	m := simplePackets.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no count of packets in\n%s", text)
	}
	return strconv.ParseUint(string(m[1]), 10, 64)
}

func (c *community) processed(b *testing.B) uint64 {
	n, err := c.counter()
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func (c *community) processes(*testing.B) []int { return []int{c.cmd.Process.Pid} }

func (c *community) stop(b *testing.B) {
	if err := c.cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	_ = c.cmd.Wait() // it was killed
}

// itself is this program with its plugin.
type itself struct {
	script string
	limit  int    // as the peer's
	more   string // in the capture's block
	cmd    *exec.Cmd
	config string
	log    sdktest.Output
}

const itselfConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["%[2]s"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    pps = %[5]d
    bps = "10T"
  }
}

capture "%[3]s" "flows" {
  listen = ["127.0.0.1:%[4]d"]
  %[8]s
}

%[6]s
pipeline "main" {
  captures = [capture.%[3]s.flows]
  actions  = [%[7]s]
}
`

func (c *itself) start(b *testing.B, protocol string, port int) {
	kind := "netflow"
	if protocol == "sflow" {
		kind = "sflow"
	}
	dir := b.TempDir()
	limit, action, name := 100_000_000, "", ""
	if c.script != "" {
		limit, name = cmp.Or(c.limit, detectionLimit), "action.script.notify"
		action = fmt.Sprintf("action \"script\" \"notify\" {\n  role    = \"notify\"\n  command = [%q]\n}\n", c.script)
	}
	c.config = write(b, "peer.hcl", fmt.Sprintf(itselfConfig, dir, peerNetwork, kind, port, limit, action, name, c.more))
	c.cmd = pinned(b, &c.log, program, "run", "--config", c.config)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(c.log.String(), "running: captures"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("it does not start:\n%s", &c.log)
		}
	}
}

func (c *itself) notify(script string) { c.script = script }

func (c *itself) processed(b *testing.B) (sum uint64) {
	var rows []ledgerRow
	if err := json.Unmarshal([]byte(mustRun(b, "ledger", "--config", c.config, "--json").stdout), &rows); err != nil {
		b.Fatal(err)
	}
	for _, row := range rows {
		sum += row.Used
	}
	return sum
}

func (c *itself) processes(b *testing.B) []int {
	return []int{c.cmd.Process.Pid, capturePID(b, c.config, 0)}
}

func (c *itself) stop(b *testing.B) {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		b.Errorf("%v\n%s", err, &c.log)
	}
}

// detectionLimit is the threshold of both programs, packets a second.
const detectionLimit = 20_000

// BenchmarkPeerDetection prints how long attacks go unseen: from the time at
// which the sender's router sees the first packet of an attack to the start of
// the script that is called for it.
func BenchmarkPeerDetection(b *testing.B) {
	peer := os.Getenv("FASTNETMON_PEER")
	if peer == "" {
		b.Skip("FASTNETMON_PEER names no executable of FastNetMon Community; make bench-peer does")
	}
	for b.Loop() {
		fmt.Printf("\nseconds to the script, limit %d pps, average over 5 s\n%-9s %-9s %20s %20s\n", detectionLimit, "protocol", "attack", "peer", "ours")
		for _, protocol := range []string{"netflow5", "netflow9", "ipfix", "sflow"} {
			for _, multiple := range []int{2, 10, 50} {
				var theirs, ours []figures
				for range 3 {
					theirs = append(theirs, figures{cost: detect(b, &community{path: peer}, protocol, multiple)})
					ours = append(ours, figures{cost: detect(b, &itself{}, protocol, multiple)})
				}
				seconds := func(f figures) float64 { return f.cost }
				fmt.Printf("%-9s %6d x  %20s %20s\n", protocol, multiple, spread(theirs, seconds), spread(ours, seconds))
			}
		}
	}
}

// detect lets an attack begin and returns when the program called its script.
func detect(b *testing.B, who contestant, protocol string, multiple int) (seconds float64) {
	b.Helper()
	const quiet = 4 * time.Second
	port, calls := freeUDP(b), filepath.Join(b.TempDir(), "calls")
	script := filepath.Join(filepath.Dir(calls), "notify.sh")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\ndate +%%s.%%N >> %s\ncat > /dev/null\n", calls), 0o700); err != nil {
		b.Fatal(err)
	}
	who.notify(script)
	who.start(b, protocol, port)
	defer who.stop(b)
	sender := exec.Command("taskset", "-c", "1", program, "traffic", "--send", protocol, "--to", fmt.Sprintf("127.0.0.1:%d", port),
		"--duration", "20s", "--hosts", "100", "--pps", "2000", "--network", peerNetwork, "--active", "1s", "--inactive", "100ms",
		"--attack", fmt.Sprintf("syn_flood,target=10.0.7.7,pps=%d,start=%v", multiple*detectionLimit, quiet))
	began := time.Now()
	if err := sender.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = sender.Process.Kill() // it may have ended
		_ = sender.Wait()
	}()
	for time.Since(began) < 25*time.Second {
		time.Sleep(20 * time.Millisecond)
		text, err := os.ReadFile(calls)
		if err != nil || !strings.Contains(string(text), "\n") {
			continue
		}
		at, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		return at - float64(began.Add(quiet).UnixNano())/1e9
	}
	b.Fatalf("%T called no script for %d × the limit in %s", who, multiple, protocol)
	return 0
}
