package main

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// flow is what both decoders must agree on. Ports of ICMP are not compared:
// tshark shows the type in their place. Durations are in milliseconds, -1
// where the record does not tell.
type flow struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint64
	Protocol         uint64
	Packets, Octets  uint64
	Duration         int64
}

// node is an element of tshark's XML.
type node struct {
	Name     string `xml:"name,attr"`
	Show     string `xml:"show,attr"`
	ShowName string `xml:"showname,attr"`
	Nodes    []node `xml:"field"`
}

// Where tshark itself gives up: it must still agree on what it shows.
var tsharkGivesUp = map[string]string{
	"netflow9_test_h3c":                     "takes element 43 for an address of another length and stops reading the message",
	"netflow9_test_h3c_netstream_varstring": "does the same",
	"netflow9_test_invalid01":               "stops after as many sets as the header announces records",
	"netflow9_test_0length_fields":          "does not take all of the template with fields of no length",
}

// TestTshark compares every record of every fixture with what tshark makes of
// it, templates of a device first.
func TestTshark(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts tshark once for each device, which takes minutes on a busy machine")
	}
	files := fixtures(t)
	if _, err := exec.LookPath("tshark"); err != nil {
		sdktest.Absent(t, err.Error())
	}
	var mu sync.Mutex
	compared := 0
	t.Cleanup(func() {
		if compared < 450 && !t.Failed() {
			t.Errorf("%d records were compared: tshark's output is not understood", compared)
		}
	})
	for device, names := range families(files) {
		t.Run(device, func(t *testing.T) {
			t.Parallel()
			var payloads [][]byte
			for _, name := range names {
				payloads = append(payloads, split(files[name])...)
			}
			want := tshark(t, payloads)
			r := newRig(t, 512, nil)
			var got []flow
			for _, p := range payloads {
				r.give(device4(device), p)
			}
			for _, rec := range r.take() {
				got = append(got, flowOf(&rec))
			}
			if tsharkGivesUp[device] != "" {
				got = among(got, want)
			}
			for i := range min(len(want), len(got)) { // a record without times, or with impossible ones
				if want[i].Duration < 0 || got[i].Duration == 1<<31-1 {
					got[i].Duration = want[i].Duration
				}
			}
			if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("tshark (-) and we (+):\n%s", d)
			}
			mu.Lock()
			defer mu.Unlock()
			compared += len(got)
		})
	}
}

// among returns those of got that stand in want too, in their order.
func among(got, want []flow) (out []flow) {
	for _, f := range got {
		if len(out) < len(want) && f == want[len(out)] {
			out = append(out, f)
		}
	}
	return out
}

// flowOf is a record as a flow, before sampling.
func flowOf(r *traffic.Record) flow {
	f := flow{
		Src: r.SrcAddr(), Dst: r.DstAddr(), SrcPort: uint64(r.SrcPort), DstPort: uint64(r.DstPort), Protocol: uint64(r.Protocol),
		Packets: r.Packets / uint64(r.Sampling), Octets: r.Bytes / uint64(r.Sampling), Duration: int64(r.DurationMs),
	}
	if r.Protocol == traffic.ProtoICMP || r.Protocol == traffic.ProtoICMPv6 {
		f.SrcPort, f.DstPort = 0, 0
	}
	return f
}

// split cuts what was recorded back to back into datagrams: tshark reads one
// message in each.
func split(data []byte) (out [][]byte) {
	be := binary.BigEndian
	for len(data) > v5Header {
		n := len(data)
		switch count := int(be.Uint16(data[2:])); be.Uint16(data) {
		case 5:
			n = min(n, v5Header+count*v5Record)
		case 10:
			n = min(n, count)
		}
		out = append(out, data[:n])
		data = data[n:]
	}
	return out
}

// tshark returns the flows that it sees in datagrams.
func tshark(t *testing.T, payloads [][]byte) []flow {
	t.Helper()
	file := filepath.Join(t.TempDir(), "flows.pcap")
	writePcap(t, file, payloads)
	var stderr bytes.Buffer
	cmd := exec.Command("tshark", "-r", file, "-T", "pdml", "-d", "udp.port==2055,cflow", "-o", "cflow.max_template_fields:0")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	dec := xml.NewDecoder(bytes.NewReader(out))
	var flows []flow
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return flows
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "proto" {
			continue
		}
		var proto node
		if err := dec.DecodeElement(&proto, &start); err != nil {
			t.Fatal(err)
		}
		if proto.Name == "cflow" {
			flows = append(flows, flowsIn(t, proto.Nodes)...)
		}
	}
}

func writePcap(t *testing.T, file string, payloads [][]byte) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeIPv4); err != nil {
		t.Fatal(err)
	}
	for i, p := range payloads {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{192, 0, 2, 1}, DstIP: []byte{192, 0, 2, 2}}
		udp := &layers.UDP{SrcPort: 2055, DstPort: 2055}
		if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(p)); err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}
		if err := w.WritePacket(info, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
}

// flowsIn finds the flows below nodes.
func flowsIn(t *testing.T, nodes []node) (flows []flow) {
	t.Helper()
	for _, n := range nodes {
		if n.Name == "" && (strings.HasPrefix(n.Show, "Flow ") && !strings.HasPrefix(n.Show, "FlowSet") || strings.HasPrefix(n.Show, "pdu ")) {
			flows = append(flows, flowIn(t, n.Nodes)...)
			continue
		}
		flows = append(flows, flowsIn(t, n.Nodes)...)
	}
	return flows
}

// flowIn reads one flow: none where there are no addresses or counters, two
// where it has counters of both ways.
func flowIn(t *testing.T, nodes []node) []flow {
	t.Helper()
	values, back := map[string]string{}, map[string]string{}
	collect(nodes, values, back)
	number := func(m map[string]string, names ...string) (n uint64) {
		for _, name := range names {
			if v, ok := m["cflow."+name]; ok {
				n, err := strconv.ParseUint(v, 0, 64)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if n > 0 {
					return n
				}
			}
		}
		return 0
	}
	address := func(v4, v6 string) netip.Addr {
		a, _ := netip.ParseAddr(values["cflow."+v6])
		if b, err := netip.ParseAddr(values["cflow."+v4]); err == nil && (!a.IsValid() || a.IsUnspecified()) {
			return b
		}
		return a
	}
	f := flow{
		Src: address("srcaddr", "srcaddrv6"), Dst: address("dstaddr", "dstaddrv6"), Duration: -1,
		SrcPort: number(values, "srcport"), DstPort: number(values, "dstport"), Protocol: number(values, "protocol"),
		Packets: number(values, "packets", "initiator_packets", "packetsout"), Octets: number(values, "octets", "initiator_octets", "octetsout"),
	}
	if _, delta := values["cflow.octets"]; !delta && f.Octets == 0 {
		f.Octets, f.Packets = number(values, "permanent_octets"), number(values, "permanent_packets")
	}
	if station, err := netip.ParseAddr(values["cflow.sta_ipv4_address"]); err == nil && !f.Src.IsValid() {
		f.Src, f.Dst = station, netip.IPv4Unspecified()
		if number(values, "direction") == egress {
			f.Src, f.Dst = f.Dst, f.Src
		}
	}
	if d, err := strconv.ParseFloat(values["cflow.timedelta"], 64); err == nil && d >= 0 && d < 1<<21 {
		f.Duration = int64(d*1000 + 0.5)
	}
	if f.Protocol == 1 || f.Protocol == 58 {
		f.SrcPort, f.DstPort = 0, 0
	}
	r := f
	r.Src, r.Dst, r.SrcPort, r.DstPort = f.Dst, f.Src, f.DstPort, f.SrcPort
	r.Packets, r.Octets = number(back, "packets", "permanent_packets"), number(back, "octets", "permanent_octets")
	if r.Octets == 0 {
		r.Packets, r.Octets = number(values, "responder_packets"), number(values, "responder_octets")
	}
	var flows []flow
	for _, x := range []flow{f, r} {
		if x.Packets == 0 {
			x.Packets = (x.Octets + 1499) / 1500
		}
		if x.Src.IsValid() && x.Packets+x.Octets > 0 && !apart(x.Packets, x.Octets) {
			flows = append(flows, x)
		}
	}
	return flows
}

// collect gathers the first value of each element, apart for the way back.
func collect(nodes []node, values, back map[string]string) {
	for _, n := range nodes {
		m := values
		if strings.Contains(n.ShowName, "(Reverse Type") {
			m = back
		}
		if _, known := m[n.Name]; !known {
			m[n.Name] = n.Show
		}
		collect(n.Nodes, values, back)
	}
}
