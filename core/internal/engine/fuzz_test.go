package engine

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// fuzzLimits are limits of every scope.
func fuzzLimits() []Limit {
	return append(oracleLimits(),
		Limit{ID: 201, Scope: ScopePrefix, Length: [2]uint8{24, 64}, Value: 1000, Rules: DefaultRules()},
		Limit{ID: 202, Scope: ScopePrefix, Length: [2]uint8{30, 0}, Counter: FirstUser, Value: 1000},
		Limit{ID: 203, Scope: ScopeGroup, Unit: FlowRate, Value: 1000},
		Limit{ID: 204, Scope: ScopeNetwork, Networks: []uint32{1}, Unit: ByteRate, Value: 1000, Rules: DefaultRules()})
}

// FuzzApply reads its input as what a hostile plugin may write: raw records,
// half of them patched so that they pass the first checks, mixed with plan
// changes and times. Nothing may crash, the memory limit holds, no rate is
// negative or infinite.
func FuzzApply(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 2 << 20
		e, err := New(Options{MemoryLimit: limit, MaxAlarms: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		revision := uint64(1)
		must(t, e.SetPlan(testPlan(revision, fuzzLimits()...)))
		id := e.AddRing(1)
		number, end := uint64(0), origin
		for len(data) > 0 {
			op := data[0]
			data = data[1:]
			var rec ring.Delta
			switch {
			case op < 64: // as it lies
				rec, data = rawRecord(data)
			case op < 128: // a good flush for the records that follow
				number++
				end += int64(op&7) * 50 * ms
				fl := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: number, Revision: revision, WindowEnd: end, Deltas: uint32(op >> 3 & 7)}
				rec = *fl.AsDelta()
			case op < 224: // a plausible delta
				rec, data = rawRecord(data)
				patch(&rec, op)
			case op < 232:
				revision++
				p := testPlan(revision, fuzzLimits()[op&7:]...)
				if revision%3 == 2 {
					p.Groups[0].Community = true
					for i := range p.Groups[0].Limits {
						p.Groups[0].Limits[i].Rules = nil
					}
				}
				must(t, e.SetPlan(p))
				continue
			case op < 240:
				e.Advance(e.Clock() + int64(op)*int64(time.Second))
				end = max(end, e.Clock())
				continue
			default:
				for _, c := range e.Crossings() {
					e.Release(c.Alarm)
				}
				continue
			}
			if err := e.Apply(id, []ring.Delta{rec}); err != nil {
				if !errors.Is(err, ErrLie) {
					t.Fatal(err)
				}
				e.RemoveRing(id)
				id, number = e.AddRing(1), 0
			}
		}
		sound(t, e, limit)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rawRecord takes up to 128 bytes of input as a record.
func rawRecord(data []byte) (ring.Delta, []byte) {
	var b [ring.DeltaSize]byte
	n := copy(b[:], data)
	var d ring.Delta
	_, _ = binary.Decode(b[:], binary.LittleEndian, &d)
	return d, data[n:]
}

func patch(d *ring.Delta, op byte) {
	six := op&1 == 1
	good := hostDelta(binary.LittleEndian.Uint32(d.Addr[:4])&0xffff, six, 50*(1+d.SpanMs&3), d.Packets, d.Bytes)
	d.Kind, d.Family, d.PrefixLen, d.Addr, d.SpanMs = good.Kind, good.Family, good.PrefixLen, good.Addr, good.SpanMs
	d.Network, d.Group, d.Direction = 1, 1, ring.Direction(op>>1&1)
	switch op >> 2 & 7 {
	case 1:
		d.Kind, d.ID = ring.KindCounter, d.ID&63
	case 2:
		d.Kind, d.PrefixLen, d.Addr = ring.KindPrefix, 8+op>>5, host(0, six)
		if six {
			d.PrefixLen += 32
		}
	case 3:
		d.Kind, d.Direction = ring.KindTotal, ring.Internal
	}
}

// sound checks what must hold of any engine.
func sound(t *testing.T, e *Engine, limit uint64) {
	s := e.Stats()
	if s.MappedBytes > limit || s.UsedBytes > s.MappedBytes || s.Hosts+s.Scopes != e.idx.used || s.Alarms > 4 {
		t.Fatalf("%+v, %d rows in the index", s, e.idx.used)
	}
	snap := e.NewSnapshot(HostQuery{N: 1 << 16, Unit: ByteRate})
	for !snap.Step(100) {
		continue
	}
	for _, h := range snap.Hosts(e.Clock()) {
		for _, d := range h.Dir {
			for k := range Counters {
				for _, v := range [2]float64{d.Packets[k], d.Bytes[k]} {
					if !(v >= 0) || math.IsInf(v, 0) {
						t.Fatalf("%v: rate %v", h.Host, v)
					}
				}
			}
		}
		if _, ok := e.Rates(h.Host, e.Clock()); !ok {
			t.Fatalf("%v is in the snapshot, not in the index", h.Host)
		}
	}
}

// Every number that fits the range survives a round trip closely enough, in
// order, and nothing else escapes it.
func TestUfloat(t *testing.T) {
	last := ufloat(0)
	for x := 1e-5; x < 1e13; x *= 1.37 {
		u := toUfloat(x)
		if math.Abs(u.f()-x) > x/(1<<27) || u <= last {
			t.Fatalf("%g became %g", x, u.f())
		}
		if fl := floorUfloat(x); fl.f() > x || fl+1 <= u && u.f() > x*(1+1e-7) {
			t.Fatalf("floor of %g is %g", x, fl.f())
		}
		last = u
	}
	for x, want := range map[float64]ufloat{0: 0, 1e-9: 0, 1e300: ufloatMax, math.Inf(1): ufloatMax} {
		if got := toUfloat(x); got != want {
			t.Fatalf("%g became %d, want %d", x, got, want)
		}
	}
	for n := range uint64(1000) {
		if v := n * 134_217; toUfloat(float64(v)).f() != float64(v) {
			t.Fatalf("%d is not exact", v)
		}
	}
}
