//go:build unix

package count

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slab is the memory of a table's rows, or of its index: outside the Go heap,
// so that it costs nothing before it is touched, the collector neither scans
// it nor paces itself by it, and it may lie in huge pages. It goes when
// nothing refers to the slab any more, or with free.
type slab[T row | uint32] struct {
	all     []T
	mem     []byte
	cleanup runtime.Cleanup
}

func newSlab[T row | uint32](n int) *slab[T] {
	mem, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(*new(T))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return &slab[T]{all: make([]T, n)}
	}
	adviseHuge(mem)
	s := &slab[T]{all: unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n), mem: mem}
	s.cleanup = runtime.AddCleanup(s, func(mem []byte) { _ = unix.Munmap(mem) }, mem)
	return s
}

// free gives the memory back at once. Nothing may look at it any more.
func (s *slab[T]) free() {
	if s.mem != nil {
		s.cleanup.Stop()
		_ = unix.Munmap(s.mem) // it was mapped
	}
	s.all, s.mem = nil, nil
}
