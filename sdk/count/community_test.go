package count

import (
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Hosts of a group that counts as FastNetMon Community does get long flow
// records at once, and only flows of TCP and UDP; other hosts beside them, with
// the same records, do not.
func TestCommunityCountsAtOnce(t *testing.T) {
	p := testPlan()
	p.CountFlows = true
	p.Groups = append(p.Groups, Group{ID: 77, Community: true})
	p.Prefixes = append(p.Prefixes, Prefix{Prefix: netip.MustParsePrefix("10.0.0.128/25"), Network: 1, Group: 77})
	table := NewTable(mustCompile(t, p))
	sink := &memorySink{free: endless}
	var batch []traffic.Record
	for _, host := range []byte{1, 200} {
		batch = append(batch, flowRecord(host, 1000, 60000, 60))
		icmp := flowRecord(host, 5, 0, 1)
		icmp.Protocol, icmp.SrcPort, icmp.DstPort = traffic.ProtoICMP, 0, 0
		batch = append(batch, icmp)
	}
	outgoing := flowRecord(200, 2000, 60000, 60)
	outgoing.Src, outgoing.Dst = outgoing.Dst, outgoing.Src
	table.Add(append(batch, outgoing), second)
	table.Flush(sink, Window{End: second + tickNanos})
	type gain struct {
		packets uint64
		flows   uint32
	}
	got := map[[2]byte]gain{}
	for _, d := range sink.batches[0][1:] {
		if d.Kind == ring.KindHost {
			got[[2]byte{d.Addr[15], byte(d.Direction)}] = gain{d.Packets, d.Flows}
		}
	}
	for at, want := range map[[2]byte]gain{{200, 0}: {1005, 1}, {200, 1}: {2000, 1}, {1, 0}: {5, 2}} {
		if got[at] != want {
			t.Errorf("host and direction %v: %+v, want %+v", at, got[at], want)
		}
	}
}
