package count

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// flowRecord is a flow record to 10.0.0.n of v packets of 1000 octets.
func flowRecord(n byte, v uint64, durationMs uint32, spread uint8) traffic.Record {
	r := traffic.Record{
		Packets: v, Bytes: v * 1000, DurationMs: durationMs, Spread: spread, Protocol: 17,
		Marks: traffic.MarkFlow, SrcPort: 53, DstPort: 1000,
	}
	r.Src = netip.MustParseAddr("8.8.8.8").As16()
	r.Dst = netip.AddrFrom4([4]byte{10, 0, 0, n}).As16()
	return r
}

// flushUntil flushes every window up to the one that ends at end.
func flushUntil(table *Table, sink *memorySink, from, end int64) {
	for at := from; at <= end; at += tickNanos {
		table.Flush(sink, Window{End: at})
	}
}

// settle flushes until no flow record counts any more.
func settle(t *testing.T, table *Table, sink *memorySink, from int64) int64 {
	t.Helper()
	for ticks := 0; table.Smearing(); ticks++ {
		if ticks > 300*20 {
			t.Fatal("flow records count for ever")
		}
		checkLooks(t, table)
		table.Flush(sink, Window{End: from})
		from += tickNanos
	}
	table.Flush(sink, Window{End: from, All: true})
	return from
}

func TestShortFlowsCountAtOnce(t *testing.T) {
	table := NewTable(mustCompile(t, testPlan()))
	packet := flowRecord(3, 7, 60000, 60)
	packet.Marks = 0
	table.Add([]traffic.Record{flowRecord(1, 10, 1000, 60), flowRecord(2, 10, 60000, 1), packet}, second)
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: second + tickNanos})
	table.Add([]traffic.Record{packet}, second+tickNanos)
	packet.Dst[15] = 1
	table.Add([]traffic.Record{packet}, second+tickNanos)
	table.Flush(sink, Window{End: second + 2*tickNanos})
	if table.Smearing() || len(sink.batches[0]) != 4 {
		t.Fatalf("%d deltas at once, smearing %v", len(sink.batches[0])-1, table.Smearing())
	}
	for _, d := range sink.batches[0][1:] {
		if want := d.Addr[15] != 3; d.Flags&ring.FlagSmeared != 0 != want {
			t.Errorf("host %d: flags %b", d.Addr[15], d.Flags)
		}
	}
	for _, d := range sink.batches[1][1:] {
		if d.Flags != 0 {
			t.Errorf("the flag outlives a flush: %+v", d)
		}
	}
}

// TestSlicesAreEven looks at every slice of one record.
func TestSlicesAreEven(t *testing.T) {
	table := NewTable(mustCompile(t, testPlan()))
	sink := &memorySink{free: endless}
	// 100 packets a quarter second for 30 s, of which 20 count.
	table.Add([]traffic.Record{flowRecord(1, 12000, 30000, 20)}, second)
	if !table.Smearing() || table.Dirty() != 0 {
		t.Fatalf("smearing %v, %d rows dirty", table.Smearing(), table.Dirty())
	}
	end := settle(t, table, sink, second+tickNanos)
	if end < 21*second || end > 21*second+300e6 {
		t.Errorf("the record counted until %d ms", end/1e6)
	}
	var slices, whole int
	var packets, bytes uint64
	for _, b := range sink.batches {
		for i := range b[1:] {
			d := &b[i+1]
			packets += d.Packets
			bytes += d.Bytes
			if slices++; d.Packets == 100 {
				whole++
			}
			if d.Packets > 101 || d.SpanMs != 50 || uint64(d.Samples) != d.Packets || d.Flags != ring.FlagSmeared || uint64(d.CounterPackets[ring.CounterUDP]) != d.Packets {
				t.Fatalf("slice %+v", d)
			}
		}
	}
	if packets != 8000 || bytes != 8e6 || slices > 81 || whole < 78 {
		t.Errorf("%d packets of %d octets in %d slices, %d of them even", packets, bytes, slices, whole)
	}
	if l := table.Ledger(); l.Received != 1 || l.Counted != 1 || l.Packets != 12000 || l.Beyond != 4000 || l.Cut != 0 {
		t.Errorf("%+v", l)
	}
}

// randomFlow makes a flow record of any length between random ends.
func randomFlow(rng *rand.Rand, hosts int) traffic.Record {
	r := randomRecord(rng, hosts)
	r.Marks |= traffic.MarkFlow
	r.Time = 0
	r.Sampling = uint32(rng.IntN(3)) * 50
	r.Packets = rng.Uint64N(5000) * max(uint64(r.Sampling), 1)
	r.Bytes = r.Packets * (40 + rng.Uint64N(1460))
	r.DurationMs = rng.Uint32N(6000)
	r.Spread = uint8(rng.IntN(10))
	return r
}

// counting is the part of a record that counts.
func counting(r traffic.Record) traffic.Record {
	if most := uint64(r.Spread) * 1000; r.Spread > 1 && uint64(r.DurationMs) > most+cutMargin {
		r.Packets = share(r.Packets, most, uint64(r.DurationMs))
		r.Bytes = share(r.Bytes, most, uint64(r.DurationMs))
	}
	return r
}

// TestSmearEqualsOracle compares every row and counter once all slices have
// come: packet by packet what the records told.
func TestSmearEqualsOracle(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 5))
		p := testPlan()
		p.CountFlows = seed%2 == 0
		p.Counters = randomCounters(rng, 30)
		for i := range p.Counters {
			p.Counters[i].Lengths = nil // the oracle rounds before it divides
		}
		p.Exemptions = testExemptions()[:3]
		o, table := newOracle(p), NewTable(mustCompile(t, p))
		sink := &memorySink{free: endless}
		now := 10 * second
		for range 60 {
			batch := make([]traffic.Record, 300)
			for i := range batch {
				batch[i] = randomFlow(rng, 100)
				r := counting(batch[i])
				o.add(&r)
			}
			table.Add(batch, now)
			now += tickNanos
			table.Flush(sink, Window{End: now})
		}
		settle(t, table, sink, now)
		got := sink.sum(t)
		for _, all := range []map[subject]*gain{got, o.gains} {
			for _, g := range all {
				g.samples = 0 // of what counts in part they are cut off otherwise
			}
		}
		compare(t, got, o.gains)
		if l := table.Ledger(); l.Counted != 60*300 || l.Received != l.Counted {
			t.Errorf("%+v", l)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		s := table.smear
		if s.pending != 0 || s.wheel.used != 0 {
			t.Fatalf("%d packets and %d entries are left", s.pending, s.wheel.used)
		}
		table.Flush(sink, Window{End: now + 20*second})
		if len(s.wheel.slabs) != 0 || s.lists[0].slabs != nil {
			t.Error("an idle table keeps the memory of flow records")
		}
	}
}

// TestSmearSamples checks that samples are split like packets.
func TestSmearSamples(t *testing.T) {
	table := NewTable(mustCompile(t, testPlan()))
	sink := &memorySink{free: endless}
	r := flowRecord(1, 70*1000, 10000, 10)
	r.Sampling = 1000
	table.Add([]traffic.Record{r}, second)
	settle(t, table, sink, second+tickNanos)
	var samples uint32
	for _, b := range sink.batches {
		for _, d := range b[1:] {
			samples += d.Samples
			if d.Sampling != 1000 || d.Samples > 3 || d.Flags&ring.FlagFlowsLeast == 0 {
				t.Fatalf("%+v", d)
			}
		}
	}
	if samples != 70 {
		t.Errorf("%d samples of 70", samples)
	}
}

// TestNewFlowsAtArrival: a flow is new when its record comes, once.
func TestNewFlowsAtArrival(t *testing.T) {
	p := testPlan()
	p.CountFlows = true
	p.Counters = []Counter{{ID: 3, Protocols: []uint8{17}}}
	table := NewTable(mustCompile(t, p))
	sink := &memorySink{free: endless}
	table.Add([]traffic.Record{flowRecord(1, 1000, 5000, 10)}, second)
	table.Flush(sink, Window{End: second + tickNanos})
	b := sink.batches[0]
	if len(b) < 3 || b[1].Flows != 1 || b[2].Kind != ring.KindCounter || b[2].Flows != 1 || b[1].Flags&ring.FlagSmeared == 0 {
		t.Fatalf("%+v", b)
	}
	settle(t, table, sink, second+2*tickNanos)
	for k, g := range sink.sum(t) {
		if g.flows != 1 || g.packets != 1000 {
			t.Errorf("%+v: %+v", k, *g)
		}
	}
}

// TestSmearUnderPressure folds, squeezes the sink, changes the plan and ends
// in the middle: every packet is in a delta or in the ledger.
func TestSmearUnderPressure(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 6))
		p := testPlan()
		for i := range p.Prefixes {
			p.Prefixes[i].CountInternal = false // then each record counts once
		}
		p.MaxRows = minRows
		p.Counters = randomCounters(rng, 20)
		prefixes := p.Prefixes
		table := NewTable(mustCompile(t, p))
		sink := &memorySink{}
		now := 10 * second
		var records uint64
		for tick := range 200 {
			batch := make([]traffic.Record, 100)
			for i := range batch {
				batch[i] = randomFlow(rng, 1<<16)
			}
			records += 100
			table.Add(batch, now)
			now += tickNanos
			if table.smear != nil {
				table.smear.wheel.limit = 5000
			}
			sink.free = []int{0, 1, 7, 300, 5000}[rng.IntN(5)]
			table.Flush(sink, Window{End: now, All: tick%7 == 0})
			if tick%50 == 49 {
				next := *p
				next.Revision++
				next.MaxRows = minRows + uint32(tick)
				next.Prefixes = prefixes[tick/50%3:]
				p = &next
				table.Adopt(mustCompile(t, p))
			}
			if table.used > len(table.rows) || len(table.dirty) > table.used {
				t.Fatalf("%d rows, %d dirty, room for %d", table.used, len(table.dirty), len(table.rows))
			}
		}
		sink.free = endless
		table.Flush(sink, Window{End: now + tickNanos, Finished: true})
		var got uint64
		for k, g := range sink.sum(t) {
			if k.counter == 0 {
				got += g.packets + g.counters[ring.CounterExempt].packets
			}
		}
		l := table.Ledger()
		if l.Received != records || l.Counted+l.Dropped != l.Received || l.ByCause[CauseSmearFull] != l.Dropped {
			t.Errorf("%d records: %+v", records, l.Totals)
		}
		// Of records for which there was no room only the first second came.
		if short := l.Packets - got - l.Beyond - l.Cut; l.Packets < got+l.Beyond+l.Cut || l.Dropped == 0 != (short == 0) {
			t.Errorf("%d packets came of %d; %d beyond, %d cut, %d records had no room", got, l.Packets, l.Beyond, l.Cut, l.Dropped)
		}
		if l.Cut == 0 || l.Folded == 0 || table.Smearing() || table.smear != nil {
			t.Errorf("the test does not test it: %+v", l.Totals)
		}
	}
}

// TestAdoptStreams: records that still count go on under the new plan's ids.
func TestAdoptStreams(t *testing.T) {
	a := &Plan{Revision: 1, Counters: []Counter{{ID: 1, Protocols: []uint8{17}}, {ID: 2, Protocols: []uint8{17}}}, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1},
		{Prefix: netip.MustParsePrefix("172.16.0.0/12"), Network: 2},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1},
	}}
	b := &Plan{Revision: 2, Seed: 9, Counters: []Counter{{ID: 1, Protocols: []uint8{6}}, {ID: 2, Protocols: []uint8{17}}}, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Network: 5},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 6, V6HostLen: 64},
	}}
	table := NewTable(mustCompile(t, a))
	for i, dst := range []string{"10.0.0.1", "172.16.0.1", "2001:db8::1", "2001:db8::2"} {
		r := flowRecord(0, 1000<<i, 10000, 10)
		r.Dst = netip.MustParseAddr(dst).As16()
		if i >= 2 {
			r.Marks |= traffic.MarkIPv6
			r.Src = netip.MustParseAddr("2a00::1").As16()
		}
		table.Add([]traffic.Record{r}, second)
	}
	table.Adopt(mustCompile(t, b))
	sink := &memorySink{free: endless}
	settle(t, table, sink, second+tickNanos)
	want := map[subject]uint64{
		{prefix: netip.MustParsePrefix("10.0.0.1/32"), network: 5}:               1000,
		{prefix: netip.MustParsePrefix("10.0.0.1/32"), network: 5, counter: 3}:   1000,
		{prefix: netip.MustParsePrefix("::/4"), direction: ring.Other}:           2000,
		{prefix: netip.MustParsePrefix("2001:db8::/64"), network: 6}:             12000,
		{prefix: netip.MustParsePrefix("2001:db8::/64"), network: 6, counter: 3}: 12000,
	}
	got := make(map[subject]uint64)
	for k, g := range sink.sum(t) {
		got[k] = g.packets
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// TestHostileFlows: numbers that no exporter has harm nobody.
func TestHostileFlows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	wild := []uint64{0, 1, 1 << 31, 1 << 40, 1 << 47, 1 << 62, math.MaxUint64}
	table := NewTable(mustCompile(t, testPlan()))
	sink := &memorySink{free: 1000}
	now := 0 * second
	for range 300 {
		batch := make([]traffic.Record, 50)
		for i := range batch {
			r := flowRecord(byte(rng.IntN(4)), 1, 0, uint8(rng.Uint32()))
			r.Packets, r.Bytes = wild[rng.IntN(len(wild))], wild[rng.IntN(len(wild))]
			r.DurationMs = uint32(wild[rng.IntN(len(wild))]) | rng.Uint32N(1<<17)
			r.Sampling = uint32(wild[rng.IntN(len(wild))])
			r.Exporter = uint32(rng.IntN(2))
			batch[i] = r
		}
		table.Add(batch, now)
		now += []int64{1e6, tickNanos, second, 100 * second}[rng.IntN(4)]
		table.Flush(sink, Window{End: now / tickNanos * tickNanos})
	}
	l := table.Ledger()
	if l.Received != 300*50 || l.Counted+l.Dropped != l.Received || l.Dropped == 0 {
		t.Errorf("%+v", l.Totals)
	}
	settle(t, table, sink, (now/tickNanos+1)*tickNanos)
	if table.smear.wheel.used != 0 || table.smear.pending != 0 {
		t.Errorf("%d entries, %d packets left", table.smear.wheel.used, table.smear.pending)
	}
}

// TestTooManyStreams: without room a record's first second counts.
func TestTooManyStreams(t *testing.T) {
	table := NewTable(mustCompile(t, testPlan()))
	table.Add([]traffic.Record{flowRecord(1, 6000, 60000, 60)}, second)
	table.smear.wheel.limit = 1
	table.Add([]traffic.Record{flowRecord(2, 6000, 60000, 60)}, second)
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: second + tickNanos})
	b := sink.batches[0]
	if len(b) != 3 || b[1].Kind != ring.KindLoss || b[1].ID != CauseSmearFull || b[1].Packets != 1 || b[2].Packets != 100 || b[2].Flags&ring.FlagSmeared == 0 {
		t.Fatalf("%+v", b)
	}
	if f := b[0].AsFlush(); f.Received != 2 || f.Counted != 1 || f.DroppedTotal != 1 || CauseName(nil, CauseSmearFull) != "smear_full" {
		t.Errorf("%+v", f)
	}
}

// TestSmearAfterPause: what a stopped clock owed comes over the time it stood.
func TestSmearAfterPause(t *testing.T) {
	table := NewTable(mustCompile(t, testPlan()))
	sink := &memorySink{free: endless}
	table.Add([]traffic.Record{flowRecord(1, 60000, 60000, 120)}, second)
	flushUntil(table, sink, second+tickNanos, 11*second)
	before := len(sink.batches)
	table.Flush(sink, Window{End: 31 * second})
	late := sink.batches[before][1:]
	if len(late) != 1 || late[0].Packets < 19500 || late[0].Packets > 20500 || late[0].SpanMs < 19500 {
		t.Fatalf("%+v", late)
	}
	table.Flush(sink, Window{End: 1000 * second})
	if g := sink.sum(t)[subject{prefix: netip.MustParsePrefix("10.0.0.1/32"), network: 1, group: 7}]; table.Smearing() || g.packets != 60000 {
		t.Errorf("%+v", g)
	}
}
