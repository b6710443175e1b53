//go:build !unix

package count

// slab is the memory of a table's rows. They hold no pointers, so the
// collector does not scan them.
type slab struct{ rows []row }

func newSlab(n int) *slab { return &slab{rows: make([]row, n)} }
