package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// peerFigures is what is counted of one neighbour.
type peerFigures struct {
	name    string
	up      bool
	routes  int    // that it has of us
	refused uint64 // updates of its own that were thrown away
}

// maxFigures bounds how many neighbours have figures: three each, of the 64
// that a plugin may tell.
const maxFigures = 20

// Metrics are figures of the neighbours and of what is announced.
func (a *action) Metrics() []sdk.Metric {
	a.mu.Lock()
	out := []sdk.Metric{{Name: "routes", Value: float64(len(a.routes))}}
	a.mu.Unlock()
	all := a.told.figures()
	for _, p := range all[:min(len(all), maxFigures)] {
		up := 0.0
		if p.up {
			up = 1
		}
		of := ":neighbor=" + p.name
		out = append(out,
			sdk.Metric{Name: "session_up" + of, Value: up},
			sdk.Metric{Name: "neighbor_routes" + of, Value: float64(p.routes)},
			sdk.Metric{Name: "refused_updates_total" + of, Value: float64(p.refused)},
		)
	}
	return out
}

func (s *speaker) figures() []peerFigures {
	var out []peerFigures
	for _, x := range s.sessions {
		x.mu.Lock()
		out = append(out, peerFigures{x.peer.Address, x.up, len(x.sent), x.refuse})
		x.mu.Unlock()
	}
	return out
}

func (r *remote) figures() []peerFigures {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []peerFigures
	for _, p := range r.peers {
		out = append(out, peerFigures{name: p.name, up: p.up && r.cause == "", routes: len(r.out[p.name])})
	}
	return out
}
