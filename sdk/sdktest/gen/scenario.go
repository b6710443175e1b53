// Package gen makes synthetic traffic from a seed: the same scenario gives the
// same octets, on one architecture at least (elsewhere floating point may
// round otherwise). Tests, benchmarks and the commands that write
// or play made-up traffic use it.
package gen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Direction of an attack, seen from our networks.
type Direction string

// The directions.
const (
	Incoming Direction = "incoming" // the target is attacked
	Outgoing Direction = "outgoing" // the target attacks
)

// Scenario is ordinary traffic of our hosts, and attacks.
type Scenario struct {
	Seed     uint64
	Start    time.Time // of the first packet; the zero time stands for 2026-01-01T00:00:00Z
	Duration time.Duration
	Networks []netip.Prefix // ours, without host bits and not twice
	Hosts    int            // how many of our addresses have ordinary traffic; 0 means 100
	Benign   Benign
	Attacks  []Attack
}

// Benign describes ordinary traffic: web over TCP, QUIC, DNS, ping, both
// directions. Hosts differ in rate by Zipf's law: with 100 hosts the busiest
// has about a quarter of its family's packets.
type Benign struct {
	PPS  float64 // packets a second, all hosts together; 0 for none
	IPv6 float64 // share of packets, 0 … 1, where Networks have both families
	VLAN float64 // share of hosts, 0 … 1, whose frames carry a VLAN tag
	Even bool    // all hosts have the same rate
}

// Attack is one attack on one target (for carpet: its neighbours too).
type Attack struct {
	Kind      Kind
	Target    netip.Addr    // ours: attacked if incoming, attacking if outgoing
	Direction Direction     // "" means incoming
	Start     time.Duration // after the scenario's start
	Duration  time.Duration // 0: to the end
	PPS       float64       // packets a second on the wire: each fragment counts
	// PacketSize is the IP length in octets, before fragmentation at 1500;
	// 0 takes the kind's own.
	PacketSize int
}

// Packet is one frame. Frame and the packet itself are valid only until the
// function that was given them returns.
type Packet struct {
	Time   int64          // nanoseconds since the Unix epoch
	Frame  []byte         // Ethernet, without FCS, at least 60 octets
	Record traffic.Record // what a parser must make of the frame, Time included
}

// maxDatagram is the largest IP length before fragmentation.
const maxDatagram = 8000

var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Packets gives every packet to yield, in order of time, until yield returns
// false. An error says what is wrong with the scenario; then there was no
// packet.
func (s *Scenario) Packets(yield func(*Packet) bool) error {
	streams, err := s.streams()
	if err != nil {
		return err
	}
	var p Packet
	for {
		var next *stream
		for _, st := range streams { // a handful; the first wins a tie
			if !st.done() && (next == nil || st.at < next.at) {
				next = st
			}
		}
		if next == nil {
			return nil
		}
		next.emit(&p)
		if !yield(&p) {
			return nil
		}
	}
}

// Check tells what is wrong with the scenario.
func (s *Scenario) Check() error {
	_, err := s.streams()
	return err
}

// streams checks the scenario and makes a stream of each of its parts.
func (s *Scenario) streams() ([]*stream, error) {
	if s.Duration <= 0 {
		return nil, fmt.Errorf("scenario: duration %v; it must be above 0", s.Duration)
	}
	if len(s.Networks) == 0 {
		return nil, errors.New("scenario: no networks; name at least one prefix of ours")
	}
	entries := make([]prefix.Entry, len(s.Networks))
	for i, n := range s.Networks {
		entries[i] = prefix.Entry{Prefix: n, Value: 1}
	}
	ours, err := prefix.Build(entries)
	if err != nil {
		return nil, fmt.Errorf("scenario: networks: %w", err)
	}
	begin := s.Start
	if begin.IsZero() {
		begin = defaultStart
	}
	var all []*stream
	if s.Benign.PPS > 0 {
		source, err := newBenign(s, s.rng(0), ours)
		if err != nil {
			return nil, err
		}
		all = append(all, newStream(source, s.rng(1), begin.UnixNano(), s.Duration, s.Benign.PPS))
	}
	for i := range s.Attacks {
		a := s.Attacks[i]
		if a.Duration == 0 {
			a.Duration = s.Duration - a.Start
		}
		if err := a.check(s, ours); err != nil {
			return nil, fmt.Errorf("scenario: attack %d (%s on %v): %w", i, a.Kind, a.Target, err)
		}
		source := newAttack(a, s.rng(uint64(2*i+2)), ours)
		at := begin.Add(a.Start).UnixNano()
		all = append(all, newStream(source, s.rng(uint64(2*i+3)), at, a.Duration, a.PPS))
	}
	return all, nil
}

func (a *Attack) check(s *Scenario, ours *prefix.Table) error {
	if _, ok := kinds[a.Kind]; !ok {
		return fmt.Errorf("no such kind; the kinds are %v", KindNames())
	}
	if !a.Target.IsValid() {
		return errors.New("no target")
	}
	if _, in := ours.Match(a.Target); in == 0 {
		return fmt.Errorf("the target is in none of the networks %v", s.Networks)
	}
	switch {
	case a.Direction != "" && a.Direction != Incoming && a.Direction != Outgoing:
		return fmt.Errorf("direction %q; it must be incoming or outgoing", a.Direction)
	case a.Start < 0 || a.Duration <= 0 || a.Start+a.Duration > s.Duration:
		return fmt.Errorf("from %v for %v is not within the scenario's %v", a.Start, a.Duration, s.Duration)
	case a.PPS <= 0:
		return fmt.Errorf("%v packets a second; it must be above 0", a.PPS)
	case a.PacketSize < 0 || a.PacketSize > maxDatagram:
		return fmt.Errorf("packet size %d; it must be 0 to %d", a.PacketSize, maxDatagram)
	}
	return nil
}

// rng gives each part its own generator, so that changing one part leaves the
// packets of the others as they are.
func (s *Scenario) rng(part uint64) *rand.Rand { return rand.New(rand.NewPCG(s.Seed, part)) }

// source describes the datagrams of one stream; next sets all of s.
type source interface {
	next(s *spec, rng *rand.Rand)
}

// stream is a source and the times of its packets: n of them over span, each
// at a random place in its own n-th of it, so that the rate is exact over any
// longer time.
type stream struct {
	source source
	rng    *rand.Rand
	build  builder
	start  int64
	step   float64 // nanoseconds a packet
	k, n   int64
	at     int64 // of packet k
}

func newStream(src source, rng *rand.Rand, start int64, span time.Duration, pps float64) *stream {
	st := &stream{source: src, rng: rng, start: start, n: int64(pps*span.Seconds() + 0.5)}
	st.step = float64(span) / float64(max(st.n, 1))
	st.schedule()
	return st
}

func (st *stream) done() bool { return st.k >= st.n }

func (st *stream) schedule() {
	st.at = st.start + int64((float64(st.k)+st.rng.Float64())*st.step)
}

// emit makes the packet that is due: the next fragment of the datagram begun,
// or a new datagram.
func (st *stream) emit(p *Packet) {
	if !st.build.more() {
		st.source.next(&st.build.spec, st.rng)
		st.build.begin()
	}
	st.build.emit(p)
	p.Time, p.Record.Time = st.at, st.at
	st.k++
	st.schedule()
}
