package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// quoted is a list of strings as HCL has it.
func quoted(files ...string) string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = fmt.Sprintf("%q", f)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// sums adds up what counts each packet once: totals of hosts, of folded
// prefixes and of traffic that is nobody's.
func sums(c *sdktest.Collection) (packets, octets uint64, lost map[uint8]uint64) {
	lost = map[uint8]uint64{}
	for _, d := range c.Deltas() {
		switch d.Kind {
		case ring.KindHost, ring.KindPrefix, ring.KindTotal:
			packets += d.Packets
			octets += d.Bytes
		case ring.KindLoss:
			lost[d.ID] += d.Packets
		}
	}
	return packets, octets, lost
}

func replay(t *testing.T, config string, networks ...string) *sdktest.Collection {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return sdktest.New(t, plugin(), config).RunReplay(ctx, sdktest.Plan(networks...))
}

// A replay of real attacks counts what tshark counts, and the same twice.
func TestReplayFixtures(t *testing.T) {
	for _, file := range fixtures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			config := "files = " + quoted(file)
			c := replay(t, config, "10.10.10.0/24")
			packets, octets, lost := sums(c)
			wantPackets, wantOctets := tsharkTotals(t, file)
			if packets != wantPackets || octets != wantOctets {
				t.Errorf("%d packets, %d octets; tshark says %d and %d; lost %v", packets, octets, wantPackets, wantOctets, lost)
			}
			again := replay(t, config, "10.10.10.0/24")
			if !slices.Equal(c.Deltas(), again.Deltas()) {
				t.Error("a second replay gives other deltas")
			}
		})
	}
}

// scenario writes a synthetic capture and returns its packets and octets.
func scenario(t *testing.T, path string, s gen.Scenario) (packets, octets, frames uint64) {
	t.Helper()
	var b bytes.Buffer
	if _, err := gen.WritePcap(&b, &s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Packets(func(p *gen.Packet) bool {
		packets += p.Record.Packets
		octets += p.Record.Bytes
		frames += uint64(len(p.Frame))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return packets, octets, frames
}

var networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}

// Several files together give the sum of each, by either length.
func TestReplayMerged(t *testing.T) {
	dir := t.TempDir()
	var files []string
	var packets, octets, frames uint64
	for i := range 3 {
		files = append(files, filepath.Join(dir, fmt.Sprintf("%d.pcap", i)))
		p, o, f := scenario(t, files[i], gen.Scenario{
			Seed: uint64(i), Start: time.Unix(1_700_000_000+int64(i), 0), Duration: 3 * time.Second,
			Networks: networks, Benign: gen.Benign{PPS: 2000, IPv6: 0.3, VLAN: 0.2},
		})
		packets, octets, frames = packets+p, octets+o, frames+f
	}
	for length, want := range map[string]uint64{lengthIP: octets, lengthFrame: frames} {
		c := replay(t, fmt.Sprintf("files = %s\nlength = %q", quoted(files...), length), "203.0.113.0/24", "2001:db8::/32")
		gotPackets, gotOctets, lost := sums(c)
		if gotPackets != packets || gotOctets != want || len(lost) != 0 {
			t.Errorf("%s: %d packets, %d octets, lost %v, want %d and %d", length, gotPackets, gotOctets, lost, packets, want)
		}
		first, last := c.Flushes()[0], c.Flushes()[len(c.Flushes())-1]
		if span := time.Duration(last.WindowEnd - first.WindowEnd); span < 4900*time.Millisecond || span > 5100*time.Millisecond {
			t.Errorf("%s: the stream's clock went on by %s, want the recorded 5 s", length, span)
		}
		if last.Received != packets || last.Counted != packets || last.DroppedTotal != 0 {
			t.Errorf("%s: ledger %+v", length, last)
		}
	}
}

// A cut file is in the ledger, and what came before it counts.
func TestReplayCut(t *testing.T) {
	dir := t.TempDir()
	whole, cut := filepath.Join(dir, "whole.pcap"), filepath.Join(dir, "cut.pcap")
	packets, _, _ := scenario(t, whole, gen.Scenario{
		Seed: 1, Duration: time.Second, Networks: networks, Benign: gen.Benign{PPS: 3000},
	})
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, data[:len(data)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, lost := sums(replay(t, "files = "+quoted(cut), "203.0.113.0/24"))
	if got != packets-1 || lost[uint8(causeCut)] != 1 || len(lost) != 1 {
		t.Errorf("%d of %d packets, lost %v", got, packets, lost)
	}
	if name := (&capture{}).Causes()[causeCut]; name != "cut_file" {
		t.Errorf("the cause is called %q", name)
	}
}

// Frames that do not count are in the ledger by cause.
func TestReplayCauses(t *testing.T) {
	arp := make([]byte, 60)
	arp[12], arp[13] = 0x08, 0x06
	is := frame{noon, string(arp)}
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for i, data := range [][]byte{classic(t, is, is, is, frame{noon, "short"}), strange(t)} {
		if err := os.WriteFile(files[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packets, _, lost := sums(replay(t, "files = "+quoted(files...), "203.0.113.0/24"))
	got := map[string]uint64{}
	for id, n := range lost {
		got[(&capture{}).Causes()[id]] = n
	}
	want := map[string]uint64{"not_ip": 3, "truncated": 1, "unknown_link": 1, "unknown_interface": 1, "damaged_file": 1}
	if packets != 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d packets, lost %v, want %v", packets, got, want)
	}
}

// In run the files are played at their speed, with the time of now, and then
// the input has ended.
func TestPlay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.pcap")
	packets, octets, _ := scenario(t, file, gen.Scenario{
		Seed: 1, Duration: 4 * time.Second, Networks: networks, Benign: gen.Benign{PPS: 2000},
	})
	h := sdktest.New(t, plugin(), fmt.Sprintf("files = %s\nspeed = 4", quoted(file)))
	begin := time.Now()
	c := h.StartCapture(sdktest.Plan("203.0.113.0/24"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.WaitFinished(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 990*time.Millisecond {
		t.Errorf("4 s at 4 times the speed took %s", took)
	}
	if err := c.Drain(); err != nil {
		t.Fatal(err)
	}
	gotPackets, gotOctets, lost := sums(c)
	if gotPackets != packets || gotOctets != octets || len(lost) != 0 {
		t.Errorf("%d packets, %d octets, lost %v, want %d and %d", gotPackets, gotOctets, lost, packets, octets)
	}
	// They did not come in one lump.
	seen := map[uint64]bool{}
	for _, f := range c.Flushes() {
		seen[f.Packets] = true
	}
	if len(seen) < 5 {
		t.Errorf("the packets came in %d lumps", len(seen))
	}
}

// A pause in a file does not hold up the end of the plugin.
func TestPlayStopsInAPause(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pause.pcap")
	if err := os.WriteFile(file, classic(t, frame{noon, "x"}, frame{noon + 3600e9, "x"}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sdktest.New(t, plugin(), "files = "+quoted(file))
	c := h.StartCapture(sdktest.Plan("203.0.113.0/24"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Wait(ctx, func(deltas []ring.Delta) bool { return len(deltas) > 0 }); err != nil { // the loss of the first
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.Drain(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("draining took %s", took)
	}
}

// The core shows the plugin's complaint at the file that is wrong.
func TestComplaint(t *testing.T) {
	ds := sdktest.New(t, plugin(), `files = ["/dev/null"]`).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "files[0]" {
		t.Errorf("%v", ds)
	}
}
