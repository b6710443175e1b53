// Package feed runs the plugin's end of the rings.
package feed

// Writer is a capture worker's way out.
type Writer struct{}
