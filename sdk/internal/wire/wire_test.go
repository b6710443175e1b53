package wire_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

func randomPlan(r *rand.Rand) *count.Plan {
	ports := func() []count.PortRange {
		return []count.PortRange{{From: uint16(r.Uint32()), To: uint16(r.Uint32())}, {From: 1, To: 2}}
	}
	bools := func() *bool {
		v := []*bool{nil, new(bool), new(bool)}[r.IntN(3)]
		if v != nil {
			*v = r.IntN(2) == 0
		}
		return v
	}
	prefix := func() netip.Prefix {
		if r.IntN(2) == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.Int())}), 1+r.IntN(32)).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, byte(r.Int())}), 1+r.IntN(128)).Masked()
	}
	p := &count.Plan{Revision: r.Uint64(), CountFlows: r.IntN(2) == 0, Seed: r.Uint64(), MaxRows: r.Uint32()}
	for range 1 + r.IntN(5) {
		p.Prefixes = append(p.Prefixes, count.Prefix{
			Prefix: prefix(), Network: r.Uint32(), Group: r.Uint32(), V6HostLen: 64, CountInternal: r.IntN(2) == 0,
		})
		p.Groups = append(p.Groups, count.Group{ID: r.Uint32(), Packets: r.Float64(), Bytes: r.Float64(), Flows: r.Float64(), Community: r.IntN(2) == 0})
		p.Counters = append(p.Counters, count.Counter{
			ID: uint8(r.IntN(64)), Name: "c", Protocols: []uint8{6, 17}, SrcPorts: ports(), DstPorts: ports(),
			FlagsSet: uint8(r.Uint32()), FlagsClear: uint8(r.Uint32()), Fragment: bools(), Dropped: bools(),
			Lengths: []count.Range{{From: r.Uint32(), To: r.Uint32()}}, Classes: []uint8{1, 63},
		})
		p.Exemptions = append(p.Exemptions, count.Exemption{
			Name: "e", Local: []netip.Prefix{prefix()}, Remote: []netip.Prefix{prefix()}, Protocols: []uint8{1}, Ports: ports(),
			Incoming: r.IntN(2) == 0, Outgoing: r.IntN(2) == 0, UntilUnix: r.Int64(), Counter: uint8(r.IntN(65)),
		})
	}
	return p
}

func TestPlanTravels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		want := randomPlan(r)
		b, err := proto.Marshal(wire.PlanToProto(want))
		if err != nil {
			t.Fatal(err)
		}
		var m pb.Plan
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		got, err := wire.PlanFromProto(&m)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	for name, m := range map[string]*pb.Plan{
		"none":           nil,
		"counters":       {Counters: make([]*pb.PlanCounter, 65)},
		"counter's id":   {Counters: []*pb.PlanCounter{{Id: 64}}},
		"flags":          {Counters: []*pb.PlanCounter{{FlagsSet: 256}}},
		"port":           {Counters: []*pb.PlanCounter{{SourcePorts: []*pb.PlanRange{{To: 65536}}}}},
		"address":        {Prefixes: []*pb.PlanPrefix{{Address: []byte{1}}}},
		"length":         {Prefixes: []*pb.PlanPrefix{{Address: []byte{1, 2, 3, 4}, Length: 33}}},
		"exempt prefix":  {Exemptions: []*pb.PlanExemption{{Local: []string{"x"}}}},
		"exempt counter": {Exemptions: []*pb.PlanExemption{{Counter: 300}}},
		"exempt port":    {Exemptions: []*pb.PlanExemption{{Ports: []*pb.PlanRange{{From: 70000}}}}},
	} {
		if p, err := wire.PlanFromProto(m); err == nil {
			t.Errorf("%s: accepted as %+v", name, p)
		}
	}
}

func TestDiagnosticsTravel(t *testing.T) {
	want := diag.Diagnostics{
		diag.Errorf(diag.Path{}.Attr("a").Index(3).Key("x y"), "S", "D"),
		diag.Warningf(nil, "W", "with\nlines"),
	}
	if got := wire.DiagnosticsFromProto(wire.DiagnosticsToProto(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
	bad := wire.DiagnosticsToProto(diag.Diagnostics{diag.Errorf(diag.Path{}.Key("\xff"), "\xff", "\xff")})
	if _, err := proto.Marshal(bad[0]); err != nil {
		t.Errorf("a diagnostic that is no UTF-8 cannot be sent: %v", err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\n\tb": "a\n\tb", "a\x1b[0m\x00": "a\uFFFD[0m\uFFFD", "\xff": "\uFFFD", "0123456789x": "0123456789…",
		"12345678éé": "12345678é…", "x\u202ey": "x\uFFFDy",
	} {
		if got := wire.Clean(in, 10); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzDescription(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := wire.ParseDescription(b)
		var m pb.DescribeResponse
		if err != nil {
			if proto.Unmarshal(b, &m) != nil {
				return
			}
			if d, err = wire.DescriptionFromProto(&m); err != nil {
				return
			}
		}
		_ = d.Schema.DecoderSpec()
		_ = d.Schema.ImpliedType()
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("an accepted description cannot be written: %v", err)
		}
		again, err := wire.ParseDescription(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if p, err := wire.DescriptionToProto(again); err != nil || !strings.EqualFold(p.GetKind(), d.Kind) {
			t.Fatalf("%v", err)
		}
	})
}

// A message goes through whatever names are in it, and what was given to it
// stays as it is.
func TestMend(t *testing.T) {
	cells := []string{"sound", "\xff"}
	for _, m := range []proto.Message{
		&pb.InspectResponse{Error: "a\xff", Findings: []*pb.Finding{{Label: "\xfe", Detail: "sound"}}},
		&pb.TableResponse{Columns: []string{"\xff"}, Rows: []*pb.TableResponse_Row{{Cells: cells}, {}}},
		&pb.WatchResponse{Message: "\xc3", Workers: []*pb.WorkerLedger{{Dropped: map[string]uint64{"\xff": 1, "sound": 2}}}},
		&pb.SampleResponse{Sample: &pb.Sample{Exporter: "\xff", Data: []byte{0xff}}},
	} {
		if _, err := proto.Marshal(m); err == nil {
			t.Errorf("%v needs no mending", m)
		}
		wire.Mend(m.ProtoReflect())
		if b, err := proto.Marshal(m); err != nil || len(b) == 0 {
			t.Errorf("mended: %v", err)
		}
	}
	if cells[1] != "\xff" {
		t.Error("the author's slice was changed")
	}
}
