package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mirrorNetwork = "10.0.0.0/16"

// BenchmarkPeerMirror compares what a mirrored packet costs: small UDP packets
// to 65,536 hosts over a veth pair, AF_PACKET in both programs, flows counted.
func BenchmarkPeerMirror(b *testing.B) {
	peer := os.Getenv("FASTNETMON_PEER")
	if peer == "" {
		b.Skip("FASTNETMON_PEER names no executable of FastNetMon Community; make bench-peer does")
	}
	const inside = "FASTNETMON_PEER_NETNS"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^"+b.Name()+"$", "-test.benchtime=1x", "-test.timeout=10m")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		return
	}
	script := "ip link set lo up; ip link add out type veth peer name in; ip link set out up; ip link set in up"
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for b.Loop() {
		var theirs, ours []figures
		for range peerRounds() {
			theirs = append(theirs, mirror(b, &mirrorPeer{community{path: peer}}))
			ours = append(ours, mirror(b, &mirrorItself{}))
		}
		fmt.Printf("\n%-9s %26s %23s %17s\n", "who", "processed Mpackets/s", "ns of CPU per packet", "memory MB")
		for _, who := range []struct {
			name string
			all  []figures
		}{{"peer", theirs}, {"ours", ours}} {
			fmt.Printf("%-9s %26s %23s %17s\n", who.name, spread(who.all, func(f figures) float64 { return f.processed / 1e6 }),
				spread(who.all, func(f figures) float64 { return 1000 * f.cost }), spread(who.all, func(f figures) float64 { return f.memory }))
		}
		for i := range ours {
			fmt.Printf("ratio of CPU %.3g, of memory %.3g\n", ours[i].cost/theirs[i].cost, ours[i].memory/theirs[i].memory)
		}
	}
}

// mirror sends packets and returns what one program made of them.
func mirror(b *testing.B, who contestant) figures {
	b.Helper()
	who.start(b, "", 0)
	defer who.stop(b)
	conf := filepath.Join(b.TempDir(), "udp.trafgen")
	packet := `{ 0x02,0,0,0,0,1, 0x02,0,0,0,0,2, c16(0x0800), 0x45, 0, c16(46), drnd(2), c16(0), 64, 17, csumip(14, 33),
 198,51,100,drnd(1), 10,0,drnd(1),drnd(1), drnd(2), c16(53), c16(26), c16(0), fill(0x41, 18) }
`
	if err := os.WriteFile(conf, []byte(packet), 0o600); err != nil {
		b.Fatal(err)
	}
	send := func(packets int) {
		out, err := exec.Command("taskset", "-c", "1", "trafgen", "--dev", "out", "--conf", conf, "--num", fmt.Sprint(packets), "-P", "1", "-q").CombinedOutput()
		if err != nil {
			b.Fatalf("trafgen: %v: %s", err, out)
		}
	}
	send(300_000) // the tables fill
	settle(b, who)
	processes := who.processes(b)
	used := func() (sum time.Duration) {
		for _, pid := range processes {
			sum += cpu(b, pid)
		}
		return sum
	}
	before, busy, began := who.processed(b), used(), time.Now()
	send(2_000_000)
	took := time.Since(began)
	settle(b, who)
	n, busy := float64(who.processed(b)-before), used()-busy
	return figures{processed: n / took.Seconds(), cost: busy.Seconds() / (n / 1e6), memory: proportional(b, processes) / 1e6}
}

// mirrorPeer is the peer on an interface.
type mirrorPeer struct{ community }

func (c *mirrorPeer) start(b *testing.B, _ string, _ int) {
	dir := b.TempDir()
	scrape := freeUDP(b)
	conf := fmt.Sprintf(communityConfig, dir, "off", 1, "off", scrape, 100_000_000, "") + "mirror_afpacket = on\ninterfaces = in\n"
	for name, text := range map[string]string{"conf": conf, "networks": mirrorNetwork + "\n", "white": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	c.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", scrape)
	c.cmd = pinned(b, &c.log, c.path, "--configuration_file", filepath.Join(dir, "conf"), "--log_to_console", "--disable_pid_logic")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := c.counter(); err == nil {
			time.Sleep(time.Second) // it opens its interface about then
			return
		}
	}
	b.Fatalf("%s does not start:\n%s", c.path, &c.log)
}

// mirrorItself is this program on the same interface.
type mirrorItself struct{ itself }

func (c *mirrorItself) start(b *testing.B, _ string, _ int) {
	dir := b.TempDir()
	c.config = write(b, "mirror.hcl", fmt.Sprintf(`
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
    pps = 100000000
    fps = 100000000
  }
}
capture "afpacket" "mirror" {
  interfaces = ["in"]
  process {
    capabilities = ["CAP_NET_RAW"]
  }
}
pipeline "main" {
  captures = [capture.afpacket.mirror]
}
`, dir, mirrorNetwork))
	c.cmd = pinned(b, &c.log, program, "run", "--config", c.config)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(c.log.String(), "running: captures"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("it does not start:\n%s", &c.log)
		}
	}
	time.Sleep(500 * time.Millisecond)
}
