package gen

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Bursts make a rate uneven: it is higher for a short while, again and again.
// The zero value means none.
type Bursts struct {
	PPS    float64       // packets a second during a burst
	Length time.Duration // of a burst
	// Every is the mean time from the beginning of one burst to that of the
	// next; each is three to five quarters of it.
	Every time.Duration
}

// Pace is when a stream's packets are due: at a rate, with bursts or without.
type Pace struct {
	bursts      Bursts
	rng         *rand.Rand
	base        float64 // packets a second outside bursts
	from, until float64 // seconds of the present piece
	rate        float64 // in it, packets a second
	before      float64 // packets due before it
	next        float64 // when the next burst begins
}

// NewPace is so many packets a second on average, bursts included. The same
// seed gives the same bursts.
func NewPace(pps float64, bursts Bursts, seed uint64) (*Pace, error) {
	if err := bursts.check(pps); err != nil {
		return nil, err
	}
	p := &Pace{bursts: bursts, base: pps, rng: rand.New(rand.NewPCG(seed, 2))}
	if bursts == (Bursts{}) {
		p.next = never
	} else {
		share := bursts.Length.Seconds() / bursts.Every.Seconds()
		p.base = (pps - bursts.PPS*share) / (1 - share)
		p.next = p.rng.Float64() * bursts.Every.Seconds()
	}
	p.until, p.rate = p.next, p.base
	return p, nil
}

// never is later than any traffic, in seconds.
const never = 1e12

func (b Bursts) check(pps float64) error {
	switch {
	case b == Bursts{}:
		return nil
	case b.Length <= 0 || b.Every < 2*b.Length:
		return fmt.Errorf("bursts of %v every %v; at least half of the time must be without", b.Length, b.Every)
	case b.PPS < pps:
		return fmt.Errorf("bursts of %v packets a second are below the average of %v", b.PPS, pps)
	case b.PPS*b.Length.Seconds() > pps*b.Every.Seconds():
		return fmt.Errorf("bursts of %v packets a second, %v every %v, are more than the average of %v alone", b.PPS, b.Length, b.Every, pps)
	}
	return nil
}

// piece goes on to the next piece of one rate.
func (p *Pace) piece() {
	p.before += (p.until - p.from) * p.rate
	p.from = p.until
	if p.from == p.next && p.rate == p.base {
		p.rate, p.until = p.bursts.PPS, p.from+p.bursts.Length.Seconds()
		p.next = p.from + (0.75+p.rng.Float64()/2)*p.bursts.Every.Seconds()
		return
	}
	p.rate, p.until = p.base, p.next
}

// Due is how many packets are due by a time after the start. Times must not
// go back.
func (p *Pace) Due(t time.Duration) float64 {
	for t.Seconds() > p.until {
		p.piece()
	}
	return p.before + (t.Seconds()-p.from)*p.rate
}

// At is when a number of packets are due. Numbers must not go back.
func (p *Pace) At(packets float64) time.Duration {
	for packets > p.before+(p.until-p.from)*p.rate {
		p.piece()
	}
	return time.Duration((p.from + (packets-p.before)/max(p.rate, 1e-9)) * 1e9)
}
