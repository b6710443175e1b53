package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// sampler turns what the engine knows of hosts into samples of a profile.
type sampler struct {
	names *idSets
	flows bool // new flows are counted
	seen  baseline.Sample
	open  map[string][2]bool // hostgroups with an attack under way, in this pass
}

func newSampler(names *idSets, plan *count.Plan) *sampler {
	return &sampler{names: names, flows: plan.CountFlows, open: map[string][2]bool{}}
}

// countersOf lists the counters of a plan in the order of a profile.
func countersOf(plan *count.Plan) []string {
	out := slices.Clone(detect.CounterNames[:])
	for _, c := range plan.Counters {
		out = append(out, c.Name)
	}
	return out
}

// host adds a look at a host to a profile.
func (s *sampler) host(p *baseline.Profile, h *engine.HostSample, seconds float64) {
	if h.Group == 0 {
		return
	}
	x := &s.seen
	x.Group, x.Host, x.Seconds, x.Open, x.Rates = s.names.groups.name(h.Group), h.Host, seconds, h.Open, x.Rates[:0]
	for dir := range h.Dir {
		s.rates(&h.Dir[dir], uint8(dir))
	}
	for i := range h.User {
		u := &h.User[i]
		name := s.names.counters.name(u.Counter)
		if strings.Contains(name, ".") { // an exemption's limit
			continue
		}
		at := p.Counter(name)
		s.rate(at, baseline.PPS, u.Dir, u.Packets)
		s.rate(at, baseline.BPS, u.Dir, 8*u.Bytes)
	}
	if h.Open != [2]bool{} {
		o := s.open[x.Group]
		s.open[x.Group] = [2]bool{o[0] || h.Open[0], o[1] || h.Open[1]}
	}
	p.Add(x)
}

func (s *sampler) rates(r *engine.DirRates, dir uint8) {
	for k := range r.Packets {
		s.rate(uint16(k), baseline.PPS, dir, r.Packets[k])
		s.rate(uint16(k), baseline.BPS, dir, 8*r.Bytes[k])
	}
	if s.flows {
		s.rate(0, baseline.FPS, dir, r.Flows)
	}
}

func (s *sampler) rate(counter uint16, unit baseline.Unit, dir uint8, v float64) {
	if v > 0 {
		s.seen.Rates = append(s.seen.Rates, baseline.Rate{Series: baseline.Series{Counter: counter, Unit: unit, Dir: dir}, Value: v})
	}
}

// endPass adds the hostgroups as a whole.
func (s *sampler) endPass(p *baseline.Profile, groups []engine.Scope, now time.Time, seconds float64) {
	for i := range groups {
		s.seen.Rates = s.seen.Rates[:0]
		for dir := range groups[i].Dir {
			s.rates(&groups[i].Dir[dir], uint8(dir))
		}
		name := s.names.groups.name(groups[i].ID)
		p.AddTotal(name, now, s.open[name], s.seen.Rates)
	}
	clear(s.open)
	p.EndPass(now, seconds)
}

// learner looks at all hosts once a second of a replay's clock.
type learner struct {
	sampler *sampler
	profile *baseline.Profile
	engine  *engine.Engine
	next    int64 // nanoseconds on the packets' clock
}

// idleLooks is for how many seconds without any traffic looks go on: by then
// the averages are nothing, and the time between two recordings is not one in
// which anything was watched.
const idleLooks = 10

// until looks at every whole second up to a moment before which nothing
// arrived.
func (l *learner) until(moment int64) {
	const second = int64(time.Second)
	if l.next == 0 {
		l.next = (moment/second + 1) * second
		return
	}
	for n := 0; l.next <= moment; n++ {
		if n == idleLooks {
			l.next = (moment/second + 1) * second
			return
		}
		l.engine.Advance(l.next)
		l.look(1)
		l.next += second
	}
}

func (l *learner) look(seconds float64) {
	l.engine.NewWalk().Step(everyRow, func(h *engine.HostSample) { l.sampler.host(l.profile, h, seconds) })
	l.sampler.endPass(l.profile, l.engine.Groups(), packetClock(l.engine.Clock()), seconds)
}

// finish takes the last look where the last second is half over, or the only
// one.
func (l *learner) finish() {
	left := float64(l.engine.Clock()-(l.next-int64(time.Second))) / 1e9
	if l.next != 0 && (left >= 0.5 || l.profile.Seconds == 0) {
		l.look(max(min(left, 1), 0.05))
	}
}
