package count

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages, which halve the cost of a cold row. A
// kernel without them refuses, and nothing is lost.
func adviseHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }
