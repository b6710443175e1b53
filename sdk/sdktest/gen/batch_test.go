package gen

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func mustTable(t *testing.T, s *Scenario) *prefix.Table {
	t.Helper()
	var entries []prefix.Entry
	for _, n := range s.Networks {
		entries = append(entries, prefix.Entry{Prefix: n, Value: 1})
	}
	table, err := prefix.Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestFramesAreRecords: the two batches are the same packets.
func TestFramesAreRecords(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		records := Records(9, 1000, 1.2, v6, 5000)
		slots := Frames(9, 1000, 1.2, v6, 5000)
		if !slices.Equal(records, Records(9, 1000, 1.2, v6, 5000)) || slices.Equal(records, Records(8, 1000, 1.2, v6, 5000)) {
			t.Error("records do not follow the seed")
		}
		var p traffic.Parser
		for i := range records {
			var got traffic.Record
			if o := p.Ethernet(&got, slots.Frame(i), slots.Len[i]); o != traffic.OK || got != records[i] {
				t.Fatalf("frame %d: %v\nparsed %+v\nrecord %+v", i, o, got, records[i])
			}
		}
	}
}

func TestRecordsHosts(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		network := BatchNetwork4
		if v6 {
			network = BatchNetwork6
		}
		for _, zipf := range []float64{0, 1.1} {
			const n = 60000
			count := map[netip.Addr]int{}
			in := 0
			for _, r := range Records(1, 1000, zipf, v6, n) {
				src, dst := r.SrcAddr(), r.DstAddr()
				if network.Contains(src) == network.Contains(dst) {
					t.Fatalf("%v to %v: one of them must be a host", src, dst)
				}
				if network.Contains(dst) {
					in++
					src = dst
				}
				count[src]++
			}
			top := 0
			for _, c := range count {
				top = max(top, c)
			}
			if !within(in, n/2, 0.05) || len(count) > 1000 || len(count) < 900 {
				t.Errorf("v6 %v zipf %v: %d incoming, %d hosts", v6, zipf, in, len(count))
			}
			if zipf == 0 && top > 3*n/1000 || zipf != 0 && top < n/20 {
				t.Errorf("v6 %v zipf %v: the busiest host has %d of %d", v6, zipf, top, n)
			}
		}
	}
}

func BenchmarkPackets(b *testing.B) {
	s := everything()
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		if err := s.Packets(func(*Packet) bool { packets++; return true }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}
