package count

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const second = int64(1e9)

// randomCounters makes n counters that restrict some of their dimensions.
func randomCounters(rng *rand.Rand, n int) []Counter {
	maybe := func() bool { return rng.IntN(3) == 0 }
	ports := func() (list []PortRange) {
		for range 1 + rng.IntN(3) {
			from := uint16(rng.IntN(600))
			list = append(list, PortRange{from, from + uint16(rng.IntN(100))})
		}
		return list
	}
	flag := func() *bool { b := rng.IntN(2) == 0; return &b }
	counters := make([]Counter, n)
	for i := range counters {
		c := Counter{ID: uint8(i), Name: "c"}
		if maybe() {
			c.Protocols = []uint8{6, []uint8{17, 1, 47}[rng.IntN(3)]}
		}
		if maybe() {
			c.SrcPorts = ports()
		}
		if maybe() {
			c.DstPorts = ports()
		}
		if maybe() {
			c.FlagsSet = uint8(1) << rng.IntN(6)
			c.FlagsClear = uint8(1) << rng.IntN(6) &^ c.FlagsSet
		}
		if maybe() {
			c.Fragment = flag()
		}
		if maybe() {
			c.Dropped = flag()
		}
		if maybe() {
			c.Lengths = []Range{{uint32(rng.IntN(900)), uint32(900 + rng.IntN(900))}}
		}
		if maybe() {
			c.Classes = []uint8{uint8(rng.IntN(64)), uint8(rng.IntN(64))}
		}
		counters[i] = c
	}
	return counters
}

func compare(t *testing.T, got, want map[subject]*gain) {
	t.Helper()
	for k, w := range want {
		g := got[k]
		if g == nil {
			g = &gain{}
		}
		w.flows, g.flows = 0, 0
		if k.counter != 0 {
			w.counters, g.counters = [7]pair{}, [7]pair{}
		}
		if *g != *w {
			t.Errorf("%+v:\n got %+v\nwant %+v", k, *g, *w)
		}
	}
	for k, g := range got {
		if want[k] == nil && *g != (gain{}) {
			t.Errorf("%+v: not expected, got %+v", k, *g)
		}
	}
}

func TestCountersEqualOracle(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := testPlan()
		p.Counters = randomCounters(rng, 62) // two exemptions have the other ids
		p.Exemptions = testExemptions()
		o, table := newOracle(p), NewTable(mustCompile(t, p))
		sink := &memorySink{free: endless}
		feedRandom(rng, table, sink, 5, o.add)
		table.Flush(sink, Window{End: 100 * second, All: true})
		compare(t, sink.sum(t), o.gains)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func testExemptions() []Exemption {
	prefix := netip.MustParsePrefix
	return []Exemption{
		{Remote: []netip.Prefix{prefix("192.0.0.0/24"), prefix("192.0.1.0/28")}, Protocols: []uint8{6}, Counter: 64},
		{Remote: []netip.Prefix{prefix("192.0.0.0/26")}, Incoming: true, Ports: []PortRange{{10, 80}}, Counter: 63},
		{Local: []netip.Prefix{prefix("2001:db8::/64"), prefix("10.1.0.0/24")}, Outgoing: true},
		{Remote: []netip.Prefix{prefix("0.0.0.0/0")}, UntilUnix: 1e9 + 50, Protocols: []uint8{47}},
	}
}

// feedRandom adds 2000 records per tick and flushes at every boundary.
func feedRandom(rng *rand.Rand, table *Table, sink *memorySink, ticks int, each func(*traffic.Record)) {
	now := 10 * second
	for range ticks {
		batch := make([]traffic.Record, 2000)
		for i := range batch {
			batch[i] = randomRecord(rng, 700)
			each(&batch[i])
		}
		table.Add(batch, now)
		now += tickNanos
		table.Flush(sink, Window{End: now})
	}
}

// TestNothingLost folds, squeezes the sink and changes the plan; the grand
// totals must still be those of the records.
func TestNothingLost(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := testPlan()
		p.MaxRows = minRows
		p.Counters = randomCounters(rng, 20)
		table := NewTable(mustCompile(t, p))
		sink := &memorySink{}
		var want gain
		var byCounter [MaxCounters]pair
		var samples uint64
		now := 10 * second
		for tick := range 40 {
			batch := make([]traffic.Record, 2000)
			o := newOracle(p)
			for i := range batch {
				batch[i] = randomRecord(rng, 1<<16)
				if rng.IntN(400) == 0 { // more than a row's counter holds
					batch[i].Bytes += rng.Uint64N(1 << 33)
				}
				o.add(&batch[i])
			}
			for k, g := range o.gains {
				if k.counter != 0 {
					byCounter[k.counter-1].add(g.packets, g.bytes)
					continue
				}
				want.packets += g.packets
				want.bytes += g.bytes
				samples += g.samples
				for i := range g.counters {
					want.counters[i].add(g.counters[i].packets, g.counters[i].bytes)
				}
			}
			table.Add(batch, now)
			checkLooks(t, table)
			now += tickNanos
			sink.free = []int{0, 1, 7, 300, 5000}[rng.IntN(5)]
			if table.Flush(sink, Window{End: now, All: tick%7 == 0}) {
				if f, came := sink.samples(); came+f.Held != samples {
					t.Fatalf("flush %d leaves %d samples in the table and %d have come, of %d", f.Number, f.Held, came, samples)
				}
			}
			if tick%10 == 9 {
				next := *p
				next.Revision++
				next.MaxRows = minRows + uint32(tick)
				p = &next
				table.Adopt(mustCompile(t, p))
			}
			if table.used > len(table.rows) || len(table.dirty) > table.used {
				t.Fatalf("%d rows, %d dirty, room for %d", table.used, len(table.dirty), len(table.rows))
			}
		}
		if table.Ledger().Folded == 0 {
			t.Error("nothing was folded: the test does not test it")
		}
		sink.free = endless
		table.Flush(sink, Window{End: now + tickNanos, Finished: true})
		var got gain
		var gotCounter [MaxCounters]pair
		for k, g := range sink.sum(t) {
			if k.counter != 0 {
				gotCounter[k.counter-1].add(g.packets, g.bytes)
				continue
			}
			got.packets += g.packets
			got.bytes += g.bytes
			for i := range g.counters {
				got.counters[i].add(g.counters[i].packets, g.counters[i].bytes)
			}
		}
		if got != want {
			t.Errorf("seed %d:\n got %+v\nwant %+v", seed, got, want)
		}
		if gotCounter != byCounter {
			t.Errorf("seed %d: user counters\n got %v\nwant %v", seed, gotCounter, byCounter)
		}
		if table.Dirty() != 0 || table.Ledger().Short != 0 {
			t.Errorf("%d rows dirty, %d deltas refused at the end", table.Dirty(), table.Ledger().Short)
		}
	}
}

// checkLooks wants what a flush remembers of rows that were not touched since the
// one before to be right still.
func checkLooks(t *testing.T, table *Table) {
	t.Helper()
	s := &table.scratch
	var same []uint32
	for i, n := range table.dirty[:s.known] {
		if table.touched[n/64]>>(n%64)&1 == 0 {
			same = append(same, uint32(i))
		}
	}
	before := slices.Clone(s.looks[:s.known])
	table.look(same)
	if !slices.Equal(before, s.looks[:s.known]) {
		t.Fatal("a row has changed since it was looked at, and is not marked")
	}
}

// TestFoldKeepsBoundaries overfills a table and compares each longest-match
// prefix with the oracle: folding may move gains within one only.
func TestFoldKeepsBoundaries(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	p := testPlan()
	p.MaxRows = minRows
	o, table := newOracle(p), NewTable(mustCompile(t, p))
	sink := &memorySink{}
	type key struct {
		network, group uint32
		direction      ring.Direction
		prefix         netip.Prefix
	}
	fold := func(gains map[subject]*gain) map[key]gain {
		sums := make(map[key]gain)
		for k, g := range gains {
			at := key{network: k.network, group: k.group, direction: k.direction}
			if k.network != 0 {
				at.prefix = o.place(k.prefix.Addr()).Prefix
			}
			s := sums[at]
			s.packets += g.packets
			s.bytes += g.bytes
			sums[at] = s
		}
		return sums
	}
	now := 10 * second
	for range 20 {
		batch := make([]traffic.Record, 3000)
		for i := range batch {
			batch[i] = randomRecord(rng, 1<<16)
			o.add(&batch[i])
		}
		table.Add(batch, now)
		now += tickNanos
	}
	sink.free = endless
	table.Flush(sink, Window{End: now, All: true})
	if n := len(sink.batches[0]); n > 2*minRows {
		t.Errorf("%d deltas from a table of %d rows", n, minRows)
	}
	if got, want := fold(sink.sum(t)), fold(o.gains); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func TestFoldPrefersSlash64(t *testing.T) {
	p := &Plan{MaxRows: minRows, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1}}}
	table := NewTable(mustCompile(t, p))
	r := traffic.Record{Packets: 1, Bytes: 100, Protocol: 17, Marks: traffic.MarkIPv6}
	r.Src = netip.MustParseAddr("2a00::1").As16()
	r.Dst = netip.MustParseAddr("2001:db8::1").As16()
	big := r
	big.Packets, big.Bytes = 1000, 1e5
	table.Add([]traffic.Record{big}, 10*second)
	for i := range 5000 {
		r.Dst[15], r.Dst[14], r.Dst[13] = byte(i), byte(i>>8), 1
		table.Add([]traffic.Record{r}, 10*second+int64(i)*1e6)
	}
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: 20 * second, All: true})
	var packets uint64
	for k, g := range sink.sum(t) {
		if k.prefix.Bits() == 128 && g.packets == 1000 {
			packets++
		}
		if k.prefix == netip.MustParsePrefix("2001:db8::/64") && g.packets < 2000 {
			t.Errorf("the /64 has %d packets", g.packets)
		}
	}
	if packets != 1 {
		t.Error("the large host lost its row")
	}
}

func TestSplitWideValues(t *testing.T) {
	p := &Plan{Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	table := NewTable(mustCompile(t, p))
	r := traffic.Record{Packets: 5 << 32, Bytes: 1 << 40, Protocol: 6, Marks: traffic.MarkFragment}
	r.Dst = netip.MustParseAddr("10.0.0.1").As16()
	r.Src = netip.MustParseAddr("8.8.8.8").As16()
	table.Add([]traffic.Record{r}, second)
	r.Src = r.Dst // internal, ignored
	table.Add([]traffic.Record{r}, second)
	sink := &memorySink{free: endless}
	for end := second + tickNanos; table.Dirty() > 0 || table.totals[0].first != 0; end += tickNanos {
		table.Flush(sink, Window{End: end})
		if end > 2*second {
			t.Fatal("the row is never done")
		}
	}
	if n := len(sink.batches[0]) - 1; n != 2*(maxSplits+1) {
		t.Errorf("%d deltas at first, want the most a row may have, twice", n)
	}
	for k, g := range sink.sum(t) {
		c := pair{r.Packets, r.Bytes}
		if g.packets != r.Packets || g.bytes != r.Bytes || g.counters[ring.CounterTCP] != c || g.counters[ring.CounterFragmented] != c {
			t.Errorf("%v: %+v", k, g)
		}
	}
}

func TestLossesAndLedger(t *testing.T) {
	table := NewTable(mustCompile(t, &Plan{}))
	table.Drop(3, 10, 10)
	table.Drop(3, 2, 20)
	table.Drop(255, 1, 1)
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: second, Generation: 9, Lag: 5})
	f := sink.batches[0][0].AsFlush()
	if f.Received != 13 || f.DroppedTotal != 13 || f.Counted != 0 || f.Packets != 31 || f.Generation != 9 || f.LagNanos != 5 {
		t.Errorf("flush %+v", f)
	}
	b := sink.batches[0][1:]
	if len(b) != 2 || b[0].Kind != ring.KindLoss || b[0].ID != 3 || b[0].Packets != 12 || b[1].ID != 255 || b[1].Packets != 1 {
		t.Errorf("losses %+v", b)
	}
	table.Flush(sink, Window{End: 2 * second})
	if len(sink.batches[1]) != 1 {
		t.Error("losses were told twice")
	}
}

// TestAdoptRenames checks that rows which could not be flushed continue under
// the new plan's ids, and that those no longer ours become other traffic.
func TestAdoptRenames(t *testing.T) {
	a := &Plan{Revision: 1, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1},
		{Prefix: netip.MustParsePrefix("172.16.0.0/12"), Network: 2},
	}}
	b := &Plan{Revision: 2, MaxRows: 5000, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Network: 5},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 6, V6HostLen: 64},
	}}
	table := NewTable(mustCompile(t, a))
	for i, dst := range []string{"10.0.0.1", "172.16.0.1", "2001:db8::1", "2001:db8::2"} {
		r := traffic.Record{Packets: 1 << i, Bytes: math.MaxUint32, Protocol: 17, Dst: netip.MustParseAddr(dst).As16()}
		if i >= 2 {
			r.Marks = traffic.MarkIPv6
		}
		table.Add([]traffic.Record{r}, second)
	}
	table.Adopt(mustCompile(t, b))
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: second + tickNanos})
	if f := sink.batches[0][0].AsFlush(); f.Revision != 2 {
		t.Errorf("revision %d", f.Revision)
	}
	want := map[subject]uint64{
		{prefix: netip.MustParsePrefix("10.0.0.1/32"), network: 5}:     1,
		{prefix: netip.MustParsePrefix("::/4"), direction: ring.Other}: 2,
		{prefix: netip.MustParsePrefix("2001:db8::/64"), network: 6}:   12,
	}
	got := make(map[subject]uint64)
	for k, g := range sink.sum(t) {
		got[k] = g.packets
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}
