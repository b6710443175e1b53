//go:build unix

package count

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// BenchmarkLongFlows counts 30,000 flow records a second that last 1 to 60 s,
// of which a third are cut at the active timeout: some 1.2 million count at a
// time. ns/record is what a record costs when it comes; busy-% is the share of
// a processor that slices and flushes take in the stream's time.
func BenchmarkLongFlows(b *testing.B) {
	for _, m := range []struct {
		name  string
		hosts uint64
	}{{"1k", 1000}, {"100k", 100000}} {
		b.Run(m.name, func(b *testing.B) { benchLong(b, m.hosts) })
	}
}

func benchLong(b *testing.B, hosts uint64) {
	const batch, perTick = 50, 1500
	rng := rand.New(rand.NewPCG(7, 7))
	records := make([]traffic.Record, 1<<16/batch*batch)
	for i := range records {
		r := flowRecord(0, 1+rng.Uint64N(100000), 1001+rng.Uint32N(59000), 60)
		if rng.IntN(3) == 0 {
			r.DurationMs = 59900 + rng.Uint32N(200)
		}
		r.Src, r.SrcPort = outsideAddr(rng, false).As16(), uint16(rng.Uint32())
		r.Dst = hostAddr(rng.Uint64N(hosts), false).As16()
		r.Protocol = []uint8{6, 17}[rng.IntN(2)]
		records[i] = r
	}
	table := NewTable(mustCompile(b, benchPlan(false)))
	sink := &nullSink{}
	now, n := int64(1e9), 0
	var flushing time.Duration
	var ticks int
	run := func() {
		at := n % len(records)
		for i := at; i < at+batch; i++ { // other flows than the last time round
			records[i].DstPort++
		}
		table.Add(records[at:at+batch], now)
		if n += batch; n%perTick == 0 {
			now += tickNanos
			began := time.Now()
			table.Flush(sink, Window{End: now})
			flushing += time.Since(began)
			ticks++
		}
	}
	for now < 63*second {
		run()
	}
	flushing, ticks = 0, 0
	start, deltas := n, sink.deltas
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64((b.Elapsed()-flushing).Nanoseconds())/float64(n-start), "ns/record")
	if ticks > 0 {
		b.ReportMetric(float64(flushing)/float64(ticks)/float64(FlushTick*time.Millisecond)*100, "busy-%")
		b.ReportMetric(float64(sink.deltas-deltas)/float64(ticks)*1000/FlushTick, "deltas/s")
	}
	b.ReportMetric(float64(table.smear.wheel.used), "records-live")
	b.ReportMetric(float64(table.smear.streams), "streams")
	if table.ledger.Dropped != 0 || table.ledger.Counted != uint64(n) {
		b.Fatalf("%+v", table.ledger.Totals)
	}
}
