package corpus

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// Instance is one attack, or one host's ordinary traffic.
type Instance struct {
	Name      string // class, origin and number
	Class     string // a gen.Kind or gen.Use
	Label     string // what the attack is, by Label; "" of ordinary traffic
	Origin    string // Generated, or the tool or fixture whose frames are played
	Direction gen.Direction
	Target    netip.Prefix // one address; of a carpet a /24 or /120
	Multiple  float64      // of the limit, packets per second on average
	Base      float64      // of the limit: ordinary traffic beneath an attack
	Start     time.Duration
	Duration  time.Duration
}

// Generated is the origin of traffic that package gen makes.
const Generated = "generated"

// Attack tells attacks from ordinary traffic.
func (i *Instance) Attack() bool { return i.Label != "" }

// Corpus is instances and the scenario that holds their packets.
type Corpus struct {
	Scenario  *gen.Scenario
	Instances []Instance
}

// Options say what a corpus is made for.
type Options struct {
	Seed   uint64
	Each   int     // instances of a class
	Limit  float64 // of every host and direction, packets per second
	Prefix float64 // of every /24 and /120, packets per second: what carpets are measured by
	// Average is the detector's time constant: an attack lasts until the
	// average alone sees it.
	Average  time.Duration
	Linger   time.Duration // attacks last so much longer
	Recorded Recordings    // nil: all instances are generated
}

// The networks of all instances.
var (
	Network4 = netip.MustParsePrefix("100.64.0.0/10")
	Network6 = netip.MustParsePrefix("2001:db8::/32")
)

const (
	// Of five instances of a class that was recorded so many play the
	// recording. Not all uses are recorded, all attacks are.
	recordedAttacks = 2
	recordedLoads   = 3
	// leadIn is how long the ordinary traffic beneath an attack runs before it.
	leadIn = 5 * time.Second
	base   = 0.3
	spread = 40 * time.Second
	least  = 2.1 // multiples of the limit
	most   = 25
	// A carpet stays below the limit of each of its 256 hosts.
	carpetMost = 10
)

// Label is what an attack of a kind is called: syn_flood, dns_reflection,
// fragmentation, carpet, mixed and so on.
func Label(kind gen.Kind) string {
	if kind == gen.FragmentFlood {
		return "fragmentation"
	}
	return strings.Replace(string(kind), "_amplification", "_reflection", 1)
}

// maker makes one corpus.
type maker struct {
	Options
	rng   *rand.Rand
	given int // targets so far: each has a /24 or /64 of its own
	out   Corpus
}

func newMaker(o Options) *maker {
	m := &maker{Options: o, rng: rand.New(rand.NewPCG(o.Seed, 77))}
	m.out.Scenario = &gen.Scenario{Seed: o.Seed, Networks: []netip.Prefix{Network4, Network6}}
	return m
}

// Attacks is so many attacks of each kind, from idle and on ordinary traffic,
// 2.1 to 25 times the limit, spread over time.
func Attacks(o Options) *Corpus {
	m := newMaker(o)
	for _, kind := range gen.Kinds() {
		for number := range o.Each {
			m.attack(kind.Kind, number)
		}
	}
	return &m.out
}

// Ordinary is so many hosts of each use: by Model, so many times the limit on
// average, for a time.
func Ordinary(o Options, average float64, length time.Duration) *Corpus {
	m := newMaker(o)
	for _, use := range gen.Uses() {
		for number := range o.Each {
			m.load(use.Use, number, average, length)
		}
	}
	return &m.out
}

// target is an address of a block of its own, or for a carpet all 256 that
// share all but the last octet: no prefix has the traffic of two instances.
func (m *maker) target(v6, carpet bool) netip.Prefix {
	m.given++
	network, bits := Network4, 24
	if v6 {
		network, bits = Network6, 120
	}
	b := network.Addr().As16()
	if v6 {
		b[6], b[7] = byte(m.given>>8), byte(m.given)
	} else {
		b[13], b[14] = b[13]|byte(m.given>>8), byte(m.given)
	}
	a := netip.AddrFrom16(b).Unmap()
	if carpet {
		return netip.PrefixFrom(a, bits)
	}
	b[15] = 10
	a = netip.AddrFrom16(b).Unmap()
	return netip.PrefixFrom(a, a.BitLen())
}

// recording is what a number of a class plays, nil if it is generated.
func (m *maker) recording(class string, number, ofFive int) *Recorded {
	of := m.Recorded[class]
	if len(of) == 0 || number%5 >= ofFive {
		return nil
	}
	return of[number/5%len(of)]
}

func (m *maker) add(i Instance, number int) {
	i.Name = fmt.Sprintf("%s/%s/%d", i.Class, i.Origin, number)
	m.out.Instances = append(m.out.Instances, i)
	m.out.Scenario.Duration = max(m.out.Scenario.Duration, i.Start+i.Duration)
}

func (m *maker) attack(kind gen.Kind, number int) {
	i := Instance{Class: string(kind), Label: Label(kind), Origin: Generated, Direction: gen.Incoming}
	limit, top := m.Limit, float64(most)
	if kind == gen.Carpet {
		limit, top = m.Prefix, carpetMost
	}
	i.Multiple = least * math.Pow(top/least, m.rng.Float64())
	alone := m.Average.Seconds() * math.Log(i.Multiple/(i.Multiple-1))
	i.Duration = time.Duration(alone*float64(time.Second)) + m.Linger
	i.Start = leadIn + time.Duration(m.rng.Float64()*float64(spread))
	recorded := m.recording(i.Class, number, recordedAttacks)
	v6 := recorded == nil && m.rng.IntN(4) == 0
	if recorded == nil && m.rng.IntN(5) == 0 {
		i.Direction = gen.Outgoing
	}
	i.Target = m.target(v6, kind == gen.Carpet)
	pps := i.Multiple * limit
	if recorded != nil {
		i.Origin = recorded.Origin
		m.play(recorded.In, i, pps, gen.Bursts{})
	} else {
		m.out.Scenario.Attacks = append(m.out.Scenario.Attacks, gen.Attack{
			Kind: kind, Target: i.Target.Addr(), Direction: i.Direction, Start: i.Start, Duration: i.Duration, PPS: pps,
		})
	}
	if kind != gen.Carpet && number%2 == 1 {
		i.Base = base
		m.out.Scenario.Loads = append(m.out.Scenario.Loads, gen.Load{
			Use: gen.NATGateway, Host: i.Target.Addr(), Direction: i.Direction, Start: i.Start - leadIn, Duration: leadIn + i.Duration, PPS: base * m.Limit,
		})
	}
	m.add(i, number)
}

func (m *maker) load(use gen.Use, number int, average float64, length time.Duration) {
	pps, bursts := Model(m.Limit, average)
	i := Instance{
		Class: string(use), Origin: Generated, Direction: gen.Incoming, Multiple: average,
		Start: time.Duration(m.rng.Float64() * float64(3*time.Second)), Duration: length,
	}
	recorded := m.recording(i.Class, number, recordedLoads)
	v6 := recorded == nil && m.rng.IntN(4) == 0
	if recorded == nil && m.rng.IntN(3) == 0 {
		i.Direction = gen.Outgoing
	}
	i.Target = m.target(v6, false)
	if recorded != nil {
		i.Origin = recorded.Origin
		m.play(recorded.In, i, pps, bursts)
		if recorded.Out != nil {
			back := bursts
			back.PPS *= backShare
			m.play(recorded.Out, i, pps*backShare, back)
		}
	} else {
		m.out.Scenario.Loads = append(m.out.Scenario.Loads, gen.Load{
			Use: use, Host: i.Target.Addr(), Direction: i.Direction, Start: i.Start, Duration: length, PPS: pps, Bursts: bursts,
		})
	}
	m.add(i, number)
}

// backShare is how much goes the other way where a recording has both.
const backShare = 0.5

// play adds a recording's frames from anywhere in it.
func (m *maker) play(r *gen.Recording, i Instance, pps float64, bursts gen.Bursts) {
	m.out.Scenario.Played = append(m.out.Scenario.Played, gen.Playback{
		Recording: r, Skip: m.rng.IntN(r.Len()), To: i.Target, Start: i.Start, Duration: i.Duration, PPS: pps, Bursts: bursts,
	})
}
