// Package gen makes synthetic traffic from a seed: the same scenario gives the
// same octets, on one architecture at least (elsewhere floating point may
// round otherwise). Tests, benchmarks and the commands that write
// or play made-up traffic use it.
package gen

import (
	"container/heap"
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

// Scenario is ordinary traffic of our hosts, attacks, single hosts' loads, and
// recorded traffic played again.
type Scenario struct {
	Seed     uint64
	Start    time.Time // of the first packet; the zero time stands for 2026-01-01T00:00:00Z
	Duration time.Duration
	Networks []netip.Prefix // ours, without host bits and not twice
	Hosts    int            // how many of our addresses have ordinary traffic; 0 means 100
	Benign   Benign
	Attacks  []Attack
	Loads    []Load
	Played   []Playback
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
	due := make(schedule, 0, len(streams))
	for i, st := range streams {
		st.index = i
		if !st.done() {
			due = append(due, st)
		}
	}
	heap.Init(&due)
	for p := new(Packet); len(due) > 0; {
		next := due[0]
		next.emit(p)
		if next.done() {
			heap.Pop(&due)
		} else {
			heap.Fix(&due, 0)
		}
		if !yield(p) {
			return nil
		}
	}
	return nil
}

// schedule is a heap of streams, by the time of their next packet; the first
// of a scenario wins a tie.
type schedule []*stream

func (s schedule) Len() int      { return len(s) }
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s schedule) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].index < s[j].index
}
func (s *schedule) Push(x any) { *s = append(*s, x.(*stream)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
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
		source := attackSource(a, s.rng(uint64(2*i+2)), ours)
		at := begin.Add(a.Start).UnixNano()
		all = append(all, newStream(source, s.rng(uint64(2*i+3)), at, a.Duration, a.PPS))
	}
	for i := range s.Loads {
		streams, err := s.Loads[i].streams(s, uint64(i), begin, ours)
		if err != nil {
			return nil, fmt.Errorf("scenario: load %d (%s on %v): %w", i, s.Loads[i].Use, s.Loads[i].Host, err)
		}
		all = append(all, streams...)
	}
	for i := range s.Played {
		st, err := s.Played[i].stream(s, uint64(i), begin, ours)
		if err != nil {
			return nil, fmt.Errorf("scenario: playback %d to %v: %w", i, s.Played[i].To, err)
		}
		all = append(all, st)
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
	if a.PacketSize < 0 || a.PacketSize > maxDatagram {
		return fmt.Errorf("packet size %d; it must be 0 to %d", a.PacketSize, maxDatagram)
	}
	return s.checkSpan(a.Direction, a.Start, a.Duration, a.PPS)
}

// checkSpan checks what all parts of a scenario have.
func (s *Scenario) checkSpan(d Direction, start, length time.Duration, pps float64) error {
	switch {
	case d != "" && d != Incoming && d != Outgoing:
		return fmt.Errorf("direction %q; it must be incoming or outgoing", d)
	case start < 0 || length <= 0 || start+length > s.Duration:
		return fmt.Errorf("from %v for %v is not within the scenario's %v", start, length, s.Duration)
	case pps <= 0:
		return fmt.Errorf("%v packets a second; it must be above 0", pps)
	}
	return nil
}

// rng gives each part its own generator, so that changing one part leaves the
// packets of the others as they are.
func (s *Scenario) rng(part uint64) *rand.Rand { return rand.New(rand.NewPCG(s.Seed, part)) }
