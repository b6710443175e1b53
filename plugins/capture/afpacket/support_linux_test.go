package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

const (
	our4 = "203.0.113.0/24"
	our6 = "2001:db8::/32"
)

// command runs a program to its end.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sdktest.Program(t, name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// place is a network namespace, held by a process that sleeps; the zero value
// is the test's own.
type place struct{ pid int }

// newPlace makes a namespace that ends with the test.
func newPlace(t *testing.T) place {
	t.Helper()
	hold := exec.Command(sdktest.Program(t, "sleep"), "1000")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
	})
	p := place{hold.Process.Pid}
	p.run(t, "ip", "link", "set", "lo", "up")
	return p
}

// args are those with which a command runs in the place.
func (p place) args(name string, args ...string) []string {
	if p.pid == 0 {
		return append([]string{name}, args...)
	}
	return append([]string{"nsenter", "-t", strconv.Itoa(p.pid), "-n", name}, args...)
}

func (p place) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	all := p.args(name, args...)
	return command(t, all[0], all[1:]...)
}

// start begins a command and ends it with the test.
func (p place) start(t *testing.T, name string, args ...string) {
	t.Helper()
	all := p.args(name, args...)
	cmd := exec.Command(sdktest.Program(t, all[0]), all[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// counter reads a number of the place's kernel: a protocol's of
// /proc/net/snmp, netstat or snmp6.
func (p place) counter(t *testing.T, file, protocol, name string) uint64 {
	t.Helper()
	lines := strings.Split(p.run(t, "cat", "/proc/net/"+file), "\n")
	for i, line := range lines {
		fields := strings.Fields(line)
		if file == "snmp6" && len(fields) == 2 && fields[0] == protocol+name {
			n, _ := strconv.ParseUint(fields[1], 10, 64)
			return n
		}
		if len(fields) == 0 || fields[0] != protocol+":" || i+1 == len(lines) {
			continue
		}
		values := strings.Fields(lines[i+1])
		for k, f := range fields {
			if f == name && k < len(values) {
				n, err := strconv.ParseUint(values[k], 10, 64)
				if err != nil {
					break // the names' own line
				}
				return n
			}
		}
	}
	t.Fatalf("the kernel has no counter %s %s in %s", protocol, name, file)
	return 0
}

// cable makes a pair of interfaces, each end in a place, that are quiet.
func cable(t *testing.T, a place, nameA string, b place, nameB string) {
	t.Helper()
	command(t, "ip", "link", "add", nameA, "type", "veth", "peer", "name", nameB)
	for _, end := range []struct {
		at   place
		name string
	}{{a, nameA}, {b, nameB}} {
		if end.at.pid != 0 {
			command(t, "ip", "link", "set", end.name, "netns", strconv.Itoa(end.at.pid))
		}
		end.at.run(t, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/"+end.name+"/disable_ipv6 || true")
		end.at.run(t, "ip", "link", "set", end.name, "up")
	}
}

// running starts the capture and waits until it takes frames.
func running(t *testing.T, h *sdktest.Harness) *sdktest.Collection {
	t.Helper()
	c := h.StartCapture(sdktest.Plan(our4, our6))
	until(t, "the capture is ready", func() bool { return ready(h) })
	return c
}

// ready reports whether all rings are there.
func ready(h *sdktest.Harness) bool {
	rows, err := h.Table("doctor")
	if err != nil || len(rows.Rows) == 0 {
		return false
	}
	for _, r := range rows.Rows {
		if strings.HasPrefix(r[0], "interface") && r[1] != "ok" || strings.HasPrefix(r[0], "ring") && r[1] != "ok" {
			return false
		}
	}
	return true
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// count is what a collection has counted.
type count struct {
	packets, octets uint64
	incoming        uint64
	lost            map[string]uint64
}

func counted(c *sdktest.Collection) count {
	out := count{lost: map[string]uint64{}}
	names := (&capture{}).Causes()
	for _, d := range c.Deltas() {
		switch d.Kind {
		case ring.KindHost, ring.KindPrefix, ring.KindTotal:
			out.packets += d.Packets
			out.octets += d.Bytes
			if d.Kind != ring.KindTotal && d.Direction == ring.Incoming {
				out.incoming += d.Packets
			}
		case ring.KindLoss:
			name := strconv.Itoa(int(d.ID))
			if int(d.ID) < len(names) {
				name = names[d.ID]
			}
			out.lost[name] += d.Packets
		}
	}
	return out
}

// settled waits until nothing more comes.
func settled(t *testing.T, c *sdktest.Collection) (got count) {
	t.Helper()
	same := time.Now()
	until(t, "the counts stand still", func() bool {
		now := counted(c)
		if now.packets != got.packets || len(now.lost) != len(got.lost) || now.lost["kernel_drop"] != got.lost["kernel_drop"] {
			same = time.Now()
		}
		got = now
		return time.Since(same) > 700*time.Millisecond
	})
	return got
}

// mixed writes a capture file of ordinary traffic and attacks of both
// families, with and without tags, and says what is in it.
func mixed(t *testing.T, packets int) (file string, want count, wire uint64) {
	t.Helper()
	s := mixture(packets)
	var b bytes.Buffer
	if _, err := gen.WritePcap(&b, s); err != nil {
		t.Fatal(err)
	}
	if err := s.Packets(func(p *gen.Packet) bool {
		want.packets++
		want.octets += p.Record.Bytes
		wire += uint64(len(p.Frame))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), fmt.Sprintf("mixed%d.pcap", packets))
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, want, wire
}

// mixture is the scenario of such a file.
func mixture(packets int) *gen.Scenario {
	return &gen.Scenario{
		Seed: 7, Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix(our4), netip.MustParsePrefix(our6)},
		Benign: gen.Benign{PPS: float64(packets) / 2, IPv6: 0.4, VLAN: 0.3},
		Attacks: []gen.Attack{
			{Kind: gen.NTPAmplification, Target: netip.MustParseAddr("203.0.113.7"), PPS: float64(packets) / 4},
			{Kind: gen.SYNFlood, Target: netip.MustParseAddr("2001:db8::7"), PPS: float64(packets) / 4},
		},
	}
}
