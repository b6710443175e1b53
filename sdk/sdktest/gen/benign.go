package gen

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	defaultHosts = 100
	remotes      = 4096 // others whom our hosts talk to
	zipfExponent = 1.2
	benignVLAN   = 100
)

// benign is the source of ordinary traffic.
type benign struct {
	hosts   [2][][16]byte // of ours: IPv4, IPv6
	remotes [2][][16]byte
	host    [2]*rand.Zipf // which of ours
	other   *rand.Zipf    // which remote
	v6      float64
	tagged  float64
	even    bool
}

func newBenign(s *Scenario, rng *rand.Rand, ours *prefix.Table) (*benign, error) {
	if s.Hosts < 0 || s.Benign.IPv6 < 0 || s.Benign.IPv6 > 1 || s.Benign.VLAN < 0 || s.Benign.VLAN > 1 {
		return nil, fmt.Errorf("scenario: %d hosts, IPv6 %v, VLAN %v; hosts must not be negative, shares must be 0 to 1", s.Hosts, s.Benign.IPv6, s.Benign.VLAN)
	}
	hosts := s.Hosts
	if hosts == 0 {
		hosts = defaultHosts
	}
	b := &benign{v6: s.Benign.IPv6, tagged: s.Benign.VLAN, even: s.Benign.Even}
	for family, v6 := range []bool{false, true} {
		b.hosts[family] = hostsOf(s, v6, hosts)
		b.remotes[family] = make([][16]byte, remotes)
		for i := range b.remotes[family] {
			b.remotes[family][i] = remote(rng, v6, ours)
		}
		if n := len(b.hosts[family]); n > 0 {
			b.host[family] = rand.NewZipf(rng, zipfExponent, 1, uint64(n-1))
		}
	}
	b.other = rand.NewZipf(rng, zipfExponent, 8, remotes-1)
	switch {
	case b.host[0] == nil:
		b.v6 = 1
	case b.host[1] == nil:
		b.v6 = 0
	}
	return b, nil
}

// hostsOf spreads n hosts evenly over the networks of a family: the first of
// each, then the second of each …. Small networks may give fewer.
func hostsOf(s *Scenario, v6 bool, n int) [][16]byte {
	var hosts [][16]byte
	for round := uint64(0); len(hosts) < n; round++ {
		before := len(hosts)
		for _, p := range s.Networks {
			a := p.Addr().Unmap()
			room := p.Addr().BitLen() - p.Bits() // the same for mapped prefixes
			number := round
			if room > 1 {
				number++ // not the network's own address
			}
			if a.Is6() != v6 || len(hosts) == n || room < 64 && number >= 1<<room {
				continue
			}
			b := a.As16()
			binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+number)
			hosts = append(hosts, b)
		}
		if len(hosts) == before {
			break
		}
	}
	return hosts
}

func (b *benign) next(s *spec, rng *rand.Rand) {
	family := 0
	if rng.Float64() < b.v6 {
		family = 1
	}
	h := b.pick(rng, family)
	host, other := b.hosts[family][h], b.remotes[family][b.other.Uint64()]
	*s = spec{v6: family == 1, ttl: 52 + other[15]&15, id: rng.Uint32(), seq: rng.Uint32(), ack: rng.Uint32()}
	if hash(host, host)%1000 < uint64(b.tagged*1000) {
		s.vlan = benignVLAN
	}
	// Every other host serves, the rest are clients of remote servers.
	client, server := other, host
	if h%2 == 1 {
		client, server = host, other
	}
	upstream := rng.Float64() < 0.45
	s.src, s.dst = server, client
	if upstream {
		s.src, s.dst = client, server
	}
	// A few connections between the same two.
	port := uint16(32768 + (hash(client, server)+uint64(rng.IntN(4)))%28232)
	service := b.conversation(s, rng, upstream)
	s.sport, s.dport = service, port
	if upstream {
		s.sport, s.dport = port, service
	}
}

// pick chooses one of our hosts.
func (b *benign) pick(rng *rand.Rand, family int) uint64 {
	if b.even {
		return rng.Uint64N(uint64(len(b.hosts[family])))
	}
	return b.host[family].Uint64()
}

// conversation chooses protocol and size, and returns the server's port.
func (b *benign) conversation(s *spec, rng *rand.Rand, upstream bool) uint16 {
	overhead := header4
	if s.v6 {
		overhead = header6
	}
	switch kind := rng.Float64(); {
	case kind < 0.70:
		tcpPacket(s, rng, upstream)
		s.size += overhead + headerTCP
		if s.size = min(s.size, mtu); s.size > overhead+headerTCP {
			s.fill = fillTLS
		}
		return 443
	case kind < 0.90:
		s.proto, s.fill = traffic.ProtoUDP, fillQUIC
		s.size = overhead + headerUDP + lognormal(rng, 40, 60, 1.0, 1350)
		if !upstream {
			s.size = overhead + headerUDP + lognormal(rng, 200, 900, 0.6, 1350)
		}
		return 443
	case kind < 0.97:
		s.proto, s.fill = traffic.ProtoUDP, fillDNSResponse
		s.size = overhead + headerUDP + lognormal(rng, dnsQuery+dnsAnswer+10, 110, 0.5, 1200)
		if upstream {
			s.fill, s.size = fillDNSQuery, overhead+headerUDP+dnsQuery
		}
		return 53
	default:
		ping(s, upstream)
		s.size = overhead + headerUDP + 56
		return 0
	}
}

func ping(s *spec, request bool) {
	s.proto, s.icmpType = traffic.ProtoICMP, 0
	if request {
		s.icmpType = 8
	}
	if s.v6 {
		s.proto, s.icmpType = traffic.ProtoICMPv6, 129
		if request {
			s.icmpType = 128
		}
	}
}

// tcpPacket chooses flags and payload: connections begin and end, servers
// send mostly full segments, clients mostly acknowledge.
func tcpPacket(s *spec, rng *rand.Rand, upstream bool) {
	s.proto = traffic.ProtoTCP
	switch stage := rng.Float64(); {
	case stage < 0.03:
		s.flags = traffic.FlagSYN
		if !upstream {
			s.flags |= traffic.FlagACK
		}
	case stage < 0.06:
		s.flags = traffic.FlagFIN | traffic.FlagACK
	case stage < 0.065:
		s.flags = traffic.FlagRST
	case upstream && stage < 0.80, !upstream && stage < 0.20:
		s.flags = traffic.FlagACK
	case upstream:
		s.flags = traffic.FlagACK | traffic.FlagPSH
		s.size = lognormal(rng, 20, 300, 0.9, mtu)
	case stage < 0.75:
		s.flags = traffic.FlagACK
		s.size = mtu
	default:
		s.flags = traffic.FlagACK | traffic.FlagPSH
		s.size = lognormal(rng, 20, 500, 0.9, mtu)
	}
}

// lognormal has the given median and shape, within limits.
func lognormal(rng *rand.Rand, least int, median, sigma float64, most int) int {
	return min(max(int(median*math.Exp(sigma*rng.NormFloat64())), least), most)
}

func putAddr(a *[16]byte, hi, lo uint64) {
	binary.BigEndian.PutUint64(a[:8], hi)
	binary.BigEndian.PutUint64(a[8:], lo)
}

// hash mixes two addresses.
func hash(a, b [16]byte) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, w := range []uint64{binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])} {
		h = (h ^ w) * 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h
}
