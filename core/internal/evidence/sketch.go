package evidence

import (
	"cmp"
	"slices"
)

// sketchSize is how many values a sketch tells apart.
const sketchSize = 2048

// sketch finds the heaviest of any number of values in bounded memory: the
// Space-Saving algorithm (Metwally, Agrawal, El Abbadi 2005). Up to sketchSize
// values it is exact.
type sketch[K comparable] struct {
	cells  map[K]*cell
	errors uint64 // packets that some value may have too much, at most
	spilt  bool   // there were more values than cells
}

type cell struct{ samples, packets, bytes uint64 }

func newSketch[K comparable]() *sketch[K] { return &sketch[K]{cells: map[K]*cell{}} }

// add counts a sample of a value that stands for so many packets and octets.
func (s *sketch[K]) add(k K, packets, bytes uint64) {
	c := s.cells[k]
	if c == nil {
		c = s.room()
		s.cells[k] = c
	}
	c.samples, c.packets, c.bytes = c.samples+1, c.packets+packets, c.bytes+bytes
}

// room gives a cell for a new value: at first an empty one, then that of the
// lightest value, with its weight.
func (s *sketch[K]) room() *cell {
	if len(s.cells) < sketchSize {
		return &cell{}
	}
	s.spilt = true
	var least K
	var lightest *cell
	for k, c := range s.cells {
		if lightest == nil || c.packets < lightest.packets {
			least, lightest = k, c
		}
	}
	s.errors = max(s.errors, lightest.packets)
	delete(s.cells, least)
	return lightest
}

// entry is one value with its weight.
type entry[K comparable] struct {
	key K
	cell
}

// top returns the n heaviest values, those that compare lower first where
// weights are equal.
func (s *sketch[K]) top(n int, order func(a, b K) int) []entry[K] {
	all := make([]entry[K], 0, len(s.cells))
	for k, c := range s.cells {
		all = append(all, entry[K]{k, *c})
	}
	slices.SortFunc(all, func(a, b entry[K]) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), cmp.Compare(b.bytes, a.bytes), order(a.key, b.key))
	})
	return all[:min(n, len(all))]
}
