package evidence

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// tshark reads a file: a line with time and length of each packet, and one with
// its octets in hexadecimal.
func tshark(t *testing.T, path string) (times, octets []string) {
	t.Helper()
	out := sdktest.Tool(t, "tshark", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len")
	times = strings.Split(strings.TrimSpace(out), "\n")
	packet := ""
	for _, l := range strings.Split(sdktest.Tool(t, "tshark", "-r", path, "-x"), "\n") {
		if len(l) > 6 && l[4] == ' ' { // offset, two blanks, up to 16 octets, text
			packet += strings.ReplaceAll(l[6:min(len(l), 6+48)], " ", "")
		} else if packet != "" {
			octets, packet = append(octets, packet), ""
		}
	}
	return times, octets
}

// What was sampled is what tshark reads from the file: octets, length, time.
func TestCaptureFile(t *testing.T) {
	s := &gen.Scenario{Seed: 1, Duration: time.Second, Networks: networks, Benign: gen.Benign{PPS: 60, IPv6: 0.5, VLAN: 0.3}}
	var samples []sdk.Sample
	if err := s.Packets(func(p *gen.Packet) bool {
		x := sample(&p.Record, p.Frame, time.Unix(0, p.Time))
		if len(samples)%3 == 0 { // as a sampled header
			x.Data = x.Data[:min(64, len(x.Data))]
		}
		samples = append(samples, x)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	samples = append(samples, sdk.Sample{Time: time.Unix(1, 0)}) // only a record: not in the file
	for _, links := range []int{1, 2} {
		if links == 2 {
			raw := samples[1]
			raw.Data, raw.Link, raw.WireLen = raw.Data[14:], 101, raw.WireLen-14
			samples[1] = raw
		}
		content, extension, err := CaptureFile(samples)
		if err != nil || extension != map[int]string{1: ".pcap", 2: ".pcapng"}[links] {
			t.Fatalf("%d link types: %s, %v", links, extension, err)
		}
		path := filepath.Join(t.TempDir(), "a"+extension)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if links == 1 { // of several link types in a file it reads the first one's only
			// It would give root's rights up, and with them that to our directory.
			if n := strings.Count(sdktest.Tool(t, "tcpdump", "-Z", "root", "-nn", "-t", "-r", path), "\n"); n != len(samples)-1 {
				t.Errorf("tcpdump reads %d packets of %d", n, len(samples)-1)
			}
		}
		times, octets := tshark(t, path)
		if len(times) != len(samples)-1 || len(octets) != len(times) {
			t.Fatalf("%d link types: tshark reads %d and %d packets of %d", links, len(times), len(octets), len(samples)-1)
		}
		for i := range times {
			x := &samples[i]
			at, length, _ := strings.Cut(times[i], "\t")
			want := fmt.Sprintf("%d.%06d", x.Time.Unix(), x.Time.Nanosecond()/1000)
			if !strings.HasPrefix(at, want) || length != fmt.Sprint(x.WireLen) || octets[i] != hex.EncodeToString(x.Data) {
				t.Fatalf("%d link types, packet %d: tshark says %s, %s octets: %s; want %s, %d: %x", links, i, at, length, octets[i], want, x.WireLen, x.Data)
			}
		}
	}
	// Link types that need more than eight bits, and their place in pcapng.
	one := samples[2:3]
	for _, frames := range [][]sdk.Sample{{cooked(&one[0])}, {one[0], cooked(&one[0])}, {cooked(&one[0]), one[0]}} {
		content, extension, err := CaptureFile(frames)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a"+extension)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(sdktest.Tool(t, "tshark", "-r", path, "-T", "fields", "-e", "frame.protocols"))
		for i, f := range frames {
			if want := map[int]string{1: "eth:", int(traffic.LinkSLL2): "sll:"}[f.Link]; len(got) != len(frames) || !strings.HasPrefix(got[i], want) {
				t.Errorf("tshark says %q of link types %d, %d", got, frames[0].Link, frames[len(frames)-1].Link)
			}
		}
	}
	if content, _, err := CaptureFile(nil); content != nil || err != nil {
		t.Errorf("a file of nothing: %v, %v", content, err)
	}
}

// cooked is an Ethernet frame as "any" interface has it, LINKTYPE_LINUX_SLL2.
func cooked(s *sdk.Sample) sdk.Sample {
	out := *s
	head := make([]byte, 20)
	copy(head, s.Data[12:14]) // EtherType
	head[7], head[9], head[11] = 2, 1, 6
	out.Data, out.Link, out.WireLen = append(head, s.Data[14:]...), int(traffic.LinkSLL2), s.WireLen+6
	return out
}

// What a datagram carries is found behind every link type.
func TestPayloadBehindSLL2(t *testing.T) {
	s := &gen.Scenario{Seed: 1, Duration: time.Second, Networks: networks, Benign: gen.Benign{PPS: 60, IPv6: 0.5}}
	seen := 0
	if err := s.Packets(func(p *gen.Packet) bool {
		x := sample(&p.Record, p.Frame, time.Unix(0, p.Time))
		y := cooked(&x)
		want, got := udpPayload(&x, &p.Record), udpPayload(&y, &p.Record)
		if !bytes.Equal(want, got) {
			t.Fatalf("%x, behind Ethernet %x", got, want)
		}
		seen += min(1, len(want))
		return true
	}); err != nil || seen == 0 {
		t.Fatal(err, seen)
	}
}
