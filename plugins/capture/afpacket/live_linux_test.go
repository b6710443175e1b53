package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// What tcpreplay puts on the wire is counted to the packet and the octet, by
// either length, with one worker and four, in every mode.
func TestExact(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	file, want, wire := mixed(t, 8000)
	for _, c := range []string{
		"", "workers = 4", "workers = 4\nfanout = \"lb\"\nsnap_length = 100", "workers = 2\nfanout = \"cpu\"", "workers = 2\nfanout = \"rollover\"",
		"workers = 3\nfanout = \"random\"", "workers = 2\nfanout = \"queue_mapping\"", "length = \"frame\"\ndirection = \"both\"",
	} {
		t.Run(strings.ReplaceAll(c, "\n", ", "), func(t *testing.T) {
			h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\n"+c)
			col := running(t, h)
			command(t, "tcpreplay", "-q", "-i", "out", "--pps", "20000", file)
			got := settled(t, col)
			octets := want.octets
			if strings.Contains(c, "frame") {
				octets = wire
			}
			if got.packets != want.packets || got.octets != octets || len(got.lost) != 0 {
				t.Errorf("%d packets, %d octets, lost %v; sent were %d and %d", got.packets, got.octets, got.lost, want.packets, octets)
			}
		})
	}
	t.Run("tx", func(t *testing.T) {
		h := sdktest.New(t, plugin(), "interfaces = [\"out\"]\ndirection = \"tx\"")
		col := running(t, h)
		command(t, "tcpreplay", "-q", "-i", "out", "--pps", "20000", file)
		command(t, "tcpreplay", "-q", "-i", "in", "--pps", "20000", "-L", "100", file)
		if got := settled(t, col); got.packets != want.packets || got.octets != want.octets {
			t.Errorf("%d packets, %d octets; sent were %d and %d", got.packets, got.octets, want.packets, want.octets)
		}
	})
}

// What an expression lets through, in the kernel as far as that can judge, is
// what it lets through of the records of all packets.
func TestExpressions(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	const packets = 8000
	file, all, _ := mixed(t, packets)
	for _, c := range []struct{ expression, more string }{
		{"vlan and not udp", ""},
		{"udp and src port 123 or tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "workers = 2"},
		{"ip6 and not host 2001:db8::7 or less 200", "snap_length = 128"},
		{"not (ip and net 203.0.113.0/25)", "direction = \"both\"\nsampling = 4"},
	} {
		t.Run(c.expression, func(t *testing.T) {
			p, err := pcapfilter.Compile(c.expression)
			if err != nil {
				t.Fatal(err)
			}
			var want count
			if err := mixture(packets).Packets(func(x *gen.Packet) bool {
				if p.Match(&x.Record) {
					want.packets++
					want.octets += x.Record.Bytes
				}
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if want.packets == 0 || want.packets == all.packets {
				t.Fatalf("it holds for %d of %d packets", want.packets, all.packets)
			}
			h := sdktest.New(t, plugin(), fmt.Sprintf("interfaces = [\"in\"]\nfilter = %q\n%s", c.expression, c.more))
			col := running(t, h)
			command(t, "tcpreplay", "-q", "-i", "out", "--pps", "20000", file)
			got := settled(t, col)
			exact := got.packets == want.packets && got.octets == want.octets
			if strings.Contains(c.more, "sampling") { // within five standard deviations
				diff := float64(got.packets) - float64(want.packets)
				exact = got.packets%4 == 0 && diff*diff < 25*4*float64(want.packets)
			}
			if !exact || len(got.lost) != 0 {
				t.Errorf("%d packets, %d octets, lost %v; %d with %d octets match", got.packets, got.octets, got.lost, want.packets, want.octets)
			}
		})
	}
}

// trafgen's packets are counted at a rate that fills many blocks.
func TestTrafgen(t *testing.T) {
	if !sdktest.InNamespace(t, "trafgen") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	conf := filepath.Join(t.TempDir(), "udp.trafgen")
	const packets = 200_000
	text := `{ 0x02,0,0,0,0,1, 0x02,0,0,0,0,2, c16(0x0800),
 0x45, 0, c16(60), drnd(2), c16(0), 64, 17, csumip(14, 33), 198,51,drnd(1),drnd(1), 203,0,113,drnd(1),
 c16(4000), c16(53), c16(40), c16(0), fill(0x41, 32) }
`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sdktest.New(t, plugin(), `interfaces = ["in"]`)
	col := running(t, h)
	command(t, "trafgen", "--dev", "out", "--conf", conf, "--num", fmt.Sprint(packets), "--rate", "150000pps", "-P", "1", "-q")
	got := settled(t, col)
	if got.packets+got.lost["kernel_drop"] != packets || got.octets != 60*got.packets || got.incoming != got.packets {
		t.Errorf("%+v; sent were %d packets of 60 octets", got, packets)
	}
}

// With frames coming faster than a small ring holds them, what is missing is
// what the ledger says.
func TestOverload(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	file, want, _ := mixed(t, 20000)
	for _, c := range []struct{ name, config string }{{"drop", "delay = \"1s\""}, {"sample", "overload = \"sample\""}} {
		t.Run(c.name, func(t *testing.T) {
			h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\nring_size = \"1MiB\"\n"+c.config)
			col := running(t, h)
			command(t, "tcpreplay", "-q", "-t", "-K", "--loop", "10", "-i", "out", file)
			got := settled(t, col)
			t.Logf("%d packets of %d counted, lost %v", got.packets, 10*want.packets, got.lost)
			if c.name == "drop" && got.packets+got.lost["kernel_drop"] != 10*want.packets {
				t.Errorf("%d and %v lost are not %d", got.packets, got.lost, 10*want.packets)
			}
			if err := col.Drain(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TCP at full rate, that leaves and arrives as super-frames, counts as the
// segments that it is, of which the receiver's kernel knows; what the sender's
// firewall drops, so that it is sent again, was on no wire.
func TestSuperFrames(t *testing.T) {
	if !sdktest.InNamespace(t, "iperf3", "nsenter", "nft") {
		return
	}
	far := newPlace(t)
	cable(t, place{}, "near", far, "far")
	command(t, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/near/disable_ipv6")
	far.run(t, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/far/disable_ipv6")
	command(t, "ip", "addr", "add", "203.0.113.1/24", "dev", "near")
	far.run(t, "ip", "addr", "add", "203.0.113.2/24", "dev", "far")
	command(t, "ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "near", "nodad")
	far.run(t, "ip", "-6", "addr", "add", "2001:db8::2/64", "dev", "far", "nodad")
	far.start(t, "iperf3", "-s")
	until(t, "iperf3 listens", func() bool { return strings.Contains(far.run(t, "cat", "/proc/net/tcp6"), ":1451 ") })
	for _, at := range []place{{}, far} {
		at.run(t, "nft", "add table inet t; add chain inet t out { type filter hook output priority 0; }; add rule inet t out tcp sport != 5201 meta length > 2000 numgen random mod 500 < 1 drop; "+
			"add rule inet t out tcp sport 5201 meta length > 2000 numgen random mod 500 < 1 drop")
	}
	for _, family := range []struct {
		name, target, file, proto string
		header                    uint64
	}{{"v4", "203.0.113.2", "netstat", "IpExt", 52}, {"v6", "2001:db8::2", "snmp6", "Ip6", 72}} {
		for _, direction := range []string{"tx", "rx"} {
			t.Run(family.name+" "+direction, func(t *testing.T) {
				// What the near end sends is seen going out; what comes in is what the
				// far end sends (iperf3 -R).
				sender, receiver := place{}, far
				args := []string{"-c", family.target, "-t", "1", "--json"}
				if direction == "rx" {
					sender, receiver, args = far, place{}, append(args, "-R")
				}
				// The ring holds a second of frames that are cut: none is lost.
				h := sdktest.New(t, plugin(), fmt.Sprintf("interfaces = [\"near\"]\ndirection = %q\nsnap_length = 128\nfilter = %q", direction, tcpOnly(family.name)))
				col := running(t, h)
				sum := func() (segments, frames, octets, again uint64) {
					for _, name := range []string{"InNoECTPkts", "InECT0Pkts", "InECT1Pkts", "InCEPkts"} {
						segments += receiver.counter(t, family.file, family.proto, name)
					}
					frames = receiver.counter(t, "snmp", "Ip", "InReceives")
					if family.name == "v6" {
						frames = receiver.counter(t, "snmp6", "Ip6", "InReceives")
					}
					return segments, frames, receiver.counter(t, family.file, family.proto, "InOctets"), sender.counter(t, "snmp", "Tcp", "RetransSegs")
				}
				segments, frames, octets, again := sum()
				command(t, "iperf3", args...)
				got := settled(t, col)
				s, f, o, r := sum()
				segments, frames, octets, again = s-segments, f-frames, o-octets, r-again
				octets += (segments - frames) * family.header
				t.Logf("%d segments in %d frames, %d octets; %d segments sent again", segments, frames, octets, again)
				if frames*2 > segments {
					t.Fatal("there are no super-frames: the test shows nothing")
				}
				// Neighbour discovery and the like are no TCP, but are among the frames.
				if diff := int64(got.packets) - int64(segments); diff < -20 || diff > 20 || len(got.lost) > 0 {
					t.Errorf("%d packets counted, %d segments came; lost %v", got.packets, segments, got.lost)
				}
				if diff := int64(got.octets) - int64(octets); diff < -20000 || diff > 20000 {
					t.Errorf("%d octets counted, %d came", got.octets, octets)
				}
			})
		}
	}
}

// tcpOnly is the BPF program that passes TCP of a family.
func tcpOnly(family string) string {
	if family == "v6" {
		return "6,40 0 0 12,21 0 3 34525,48 0 0 20,21 0 1 6,6 0 0 262144,6 0 0 0"
	}
	return "6,40 0 0 12,21 0 3 2048,48 0 0 23,21 0 1 6,6 0 0 262144,6 0 0 0"
}

// On a router with all its interfaces captured, what it forwards counts once,
// and what it sends itself does, too.
func TestForwarding(t *testing.T) {
	if !sdktest.InNamespace(t, "nsenter", "hping3") {
		return
	}
	left, right := newPlace(t), newPlace(t)
	cable(t, place{}, "west", left, "left")
	cable(t, place{}, "east", right, "right")
	command(t, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	command(t, "ip", "addr", "add", "203.0.113.1/26", "dev", "west")
	command(t, "ip", "addr", "add", "203.0.113.129/26", "dev", "east")
	left.run(t, "ip", "addr", "add", "203.0.113.2/26", "dev", "left")
	left.run(t, "ip", "route", "add", "default", "via", "203.0.113.1")
	right.run(t, "ip", "addr", "add", "203.0.113.130/26", "dev", "right")
	right.run(t, "ip", "route", "add", "default", "via", "203.0.113.129")
	for _, c := range []struct {
		direction string
		want      uint64 // 100 pings through it, 50 of its own: requests and answers
	}{{"both", 200 + 100}, {"rx", 200 + 50}, {"tx", 200 + 50}} {
		t.Run(c.direction, func(t *testing.T) {
			h := sdktest.New(t, plugin(), fmt.Sprintf("interfaces = [\"west\", \"east\"]\ndirection = %q", c.direction))
			col := running(t, h)
			left.run(t, "hping3", "-1", "-q", "-c", "100", "-i", "u2000", "-d", "56", "203.0.113.130")
			command(t, "hping3", "-1", "-q", "-c", "50", "-i", "u2000", "-d", "56", "203.0.113.2")
			got := settled(t, col)
			if got.packets != c.want || got.octets != 84*c.want {
				t.Errorf("%d packets and %d octets, want %d and %d", got.packets, got.octets, c.want, 84*c.want)
			}
		})
	}
}

// A sampled count is right within what chance allows, by the kernel's and by
// the switch's sampling.
func TestSampling(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	file, want, _ := mixed(t, 20000)
	h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\nsampling = 10\nmirror_sampling = 3")
	col := running(t, h)
	command(t, "tcpreplay", "-q", "-i", "out", "--pps", "40000", file)
	got := settled(t, col)
	truth := float64(3 * want.packets)
	if diff := float64(got.packets) - truth; diff*diff > 25*truth*3*9 || got.packets%30 != 0 {
		t.Errorf("%d packets, want %v", got.packets, truth)
	}
}

// An interface that goes down, away and comes back: the capture says so, and
// goes on.
func TestInterfaceComesBack(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	file, want, _ := mixed(t, 1000)
	h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\nworkers = 2\nring_size = \"4MiB\"")
	col := h.StartCapture(sdktest.Plan(our4, our6))
	unhealthy := func(text string) func() bool {
		return func() bool {
			got := h.Health()
			return got.State == host.Unhealthy && strings.Contains(got.Message, text)
		}
	}
	until(t, "it misses the interface", unhealthy(`no interface "in"`))
	sent := uint64(0)
	for range 2 {
		cable(t, place{}, "out", place{}, "in")
		for range 2 {
			until(t, "it is ready", func() bool { return ready(h) && h.Health().State == host.Running })
			command(t, "tcpreplay", "-q", "-i", "out", "--pps", "10000", file)
			sent += want.packets
			if got := settled(t, col); got.packets != sent {
				t.Fatalf("%d packets, %d were sent", got.packets, sent)
			}
			command(t, "ip", "link", "set", "in", "down")
			until(t, "it says that the interface is down", unhealthy("down"))
			command(t, "ip", "link", "set", "in", "up")
		}
		until(t, "it is ready", func() bool { return ready(h) })
		command(t, "ip", "link", "del", "in")
		until(t, "it says that the interface is gone", unhealthy("in"))
	}
}

// Started and stopped many times, nothing is left: no promiscuous interface,
// no socket.
func TestLeavesNothing(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	times := 8
	if os.Getenv("FASTNETMON_SOAK") != "" {
		times = 1000
	}
	for range times {
		h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\nworkers = 2\nring_size = \"1MiB\"")
		col := running(t, h)
		if !strings.Contains(command(t, "ip", "-d", "link", "show", "in"), "promiscuity 2") {
			t.Fatalf("the interface is not promiscuous while it is captured: %s", command(t, "ip", "-d", "link", "show", "in"))
		}
		if err := col.Drain(); err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	if out := command(t, "ip", "-d", "link", "show", "in"); !strings.Contains(out, "promiscuity 0") {
		t.Errorf("promiscuous afterwards: %s", out)
	}
	b, err := os.ReadFile("/proc/thread-self/net/packet")
	if err != nil || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("sockets are left: %s (%v)", b, err)
	}
}

// doctor has a row for everything that may be wrong.
func TestDoctor(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	h := sdktest.New(t, plugin(), `interfaces = ["in", "out", "gone"]`)
	h.StartCapture(sdktest.Plan(our4))
	var text string
	until(t, "all rows are there", func() bool {
		rows, err := h.Table("doctor")
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Sprint(rows.Rows)
		for _, part := range []string{"interface in ok", "promiscuous out ok", "offload in ok", "drops in ok", "ring out ok", "interface gone fault", "there is no interface"} {
			if !strings.Contains(text, part) {
				return false
			}
		}
		return true
	})
	command(t, "ip", "link", "set", "out", "down")
	until(t, "in has no carrier", func() bool {
		rows, _ := h.Table("doctor")
		text = fmt.Sprint(rows.Rows)
		return strings.Contains(text, "no carrier") && strings.Contains(text, "out is down")
	})
}
