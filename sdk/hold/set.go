package hold

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Held is a mitigation and what it comes to, in routes or whatever else the
// mitigator deals in.
type Held[R any] struct {
	Mitigation sdk.Mitigation
	Routes     []R
	Err        error // why there are none
}

// Keyed is a route with what tells it from others: of those with the same key
// there can be one at a time.
type Keyed[K comparable] interface{ Key() K }

// Set is what a mitigator is asked to hold, and what it takes back. Whoever uses
// it locks.
type Set[K comparable, R Keyed[K]] struct {
	Synced    bool // the core has said what it wants
	Held      map[string]*Held[R]
	Releasing map[string][]K // asked for no more, and perhaps still with somebody: IDs and the keys of their routes
}

// NewSet is a set of nothing.
func NewSet[K comparable, R Keyed[K]]() *Set[K, R] {
	return &Set[K, R]{Held: map[string]*Held[R]{}, Releasing: map[string][]K{}}
}

// Sync is a mitigator's Sync: all that is desired, each as plan has it, is held,
// and what was held besides is released.
func (s *Set[K, R]) Sync(desired []sdk.Mitigation, plan func(sdk.Mitigation) *Held[R]) {
	next := make(map[string]*Held[R], len(desired))
	for _, m := range desired {
		next[m.ID] = plan(m)
		delete(s.Releasing, m.ID)
	}
	for id, h := range s.Held {
		if next[id] == nil {
			s.Releasing[id] = keys(h)
		}
	}
	s.Held, s.Synced = next, true
}

// Known lists what somebody may have something of, by ID, for a file: after a
// restart that is what Releasing begins with, until Sync says what of it is wanted.
func (s *Set[K, R]) Known() map[string][]K {
	out := make(map[string][]K, len(s.Held)+len(s.Releasing))
	maps.Copy(out, s.Releasing)
	for id, h := range s.Held {
		out[id] = keys(h)
	}
	maps.DeleteFunc(out, func(_ string, list []K) bool { return len(list) == 0 })
	return out
}

func keys[K comparable, R Keyed[K]](h *Held[R]) []K {
	var out []K
	for _, r := range h.Routes {
		out = append(out, r.Key())
	}
	return out
}

// Routes lays mitigations together: where several come to the same route it is
// one route, with the attributes of the one that was requested first, until the
// last of them goes. So a second attack on a host changes nothing for the
// neighbours. They come in the order in which they were requested.
func (s *Set[K, R]) Routes() []R {
	order := slices.SortedFunc(maps.Values(s.Held), func(x, y *Held[R]) int {
		return cmp.Or(x.Mitigation.Requested.Compare(y.Mitigation.Requested), cmp.Compare(x.Mitigation.ID, y.Mitigation.ID))
	})
	var out []R
	seen := map[K]bool{}
	for _, h := range order {
		for _, r := range h.Routes {
			if k := r.Key(); !seen[k] {
				seen[k] = true
				out = append(out, r)
			}
		}
	}
	return out
}
