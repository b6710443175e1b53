package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/fastnetmon-go/fastnetmon/plugins/export/kafka/exportv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// began is when records were seen: brokers throw away what is older than a week.
var began = time.Now().Add(-time.Minute).UnixNano()

// someRecords are packets and flow records of every shape.
func someRecords(n int) []traffic.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	out := append(gen.Records(1, 1000, 1.1, false, n/2), gen.Records(2, 1000, 1.1, true, n-n/2)...)
	for i := range out {
		r := &out[i]
		r.Time = began + int64(i)*1_001_003
		if i%3 == 0 {
			r.Exporter, r.InIf, r.OutIf, r.SrcAS, r.DstAS = uint32(1+i%5), rng.Uint32(), rng.Uint32(), rng.Uint32(), rng.Uint32()
			r.Sampling = 1 << (i % 12)
			r.Packets, r.Bytes = r.Packets*uint64(r.Sampling), r.Bytes*uint64(r.Sampling)
			r.NextHop = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).As16()
		}
		if i%6 == 0 {
			r.Marks |= traffic.MarkFlow
			r.DurationMs = rng.Uint32N(1 << 20)
		}
		if i%7 == 0 {
			r.Marks |= traffic.MarkFragment | traffic.MarkDropped
			r.VLAN, r.TTL, r.ToS, r.ICMPType, r.ICMPCode, r.Class = uint16(i%4096), byte(i), byte(i>>1), byte(i>>2), byte(i>>3), rng.Uint64()
		}
	}
	return out
}

// teller is the address of an exporter.
func teller(index uint32) netip.Addr {
	if index == 0 {
		return netip.Addr{}
	}
	if index%2 == 0 {
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(index)})
	}
	return netip.MustParseAddr("2001:db8::7")
}

// sent is what the message of a record in layout native is to say, written down
// apart from the encoders.
func sent(r *traffic.Record) *pb.Record {
	bit := func(m traffic.Marks) bool { return r.Marks&m != 0 }
	out := &pb.Record{
		TimeNs: r.Time, SourceIp: r.SrcAddr().AsSlice(), DestinationIp: r.DstAddr().AsSlice(), Packets: r.Packets, Octets: r.Bytes, Sampling: max(1, r.Sampling),
		Protocol: uint32(r.Protocol), SourcePort: uint32(r.SrcPort), DestinationPort: uint32(r.DstPort), TcpFlags: uint32(r.TCPFlags),
		Fragment: bit(traffic.MarkFragment), Dropped: bit(traffic.MarkDropped), Flow: bit(traffic.MarkFlow), DurationMs: r.DurationMs,
		ExporterIp: teller(r.Exporter).AsSlice(), InputInterface: r.InIf, OutputInterface: r.OutIf, SourceAsn: r.SrcAS, DestinationAsn: r.DstAS,
		Vlan: uint32(r.VLAN), Ttl: uint32(r.TTL), Tos: uint32(r.ToS), IcmpType: uint32(r.ICMPType), IcmpCode: uint32(r.ICMPCode), Classes: r.Class,
	}
	if r.NextHop != [16]byte{} {
		out.NextHop = netip.AddrFrom16(r.NextHop).Unmap().AsSlice()
	}
	return out
}

// sentCommunity is the same for layout "fastnetmon".
func sentCommunity(r *traffic.Record) *pb.TrafficData {
	out := &pb.TrafficData{
		TimestampSeconds: uint64(r.Time / 1e9), TimestampMilliseconds: uint64(r.Time / 1e6 % 1000), IpVersion: map[bool]uint32{false: 4, true: 6}[r.DstAddr().Is6()],
		SamplingRatio: uint64(max(1, r.Sampling)), Protocol: uint32(r.Protocol), SourceIp: r.SrcAddr().AsSlice(), DestinationIp: r.DstAddr().AsSlice(),
		SourcePort: uint32(r.SrcPort), DestinationPort: uint32(r.DstPort), Packets: r.Raw(), Octets: r.Bytes / uint64(max(1, r.Sampling)),
		Ttl: uint32(r.TTL), TcpFlags: uint32(r.TCPFlags), IpFragmented: r.Marks&traffic.MarkFragment != 0,
		InputInterface: uint64(r.InIf), OutputInterface: uint64(r.OutIf), SourceAsn: r.SrcAS, DestinationAsn: r.DstAS, AgentAddress: teller(r.Exporter).AsSlice(),
		TelemetryType: pb.TelemetryType_TELEMETRY_TYPE_MIRROR,
	}
	if r.Exporter != 0 {
		out.TelemetryType = pb.TelemetryType_TELEMETRY_TYPE_SFLOW
	}
	if r.Marks&traffic.MarkFlow != 0 {
		out.TelemetryType = pb.TelemetryType_TELEMETRY_TYPE_NETFLOW
	}
	return out
}

// decoded is a message of a record in a form that can be compared.
func decoded(t *testing.T, format, layout string, value []byte) string {
	t.Helper()
	if format == formatJSON {
		return string(value)
	}
	var m proto.Message = &pb.Record{}
	if layout == delivery.LayoutFastNetMon {
		m = &pb.TrafficData{}
	}
	if err := proto.Unmarshal(value, m); err != nil {
		t.Fatal(err)
	}
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("unknown fields in %v", m)
	}
	return canonical(t, m)
}

// canonical is a message with its fields in order.
func canonical(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fieldsOf are the fields of a message of protobuf as JSON has them in layout
// native.
func fieldsOf(t *testing.T, m *pb.Record) map[string]any {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"source_ip": m.GetSourceIp(), "destination_ip": m.GetDestinationIp(), "exporter_ip": m.GetExporterIp(), "next_hop": m.GetNextHop()} {
		if a, ok := netip.AddrFromSlice(b); ok {
			out[name] = a.String()
		}
	}
	for name, v := range out { // protojson has 64 bits as text
		out[name] = fmt.Sprint(v)
		if f, ok := v.(float64); ok {
			out[name] = fmt.Sprintf("%.0f", f)
		}
	}
	return out
}

// Every encoder says what it is to say, and allocates nothing for a record.
func TestEncoders(t *testing.T) {
	list := someRecords(2000)
	native, community := newEncoder(formatProtobuf, delivery.LayoutNative), newEncoder(formatProtobuf, delivery.LayoutFastNetMon)
	for i := range list {
		r := &list[i]
		at, exporter := time.Unix(0, r.Time), teller(r.Exporter)
		if got := decoded(t, formatProtobuf, delivery.LayoutNative, native(nil, r, at, exporter)); got != canonical(t, sent(r)) {
			t.Fatalf("%d: %q, want %v", i, got, sent(r))
		}
		if got := decoded(t, formatProtobuf, delivery.LayoutFastNetMon, community(nil, r, at, exporter)); got != canonical(t, sentCommunity(r)) {
			t.Fatalf("%d: %q, want %v", i, got, sentCommunity(r))
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(appendRecord(nil, r, at, exporter), &fields); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for name, v := range fields {
			var text string
			if json.Unmarshal(v, &text) != nil {
				text = string(v)
			}
			got[name] = text
		}
		want := fieldsOf(t, sent(r))
		if _, ok := want["protocol"]; !ok {
			want["protocol"] = "0"
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d: %v, want %v", i, got, want)
		}
	}
	b := make([]byte, 0, 4096)
	for _, format := range []string{formatProtobuf, formatJSON} {
		encode := newEncoder(format, delivery.LayoutNative)
		r := &list[0]
		if n := testing.AllocsPerRun(100, func() { b = encode(b[:0], r, time.Unix(0, r.Time), teller(2)) }); n > 0 {
			t.Errorf("%s: %v allocations", format, n)
		}
	}
}

// Field numbers and types are a promise: those of TrafficData are FastNetMon
// Community's, and none of the others may change.
func TestFieldNumbers(t *testing.T) {
	got := ""
	for i := range pb.File_fastnetmon_export_v1_kafka_proto.Messages().Len() {
		m := pb.File_fastnetmon_export_v1_kafka_proto.Messages().Get(i)
		for k := range m.Fields().Len() {
			f := m.Fields().Get(k)
			got += fmt.Sprintf("%s.%s %d %s %s\n", m.Name(), f.Name(), f.Number(), f.Kind(), f.Cardinality())
		}
	}
	golden(t, "fields.txt", got)
}

// Events and rows say in protobuf what they say in JSON.
func TestProtobuf(t *testing.T) {
	s := sdktest.Snapshot(time.Unix(1_700_000_000, 5), 10)
	c := defaults()
	c.Format = formatProtobuf
	list, err := messages(&c, &s)
	if err != nil {
		t.Fatal(err)
	}
	want := rowsOf(&s)
	if len(list) != len(want) {
		t.Fatalf("%d messages, want %d", len(list), len(want))
	}
	for i, r := range list {
		var m pb.Row
		if err := proto.Unmarshal(r.Value, &m); err != nil {
			t.Fatal(err)
		}
		w := &want[i]
		if m.GetKind() != w.Kind || m.GetName() != w.Name || m.GetDirection() != w.Direction || m.GetHostgroup() != w.HostGroup || m.GetNetwork() != w.Network ||
			int(m.GetFamily()) != w.Family || m.GetTimeNs() != s.Time.UnixNano() || m.GetFlows() != at(w.Flows) || m.GetValue() != at(w.Value) ||
			m.GetReceived() != at(w.Received) || m.GetUsed() != at(w.Used) || m.GetInFlight() != at(w.InFlight) || len(m.GetDropped()) != len(w.Dropped) || len(m.GetCounters()) != len(w.PPS) {
			t.Errorf("%v, want %+v", &m, w)
		}
		for _, x := range m.GetCounters() {
			if w.PPS[x.GetCounter()] != x.GetPps() || w.BPS[x.GetCounter()] != x.GetBps() {
				t.Errorf("%v, want %+v", x, w)
			}
		}
		for cause, n := range w.Dropped {
			if m.GetDropped()[cause] != n {
				t.Errorf("%v, want %+v", &m, w)
			}
		}
	}
	e := sdktest.Event()
	e.Type, e.Crossed = sdk.MitigationChanged, []sdk.Crossing{e.Crossing, e.Crossing}
	e.Evidence = &sdk.EvidenceReport{}
	e.Mitigation = &sdk.MitigationReport{
		ID: "m", AttackID: e.ID, Target: e.Target, State: sdk.MitigationActive, Time: e.Time, Announcements: []string{"a", "b"},
		Peers: []sdk.PeerStatus{{Peer: "192.0.2.1", State: sdk.MitigationActive}},
	}
	value, err := c.encodeEvent(&e)
	if err != nil {
		t.Fatal(err)
	}
	var m pb.Event
	if err := proto.Unmarshal(value, &m); err != nil {
		t.Fatal(err)
	}
	if m.GetId() != e.ID || m.GetTarget() != sdk.TargetText(e.Target) || m.GetTimeNs() != e.Time.UnixNano() || m.GetPeakPps() != e.PeakPPS || len(m.GetThresholdsCrossed()) != 2 ||
		m.GetCrossing().GetLimit() != e.Limit || len(m.GetIncoming()) != len(e.Incoming) || m.GetMitigation().GetExpiresNs() != 0 || len(m.GetMitigation().GetPeers()) != 1 ||
		m.GetMitigation().GetState() != "active" || !json.Valid([]byte(m.GetEvidenceJson())) {
		t.Errorf("%v\nwant %+v", &m, e)
	}
}

// Without brokers no more waits than there is memory for, the rest stays in the
// ring, and a tap that waits ends with its context.
func TestNoRoom(t *testing.T) {
	c := defaults()
	c.Brokers = []string{fmt.Sprintf("127.0.0.1:%d", sdktest.FreePort(t))}
	c.Records = &records{}
	c.Records.SetDefaults()
	c.Records.Memory = 1 << 20
	s := newStream(c)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	list := someRecords(1024)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range cap(ended) {
		go func() {
			x, err := s.tap(teller), error(nil)
			for batches := 0; err == nil && batches < 1000; batches++ {
				err = x.Tap(ctx, list)
			}
			ended <- err
		}()
	}
	sdktest.Until(t, "the memory is used up", func() error {
		if s.waiting.Load() < 1<<20 {
			return errors.New("there is room")
		}
		return nil
	})
	cancel()
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	// Both may have seen the last bit of room.
	if w := s.waiting.Load(); w > 1<<20+2*1024*(overhead+200) {
		t.Errorf("%d bytes wait", w)
	}
	waiting := s.messages.Load()
	if err := s.close(t.Context()); err != nil {
		t.Error(err)
	}
	if f := s.failed.Load(); f != uint64(waiting) || s.messages.Load() != 0 || s.waiting.Load() != 0 || s.health() == nil {
		t.Errorf("%d of %d are counted, %d wait, health %v", f, waiting, s.messages.Load(), s.health())
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run the test with -update and look at the difference.\ngot:\n%s", path, got)
	}
}
