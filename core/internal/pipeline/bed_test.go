package pipeline

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// countBed is a configuration with the SDK's table, the engine and the
// detector behind it: records go in, events come out, no process runs.
type countBed struct {
	t      testing.TB
	d      *Daemon
	engine *engine.Engine
	det    *detect.Detector
	table  *count.Table
	ring   engine.RingID
	now    int64
	deltas []ring.Delta
	events []detect.Event
}

func newCountBed(t testing.TB, cfg *config.Config) *countBed {
	t.Helper()
	b := &countBed{t: t, d: New(Options{Config: cfg}), now: int64(1000 * time.Second)}
	b.d.seed = replaySeed // without one, all hosts of IPv4 would fall into one place of the table
	e, det, err := b.d.compile(engine.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	plan, err := count.Compile(b.d.sys.plan.Load())
	if err != nil {
		t.Fatal(err)
	}
	b.engine, b.det, b.table, b.ring = e, det, count.NewTable(plan), e.AddRing(1)
	return b
}

// Free and Write make the bed the sink of its table.
func (b *countBed) Free() int { return 1 << 16 }

func (b *countBed) Write(batch []ring.Delta) int {
	b.deltas = append(b.deltas, batch...)
	return len(batch)
}

// flow is a packet that is sent pps times a second.
type flow struct {
	src, dst         string
	proto            uint8
	srcPort, dstPort uint16
	flags            uint8
	marks            traffic.Marks
	pps              float64
	size             uint64 // octets
}

func (f flow) record(packets uint64) traffic.Record {
	src, dst := netip.MustParseAddr(f.src), netip.MustParseAddr(f.dst)
	r := traffic.Record{
		Src: src.As16(), Dst: dst.As16(), Protocol: f.proto, SrcPort: f.srcPort, DstPort: f.dstPort, TCPFlags: f.flags, Marks: f.marks,
		Packets: packets, Bytes: packets * max(f.size, 60),
	}
	if dst.Is6() {
		r.Marks |= traffic.MarkIPv6
	}
	return r
}

// run plays flows for a time, in windows of 50 ms.
func (b *countBed) run(d time.Duration, flows ...flow) {
	b.t.Helper()
	for end := b.now + int64(d); b.now < end; {
		var batch []traffic.Record
		for _, f := range flows {
			if n := uint64(f.pps / 20); n > 0 {
				batch = append(batch, f.record(n))
			}
		}
		b.table.SetWall(time.Now().Unix())
		b.table.Add(batch, b.now)
		b.now += windowNanos
		b.deltas = b.deltas[:0]
		b.table.Flush(b, count.Window{End: b.now, Generation: 1, All: true})
		if err := b.engine.Apply(b.ring, b.deltas); err != nil {
			b.t.Fatal(err)
		}
		b.engine.Advance(b.now)
		b.events = append(b.events, b.det.Step(b.now)...)
	}
}

// crossed lists by target the thresholds that its attacks have crossed.
func (b *countBed) crossed() map[string][]string {
	out := map[string][]string{}
	for _, a := range b.det.Attacks(b.now) {
		for _, c := range a.Crossed {
			out[a.Target.Addr().String()] = append(out[a.Target.Addr().String()], c.Threshold)
		}
	}
	return out
}
