package traffic

import (
	"math/rand/v2"
	"testing"
)

type shape struct {
	name  string
	frame []byte
}

// benchShapes are the packets of which benchmarks are made.
func benchShapes() []shape {
	tcp := tcpSegment(443, 50123, FlagACK|FlagPSH)
	udp := udpDatagram(53, 40000)
	return []shape{
		{"IPv4UDP", ethernet(etherIPv4, ipv4Packet(ProtoUDP, 0, nil, udp))},
		{"IPv4TCP", ethernet(etherIPv4, ipv4Packet(ProtoTCP, 0, nil, tcp))},
		{"VLANIPv4TCP", ethernet(etherVLAN, tagged(7, etherIPv4, ipv4Packet(ProtoTCP, 0, nil, tcp)))},
		{"MPLS2IPv4TCP", ethernet(etherMPLS, labels(2, ipv4Packet(ProtoTCP, 0, nil, tcp)))},
		{"IPv6UDP", ethernet(etherIPv6, ipv6Packet(ProtoUDP, udp))},
		{"QinQIPv6TCP", ethernet(etherQinQ, tagged(7, etherVLAN, tagged(9, etherIPv6, ipv6Packet(ProtoTCP, tcp))))},
		{"IPv6FragmentUDP", ethernet(etherIPv6, ipv6Packet(extFragment, fragmentHeader(ProtoUDP, 0, true), udp))},
	}
}

func BenchmarkParse(b *testing.B) {
	for _, s := range benchShapes() {
		frame := s.frame
		b.Run(s.name, func(b *testing.B) {
			var p Parser
			var records [64]Record
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if p.Ethernet(&records[i&63], frame, len(frame)) != OK {
					b.Fatal("not parsed")
				}
				i++
			}
			if got := records[0]; got.Packets != 1 || got.Bytes == 0 || got.Protocol == 0 {
				b.Fatalf("parsed %+v", got)
			}
		})
	}
}

// BenchmarkParseMix parses a seeded mix of all shapes: in cache, and from
// 2-KiB slots in 64 MiB as packet rings have them.
func BenchmarkParseMix(b *testing.B) {
	const slot = 2048
	shapes := benchShapes()
	for _, ring := range []struct {
		name  string
		slots int
	}{{"InCache", 64}, {"Ring64MiB", 32768}} {
		slots := ring.slots
		b.Run(ring.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			ring := make([]byte, slots*slot)
			size := make([]int, slots)
			var perRound uint64
			for i := range size {
				size[i] = copy(ring[i*slot:], shapes[rng.IntN(len(shapes))].frame)
			}
			var p Parser
			var r Record
			for i, n := range size {
				if p.Ethernet(&r, ring[i*slot:i*slot+n], n) != OK {
					b.Fatal("not parsed")
				}
				perRound += r.Bytes
			}
			var records [64]Record
			var bytes, rounds uint64
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				rec := &records[i&63]
				p.Ethernet(rec, ring[i*slot:i*slot+size[i]], size[i])
				bytes += rec.Bytes
				if i++; i == slots {
					i = 0
					if rounds++; bytes != rounds*perRound {
						b.Fatalf("counted %d bytes, want %d", bytes, rounds*perRound)
					}
				}
			}
		})
	}
}
