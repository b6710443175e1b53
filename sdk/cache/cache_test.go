package cache

import (
	"testing"
	"unsafe"
)

// Prefetching changes nothing and takes any address.
func TestPrefetch(t *testing.T) {
	data := [3]uint64{1, 2, 3}
	lines := []uintptr{uintptr(unsafe.Pointer(&data[0])), 0, 1, ^uintptr(0), uintptr(unsafe.Pointer(&data[2]))}
	before := [5]uintptr(lines)
	for n := range len(lines) + 1 {
		Prefetch(lines[:n])
	}
	if data != [3]uint64{1, 2, 3} || before != [5]uintptr(lines) {
		t.Error("prefetching wrote to memory")
	}
}
