package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// listenUDP is a socket on loopback with room for a test's datagrams.
func listenUDP(t testing.TB) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(8 << 20)
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// arrived is a datagram, and when it came.
type arrived struct {
	data []byte
	at   time.Time
}

// readAll reads until nothing has come for a while after stop is closed.
func readAll(conn *net.UDPConn, stop <-chan struct{}) (all []arrived) {
	buf := make([]byte, 65536)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := conn.Read(buf)
		if err == nil {
			all = append(all, arrived{bytes.Clone(buf[:n]), time.Now()})
			continue
		}
		select {
		case <-stop:
			return all
		default:
		}
	}
}

// sent is what the command says it has sent.
type sent struct{ datagrams, records, packets, octets uint64 }

func parseSent(t *testing.T, text string) (s sent) {
	t.Helper()
	_, rest, _ := strings.Cut(text, ": ")
	if _, err := fmt.Sscanf(rest, "%d datagrams, %d records of %d packets and %d octets", &s.datagrams, &s.records, &s.packets, &s.octets); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return s
}

// sendTo runs the command against a socket of ours.
func sendTo(t *testing.T, args ...string) (string, []arrived) {
	t.Helper()
	conn, to := listenUDP(t)
	stop, done := make(chan struct{}), make(chan []arrived)
	go func() { done <- readAll(conn, stop) }()
	out := mustRun(t, append([]string{"traffic", "--to", to.String()}, args...)...).stdout
	close(stop)
	return out, <-done
}

// TestTsharkAgrees: an independent decoder reads in what was sent the packets
// and octets that the command says. They are few: what is sent at once must fit
// into the buffer that any system grants.
func TestTsharkAgrees(t *testing.T) {
	cases := map[string][]string{"sflow expanded, with counters": {"sflow", "--expanded", "--counters", "300ms"}}
	for _, protocol := range gen.Protocols() {
		cases[string(protocol)] = []string{string(protocol)}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			protocol := gen.Protocol(c[0])
			out, all := sendTo(t, append([]string{
				"--send", c[0], "--duration", "2s", "--pps", "300", "--active", "700ms", "--inactive", "400ms", "--sampling", "2",
				"--attack", "syn_flood,target=203.0.113.7,pps=100", "--attack", "dns_amplification,target=2001:db8::7,pps=60", "--attack", "icmp_flood,target=203.0.113.8,pps=30",
			},
				c[1:]...)...)
			want := parseSent(t, out)
			got := tsharkTelemetry(t, protocol, all)
			if got != want || want.packets < 350 {
				t.Errorf("tshark reads %+v\n%s", got, out)
			}
		})
	}
}

// tsharkTelemetry has tshark read datagrams.
func tsharkTelemetry(t *testing.T, protocol gen.Protocol, all []arrived) (s sent) {
	t.Helper()
	port := uint16(2055)
	// Of sFlow the addresses in front are those of the datagram itself.
	fields, skip := []string{"-e", "cflow.packets", "-e", "cflow.octets"}, 0
	if protocol == gen.SFlow {
		port, skip = 6343, 1
		fields = []string{"-e", "ip.len", "-e", "ipv6.plen"}
	}
	path := writeUDP(t, all, port)
	args := append([]string{"-n", "-r", path, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"}, fields...)
	text, err := exec.CommandContext(t.Context(), "tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark (make test installs it): %v", err)
	}
	numbers := func(list string) (ns []uint64) {
		for n := range strings.SplitSeq(list, ",") {
			if v, err := strconv.ParseUint(n, 10, 64); err == nil {
				ns = append(ns, v)
			}
		}
		return ns
	}
	for line := range strings.Lines(string(text)) {
		first, second, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		a, b := numbers(first)[skip:], numbers(second)
		records := len(a)
		if protocol == gen.SFlow {
			records += len(b)
			s.packets += uint64(records)
			s.octets += sum(a) + sum(b) + 40*uint64(len(b))
		} else {
			s.packets += sum(a)
			s.octets += sum(b)
		}
		s.records += uint64(records)
		if records > 0 {
			s.datagrams++
		}
	}
	faults, err := exec.CommandContext(t.Context(), "tshark", "-n", "-r", path, "-Y", "_ws.malformed || cflow && _ws.expert.severity >= warning").Output()
	if err != nil || len(faults) > 0 {
		t.Errorf("tshark complains: %v\n%s", err, faults)
	}
	return s
}

func sum(ns []uint64) (s uint64) {
	for _, n := range ns {
		s += n
	}
	return s
}

// writeUDP writes a capture file of datagrams to a port.
func writeUDP(t *testing.T, all []arrived, port uint16) string {
	t.Helper()
	be, le := binary.BigEndian, binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = le.AppendUint32(file, 2|4<<16)
	file = append(file, make([]byte, 8)...)
	file = le.AppendUint32(le.AppendUint32(file, 65535), 101) // raw IP
	for _, a := range all {
		n := 28 + len(a.data)
		for _, v := range []int{int(a.at.Unix()), a.at.Nanosecond() / 1000, n, n} {
			file = le.AppendUint32(file, uint32(v))
		}
		file = append(file, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		file = be.AppendUint16(be.AppendUint16(file, 40000), port)
		file = be.AppendUint16(be.AppendUint16(file, uint16(n-20)), 0)
		file = append(file, a.data...)
	}
	path := filepath.Join(t.TempDir(), "sent.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPacedSending: at any rate as many records come as were asked for, evenly.
func TestPacedSending(t *testing.T) {
	for _, rate := range []int{5, 40, 3000, 100000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			out, all := sendTo(t, "--send", "netflow5", "--duration", "2s", "--rate", strconv.Itoa(rate))
			want := parseSent(t, out)
			var records uint64
			var next uint32
			lossless := rate <= 3000 // else a busy machine may not read in time
			for i, a := range all {
				n, at := binary.BigEndian.Uint16(a.data[2:]), binary.BigEndian.Uint32(a.data[16:])
				if at < next || at != next && lossless {
					t.Fatalf("sequence %d at datagram %d, want %d", at, i, next)
				}
				next = at + uint32(n)
				records += uint64(n)
			}
			if lossless && (records != want.records || uint64(len(all)) != want.datagrams) {
				t.Errorf("%d records in %d datagrams came; sent: %s", records, len(all), out)
			}
			// The last datagram may go beyond the time by what is in it.
			if math.Abs(float64(want.records)-2*float64(rate)) > 30 {
				t.Errorf("%d records in 2 s at %d a second", want.records, rate)
			}
			if rate == 40 && (len(all) < 15 || len(all) > 25) {
				t.Errorf("a low rate came in %d datagrams in 2 s", len(all))
			}
		})
	}
}

func TestSendRefuses(t *testing.T) {
	for _, bad := range [][]string{
		{"--send", "netflow5"},
		{"--send", "netflow7", "--to", "127.0.0.1:2055"},
		{"--send", "netflow5", "--to", "127.0.0.1"},
		{"--send", "netflow5", "--to", "127.0.0.1:0"},
		{"--send", "netflow5", "--to", "0.0.0.0:2055"},
		{"--send", "netflow5", "--to", "224.0.0.1:2055"},
		{"--send", "netflow5", "--to", "255.255.255.255:2055"},
		{"--send", "netflow5", "--to", "127.255.255.255:2055"},
		{"--send", "netflow5", "--to", "[ff02::1]:2055"},
		{"--send", "netflow5", "--to", "[::ffff:224.0.0.1]:2055"},
		{"--send", "netflow5", "--to", "127.0.0.1:2055", "--rate", "5", "--flood"},
		{"--send", "netflow5", "--to", "127.0.0.1:2055", "--sampling", "16384"},
		{"--send", "sflow", "--to", "127.0.0.1:6343", "--agent", "router"},
		{"--send", "sflow", "--to", "127.0.0.1:6343", "--out", "x.pcap"},
	} {
		r := runIn(t, t.TempDir(), append([]string{"traffic", "--duration", "1s"}, bad...)...)
		if r.code == 0 || r.stderr == "" {
			t.Errorf("%v: exit status %d, %q", bad, r.code, r.stderr)
		}
	}
}

// BenchmarkSend floods a socket that nobody reads.
func BenchmarkSend(b *testing.B) {
	for _, protocol := range gen.Protocols() {
		b.Run(string(protocol), func(b *testing.B) { benchSend(b, protocol) })
	}
}

func benchSend(b *testing.B, protocol gen.Protocol) {
	_, to := listenUDP(b)
	out, err := dialSender(to)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	s := &gen.Scenario{
		Seed: 1, Duration: 20 * time.Second, Hosts: 1000,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Benign:   gen.Benign{PPS: 20000, IPv6: 0.2},
	}
	t := &telemetrySender{sendFlags: &sendFlags{Telemetry: gen.Telemetry{Protocol: protocol}, flood: true}, scenario: s, to: to, out: out}
	pool, err := t.Pool(s, 1<<16)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		t.fill(pool, 0, time.Now().UnixNano())
		if err := out.Send(t.batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(t.told.Records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(t.told.Datagrams), "ns/datagram")
}
