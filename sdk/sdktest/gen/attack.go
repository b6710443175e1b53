package gen

import (
	"math/rand/v2"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// reflectors is how many open servers an amplification comes from.
const reflectors = 2000

// attack is the source of one attack's datagrams.
type attack struct {
	trait
	ours    *prefix.Table
	target  [16]byte
	v6      bool
	victim  [16]byte   // outgoing: the one remote address that is attacked
	out     bool       // outgoing
	servers [][16]byte // incoming by reflection
	port    uint16     // of the victim, where the kind names none and sources are servers
}

func newAttack(a Attack, rng *rand.Rand, ours *prefix.Table) *attack {
	target := a.Target.Unmap()
	at := &attack{trait: kinds[a.Kind], ours: ours, target: target.As16(), v6: target.Is6(), out: a.Direction == Outgoing}
	if at.v6 {
		if at.proto == traffic.ProtoICMP {
			at.proto = traffic.ProtoICMPv6
		}
		if at.size < mtu { // a full packet stays one
			at.size = min(at.size+header6-header4, mtu)
		}
	}
	if a.PacketSize != 0 {
		at.size = a.PacketSize
	}
	at.victim = remote(rng, at.v6, ours)
	at.port = ephemeral(rng)
	if at.reflectors {
		at.servers = make([][16]byte, reflectors)
		for i := range at.servers {
			at.servers[i] = remote(rng, at.v6, ours)
		}
	}
	return at
}

// mixed is the source of several kinds at once.
type mixed []*attack

func (m mixed) next(s *spec, rng *rand.Rand) { m[rng.IntN(len(m))].next(s, rng) }

// attackSource is the source of an attack of any kind.
func attackSource(a Attack, rng *rand.Rand, ours *prefix.Table) source {
	parts := kinds[a.Kind].parts
	if parts == nil {
		return newAttack(a, rng, ours)
	}
	var m mixed
	for _, kind := range parts {
		part := a
		part.Kind = kind
		m = append(m, newAttack(part, rng, ours))
	}
	return m
}

func (a *attack) next(s *spec, rng *rand.Rand) {
	random := rng.Uint64()
	*s = spec{
		v6: a.v6, proto: a.proto, flags: a.flags, size: a.size, fill: a.fill, id: rng.Uint32(),
		seq: uint32(random), ack: uint32(random >> 32), ttl: 40 + uint8(random>>8&15), sport: ephemeral(rng), dport: uint16(1 + rng.IntN(65535)),
	}
	if a.service != 0 {
		s.sport, s.dport = a.service, a.port
	}
	if a.ports != nil {
		s.dport = a.ports[rng.IntN(len(a.ports))]
	}
	switch a.proto {
	case traffic.ProtoICMP:
		s.icmpType = 8
	case traffic.ProtoICMPv6:
		s.icmpType = 128
	}
	if a.fragments {
		s.loneOffset = uint16(1 + rng.IntN(4000))
	}
	a.addresses(s, rng)
}

func (a *attack) addresses(s *spec, rng *rand.Rand) {
	ourSide := a.target
	if a.spread {
		ourSide[15] = byte(rng.Uint32())
	}
	if a.out {
		s.src, s.dst = ourSide, a.victim
		return
	}
	s.dst = ourSide
	if a.servers != nil {
		s.src = a.servers[rng.IntN(len(a.servers))]
	} else {
		s.src = remote(rng, a.v6, a.ours)
	}
}

// remote gives an address that is not ours: public unicast as far as the
// first octet tells, or of 2a00::/12.
func remote(rng *rand.Rand, v6 bool, ours *prefix.Table) [16]byte {
	var a [16]byte
	for range 64 { // networks may leave no room; then it is ours after all
		hi, lo := rng.Uint64(), rng.Uint64()
		if v6 {
			hi = 0x2a0<<52 | hi>>12
			putAddr(&a, hi, lo)
		} else {
			first := uint32(hi>>32) % 223
			if first == 0 || first == 10 || first == 127 {
				continue
			}
			putAddr(&a, 0, 0xffff<<32|uint64(first)<<24|lo&0xffffff)
		}
		if ours.Lookup(&a) == 0 {
			break
		}
	}
	return a
}

func ephemeral(rng *rand.Rand) uint16 { return uint16(32768 + rng.IntN(28232)) }
