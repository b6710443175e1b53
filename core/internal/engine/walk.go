package engine

import "github.com/fastnetmon-go/fastnetmon/sdk/ring"

// Walk looks at every host in turn, a slice at a time, so that whoever drives
// the engine can go on with deltas in between.
type Walk struct {
	e    *Engine
	next uint32
	seen HostSample
}

// HostSample is a host's rates as a Walk meets them.
type HostSample struct {
	HostRates
	Open [2]bool    // by direction: an attack is under way
	User []UserRate // user counters that have matched lately
}

// UserRate is the rates of one user counter of a host.
type UserRate struct {
	Counter        uint32 // lifetime id
	Dir            uint8
	Packets, Bytes float64 // per second
}

// NewWalk starts at the first host.
func (e *Engine) NewWalk() *Walk { return &Walk{e: e} }

// Step looks at up to rows rows (1024 take well under a millisecond), gives
// those that are hosts, and reports whether that was all. What it gives is
// good until give returns.
func (w *Walk) Step(rows int, give func(*HostSample)) (done bool) {
	e := w.e
	if e.cur == nil {
		return true
	}
	for ; rows > 0 && w.next < e.rows.top; rows-- {
		if r := e.row(w.next); r.kind == uint8(ring.KindHost) {
			w.sample(r)
			give(&w.seen)
		}
		w.next++
	}
	return w.next >= e.rows.top
}

func (w *Walk) sample(r *row) {
	e, s := w.e, &w.seen
	s.HostRates = e.rates(r, e.clock)
	s.Open = [2]bool{r.alarm[0] != 0, r.alarm[1] != 0}
	s.User = s.User[:0]
	l := e.lutOf(r)
	for n := r.extras; n != 0; {
		x := e.extra(n - 1)
		n = x.next
		id := x.key & keyID
		if x.key&keyTick != 0 || id < FirstUser {
			continue
		}
		u := UserRate{Counter: id - FirstUser, Packets: x.v[0].f(), Bytes: x.v[1].f()}
		if x.key&keyDir != 0 {
			u.Dir = 1
		}
		if e.clock > x.t {
			decay := l.decayFor(e.clock - x.t)
			u.Packets, u.Bytes = u.Packets*decay, u.Bytes*decay
		}
		s.User = append(s.User, u)
	}
}
