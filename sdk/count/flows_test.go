package count

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// epochOf tells the flow set's one-second epoch of a record at a time, the
// way a map oracle has to know it.
func (f *flowSet) epochOf(r *traffic.Record, now int64) (hash uint64, epoch uint64) {
	h := f.seed.hash(r, load(r, &r.Src), load(r, &r.Dst))
	return h, (uint64(now)/FlowPhase + h>>56) >> 8
}

// TestFlowsEqualMap counts new flows per second and compares each host with
// a map; the clock runs over more epochs than a slot can tell apart.
func TestFlowsEqualMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	p := &Plan{CountFlows: true, Seed: 9, Prefixes: []Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1},
	}}
	table := NewTable(mustCompile(t, p))
	type flow struct {
		key   flowKey
		epoch uint64
	}
	seen := make(map[flow]bool)
	want := make(map[netip.Addr]uint64)
	sink := &memorySink{free: endless}
	now := second
	for tick := range 400 {
		now += tickNanos
		if tick%40 == 39 {
			now += 50 * second
		}
		table.Flush(sink, Window{End: now})
		batch := make([]traffic.Record, 300)
		for i := range batch {
			r := traffic.Record{Packets: 1, Bytes: 60, Protocol: 17, SrcPort: uint16(rng.IntN(20)), DstPort: 53}
			if rng.IntN(2) == 0 {
				r.Marks = traffic.MarkIPv6
				r.Src = netip.AddrFrom16([16]byte{0x2a, 15: byte(rng.IntN(10))}).As16()
				r.Dst = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(rng.IntN(10))}).As16()
			} else {
				r.Src = netip.AddrFrom4([4]byte{8, 8, 8, byte(rng.IntN(10))}).As16()
				r.Dst = netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(10))}).As16()
			}
			batch[i] = r
			_, epoch := table.flows.epochOf(&r, now)
			k := flow{flowKey{r.SrcAddr(), r.DstAddr(), r.SrcPort, r.DstPort, r.Protocol}, epoch}
			if !seen[k] {
				seen[k] = true
				want[r.DstAddr()]++
			}
		}
		table.Add(batch, now)
	}
	table.Flush(sink, Window{End: now + tickNanos, Finished: true})
	var got, all uint64
	for k, g := range sink.sum(t) {
		w := want[k.prefix.Addr()]
		if g.flows > w {
			t.Errorf("%v: %d flows, want %d", k.prefix, g.flows, w)
		}
		got += g.flows
		all += w
	}
	// A line that overflowed may let a flow turn new once too often or lose it.
	if got < all-all/1000 || got > all {
		t.Errorf("%d new flows, want %d", got, all)
	}
	for _, b := range sink.batches {
		for i := range b[1:] {
			if b[i+1].Flags&ring.FlagFlowsLeast != 0 {
				t.Fatal("an exact count is marked as a lower bound")
			}
		}
	}
}

// TestFlowPhases: a steady flow turns new once a second, and many flows do so
// at different times.
func TestFlowPhases(t *testing.T) {
	p := &Plan{CountFlows: true, Seed: 3, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	table := NewTable(mustCompile(t, p))
	batch := make([]traffic.Record, 2000)
	for i := range batch {
		batch[i] = traffic.Record{Packets: 1, Protocol: 6, SrcPort: uint16(i), Dst: netip.MustParseAddr("10.0.0.1").As16()}
	}
	sink := &memorySink{free: endless}
	for now := second; now < 6*second; now += tickNanos {
		table.Flush(sink, Window{End: now})
		table.Add(batch, now)
	}
	var perTick []uint32
	for _, b := range sink.batches {
		if len(b) > 1 {
			perTick = append(perTick, b[1].Flows)
		}
	}
	for i := 1; i+20 < len(perTick); i++ {
		var sum uint32
		for _, n := range perTick[i : i+20] {
			sum += n
		}
		if sum < 1990 || sum > 2010 {
			t.Errorf("%d new flows in a second, want 2000", sum)
		}
		if perTick[i] > 200 {
			t.Errorf("%d of 2000 flows turned new within one tick", perTick[i])
		}
	}
}

// TestFlowSetFull: beyond its largest size the set says "at least".
func TestFlowSetFull(t *testing.T) {
	const most = 4 * minFlowSlots
	f := newFlowSet(1)
	f.max = most
	f.advance(second)
	r := traffic.Record{Protocol: 17}
	marked, counted := 0, 0
	for i := range most + 10000 {
		r.SrcPort, r.DstPort = uint16(i), uint16(i>>16)
		n, flags := f.count(&r, addr{0, uint64(i)}, addr{0, 1})
		counted += int(n)
		if flags == rowAtLeast {
			marked++
		}
	}
	if marked < 10000 || counted < most/4*3-most/50 || len(f.slots) != most {
		t.Errorf("%d counted, %d marked, %d slots", counted, marked, len(f.slots))
	}
	f.advance(4 * second)
	if f.full {
		t.Error("the set stays full")
	}
}

func TestSampledFlowsAreALowerBound(t *testing.T) {
	p := &Plan{CountFlows: true, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	table := NewTable(mustCompile(t, p))
	table.Add([]traffic.Record{{Packets: 1000, Sampling: 1000, Dst: netip.MustParseAddr("10.0.0.1").As16()}}, second)
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: 2 * second})
	if d := sink.batches[0][1]; d.Flags != ring.FlagFlowsLeast || d.Sampling != 1000 || d.Samples != 1 || d.Flows != 1 {
		t.Errorf("%+v", d)
	}
}
