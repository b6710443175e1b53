// Package cache asks the processor for memory before it is needed, so that
// work which would wait for one cache line after the other waits for many at
// once.
package cache

// Line is the size of a cache line in octets.
const Line = 64

// Prefetch asks for the cache lines that hold so many addresses. Unlike a load
// it does not hold up what follows, and an address that is not mapped does no
// harm; so addresses are plain numbers here, which keep nothing alive. Where Go
// has no instruction for it nothing happens.
func Prefetch(lines []uintptr) {
	if len(lines) > 0 {
		prefetch(&lines[0], len(lines))
	}
}
