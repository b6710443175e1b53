package feed

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// BenchmarkWatching is what a packet that nobody watches for costs while so
// many hosts are watched: ns/op is a packet's.
func BenchmarkWatching(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	batch := make([]traffic.Record, batchSize)
	for i := range batch {
		src, dst := netip.AddrFrom4([4]byte{198, 51, byte(rng.Uint32()), byte(rng.Uint32())}), netip.AddrFrom4([4]byte{10, 1, byte(rng.Uint32()), byte(rng.Uint32())})
		batch[i] = traffic.Record{Src: src.As16(), Dst: dst.As16(), Packets: 1}
	}
	for _, c := range []struct {
		name  string
		hosts int
		out   int
	}{{"nobody", 0, 0}, {"1", 1, 0}, {"1000", 1000, 0}, {"1000_both_directions", 1000, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			rt := New(nil, Options{})
			w := rt.writers[0]
			watch := func(n int, in bool) {
				for i := range n {
					host := netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})
					if _, err := rt.Watch(WatchRequest{Target: netip.PrefixFrom(host, 32), Incoming: in, Outgoing: !in, Limit: 100}); err != nil {
						b.Fatal(err)
					}
				}
			}
			watch(c.hosts, true)
			watch(c.out, false)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += len(batch) {
				if set := rt.watching.Load(); set != nil {
					w.sample(batch, nil, set)
				}
			}
			b.StopTimer()
			for _, x := range rt.watches {
				if len(x.pending) > 0 {
					b.Fatal("a packet was taken that nobody watches for")
				}
			}
		})
	}
}
