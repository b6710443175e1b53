package count

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestCompileRefuses(t *testing.T) {
	prefix := netip.MustParsePrefix
	ours := Prefix{Prefix: prefix("10.0.0.0/8"), Network: 1}
	many := make([]Counter, 65)
	separate := make([]Counter, 64)
	for i := range separate {
		separate[i].ID = uint8(i)
		for j := range 64 {
			separate[i].SrcPorts = append(separate[i].SrcPorts, PortRange{uint16(i*j + j), uint16(i*j + j)})
		}
	}
	for _, c := range []struct {
		plan Plan
		want string
	}{
		{Plan{Prefixes: []Prefix{ours, {Network: 1}}}, "prefixes[1]: prefix is not valid"},
		{Plan{Prefixes: []Prefix{{Prefix: netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 8), Network: 1}}}, "prefixes[0]: 10.0.0.1/8 has bits set behind its length; 10.0.0.0/8 is meant"},
		{Plan{Prefixes: []Prefix{{Prefix: prefix("::ffff:10.0.0.0/104"), Network: 1}}}, "prefixes[0]: ::ffff:10.0.0.0/104 is an IPv4 prefix in IPv6 notation"},
		{Plan{Prefixes: []Prefix{ours, ours}}, "prefixes[1]: 10.0.0.0/8 is given twice"},
		{Plan{Prefixes: []Prefix{{Prefix: ours.Prefix}}}, "prefixes[0] (10.0.0.0/8): network id is 0"},
		{Plan{Prefixes: []Prefix{{Prefix: ours.Prefix, Network: 1, Group: 9}}}, "there is no group 9"},
		{Plan{Prefixes: []Prefix{{Prefix: ours.Prefix, Network: 1, V6HostLen: 65}}}, "IPv6 host length is 65; want 128, 64 or 56"},
		{Plan{Groups: []Group{{ID: 1}, {ID: 1}}}, "groups[1]: id 1 is given twice"},
		{Plan{Groups: []Group{{ID: 1, Packets: math.NaN()}}}, "groups[0] (id 1): a limit is NaN"},
		{Plan{Counters: many}, "65 counters; at most 64"},
		{Plan{Counters: []Counter{{ID: 64, Name: "x"}}}, "counters[0] (x): id is 64; at most 63"},
		{Plan{Counters: []Counter{{ID: 1}, {ID: 1, Name: "x"}}}, "counters[1] (x): id 1 is given twice"},
		{Plan{Counters: []Counter{{FlagsSet: 3, FlagsClear: 2}}}, "TCP flags 0x02 are to be set and clear at once"},
		{Plan{Counters: []Counter{{FlagsSet: 2, Protocols: []uint8{17}}}}, "not for protocol TCP"},
		{Plan{Counters: []Counter{{SrcPorts: []PortRange{{2, 1}}}}}, "port range 2-1 is empty"},
		{Plan{Counters: []Counter{{Lengths: []Range{{2, 1}}}}}, "length range 2-1 is empty"},
		{Plan{Counters: []Counter{{Classes: []uint8{64}}}}, "user class is 64; at most 63"},
		{Plan{Counters: separate}, "source ports fall into more than 256 classes"},
		{Plan{Exemptions: []Exemption{{}, {Name: "x", Ports: []PortRange{{2, 1}}}}}, "exemptions[1] (x): port range 2-1 is empty"},
		{Plan{Exemptions: []Exemption{{Remote: []netip.Prefix{{}}}}}, "exemptions[0] (): prefix is not valid"},
		{Plan{Exemptions: []Exemption{{Counter: 65}}}, "exemptions[0] (): its counter has id 64; ids are below 64"},
		{Plan{Counters: []Counter{{ID: 3}}, Exemptions: []Exemption{{Counter: 4}}}, "its counter has id 3, which is another's"},
	} {
		if _, err := Compile(&c.plan); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// TestManyExemptions has more exemptions than one set holds.
func TestManyExemptions(t *testing.T) {
	p := &Plan{Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	for i := range 150 {
		p.Exemptions = append(p.Exemptions, Exemption{Remote: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{8, 8, 8, byte(i)}), 32)}})
	}
	table := NewTable(mustCompile(t, p))
	r := traffic.Record{Packets: 1, Bytes: 100, Dst: netip.MustParseAddr("10.0.0.1").As16()}
	for i := range 256 {
		r.Src = netip.AddrFrom4([4]byte{8, 8, 8, byte(i)}).As16()
		table.Add([]traffic.Record{r}, second)
	}
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: 2 * second})
	d := sink.batches[0][1]
	if d.Packets != 106 || d.CounterPackets[6] != 150 || d.Samples != 256 {
		t.Errorf("%+v", d)
	}
}

// TestExemptionEndsByWallClock: records without a time follow the time of day.
func TestExemptionEndsByWallClock(t *testing.T) {
	p := &Plan{
		Prefixes:   []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}},
		Exemptions: []Exemption{{UntilUnix: 1000}},
	}
	table := NewTable(mustCompile(t, p))
	r := traffic.Record{Packets: 1, Dst: netip.MustParseAddr("10.0.0.1").As16()}
	for _, wall := range []int64{998, 999, 1000} {
		table.SetWall(wall)
		table.Add([]traffic.Record{r}, second)
	}
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: 2 * second})
	if d := sink.batches[0][1]; d.Packets != 1 || d.CounterPackets[6] != 2 {
		t.Errorf("%+v", d)
	}
}

// FuzzCompile builds plans out of octets: none may crash the compiler, and
// what it accepts must count any record.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 1, 1, 0, 17, 0, 53, 0, 80, 2, 16, 1})
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 3, 6, 0, 0, 255, 255, 0, 0, 200})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Plan{MaxRows: 1, CountFlows: true}
		for len(data) >= 16 {
			b := data[:16]
			data = data[16:]
			addr := netip.AddrFrom4([4]byte(b[:4]))
			if b[7]&1 != 0 {
				addr = netip.AddrFrom16([16]byte(b))
			}
			net := netip.PrefixFrom(addr, int(b[4]))
			if b[7]&2 == 0 {
				net = net.Masked()
			}
			p.Prefixes = append(p.Prefixes, Prefix{Prefix: net, Network: uint32(b[5]), Group: uint32(b[6] & 3), V6HostLen: b[15]})
			p.Groups = append(p.Groups, Group{ID: uint32(b[6]), Packets: float64(int8(b[7]))})
			p.Counters = append(p.Counters, Counter{
				ID: b[5], Protocols: []uint8{b[8]}, FlagsSet: b[13], FlagsClear: b[14], Classes: []uint8{b[15]},
				SrcPorts: []PortRange{{binary.BigEndian.Uint16(b[9:]), binary.BigEndian.Uint16(b[11:])}},
			})
			p.Exemptions = append(p.Exemptions, Exemption{Local: []netip.Prefix{net}, Ports: []PortRange{{uint16(b[9]), uint16(b[10])}}})
		}
		c, err := Compile(p)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "plan: ") && !strings.HasPrefix(err.Error(), "exemptions: ") {
				t.Errorf("the error does not name the plan: %v", err)
			}
			return
		}
		table := NewTable(c)
		batch := make([]traffic.Record, 16)
		for i := range batch {
			batch[i] = traffic.Record{Packets: 1, Bytes: 60, Protocol: uint8(i), Marks: traffic.Marks(i)}
			if len(p.Prefixes) > 0 {
				batch[i].Dst = p.Prefixes[i%len(p.Prefixes)].Prefix.Addr().As16()
			}
		}
		table.Add(batch, second)
		sink := &memorySink{free: endless}
		table.Flush(sink, Window{End: 2 * second, Finished: true})
		sink.sum(t)
	})
}
