package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// hasLibrary says which of the two ways this test was built for.
var hasLibrary = strings.HasPrefix(liveName, "libpcap")

func cable(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"link", "add", "out", "type", "veth", "peer", "name", "in"}, {"link", "set", "out", "up"}, {"link", "set", "in", "up"}} {
		tool(t, "ip", args...)
		for _, end := range []string{"in", "out"} { // quiet
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+end+"/disable_ipv6", []byte("1"), 0)
		}
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// opened reports whether the interface is open.
func opened(h *sdktest.Harness) bool {
	rows, err := h.Table("doctor")
	return err == nil && len(rows.Rows) > 0 && rows.Rows[0][0] == "interface" && rows.Rows[0][1] == "ok" && h.Health().State == host.Running
}

// What is put on a wire is counted to the packet and the octet, whichever way
// frames are taken, and doctor says which it is.
func TestLive(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t)
	file := filepath.Join(t.TempDir(), "traffic.pcap")
	packets, octets, frames := scenario(t, file, gen.Scenario{Seed: 5, Duration: time.Second, Networks: networks, Benign: gen.Benign{PPS: 4000, IPv6: 0.4, VLAN: 0.2}})
	for _, c := range []struct {
		config string
		octets uint64
	}{{"", octets}, {"length = \"frame\"\nsnap_length = 128", frames}, {"direction = \"both\"", octets}} {
		h := sdktest.New(t, plugin(), "interface = \"in\"\n"+c.config)
		col := h.StartCapture(sdktest.Plan("203.0.113.0/24", "2001:db8::/32"))
		until(t, "it is open", func() bool { return opened(h) })
		time.Sleep(100 * time.Millisecond)
		tool(t, "tcpreplay", "-q", "-i", "out", "--pps", "10000", file)
		until(t, fmt.Sprintf("%d packets", packets), func() bool { n, _, _ := sums(col); return n >= packets })
		time.Sleep(300 * time.Millisecond)
		if n, o, lost := sums(col); n != packets || o != c.octets || len(lost) != 0 {
			t.Errorf("%q: %d packets, %d octets, lost %v, want %d and %d", c.config, n, o, lost, packets, c.octets)
		}
		rows, err := h.Table("doctor")
		if err != nil || !strings.Contains(fmt.Sprint(rows.Rows), liveName) {
			t.Errorf("doctor does not say how frames are taken: %v, %v", rows.Rows, err)
		}
		if err := col.Drain(); err != nil {
			t.Error(err)
		}
	}
}

// An interface that is not there is waited for, and a filter holds.
func TestLiveWaits(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	file := filepath.Join(t.TempDir(), "traffic.pcap")
	packets, _, _ := scenario(t, file, gen.Scenario{Seed: 5, Duration: time.Second, Networks: networks[:1], Benign: gen.Benign{PPS: 2000}})
	config := "interface = \"in\"\nfilter = \"tcp or udp\"\n"
	if hasLibrary {
		config += "timestamps = \"host\"\n"
	}
	h := sdktest.New(t, plugin(), config)
	col := h.StartCapture(sdktest.Plan("203.0.113.0/24"))
	until(t, "it misses the interface", func() bool {
		got := h.Health()
		return got.State == host.Unhealthy && strings.Contains(got.Message, `no interface "in"`)
	})
	cable(t)
	until(t, "it is open", func() bool { return opened(h) })
	time.Sleep(100 * time.Millisecond)
	tool(t, "tcpreplay", "-q", "-i", "out", "--pps", "10000", file)
	time.Sleep(500 * time.Millisecond)
	if n, _, _ := sums(col); n == 0 || n >= packets {
		t.Errorf("%d of %d packets count", n, packets)
	}
	if out, err := exec.Command("ip", "link", "del", "in").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(t, "it says that the interface is gone", func() bool { return h.Health().State == host.Unhealthy })
}

func TestLiveConformance(t *testing.T) {
	if sdktest.InNamespace(t) {
		sdktest.Conformance(t, plugin(), "interface = \"lo\"")
	}
}

// What only libpcap can is refused without it, and wrong expressions are by
// both.
func TestFilterNeedsLibrary(t *testing.T) {
	if got := sdktest.New(t, plugin(), "interface = \"lo\"\nfilter = \"udp port 53\"").Validate(); got.HasErrors() {
		t.Error(got)
	}
	if got := sdktest.New(t, plugin(), "interface = \"lo\"\nfilter = \"ether host 02:00:00:00:00:01\"\ntimestamps = \"host\"").Validate(); got.HasErrors() == hasLibrary {
		t.Errorf("with libpcap: %v: %v", hasLibrary, got)
	}
	for config, path := range map[string]string{
		"interface = \"lo\"\nfilter = \"udp prt 53\"": "filter", "interface = \"lo\"\nfiles = [\"x\"]": "interface",
		"interface = \"lo\"\ndirection = \"in\"": "direction", "interface = \"lo\"\nbuffer = 5": "buffer", "interface = \"l/o\"": "interface",
	} {
		got := sdktest.New(t, plugin(), config).Validate()
		if !got.HasErrors() || got[0].Path.String() != path {
			t.Errorf("%s: %v", config, got)
		}
	}
}

// tool runs a program to its end.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(sdktest.Program(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}
