//go:build unix

package count

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// nullSink counts what it is given.
type nullSink struct{ deltas, packets uint64 }

func (s *nullSink) Free() int { return 1 << 16 }

func (s *nullSink) Write(batch []ring.Delta) int {
	s.deltas += uint64(len(batch))
	for i := range batch {
		if batch[i].Kind == ring.KindHost {
			s.packets += batch[i].Packets
		}
	}
	return len(batch)
}

// benchPlan has a thousand prefixes of each family and 13 user counters.
func benchPlan(flows bool) *Plan {
	p := &Plan{Seed: 1, CountFlows: flows, Groups: []Group{{ID: 1, Packets: 20000, Bytes: 125e6, Flows: 3500}}}
	for i := range 1000 {
		p.Prefixes = append(p.Prefixes,
			Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 2), byte(i << 6), 0}), 18), Network: 1, Group: 1},
			Prefix{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i >> 2), byte(i << 6)}), 50), Network: 1, Group: 1})
	}
	for i, port := range []uint16{123, 53, 389, 11211, 1900, 19, 111, 161, 137, 3283, 3702, 10001, 17} {
		p.Counters = append(p.Counters, Counter{ID: uint8(i), Protocols: []uint8{17}, SrcPorts: []PortRange{{port, port}}})
	}
	return p
}

// hostAddr is the n-th of the hosts that benchPlan's prefixes hold.
func hostAddr(n uint64, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(n % 250), byte(n / 250), 0, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)})
	}
	return netip.AddrFrom4([4]byte{10, byte(n % 250), byte(n / 250), byte(n / 250 >> 8)})
}

func outsideAddr(rng *rand.Rand, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0x2a, 0, byte(rng.Uint32()), 1, 15: byte(rng.Uint32())})
	}
	return netip.AddrFrom4([4]byte{byte(100 + rng.IntN(50)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
}

// processor is the processor time that the process has used. On a machine
// that others use too it says more than the clock on the wall.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const slotSize = 2048

// frames fills 2-KiB slots with Ethernet frames between zipf-distributed
// hosts of ours and the world, half in each direction.
func frames(n int, hosts uint64, v6 bool) []byte {
	rng := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(rng, 1.1, 10, hosts-1)
	mem := make([]byte, n*slotSize)
	for i := range n {
		f := mem[i*slotSize : (i+1)*slotSize]
		ours, other := hostAddr(zipf.Uint64(), v6), outsideAddr(rng, v6)
		src, dst := other, ours
		if rng.IntN(2) == 0 {
			src, dst = ours, other
		}
		proto := []byte{17, 6, 6}[rng.IntN(3)]
		var l4 []byte
		if v6 {
			binary.BigEndian.PutUint16(f[12:], 0x86dd)
			f[14] = 0x60
			binary.BigEndian.PutUint16(f[18:], 500)
			f[20], f[21] = proto, 64
			s, d := src.As16(), dst.As16()
			copy(f[22:], s[:])
			copy(f[38:], d[:])
			l4 = f[54:]
		} else {
			binary.BigEndian.PutUint16(f[12:], 0x0800)
			f[14] = 0x45
			binary.BigEndian.PutUint16(f[16:], 540)
			f[22], f[23] = 64, proto
			s, d := src.As4(), dst.As4()
			copy(f[26:], s[:])
			copy(f[30:], d[:])
			l4 = f[34:]
		}
		binary.BigEndian.PutUint16(l4, []uint16{443, 53, 123, 40000}[rng.IntN(4)])
		binary.BigEndian.PutUint16(l4[2:], uint16(rng.IntN(1<<14)))
		l4[12], l4[13] = 0x50, 0x10
	}
	return mem
}

// BenchmarkPluginPath is all a capture does for a packet: parse, two lookups,
// 13 user counters, count, and a flush every 524288 packets (that many in 50
// ms would be 10 Mpps).
func BenchmarkPluginPath(b *testing.B) {
	for _, m := range []struct {
		name      string
		v6, flows bool
		hosts     uint64
	}{
		{"IPv4/1k", false, false, 1000},
		{"IPv4/60k", false, false, 60000},
		{"IPv4Flows/60k", false, true, 60000},
		{"IPv6/60k", true, false, 60000},
	} {
		b.Run(m.name, func(b *testing.B) { benchPath(b, m.hosts, m.v6, m.flows) })
	}
}

func benchPath(b *testing.B, hosts uint64, v6, flows bool) {
	const slots, batch, perFlush = 1 << 15, 64, 1 << 19
	mem := frames(slots, hosts, v6)
	table := NewTable(mustCompile(b, benchPlan(flows)))
	sink := &nullSink{}
	var parser traffic.Parser
	var records [batch]traffic.Record
	now, packets := int64(1e9), 0
	const ahead = 16 // frames, whose headers are asked for before their turn
	var lines [ahead]uintptr
	run := func() {
		base := packets % slots * slotSize
		for i := range records {
			if i%ahead == 0 {
				for j := range lines {
					lines[j] = uintptr(unsafe.Pointer(&mem[(base+(i+ahead+j)*slotSize)%len(mem)]))
				}
				cache.Prefetch(lines[:])
			}
			f := mem[base+i*slotSize : base+i*slotSize+128]
			parser.Ethernet(&records[i], f, 554)
		}
		table.Add(records[:], now)
		if packets += batch; packets%perFlush == 0 {
			now += tickNanos
			table.Flush(sink, Window{End: now})
		}
	}
	for packets < 2*perFlush {
		run()
	}
	start, used := packets, processor(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	used = processor(b) - used
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets-start), "ns/packet")
	b.ReportMetric(float64(used.Nanoseconds())/float64(packets-start), "cpu-ns/packet")
	table.Flush(sink, Window{End: now + tickNanos, All: true})
	if sink.packets != uint64(packets) {
		b.Fatalf("%d packets in, %d out", packets, sink.packets)
	}
	b.ReportMetric(float64(packets)/float64(sink.deltas), "packets/delta")
}

// BenchmarkAdd is counting alone, from records that lie in the cache.
func BenchmarkAdd(b *testing.B) {
	for _, m := range []struct {
		name  string
		hosts uint64
	}{{"1k", 1000}, {"60k", 60000}, {"1M", 1000000}} {
		b.Run(m.name, func(b *testing.B) { benchAdd(b, m.hosts) })
	}
}

func benchAdd(b *testing.B, hosts uint64) {
	const total, batch = 1 << 18, 64
	rng := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(rng, 1.1, 10, hosts-1)
	plan := &Plan{Seed: 1, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1}}}
	hosts4 := make([][4]byte, total)
	for i := range hosts4 {
		n := zipf.Uint64()
		hosts4[i] = [4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}
	}
	var records [batch]traffic.Record
	for i := range records {
		records[i] = traffic.Record{
			Packets: 1, Bytes: 64, Protocol: 17, Src: outsideAddr(rng, false).As16(), Dst: outsideAddr(rng, false).As16(),
		}
	}
	table := NewTable(mustCompile(b, plan))
	n := 0
	run := func() {
		for i, host := range hosts4[n*batch%total:][:batch] {
			*(*[4]byte)(records[i].Dst[12:]) = host
		}
		table.Add(records[:], 1e9)
		n++
	}
	for n < total/batch {
		run()
	}
	before, used := n, processor(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	used = processor(b) - used
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64((n-before)*batch), "ns/record")
	b.ReportMetric(float64(used.Nanoseconds())/float64((n-before)*batch), "cpu-ns/record")
	sink := &memorySink{free: endless}
	table.Flush(sink, Window{End: 2e9, All: true})
	if got := sink.batches[0][0].AsFlush().Packets; got != uint64(n*batch) {
		b.Fatalf("%d packets", got)
	}
}

// BenchmarkSteady is a moderate rate over many hosts: 10,000 records in each window
// of 50 ms, of 100,000 hosts alike, so that most rows wait for their 200 ms.
func BenchmarkSteady(b *testing.B) {
	const perFlush, batch, hosts = 10_000, 50, 100_000
	rng := rand.New(rand.NewPCG(7, 7))
	table := NewTable(mustCompile(b, benchPlan(false)))
	sink := &nullSink{}
	records := make([]traffic.Record, 1<<18/batch*batch)
	for i := range records {
		records[i] = traffic.Record{
			Packets: 1, Bytes: 500, Protocol: 6, Src: outsideAddr(rng, false).As16(), Dst: hostAddr(rng.Uint64N(hosts), false).As16(),
		}
	}
	now, n := int64(1e9), 0
	run := func() {
		at := n % len(records)
		table.Add(records[at:at+batch], now)
		if n += batch; n%perFlush == 0 {
			now += tickNanos
			table.Flush(sink, Window{End: now})
		}
	}
	for n < 2*len(records) {
		run()
	}
	start, used := n, processor(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	used = processor(b) - used
	b.ReportMetric(float64(used.Nanoseconds())/float64(n-start), "cpu-ns/record")
	table.Flush(sink, Window{End: now + tickNanos, All: true})
	if sink.packets != uint64(n) {
		b.Fatalf("%d records in, %d out", n, sink.packets)
	}
}
