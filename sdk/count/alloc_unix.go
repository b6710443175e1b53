//go:build unix

package count

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slab is the memory of a table's rows: outside the Go heap, so that it costs
// nothing before it is touched and the collector neither scans it nor paces
// itself by it. It goes when nothing refers to the slab any more.
type slab struct{ rows []row }

func newSlab(n int) *slab {
	mem, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(row{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return &slab{rows: make([]row, n)}
	}
	adviseHuge(mem)
	s := &slab{rows: unsafe.Slice((*row)(unsafe.Pointer(unsafe.SliceData(mem))), n)}
	runtime.AddCleanup(s, func(mem []byte) { _ = unix.Munmap(mem) }, mem)
	return s
}
