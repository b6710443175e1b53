//go:build unix && !linux

package count

// adviseHuge does nothing: these systems promote pages on their own.
func adviseHuge([]byte) {}
