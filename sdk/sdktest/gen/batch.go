package gen

import (
	"math/rand/v2"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The networks that hold all hosts of Records and Frames.
var (
	BatchNetwork4 = netip.MustParsePrefix("10.0.0.0/8")
	BatchNetwork6 = netip.MustParsePrefix("2001:db8::/32")
)

// BatchHost returns the address of host i of Records and Frames, below 2^24:
// the i-th of BatchNetwork4, or in BatchNetwork6 one of 16 in each /64.
func BatchHost(i int, v6 bool) [16]byte {
	var a [16]byte
	if v6 {
		putAddr(&a, 0x20010db8<<32|uint64(i/16), uint64(i%16+1))
	} else {
		putAddr(&a, 0, 0xffff<<32|10<<24|uint64(i))
	}
	return a
}

// SlotSize is the distance of frames in Slots, as in packet rings.
const SlotSize = 2048

// Slots are frames at equal distances.
type Slots struct {
	Buf []byte
	Len []int
}

// Frame returns frame i.
func (s *Slots) Frame(i int) []byte { return s.Buf[i*SlotSize : i*SlotSize+s.Len[i]] }

// Records returns n records between hosts and random remote addresses, half
// of them to the host, half from it: 60 % TCP, 36 % UDP, 4 % ICMP. Hosts are
// chosen by Zipf's law with exponent zipf, which must be above 1; else
// uniformly. Which hosts are busy is random.
func Records(seed uint64, hosts int, zipf float64, v6 bool, n int) []traffic.Record {
	b := newBatch(seed, hosts, zipf, v6)
	records := make([]traffic.Record, n)
	var s spec
	for i := range records {
		b.next(&s)
		records[i] = s.record()
		records[i].Bytes = uint64(max(s.size, s.minSize()))
	}
	return records
}

// Frames returns the same packets as Records, as Ethernet frames.
func Frames(seed uint64, hosts int, zipf float64, v6 bool, n int) *Slots {
	b := newBatch(seed, hosts, zipf, v6)
	slots := &Slots{Buf: make([]byte, n*SlotSize), Len: make([]int, n)}
	var build builder
	var p Packet
	for i := range n {
		b.next(&build.spec)
		build.begin()
		build.emit(&p)
		slots.Len[i] = copy(slots.Buf[i*SlotSize:], p.Frame)
	}
	return slots
}

// batch is the source behind Records and Frames.
type batch struct {
	rng   *rand.Rand
	ours  *prefix.Table
	order []int // from rank to host
	zipf  *rand.Zipf
	v6    bool
}

func newBatch(seed uint64, hosts int, zipf float64, v6 bool) *batch {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := &batch{rng: rng, v6: v6, order: rng.Perm(hosts)}
	if zipf > 1 {
		b.zipf = rand.NewZipf(rng, zipf, 1, uint64(hosts-1))
	}
	ours, err := prefix.Build([]prefix.Entry{{Prefix: BatchNetwork4, Value: 1}, {Prefix: BatchNetwork6, Value: 1}})
	if err != nil {
		panic(err) // two constant prefixes
	}
	b.ours = ours
	return b
}

func (b *batch) next(s *spec) {
	rng := b.rng
	var rank uint64
	if b.zipf != nil {
		rank = b.zipf.Uint64()
	} else {
		rank = rng.Uint64N(uint64(len(b.order)))
	}
	*s = spec{v6: b.v6, ttl: 57, id: rng.Uint32(), seq: rng.Uint32(), src: remote(rng, b.v6, b.ours), dst: BatchHost(b.order[rank], b.v6)}
	s.sport, s.dport = ephemeral(rng), 443
	s.size = lognormal(rng, header6+headerTCP, 300, 1, mtu)
	outgoing := rng.IntN(2) == 0
	switch kind := rng.IntN(100); {
	case kind < 60:
		s.proto, s.flags = traffic.ProtoTCP, traffic.FlagACK
		if kind < 3 {
			s.flags = traffic.FlagSYN
		}
	case kind < 96:
		s.proto = traffic.ProtoUDP
	default:
		ping(s, !outgoing)
		s.sport, s.dport = 0, 0
	}
	if outgoing {
		s.src, s.dst = s.dst, s.src
		s.sport, s.dport = s.dport, s.sport
	}
}
