package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// At the memory limit hosts lose their row, not their count; a host under
// attack still gets one.
func TestMemoryLimit(t *testing.T) {
	const limit = 2 << 20
	e := newEngine(t, Options{MemoryLimit: limit}, testPlan(1, ppsLimit(1, 20000),
		Limit{ID: 2, Counter: FirstUser, Value: 1e5, Rules: DefaultRules()},
		Limit{ID: 3, Counter: FirstUser, Unit: ByteRate, Value: 1e7, Rules: DefaultRules()},
		Limit{ID: 4, Counter: FirstUser, Unit: ByteRate, Value: 1e8, Rules: DefaultRules()}))
	f := newFeeder(t, e, 1)
	const n = 50000
	for i := range uint32(n) {
		d := hostDelta(i, i%2 == 1, 50, 1, 100)
		c := d
		c.Kind = ring.KindCounter
		f.flush(origin, d, c)
		if s := e.Stats(); s.MappedBytes > limit {
			t.Fatalf("%d bytes mapped at host %d, the limit is %d", s.MappedBytes, i, limit)
		}
	}
	s := e.Stats()
	if s.NoRow == 0 || s.ExtrasRefused == 0 || s.Hosts < 3000 || uint64(s.Hosts)+s.NoRow != n {
		t.Fatalf("%+v", s)
	}
	if x := e.Totals(); x[0].Packets[0]+x[1].Packets[0] != n {
		t.Fatalf("%d packets in totals, want %d", x[0].Packets[0]+x[1].Packets[0], n)
	}
	for i := range int64(10) {
		f.flush(origin+i*50*ms, hostDelta(n+7, true, 50, 20000, 20000*64))
	}
	c := e.Crossings()
	if len(c) != 1 || c[0].Target != hostPrefix(n+7, true) || e.Stats().Displaced == 0 {
		t.Fatalf("crossings %+v, %+v", c, e.Stats())
	}
}

// Idle hosts leave, those with an alarm stay until it is released.
func TestIdleHostsLeave(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, 20000)))
	f := newFeeder(t, e, 1)
	for i := range uint32(1000) {
		f.flush(origin, hostDelta(i, i%2 == 1, 50, 1, 100))
	}
	f.flush(origin+50*ms, hostDelta(5, true, 50, 1e6, 1e8))
	c := e.Crossings()
	if len(c) != 1 {
		t.Fatalf("%d crossings", len(c))
	}
	end := origin + 50*ms
	for range 20 * 320 {
		end += 50 * ms
		e.Advance(end)
		if s := e.Stats(); s.Hosts != 1000 && end < origin+int64(300*time.Second) {
			t.Fatalf("%d hosts after %v", s.Hosts, time.Duration(end-origin))
		}
	}
	if s := e.Stats(); s.Hosts != 1 || s.Evicted != 999 {
		t.Fatalf("%+v", s)
	}
	if _, ok := e.Rates(hostPrefix(5, true), end); !ok {
		t.Fatal("the host with an alarm has left")
	}
	e.Release(c[0].Alarm)
	for range 20 * 320 {
		end += 50 * ms
		e.Advance(end)
	}
	if s := e.Stats(); s.Hosts != 0 || s.Alarms != 0 {
		t.Fatalf("%+v", s)
	}
}

// Rows come and go in any order and the index still finds each of them.
func TestIndexChurn(t *testing.T) {
	e := newEngine(t, Options{MemoryLimit: 8 << 20}, testPlan(1))
	rng := rand.New(rand.NewPCG(4, 4))
	present := map[uint32]uint32{}
	for range 60000 {
		n := uint32(rng.IntN(9000))
		d := hostDelta(n, n%2 == 1, 50, 1, 1)
		k0, k1 := words(&d.Addr)
		tag := e.idx.hash(k0, k1, uint8(d.Kind), d.PrefixLen)
		no, ok := e.find(tag, k0, k1, uint8(d.Kind), d.PrefixLen)
		if want, there := present[n]; ok != there || ok && no != want {
			t.Fatalf("host %d: found %v at %d, want %v at %d", n, ok, no, there, want)
		}
		if ok {
			e.evict(no, e.row(no))
			delete(present, n)
			continue
		}
		if w, no := e.newRow(&d, d.Prefix(), tag); w != nil {
			present[n] = no
		}
	}
	if int(e.Stats().Hosts) != len(present) || int(e.idx.used) != len(present) {
		t.Fatalf("%d rows, %d in the index, want %d", e.Stats().Hosts, e.idx.used, len(present))
	}
}

// A host and a folded prefix of the same address are two rows.
func TestPrefixRow(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, ppsLimit(1, 10)))
	f := newFeeder(t, e, 1)
	p := hostDelta(0, false, 50, 5000, 5000)
	p.Kind, p.PrefixLen, p.Flags = ring.KindPrefix, 24, ring.FlagFolded
	f.flush(origin, p, hostDelta(0, false, 50, 0, 1))
	if s := e.Stats(); s.Hosts != 2 || len(e.Crossings()) != 0 {
		t.Fatalf("%+v: folded rows are no host and have no host limit", s)
	}
}

func TestNoAllocations(t *testing.T) {
	e := newEngine(t, Options{}, testPlan(1, benchLimits()...))
	f := newFeeder(t, e, 1)
	flush := benchFlushes(500, 4096)[0]
	end := origin
	run := func() {
		f.number++
		end += 50 * ms
		*flush[0].AsFlush() = ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: f.number, Revision: 1, WindowEnd: end, Deltas: uint32(len(flush) - 1)}
		if err := e.Apply(f.id, flush); err != nil {
			t.Fatal(err)
		}
		e.Crossings()
	}
	run()
	if n := testing.AllocsPerRun(50, run); n != 0 {
		t.Fatalf("%v allocations a flush", n)
	}
}

func TestTooSmall(t *testing.T) {
	if _, err := New(Options{MemoryLimit: 1000}); err == nil {
		t.Fatal("an engine in 1000 bytes")
	}
}
