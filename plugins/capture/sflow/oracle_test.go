package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// writePcap writes datagrams to port 6343 as a capture of raw IPv4.
func writePcap(t testing.TB, datagrams [][]byte) string {
	t.Helper()
	le := binary.LittleEndian
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&b, le, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(uint32(0xa1b2c3d4), uint16(2), uint16(4), uint64(0), uint32(1<<18), uint32(traffic.LinkRaw))
	for i, d := range datagrams {
		n := uint32(28 + len(d))
		ip := join([]byte{0x45, 0}, numbers(n << 16)[:2], make([]byte, 4), []byte{64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1})
		udp := join(numbers(40000<<16|defaultPort), numbers(uint32(8+len(d))<<16))
		put(uint32(1_700_000_000+i), uint32(0), n, n)
		b.Write(join(ip, udp, d))
	}
	file := filepath.Join(t.TempDir(), "sflow.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const defaultPort = 6343

// tshark decodes a capture; for each datagram it gives the fields, each with
// all that it holds.
func tshark(t testing.TB, file string, fields ...string) []map[string][]string {
	t.Helper()
	args := []string{"-n", "-r", file, "-d", "udp.port==6343,sflow", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command(sdktest.Program(t, "tshark"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	var all []map[string][]string
	for line := range strings.Lines(string(out)) {
		row := map[string][]string{}
		for i, v := range strings.Split(strings.TrimRight(line, "\n"), "\t") {
			if v != "" {
				row[fields[i]] = strings.Split(v, ";")
			}
		}
		all = append(all, row)
	}
	return all
}

// last is the last value of a field, "" where it has none: inner headers come
// after outer ones.
func last(row map[string][]string, fields ...string) string {
	for _, f := range fields {
		if v := row[f]; len(v) > 0 {
			return v[len(v)-1]
		}
	}
	return ""
}

// The decoder says of generated datagrams what tshark says.
func TestTshark(t *testing.T) {
	const n = 40
	f4, f6 := someFrames(n, false), someFrames(n, true)
	var datagrams [][]byte
	for i := range n {
		for form := range 8 {
			f, agent := f4[i], agent4
			if (i+form/4)%2 == 1 {
				f, agent = f6[i], agent6
			}
			s := flowSample{sequence: uint32(i), index: uint32(20 + i), rate: uint32(1000 + i), pool: 5, drops: 6, in: uint32(20 + i), out: uint32(30 + i)}
			vlan := numbers(uint32(100+i), 0, 200, 0)
			router := join(addressOf(hop4), numbers(24, 24))
			path := asPath([]uint32{64502, 64503, uint32(64600 + i)})
			raw := header(1, uint32(len(f)+4), sampledHeader(f, 128))
			old := header4(1, uint32(len(f)+4), sampledHeader(f, 128))
			g := datagram{agent: agent, subAgent: uint32(i), sequence: uint32(1000 + i)}
			switch form {
			case 0:
				s.records = [][]byte{raw}
				g.samples = [][]byte{s.compact()}
			case 1:
				s.records = [][]byte{raw, tlv(recordSwitch, vlan), tlv(recordRouter, router), tlv(recordGateway, gatewayData(addressOf(hop6), path))}
				g.samples = [][]byte{s.compact()}
			case 2:
				s.records = [][]byte{tlv(recordSwitch, vlan), raw}
				g.samples = [][]byte{s.expanded()}
			case 3:
				g.version = version4
				g.samples = [][]byte{s.old(old)}
			case 4:
				g.version = version4
				g.samples = [][]byte{s.old(old, join(numbers(extended4Switch), vlan), join(numbers(extended4Router), router),
					join(numbers(extended4Gateway), gatewayData(nil, path)))}
			case 5:
				g.version = version2
				g.samples = [][]byte{s.old(old, join(numbers(extended4Switch), vlan), join(numbers(extended4Router), router))}
			case 6:
				s.records = [][]byte{tlv(recordIPv4, decodedIP(1400, 6, src4, dst4, 443, uint32(50000+i), 0x12, 0))}
				g.samples = [][]byte{s.compact()}
			case 7: // of version 4 tshark does not read it
				s.records = [][]byte{tlv(recordIPv6, decodedIP(1300, 17, src6, dst6, 53, uint32(50000+i), 0, 0))}
				g.samples = [][]byte{s.expanded()}
			}
			datagrams = append(datagrams, g.bytes())
		}
	}
	rows := tshark(t, writePcap(t, datagrams),
		"sflow_245.version", "sflow_245.agent", "sflow_245.agent.v6", "sflow_245.sub_agent_id", "sflow_245.sequence_number",
		"sflow.flow_sample.sampling_rate", "sflow.flow_sample.input_interface", "sflow.flow_sample.input_interface_value",
		"sflow.flow_sample.output_interface", "sflow.flow_sample.output_interface_value", "sflow.flow_sample.dropped_packets",
		"sflow_245.header.frame_length", "sflow_245.vlan.in", "sflow_245.nexthop", "sflow_245.srcAS", "sflow_245.dstAS",
		"ip.src", "ip.dst", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.plen", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport",
		"sflow_245.ipv4_src", "sflow_245.ipv4_dst", "sflow_245.ipv6_src", "sflow_245.ipv6_dst", "sflow_245.ip.length",
		"sflow_245.ip.source_port", "sflow.ip.destination_port", "_ws.malformed")
	if len(rows) != len(datagrams) {
		t.Fatalf("tshark gives %d of %d datagrams", len(rows), len(datagrams))
	}
	for i, row := range rows {
		got, want := ours(t, datagrams[i]), theirs(t, row)
		if got != want {
			t.Errorf("datagram %d (form %d):\n   ours %s\n tshark %s", i, i%8, got, want)
		}
	}
}

// ours says what the decoder reads, in a line.
func ours(t *testing.T, data []byte) string {
	t.Helper()
	var d decoder
	var r traffic.Record
	var s sample
	if !d.open(data) || d.next(&r, &s) != counted {
		return fmt.Sprintf("lost %v", losses(&d.lost))
	}
	hop := ""
	if r.NextHop != [16]byte{} {
		hop = netip.AddrFrom16(r.NextHop).Unmap().String()
	}
	return fmt.Sprint(d.version, d.agent, d.subAgent, d.sequence, "rate", s.rate, "drops", s.drops, "interfaces", r.InIf, r.OutIf,
		" from ", r.SrcAddr(), r.SrcPort, " to ", r.DstAddr(), r.DstPort, " octets ", r.Bytes, " vlan ", r.VLAN, " hop ", hop, " as ", r.SrcAS, r.DstAS)
}

// theirs says the same by tshark.
func theirs(t *testing.T, row map[string][]string) string {
	t.Helper()
	if row["_ws.malformed"] != nil {
		return "malformed"
	}
	number := func(fields ...string) uint64 {
		v := last(row, fields...)
		if v == "" {
			return 0
		}
		n, err := strconv.ParseUint(v, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	address := func(fields ...string) netip.Addr {
		a, err := netip.ParseAddr(last(row, fields...))
		if err != nil {
			t.Fatalf("%v: %v", fields, err)
		}
		return a
	}
	src, dst := address("sflow_245.ipv4_src", "sflow_245.ipv6_src", "ipv6.src", "ip.src"), address("sflow_245.ipv4_dst", "sflow_245.ipv6_dst", "ipv6.dst", "ip.dst")
	var octets uint64
	switch {
	case row["sflow_245.ip.length"] != nil:
		octets = number("sflow_245.ip.length")
	case row["ipv6.plen"] != nil:
		octets = number("ipv6.plen") + 40
	default:
		octets = number("ip.len")
	}
	sport, dport := number("sflow_245.ip.source_port", "tcp.srcport", "udp.srcport"), number("sflow.ip.destination_port", "tcp.dstport", "udp.dstport")
	if row["sflow_245.ip.source_port"] == nil && row["tcp.srcport"] == nil && len(row["udp.srcport"]) < 2 {
		sport, dport = 0, 0 // ICMP
	}
	hop, as := "", uint64(0)
	if all := row["sflow_245.nexthop"]; len(all) > 0 {
		hop = all[0]
	}
	if all := row["sflow_245.dstAS"]; len(all) > 2 { // behind the path of three come communities
		as, _ = strconv.ParseUint(all[2], 0, 64)
	}
	sequence, _ := strconv.ParseUint(row["sflow_245.sequence_number"][0], 0, 64)
	return fmt.Sprint(number("sflow_245.version"), address("sflow_245.agent", "sflow_245.agent.v6"), number("sflow_245.sub_agent_id"), sequence,
		"rate", number("sflow.flow_sample.sampling_rate"), "drops", number("sflow.flow_sample.dropped_packets"),
		"interfaces", number("sflow.flow_sample.input_interface", "sflow.flow_sample.input_interface_value"),
		number("sflow.flow_sample.output_interface", "sflow.flow_sample.output_interface_value"),
		" from ", src, sport, " to ", dst, dport, " octets ", octets, " vlan ", number("sflow_245.vlan.in"), " hop ", hop, " as ",
		number("sflow_245.srcAS"), as)
}
