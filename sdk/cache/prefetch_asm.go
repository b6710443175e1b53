//go:build amd64 || arm64

package cache

//go:noescape
func prefetch(lines *uintptr, n int)
