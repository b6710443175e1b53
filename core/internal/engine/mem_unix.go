//go:build unix

package engine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory returns n zeroed bytes outside the Go heap.
func mapMemory(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for the host table: %w; lower memory_limit or give the process more memory", n, err)
	}
	adviseHuge(b)
	return b, nil
}

// unmapMemory gives back what mapMemory returned; nothing may use it after.
func unmapMemory(b []byte) { _ = unix.Munmap(b) }
