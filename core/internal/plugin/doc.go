// Package plugin finds, launches, supervises and ends plugin processes.
//
// Read in this order: find.go (where programs are and which are refused),
// child.go (one process in a group of its own that dies with us), identity.go
// (with whose rights), memory.go (within which limit), runner.go (what go-plugin
// is given instead of its own runner), stderr.go (what becomes of a plugin's output), process.go and stop.go
// (one launch, from exec to Describe, and its end), instance.go and watch.go
// (keep one block alive), offspring.go and guard.go (what plugins have started
// ends with them).
package plugin
