//go:build amd64 || arm64

package engine

// prefetch asks for the cache lines that hold n addresses. Unlike a load it
// does not hold up what follows, and an address that is no longer mapped does
// no harm.
//
//go:noescape
func prefetch(lines *uintptr, n int)
