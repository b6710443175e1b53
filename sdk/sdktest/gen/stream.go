package gen

import (
	"math/rand/v2"
	"time"
)

// source describes the datagrams of one stream; next sets all of s.
type source interface {
	next(s *spec, rng *rand.Rand)
}

// stream is a source and the times of its packets: n of them over span, each
// at a random place in its own n-th of it, so that the rate is exact over any
// longer time. With a pace the places are as long as the pace says.
type stream struct {
	source source
	frames *player // instead of source
	rng    *rand.Rand
	build  builder
	pace   *Pace
	start  int64
	step   float64 // nanoseconds a packet, without pace
	k, n   int64
	at     int64 // of packet k
	index  int   // in the scenario
}

func newStream(src source, rng *rand.Rand, start int64, span time.Duration, pps float64) *stream {
	st := &stream{source: src, rng: rng, start: start, n: int64(pps*span.Seconds() + 0.5)}
	st.step = float64(span) / float64(max(st.n, 1))
	st.schedule()
	return st
}

// newPacedStream has bursts, which the seed places.
func newPacedStream(src source, rng *rand.Rand, start int64, span time.Duration, pps float64, bursts Bursts, seed uint64) (*stream, error) {
	all, err := NewPace(pps, bursts, seed)
	if err != nil {
		return nil, err
	}
	st := &stream{source: src, rng: rng, start: start, n: int64(all.Due(span))}
	if st.pace, err = NewPace(pps, bursts, seed); err != nil {
		return nil, err
	}
	st.schedule()
	return st, nil
}

func (st *stream) done() bool { return st.k >= st.n }

func (st *stream) schedule() {
	place := float64(st.k) + st.rng.Float64()
	if st.pace != nil {
		st.at = st.start + int64(st.pace.At(place))
		return
	}
	st.at = st.start + int64(place*st.step)
}

// emit makes the packet that is due: the next fragment of the datagram begun,
// a new datagram, or the next of recorded frames.
func (st *stream) emit(p *Packet) {
	if st.frames != nil {
		st.frames.next(p)
	} else {
		if !st.build.more() {
			st.source.next(&st.build.spec, st.rng)
			st.build.begin()
		}
		st.build.emit(p)
	}
	p.Time, p.Record.Time = st.at, st.at
	st.k++
	st.schedule()
}
