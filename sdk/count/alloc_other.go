//go:build !unix

package count

// slab is the memory of a table's rows, or of its index. There are no pointers
// in it, so the collector does not scan it.
type slab[T row | uint32] struct{ all []T }

func newSlab[T row | uint32](n int) *slab[T] { return &slab[T]{all: make([]T, n)} }

func (s *slab[T]) free() { s.all = nil }
