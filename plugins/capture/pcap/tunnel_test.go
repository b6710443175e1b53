package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// ipv4 is a packet without options.
func ipv4(proto byte, src, dst string, payload []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = append(b, 0, 0, 0, 0, 64, proto, 0, 0)
	b = append(b, netip.MustParseAddr(src).AsSlice()...)
	b = append(b, netip.MustParseAddr(dst).AsSlice()...)
	return append(b, payload...)
}

// Of a tunnel's packets those count that the configuration asks for, and with
// both none is lost however small the batches.
func TestDecapsulate(t *testing.T) {
	udp := []byte{0, 53, 1, 0, 0, 18, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	in := ipv4(17, "198.51.100.1", "203.0.113.7", udp)
	gre := ipv4(47, "198.51.100.2", "203.0.113.9", append([]byte{0, 0, 8, 0}, in...))
	outer := ipv4(4, "198.51.100.3", "203.0.113.10", gre)
	var frames []frame
	const packets = 5000
	for i := range int64(packets) {
		frames = append(frames, frame{noon + i*1e6, string(append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, outer...))})
	}
	file := filepath.Join(t.TempDir(), "tunnel.pcap")
	if err := os.WriteFile(file, classic(t, frames...), 0o600); err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]map[string]int{
		"":                                 {"203.0.113.10": len(outer)},
		`ipip = "inner"`:                   {"203.0.113.9": len(gre)},
		`all = "inner"`:                    {"203.0.113.7": len(in)},
		`all = "both"`:                     {"203.0.113.10": len(outer), "203.0.113.9": len(gre), "203.0.113.7": len(in)},
		`gre = "both"`:                     {"203.0.113.10": len(outer)},
		"ipip = \"inner\"\ngre = \"both\"": {"203.0.113.9": len(gre), "203.0.113.7": len(in)},
	} {
		c := replay(t, fmt.Sprintf("files = %s\ndecapsulate = {\n%s\n}", quoted(file), how), "203.0.113.0/24")
		got := map[string]int{}
		for _, d := range c.Deltas() {
			if d.Kind == ring.KindHost && d.Direction == ring.Incoming {
				got[netip.AddrFrom16(d.Addr).Unmap().String()] += int(d.Bytes)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%q: %v, want %v times %d", how, got, want, packets)
		}
		for host, octets := range want {
			if got[host] != packets*octets {
				t.Errorf("%q: %s got %d octets, want %d", how, host, got[host], packets*octets)
			}
		}
	}
}
