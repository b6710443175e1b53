package engine

import (
	"errors"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

var errNoRing = errors.New("no such ring; it was removed or never added")

// Alarm names a host, or wider row, and direction of which some limit has fired, until
// Release.
type Alarm uint32

type alarm struct {
	row   uint32
	dir   uint8
	open  bool
	fired []firedLimit
	last  uint32  // step at which a burst rule of a fired limit last held
	peak  float64 // largest packet rate that one of them gave
}

// firedLimit is a limit that has fired since the alarm was opened.
type firedLimit struct {
	id   uint32
	last uint32 // step at which a burst rule of it last held; 0 never
}

// burst notes that a burst rule of a fired limit holds again.
func (a *alarm) burst(at uint32, l *limitPlan, value float64) {
	a.last = max(a.last, at)
	for i := range a.fired {
		if f := &a.fired[i]; f.id == l.ID {
			f.last = max(f.last, at)
		}
	}
	if l.isTraffic() {
		a.peak = max(a.peak, value)
	}
}

// isTraffic tells whether a limit is about packets that the total counts.
func (l *limitPlan) isTraffic() bool {
	return l.Unit == PacketRate && l.counter != 1+ring.CounterExempt
}

// Crossing is a limit that fired.
type Crossing struct {
	Alarm     Alarm
	Scope     ScopeKind
	Target    netip.Prefix // invalid for a hostgroup or network of several prefixes
	Direction ring.Direction
	Network   uint32 // 0 for a prefix or hostgroup that lies in several
	Group     uint32
	Limit     Limit
	Order     int           // of the limit in its group
	Value     float64       // per second, in the limit's unit: the average, or the largest of the run's ticks still open (the newest may not be full yet)
	Rule      Rule          // Ticks 0: the average
	Window    time.Duration // over which it was decided
	At        int64         // end of the window that decided, stream's clock
	Doubt     DoubtID       // what happened to an input may have inflated Value: see Disturbance
}

// judge decides limit after limit, in their order, for a row that may have
// crossed one.
func (e *Engine) judge(r *ringState, w *row, no uint32, dir int, g *groupPlan, limits []limitPlan) {
	for i := range limits {
		l := &limits[i]
		c := Crossing{}
		if a := w.alarm[dir]; e.hasFired(a, l.ID) {
			if e.burstFires(w, dir, g, l, &c) {
				e.alarms[a].burst(r.end, l, c.Value)
			}
			continue
		}
		if e.averageFires(w, dir, g, l, &c) || e.burstFires(w, dir, g, l, &c) {
			e.fire(r.end, w, no, dir, l, c)
		}
	}
}

func (e *Engine) hasFired(a Alarm, id uint32) bool {
	if a == 0 {
		return false
	}
	for _, f := range e.alarms[a].fired {
		if f.id == id {
			return true
		}
	}
	return false
}

// averageFires tells whether the average is above the limit, on samples enough.
func (e *Engine) averageFires(w *row, dir int, g *groupPlan, l *limitPlan, c *Crossing) bool {
	s := &w.dir[dir]
	rate := s.sampling.rate()
	var fast, packets ufloat
	var x *extra
	user := l.counter >= FirstUser
	if user || rate > l.avgS {
		x = e.findExtra(w, extraKey(dir, l.counter))
	}
	switch {
	case l.Unit == FlowRate:
		fast, packets = w.flows[dir], s.avg[0]
	case user:
		if x == nil {
			return false
		}
		fast, packets = x.v[l.Unit&1], x.v[0]
	default:
		fast, packets = s.avg[l.idx], s.avg[l.idx&^1]
	}
	need, sampled := minSamples*float64(rate), rate > 1
	if fast > l.thr && (!sampled || packets.f()*g.lut.tau >= need) {
		c.Value, c.Window = fast.f(), time.Duration(g.lut.tau*1e9)
		return true
	}
	if !sampled || x == nil || l.Unit == FlowRate {
		return false
	}
	slow := x.v[2+l.Unit&1]
	if slow > l.thr && x.v[2].f()*e.slow.tau >= need {
		c.Value, c.Window = slow.f(), slowTau
		return true
	}
	return false
}

// burstFires tells whether a burst rule holds, on samples enough.
func (e *Engine) burstFires(w *row, dir int, g *groupPlan, l *limitPlan, c *Crossing) bool {
	if l.rules.n == 0 {
		return false
	}
	s := &w.dir[dir]
	var sums, packets [openTicks]ufloat
	var runs [maxRules]uint8
	var samples [maxRules]float64
	rate := s.sampling.rate()
	sampled := rate > 1 && rate > l.burstS
	if l.pair >= 0 && !sampled {
		e.roll(w, dir, g.lay)
		for k := range sums {
			sums[k] = s.sums[(e.open+uint32(k))%openTicks][l.pair]
		}
		runs = s.runs[l.pair]
	} else {
		x := e.findExtra(w, keyTick|extraKey(dir, l.ID))
		if x == nil {
			return false
		}
		e.rollExtra(x, l, rate)
		for k := range sums {
			i := (e.open + uint32(k)) % openTicks
			sums[k], packets[k] = x.v[i], x.v[3+i]
		}
		runs = [maxRules]uint8(x.runs[:maxRules])
		for k := range samples {
			samples[k] = float64(x.samples[k]) / 8
		}
	}
	for k := range l.rules.n {
		run, n := int(runs[k]), samples[k]
		var most ufloat
		for i, sum := range sums {
			if sum <= l.rules.thr[k] {
				run, n, most = 0, 0, 0
				continue
			}
			run++
			most = max(most, sum)
			n += packets[i].f() / float64(rate)
			if run >= int(l.rules.ticks[k]) && (!sampled || n >= minSamples) {
				c.Value, c.Rule = most.f()/tickSeconds, l.Rules[k]
				c.Window = time.Duration(l.rules.ticks[k]) * 100 * time.Millisecond
				return true
			}
		}
	}
	return false
}

// fire notes a crossing at a step, once while the alarm is open.
func (e *Engine) fire(at uint32, w *row, no uint32, dir int, l *limitPlan, c Crossing) {
	a := w.alarm[dir]
	if a == 0 {
		if n := len(e.freeAlarm); n > 0 {
			a = e.freeAlarm[n-1]
			e.freeAlarm = e.freeAlarm[:n-1]
		} else if len(e.alarms) <= e.opt.MaxAlarms {
			a = Alarm(len(e.alarms))
			e.alarms = append(e.alarms, alarm{})
		} else {
			e.stats.AlarmsHeld++
			return
		}
		e.alarms[a] = alarm{row: no, dir: uint8(dir), open: true, fired: e.alarms[a].fired[:0]}
		w.alarm[dir] = a
	}
	e.alarms[a].fired = append(e.alarms[a].fired, firedLimit{id: l.ID})
	if c.Rule.Ticks > 0 {
		e.alarms[a].burst(at, l, c.Value)
	}
	c.Alarm, c.Direction = a, ring.Direction(dir)
	c.Scope, c.Target, c.Network, c.Group = e.place(w)
	c.Limit, c.Order, c.At, c.Doubt = l.Limit, int(l.order), e.nanos(at), e.inDoubt(w)
	e.crossings[0] = append(e.crossings[0], c)
}
