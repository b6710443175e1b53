package gen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Use is what a host is used for: ordinary traffic that may look like an attack.
type Use string

// The uses.
const (
	Backup         Use = "backup"
	SpeedTest      Use = "speed_test"
	CDNFill        Use = "cdn_fill"
	DNSResolver    Use = "dns_resolver"
	NATGateway     Use = "nat_gateway"
	FlashCrowd     Use = "flash_crowd"
	VPN            Use = "vpn"
	VideoCall      Use = "video_call"
	SoftwareUpdate Use = "software_update"
	MonitoringPoll Use = "monitoring_poll"
)

// UseInfo describes a use for people.
type UseInfo struct {
	Use         Use
	Description string
}

// Load is one host's ordinary traffic, at a rate of its own.
type Load struct {
	Use  Use
	Host netip.Addr // ours
	// Direction is that of most packets: incoming, which "" means too, or
	// outgoing, where the host is the other side of the same use.
	Direction Direction
	Start     time.Duration // after the scenario's start
	Duration  time.Duration // 0: to the end
	PPS       float64       // packets a second on average in that direction; the other one has fewer
	Bursts    Bursts        // of that direction; the other one has them in proportion
}

// habit is what makes a use.
type habit struct {
	description string
	proto       uint8
	service     []uint16 // ports of the side that sends more; none: the other side serves, on 443
	remotes     int
	back        float64                                  // packets of the other direction for each
	shape       func(s *spec, rng *rand.Rand, back bool) // sets size, flags and payload of a packet, or of one that goes back
}

// uses says what each is.
var uses = map[Use]habit{
	Backup:    {description: "TCP from one machine to the host's backup store (rsync)", proto: traffic.ProtoTCP, service: []uint16{873}, remotes: 1, back: 0.4, shape: bulk},
	SpeedTest: {description: "TCP in several connections from one test server", proto: traffic.ProtoTCP, service: []uint16{8080}, remotes: 1, back: 0.4, shape: bulk},
	CDNFill:   {description: "TCP from a few origin servers to a cache", proto: traffic.ProtoTCP, service: []uint16{443}, remotes: 12, back: 0.4, shape: bulk},
	DNSResolver: {
		description: "UDP answers of many name servers to a resolver", proto: traffic.ProtoUDP, service: []uint16{53}, remotes: remotes, back: 1,
		shape: resolver,
	},
	NATGateway: {description: "web, QUIC and DNS of the many hosts behind one address", service: []uint16{443}, remotes: remotes, back: 0.8, shape: behindNAT},
	FlashCrowd: {description: "new and short connections from many clients to a web server", proto: traffic.ProtoTCP, remotes: remotes, back: 0.9, shape: crowd},
	VPN:        {description: "WireGuard over UDP from one peer", proto: traffic.ProtoUDP, service: []uint16{51820}, remotes: 1, back: 0.6, shape: tunnel},
	VideoCall:  {description: "RTP over UDP from a conference server", proto: traffic.ProtoUDP, service: []uint16{3478, 3480}, remotes: 2, back: 0.5, shape: call},
	SoftwareUpdate: {
		description: "TCP from a few servers to machines that update at once", proto: traffic.ProtoTCP, service: []uint16{80, 443}, remotes: 4, back: 0.4,
		shape: bulk,
	},
	MonitoringPoll: {description: "SNMP answers and echo replies of many devices to a station that polls", service: []uint16{161}, remotes: remotes, back: 1, shape: poll},
}

// Uses lists the uses by name.
func Uses() []UseInfo {
	var all []UseInfo
	for use, h := range uses {
		all = append(all, UseInfo{use, h.description})
	}
	slices.SortFunc(all, func(a, b UseInfo) int { return strings.Compare(string(a.Use), string(b.Use)) })
	return all
}

// bulk is one side sending full segments, the other acknowledging.
func bulk(s *spec, rng *rand.Rand, back bool) {
	s.flags = traffic.FlagACK
	switch {
	case back:
		s.size = header4 + headerTCP + 12
	case rng.IntN(50) == 0:
		s.flags |= traffic.FlagPSH
		s.size = lognormal(rng, 60, 600, 0.7, mtu)
	default:
		s.size = mtu
	}
}

func resolver(s *spec, rng *rand.Rand, back bool) {
	s.fill, s.size = fillDNSResponse, header6+headerUDP+lognormal(rng, dnsQuery+dnsAnswer+10, 140, 0.6, 1200)
	if back {
		s.fill, s.size = fillDNSQuery, header6+headerUDP+dnsQuery
	}
	if !s.v6 {
		s.size -= header6 - header4
	}
}

func behindNAT(s *spec, rng *rand.Rand, back bool) {
	switch kind := rng.IntN(100); {
	case kind < 65:
		s.proto = traffic.ProtoTCP
		tcpPacket(s, rng, back)
		s.size = min(s.size+header4+headerTCP, mtu)
	case kind < 92:
		tunnel(s, rng, back)
		s.proto, s.fill = traffic.ProtoUDP, fillQUIC
	default:
		s.proto = traffic.ProtoUDP
		s.sport = 53
		resolver(s, rng, back)
	}
}

// crowd has a handshake, a request and an end for every few segments.
func crowd(s *spec, rng *rand.Rand, back bool) {
	s.size = header4 + headerTCP
	switch stage := rng.IntN(100); {
	case stage < 15:
		s.flags = traffic.FlagSYN
		if back {
			s.flags |= traffic.FlagACK
		}
	case stage < 30:
		s.flags = traffic.FlagFIN | traffic.FlagACK
	case stage < 32:
		s.flags = traffic.FlagRST
	case stage < 50:
		s.flags = traffic.FlagACK | traffic.FlagPSH
		s.size = lognormal(rng, 200, 500, 0.5, mtu)
	default:
		s.flags = traffic.FlagACK
		if back {
			s.size = mtu
		}
	}
}

// tunnel has full packets and small ones.
func tunnel(s *spec, rng *rand.Rand, back bool) {
	s.size = 1452
	if back || rng.IntN(3) == 0 {
		s.size = lognormal(rng, 124, 140, 0.3, 1452)
	}
	s.fill = fillWireGuard
}

// call is pictures and, every few packets, sound.
func call(s *spec, rng *rand.Rand, back bool) {
	s.size = lognormal(rng, 700, 1100, 0.15, 1250)
	if back || rng.IntN(6) == 0 {
		s.size = lognormal(rng, 100, 170, 0.2, 300)
	}
	s.fill = fillRTP
}

func poll(s *spec, rng *rand.Rand, back bool) {
	if rng.IntN(3) == 0 {
		ping(s, back)
		s.size = 84
		return
	}
	s.proto, s.fill = traffic.ProtoUDP, fillSNMP
	s.size = lognormal(rng, 120, 260, 0.4, 1400)
	if back {
		s.size = 110
	}
}

// use is the source of one direction of a load.
type use struct {
	habit
	host   [16]byte
	v6     bool
	sends  bool // most packets are the host's own
	back   bool // this is the other direction
	others [][16]byte
}

func (l *Load) source(rng *rand.Rand, ours *prefix.Table, back bool) source {
	h := uses[l.Use]
	host := l.Host.Unmap()
	u := &use{habit: h, host: host.As16(), v6: host.Is6(), sends: l.Direction == Outgoing, back: back}
	u.others = make([][16]byte, h.remotes)
	for i := range u.others {
		u.others[i] = remote(rng, u.v6, ours)
	}
	return u
}

func (u *use) next(s *spec, rng *rand.Rand) {
	other := u.others[rng.IntN(len(u.others))]
	*s = spec{v6: u.v6, proto: u.proto, src: other, dst: u.host, ttl: 52 + other[15]&15, id: rng.Uint32(), seq: rng.Uint32(), ack: rng.Uint32()}
	if u.sends {
		s.src, s.dst = s.dst, s.src
	}
	s.sport, s.dport = uint16(32768+(hash(u.host, other)+rng.Uint64N(8))%28232), 443
	if len(u.service) > 0 { // of the side that sends more
		s.sport, s.dport = u.service[rng.IntN(len(u.service))], s.sport
	}
	u.shape(s, rng, u.back)
	if u.back {
		s.src, s.dst = s.dst, s.src
		s.sport, s.dport = s.dport, s.sport
	}
}

// The parts of a scenario draw from generators of their own, numbered from here.
const (
	loadParts = 1 << 33
	playParts = 1 << 34
)

// streams are the load's two directions, whose bursts fall together.
func (l *Load) streams(s *Scenario, number uint64, begin time.Time, ours *prefix.Table) ([]*stream, error) {
	full := *l
	if full.Duration == 0 {
		full.Duration = s.Duration - full.Start
	}
	if err := full.check(s, ours); err != nil {
		return nil, err
	}
	part := loadParts + 4*number
	var both []*stream
	for i, back := range []bool{false, true} {
		share := 1.0
		if back {
			share = uses[l.Use].back
		}
		bursts := full.Bursts
		bursts.PPS *= share
		source := full.source(s.rng(part), ours, back) // the same remotes
		st, err := newPacedStream(source, s.rng(part+1+uint64(i)), begin.Add(full.Start).UnixNano(), full.Duration, full.PPS*share, bursts, s.rng(part+3).Uint64())
		if err != nil {
			return nil, err
		}
		both = append(both, st)
	}
	return both, nil
}

func (l *Load) check(s *Scenario, ours *prefix.Table) error {
	if _, ok := uses[l.Use]; !ok {
		var names []string
		for _, u := range Uses() {
			names = append(names, string(u.Use))
		}
		return fmt.Errorf("no such use; the uses are %v", names)
	}
	if !l.Host.IsValid() {
		return errors.New("no host")
	}
	if _, in := ours.Match(l.Host); in == 0 {
		return fmt.Errorf("the host is in none of the networks %v", s.Networks)
	}
	return errors.Join(s.checkSpan(l.Direction, l.Start, l.Duration, l.PPS), l.Bursts.check(l.PPS))
}
