package main

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const noon = int64(1_700_000_000) * 1e9

// frame is one frame of a file that a test writes.
type frame struct {
	at   int64 // nanoseconds
	data string
}

// classic makes a capture file of Ethernet frames.
func classic(t testing.TB, frames ...frame) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, f.at), CaptureLength: len(f.data), Length: max(60, len(f.data))}
		if err := w.WritePacket(info, []byte(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// fixtures returns the captures of real attacks.
func fixtures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sdktest.Fixtures(t, "attacks"), "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures among the fixtures: %v", err)
	}
	return files
}

// tsharkTotals counts a file's IP packets and their octets: total length of
// IPv4, payload length and the fixed header of IPv6.
func tsharkTotals(t testing.TB, file string) (packets, octets uint64) {
	t.Helper()
	out := sdktest.Tool(t, "tshark", "-n", "-r", file, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
		"-T", "fields", "-E", "occurrence=f", "-e", "ip.len", "-e", "ipv6.plen")
	for line := range strings.Lines(out) {
		v4, v6, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		text, header := v4, uint64(0)
		if text == "" {
			text, header = v6, 40
		}
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		packets++
		octets += n + header
	}
	return packets, octets
}

// strange makes a pcapng file with a packet of a link type that nobody reads,
// one of an interface that the file does not describe, and no proper end.
func strange(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, 147)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(0, noon), CaptureLength: 4, Length: 60}, []byte("what")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	// An enhanced packet block of interface 1, and a block of 5 octets.
	block := []uint32{6, 36, 1, uint32(noon / 1e3 >> 32), uint32(noon / 1e3 & 0xffffffff), 4, 60, 0, 36, 6, 5}
	for _, v := range block {
		b.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return b.Bytes()
}
