package corpus

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// Model is the ordinary traffic that must not be taken for an attack, and
// scaled up must be: ModelText says what it is at 0.8 times the limit.
func Model(limit, average float64) (pps float64, bursts gen.Bursts) {
	return average * limit, gen.Bursts{PPS: modelBurst / modelAverage * average * limit, Length: modelLength, Every: modelEvery}
}

const (
	modelAverage = 0.8 // of the limit
	modelBurst   = 3.0
	modelLength  = 300 * time.Millisecond
	modelEvery   = 3 * time.Second
)

// ModelText states the model.
var ModelText = fmt.Sprintf("a host that has %g × its limit on average, in bursts of %v at %g × the limit, one every %v to %v, and %.2f × between them",
	modelAverage, modelLength, modelBurst, modelEvery*3/4, modelEvery*5/4,
	(modelAverage-modelBurst*modelLength.Seconds()/modelEvery.Seconds())/(1-modelLength.Seconds()/modelEvery.Seconds()))

// Rough is a harsher model, whose bursts have no bounds: RoughText says what
// it is.
type Rough struct {
	rng         *rand.Rand
	limit       float64
	from, until float64 // seconds of the present piece
	rate        float64
	before      float64 // packets due before it
	burst       float64 // when the next burst begins
	base        float64 // packets a second without burst
	redraw      float64 // when base is drawn again
}

const (
	roughBase        = 0.3 // of the limit, median
	roughBaseShape   = 0.35
	roughEvery       = 10 * time.Minute
	roughLength      = 200 * time.Millisecond // median
	roughLengthShape = 0.6
	roughBurst       = 1.0 // of the limit, median
	roughBurstShape  = 0.6
)

// RoughText states the harsher model.
var RoughText = fmt.Sprintf("a host whose rate is drawn anew each second (log-normal, median %g × the limit, shape %g), and whose bursts come at random, one in %v on average, "+
	"their length log-normal with median %v and shape %g, their rate with median %g × the limit and shape %g",
	roughBase, roughBaseShape, roughEvery, roughLength, roughLengthShape, roughBurst, roughBurstShape)

// NewRough is the traffic of one host.
func NewRough(limit float64, seed uint64) *Rough {
	r := &Rough{rng: rand.New(rand.NewPCG(seed, 3)), limit: limit}
	r.burst = r.rng.ExpFloat64() * roughEvery.Seconds()
	return r
}

func (r *Rough) lognormal(median, shape float64) float64 {
	return median * math.Exp(shape*r.rng.NormFloat64())
}

// Due is how many packets are due by a time after the start. Times must not go
// back.
func (r *Rough) Due(t time.Duration) float64 {
	for t.Seconds() > r.until {
		r.piece()
	}
	return r.before + (t.Seconds()-r.from)*r.rate
}

// piece goes on to the next piece of one rate.
func (r *Rough) piece() {
	r.before += (r.until - r.from) * r.rate
	r.from = r.until
	if r.from >= r.burst {
		r.rate = max(r.base, r.limit*r.lognormal(roughBurst, roughBurstShape))
		r.until = r.from + r.lognormal(roughLength.Seconds(), roughLengthShape)
		r.burst = r.until + r.rng.ExpFloat64()*roughEvery.Seconds()
		return
	}
	if r.from >= r.redraw {
		r.base = r.limit * r.lognormal(roughBase, roughBaseShape)
		r.redraw = math.Floor(r.from) + 1
	}
	r.rate, r.until = r.base, min(r.redraw, r.burst)
}
