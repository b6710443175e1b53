//go:build !unix

package engine

import "unsafe"

// mapMemory returns n zeroed bytes, 8-aligned. They hold no pointers, so the
// collector does not look into them.
func mapMemory(n int) ([]byte, error) {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n), nil
}

func unmapMemory([]byte) {}
