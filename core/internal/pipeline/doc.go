// Package pipeline is how traffic becomes an event: it compiles a
// configuration into what captures count and what the engine compares, starts
// the plugins, wires them with rings, and drives engine and detector.
//
// Read compile.go (what is counted and compared), daemon.go (start and stop),
// capture.go (plugins to rings), loop.go (rings to events), then deliver.go
// and snapshot.go (events and rates on to the plugins). replay.go is the same
// path with the packets' own clock.
package pipeline
