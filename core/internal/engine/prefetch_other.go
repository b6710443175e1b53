//go:build !amd64 && !arm64

package engine

// prefetch has no instruction here: the misses of the cache come one group
// later.
func prefetch(*uintptr, int) {}
