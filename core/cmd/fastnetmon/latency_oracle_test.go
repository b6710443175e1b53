package main

import (
	"math"
	"testing"
	"time"
)

// burstRule fires when so many ticks of 100 ms in a row are above a multiple
// of the limit.
type burstRule struct {
	ticks  int
	factor float64
}

var burstRules = [3]burstRule{{7, 1.5}, {4, 3}, {2, 8}}

const (
	oracleTick = int64(100 * time.Millisecond)
	oracleTau  = 5.0 // seconds
)

// packetOracle decides as the detector must, packet by packet, for one host, one
// direction and one limit in packets per second.
type packetOracle struct {
	limit   float64
	average float64
	last    int64
	tick    int64
	sum     int
	runs    [len(burstRules)]int // ticks in a row before this one
}

// packet adds one at a time of the stream's clock and tells whether average
// or a burst rule is now above the limit.
func (o *packetOracle) packet(at int64) bool {
	o.average = o.average*math.Exp(-float64(at-o.last)/1e9/oracleTau) + 1/oracleTau
	o.last = at
	if tick := at / oracleTick; tick != o.tick {
		for k := range o.runs {
			if tick == o.tick+1 && o.above(k) {
				o.runs[k]++
			} else {
				o.runs[k] = 0
			}
		}
		o.tick, o.sum = tick, 0
	}
	o.sum++
	fires := o.average > o.limit
	for k, rule := range burstRules {
		fires = fires || o.above(k) && o.runs[k]+1 >= rule.ticks
	}
	return fires
}

func (o *packetOracle) above(k int) bool { return float64(o.sum) > burstRules[k].factor*o.limit*0.1 }

// TestLatencyOracle holds the measure itself against times worked out by hand.
func TestLatencyOracle(t *testing.T) {
	for _, c := range []struct {
		pps  float64
		from time.Duration // after a tick's start
		want time.Duration
	}{
		// The first tick's half is enough; in the second 401 packets are above 8 × 50.
		{10000, 50 * time.Millisecond, 50*time.Millisecond + 40*time.Millisecond},
		// Four ticks above 150, the last of them at its 151st packet.
		{2000, 0, 300*time.Millisecond + 75*time.Millisecond},
		// A part of a tick that stays below does not count.
		{2000, 50 * time.Millisecond, 350*time.Millisecond + 75*time.Millisecond},
		{1000, 0, 600*time.Millisecond + 75*time.Millisecond},
		// No burst: 1.2 (1 − e^(−t/5 s)) reaches 1.
		{600, 0, 8959 * time.Millisecond},
		{490, 0, 0},
	} {
		o := packetOracle{limit: 500}
		start := 1000*oracleTick + int64(c.from)
		var got time.Duration
		for i := range int(20 * c.pps) {
			since := float64(i) / c.pps * 1e9
			if o.packet(start + int64(since)) {
				got = time.Duration(since)
				break
			}
		}
		if d := got - c.want; d.Abs() > 10*time.Millisecond {
			t.Errorf("%g pps from %v: %v, want %v", c.pps, c.from, got, c.want)
		}
	}
}
