package count

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// TestCadence checks which of many rows are flushed when.
func TestCadence(t *testing.T) {
	p := &Plan{
		Groups:   []Group{{ID: 1, Packets: 100}}, // more than 5 packets in 50 ms
		Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1, Group: 1}},
	}
	table := NewTable(mustCompile(t, p))
	const rows = 40000
	batch := make([]traffic.Record, rows)
	for i := range batch {
		batch[i] = traffic.Record{Packets: 1, Bytes: 64, Protocol: 17}
		batch[i].Src = netip.MustParseAddr("8.8.8.8").As16()
		batch[i].Dst = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).As16()
		switch {
		case i < 1000: // above the limit
			batch[i].Packets = 6
		case i < 20000: // warm: more than fit into the hottest 16k
			batch[i].Packets = 3
		}
	}
	table.Add(batch, second)
	sink := &memorySink{free: endless}
	var left []int
	for end := second + tickNanos; end <= second+4*tickNanos; end += tickNanos {
		table.Flush(sink, Window{End: end})
		left = append(left, table.Dirty())
	}
	// All are warm: 16k of them are due at every boundary.
	if want := []int{rows - hottest, rows - 2*hottest, 0, 0}; !reflect.DeepEqual(left, want) {
		t.Errorf("left after each boundary: %v, want %v", left, want)
	}
	first := sink.batches[0]
	limit, cold := 0, 0
	for i := range first[1:] {
		d := &first[i+1]
		if d.Packets == 6 {
			limit++
		}
		if d.Packets == 1 {
			cold++
		}
		if d.SpanMs != 50 {
			t.Fatalf("span %d", d.SpanMs)
		}
	}
	if limit != 1000 || cold != 0 {
		t.Errorf("first flush has %d of 1000 rows above their limit and %d cold ones", limit, cold)
	}
	if d := sink.batches[2][1]; d.SpanMs != 150 {
		t.Errorf("span of a row that waited is %d", d.SpanMs)
	}
}

// TestSmallSink checks that the hottest go first and that the rest merges.
func TestSmallSink(t *testing.T) {
	p := &Plan{Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	table := NewTable(mustCompile(t, p))
	r := traffic.Record{Bytes: 64, Protocol: 17}
	r.Src = netip.MustParseAddr("8.8.8.8").As16()
	for i := range 100 {
		r.Dst = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).As16()
		r.Packets = 1
		if i == 50 || i == 60 {
			r.Packets = 1000
		}
		table.Add([]traffic.Record{r}, second)
	}
	sink := &memorySink{free: 3}
	table.Flush(sink, Window{End: second + tickNanos})
	if b := sink.batches[0]; len(b) != 3 || b[1].Packets != 1000 || b[2].Packets != 1000 || b[0].AsFlush().DirtyRows != 98 {
		t.Errorf("got %+v", b)
	}
	sink.free = 0
	if table.Flush(sink, Window{End: second + 2*tickNanos}) {
		t.Error("a flush into no room says it was written")
	}
	r.Dst[15], r.Packets = 1, 4
	table.Add([]traffic.Record{r}, second+2*tickNanos)
	sink.free = endless
	table.Flush(sink, Window{End: second + 3*tickNanos})
	if f := sink.batches[1][0].AsFlush(); f.Number != 2 || f.Deltas != 98 {
		t.Errorf("flush %+v", f)
	}
	for _, d := range sink.batches[1][1:] {
		if d.Addr[15] == 1 && (d.Packets != 5 || d.SpanMs != 150) {
			t.Errorf("merged row: %+v", d)
		}
	}
}
