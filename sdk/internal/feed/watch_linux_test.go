package feed

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// receive gives all samples that a watch gets.
func receive(t *testing.T, w *Watch) (out []Sample) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Receive(ctx, func(s *Sample) error { out = append(out, *s); return nil }); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("the watch did not end")
	}
	return out
}

func host(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
}

// Each of those who watch gets its target's packets, with their octets, and
// frames are asked for of nobody else.
func TestWatch(t *testing.T) {
	const hosts, packets = 60, 20000
	asked := map[int]bool{}
	rt := New(func(_ context.Context, w *Writer) error {
		w.FrameInfo(func(int) (int, int) { return 101, 1500 })
		for i := 0; i < packets; {
			batch := w.Reserve(100)
			from := i
			for j := range batch {
				batch[j] = packet(i%hosts, int64(1700000000e9)+int64(i)*1e6)
				i++
			}
			w.Commit(len(batch), func(j int) []byte {
				asked[(from+j)%hosts] = true
				return []byte{byte((from + j) % hosts), 1, 2, 3}
			})
		}
		return nil
	}, Options{Replay: true})
	var watches []*Watch
	for i := range 50 {
		w, err := rt.Watch(WatchRequest{Target: host(i), Incoming: true, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	wrong, err := rt.Watch(WatchRequest{Target: host(55), Outgoing: true, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	late, err := rt.Watch(WatchRequest{Target: host(3), Incoming: true, Limit: 1000, Since: 1700000010e9, For: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w, r := rings(t, 1<<12, false)
	start(t, rt, plan(1, 1), WorkerRings{Delta: w})
	r.wait(t)
	for i, w := range watches {
		got := receive(t, w)
		if len(got) != 100 {
			t.Fatalf("host %d: %d samples of 100", i, len(got))
		}
		for _, s := range got {
			if s.Record.DstAddr() != host(i).Addr() || s.Link != 101 || s.WireLen != 1500 || s.Data[0] != byte(i) {
				t.Fatalf("host %d got %+v", i, s)
			}
		}
	}
	if got := receive(t, wrong); len(got) != 0 {
		t.Errorf("%d packets in the other direction", len(got))
	}
	got := receive(t, late)
	for _, s := range got {
		if s.Record.Time < 1700000010e9 || s.Record.Time > 1700000015e9 {
			t.Fatalf("a packet of %d", s.Record.Time)
		}
	}
	if n := 5000 / hosts; len(got) < n || len(got) > n+1 {
		t.Errorf("%d packets in five seconds, want %d", len(got), n)
	}
	for i := 50; i < hosts; i++ {
		if asked[i] {
			t.Fatalf("the frame of host %d, which nobody watches, was asked for", i)
		}
	}
	for _, w := range append(watches, wrong, late) {
		w.Close()
	}
	if rt.watching.Load() != nil || rt.held.Load() != 0 {
		t.Errorf("something is left: %d octets", rt.held.Load())
	}
}

// The longest prefix does not hide a wider one, and both agree with netip.
func TestWatchedPrefixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var all []*Watch
	for i := range 300 {
		a := [16]byte{0x20, 1, 0xd, 0xb8, byte(rng.IntN(3)), byte(rng.IntN(3)), 15: byte(rng.IntN(4))}
		addr, length := netip.AddrFrom16(a), []int{32, 40, 48, 64, 128}[i%5]
		if i%2 == 0 {
			addr, length = netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(4))}), []int{8, 16, 24, 30, 32}[i%5]
		}
		all = append(all, &Watch{req: WatchRequest{Target: netip.PrefixFrom(addr, length).Masked(), Incoming: true}})
	}
	set := newWatchSet(all)
	for range 5000 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rng.IntN(4)), byte(rng.IntN(4)), 15: byte(rng.IntN(6))})
		if rng.IntN(2) == 0 {
			addr = netip.AddrFrom4([4]byte{byte(9 + rng.IntN(2)), byte(rng.IntN(6)), byte(rng.IntN(6)), byte(rng.IntN(6))})
		}
		a := addr.As16()
		want := 0
		for _, w := range all {
			if w.req.Target.Contains(addr) {
				want++
			}
		}
		got := set.in.find(&a)
		for _, w := range got {
			if !w.req.Target.Contains(addr) {
				t.Fatalf("%v is not in %v", addr, w.req.Target)
			}
		}
		if len(got) != want || want > 0 && !set.in.maybe(&a) {
			t.Fatalf("%v: %d watch, want %d", addr, len(got), want)
		}
	}
}

// A flood gives samples of some time, not of one batch; one who does not fetch
// what it asked for costs bounded memory.
func TestWatchBounds(t *testing.T) {
	var frame [3000]byte
	now := int64(0)
	rt := New(nil, Options{})
	rt.clock = func() int64 { return now }
	w := rt.writers[0]
	x, err := rt.Watch(WatchRequest{Target: host(1), Incoming: true, Limit: MaxSamples})
	if err != nil {
		t.Fatal(err)
	}
	batch := slices.Repeat([]traffic.Record{packet(1, 0)}, batchSize)
	for now = 0; now < 1e9; now += 1e6 {
		w.sample(batch, func(int) []byte { return frame[:] }, rt.watching.Load())
		if now == 99e6 && len(x.pending) != MaxSamples/perSlice {
			t.Errorf("%d samples in one slice, want %d", len(x.pending), MaxSamples/perSlice)
		}
	}
	if len(x.pending) != MaxSamples || x.held > maxPending+maxFrame || x.pending[0].WireLen != 3000 || len(x.pending[0].Data) != maxFrame {
		t.Errorf("%d samples with %d octets", len(x.pending), x.held)
	}
	for _, bad := range []WatchRequest{{}, {Target: host(1)}, {Target: host(1), Limit: MaxSamples + 1}, {Target: netip.MustParsePrefix("10.0.0.1/8"), Limit: 1}} {
		if _, err := rt.Watch(bad); err == nil {
			t.Errorf("%+v is watched", bad)
		}
	}
}
