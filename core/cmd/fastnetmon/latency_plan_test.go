package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

const (
	floodLimit = 500 // pps, of every host
	// leadIn is how long background runs before the first attack.
	leadIn         = 3 * time.Second
	backgroundSize = 100 // octets, which tells its packets from an attack's
)

var (
	floodNetwork4 = netip.MustParsePrefix(peerNetwork)
	floodNetwork6 = netip.MustParsePrefix("2001:db8:0:1::/64")
	scenarioStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// floodClass is a strength of attack with its bar, 0 for none. It lasts until
// the average alone would have seen it: no stall of a busy machine can hide it.
type floodClass struct {
	multiple, background float64 // of the limit
	lasts, bar           time.Duration
}

var floodClasses = []floodClass{
	{20, 0, 600 * time.Millisecond, 350 * time.Millisecond},
	{20, 0.3, 600 * time.Millisecond, 350 * time.Millisecond},
	{10, 0, 800 * time.Millisecond, 400 * time.Millisecond},
	{10, 0.3, 800 * time.Millisecond, 400 * time.Millisecond},
	{4, 0, 1800 * time.Millisecond, 600 * time.Millisecond},
	{4, 0.3, 1800 * time.Millisecond, 600 * time.Millisecond},
	{2, 0, 4 * time.Second, 0},
	{2, 0.3, 3 * time.Second, 950 * time.Millisecond},
	{1.5, 0.3, 4500 * time.Millisecond, 950 * time.Millisecond},
}

func (c floodClass) String() string {
	if c.background == 0 {
		return fmt.Sprintf("%g × from idle", c.multiple)
	}
	return fmt.Sprintf("%g × on %g ×", c.multiple, c.background)
}

// flood is one attack, on a host of its own.
type flood struct {
	floodClass
	host     netip.Addr
	outgoing bool
	start    time.Duration
}

// planFloods spreads attacks over a time, each at a random phase: n of the
// classes in turn and then varied ones, both families, both directions.
func planFloods(n, varied int, spread time.Duration, seed uint64) []flood {
	rng := rand.New(rand.NewPCG(seed, 1))
	floods := make([]flood, n+varied)
	address := [2]netip.Addr{floodNetwork4.Addr(), floodNetwork6.Addr()}
	for i := range floods {
		family := i % 2
		address[family] = address[family].Next()
		f := flood{floodClass: floodClasses[i%len(floodClasses)], host: address[family], outgoing: i%4 == 3}
		place := (float64(i) + rng.Float64()) / float64(n)
		if i >= n {
			f.floodClass, place = variedClass(rng), rng.Float64()
		}
		f.start = leadIn + time.Duration(place*float64(spread))
		floods[i] = f
	}
	return floods
}

// variedClass is an attack of 1.4 to 25 times the limit, from idle. In attacks
// of one strength the packet that decides comes at one place of a tick, here
// anywhere. Close to a burst rule's own multiple single packets would decide,
// whose tick depends on when the clock is read: such strengths are left out.
func variedClass(rng *rand.Rand) floodClass {
	for {
		m := 1.4 * math.Pow(25/1.4, rng.Float64())
		edge := false
		for _, rule := range burstRules {
			edge = edge || math.Abs(m/rule.factor-1) < 0.06
		}
		if !edge {
			alone := oracleTau * math.Log(m/(m-1))
			return floodClass{multiple: m, lasts: time.Duration((alone + 0.3) * 1e9)}
		}
	}
}

// floodScenario is the traffic of the attacks and of their background.
func floodScenario(floods []flood, seed uint64) *gen.Scenario {
	s := &gen.Scenario{Seed: seed, Start: scenarioStart, Networks: []netip.Prefix{floodNetwork4, floodNetwork6}}
	for _, f := range floods {
		a := gen.Attack{Kind: gen.UDPFlood, Target: f.host, Direction: gen.Incoming, Start: f.start, Duration: f.lasts, PPS: f.multiple * floodLimit}
		if f.outgoing {
			a.Direction = gen.Outgoing
		}
		s.Attacks = append(s.Attacks, a)
		s.Duration = max(s.Duration, f.start+f.lasts)
		if f.background > 0 {
			a.Start, a.Duration = f.start-leadIn, f.lasts+leadIn
			a.PPS, a.PacketSize = f.background*floodLimit, backgroundSize
			s.Attacks = append(s.Attacks, a)
		}
	}
	return s
}

// floodPacket is one packet of the scenario.
type floodPacket struct {
	offset int64 // after the scenario's start
	flood  int
	attack bool // not background
}

// floodPackets lists the scenario's packets in order of time.
func floodPackets(tb testing.TB, floods []flood, s *gen.Scenario) []floodPacket {
	tb.Helper()
	byHost := map[netip.Addr]int{}
	for i, f := range floods {
		byHost[f.host] = i
	}
	var all []floodPacket
	err := s.Packets(func(p *gen.Packet) bool {
		i, incoming := byHost[p.Record.DstAddr()]
		if !incoming {
			i = byHost[p.Record.SrcAddr()]
		}
		all = append(all, floodPacket{p.Time - scenarioStart.UnixNano(), i, p.Record.Bytes != backgroundSize})
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// writeSchedule writes what testdata/latency-capture plays.
func writeSchedule(path string, floods []flood, packets []floodPacket) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	for _, p := range packets {
		var entry [32]byte
		binary.LittleEndian.PutUint64(entry[:], uint64(p.offset))
		if floods[p.flood].outgoing {
			entry[8] = 1
		}
		host := floods[p.flood].host.As16()
		copy(entry[16:], host[:])
		if _, err := w.Write(entry[:]); err != nil {
			return err
		}
	}
	return w.Flush()
}

// readPlayed reads when the packets were handed over; nothing before the
// capture has played all of them.
func readPlayed(path string, packets int) ([]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != packets*8 {
		return nil, fmt.Errorf("%s: %d octets for %d packets", path, len(b), packets)
	}
	times := make([]int64, packets)
	for i := range times {
		times[i] = int64(binary.LittleEndian.Uint64(b[i*8:]))
	}
	return times, nil
}
