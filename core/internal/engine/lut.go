package engine

import (
	"math"
	"time"
)

// lut holds the powers that an average over tau needs. Spans and window ends
// are multiples of 50 ms, so a table answers nearly all of them.
type lut struct {
	tau   float64   // seconds
	decay []float64 // e^(−k·50ms/τ)
	gain  []float64 // (1−e^(−k·50ms/τ)) ÷ (k·50ms), per second; [0] is 1/τ
}

// held is the table of averages that do not decay between periods.
var held = lut{tau: math.Inf(1)}

const (
	lutDecay = 4096 // 205 s
	lutGain  = 64   // 3.2 s
)

func newLUT(tau time.Duration) *lut {
	l := &lut{tau: tau.Seconds(), decay: make([]float64, lutDecay), gain: make([]float64, lutGain)}
	for k := range l.decay {
		l.decay[k] = l.decaySlow(uint32(k))
	}
	for k := range l.gain {
		l.gain[k] = l.gainSlow(uint32(k))
	}
	return l
}

func (l *lut) decayFor(steps uint32) float64 {
	if steps < uint32(len(l.decay)) {
		return l.decay[steps]
	}
	return l.decaySlow(steps)
}

func (l *lut) gainFor(steps uint32) float64 {
	if steps < uint32(len(l.gain)) {
		return l.gain[steps]
	}
	return l.gainSlow(steps)
}

func (l *lut) decaySlow(steps uint32) float64 {
	return math.Exp(-float64(steps) * stepSeconds / l.tau)
}

func (l *lut) gainSlow(steps uint32) float64 {
	if steps == 0 {
		return 1 / l.tau
	}
	s := float64(steps) * stepSeconds
	return -math.Expm1(-s/l.tau) / s
}
