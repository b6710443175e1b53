//go:build !linux

package cache

// ReleaseProgram does nothing on this system.
func ReleaseProgram() {}
