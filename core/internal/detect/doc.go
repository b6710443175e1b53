// Package detect turns the engine's crossings into attacks.
//
// An attack is everything that crosses for one target in one direction: one
// id, the list of limits crossed, the first one named. It is detected with the
// first crossing, active from the next look on, and ends when the average of
// every counter crossed has been below 0.75 of its limit for the group's quiet
// time, and no burst rule of theirs has held in it. It survives a change of configuration: a limit that is gone counts as
// quiet.
//
// A wider scope (prefix, hostgroup, network) opens an attack only where no
// narrower one has half of what it crossed; then narrower ones that cross while it
// lasts, and have less than half of it, are part of it: they are not told of, until
// it has ended or they have more. Those told before go on as they are.
//
// Several limits on one counter in one unit are tiers: an attack that was below
// 0.75 of a higher one for the quiet time leaves it, and may reach it again; either
// is told.
//
// Like the engine it is pure and driven by the stream's clock. What it says
// depends on the deltas and on the times at which Step is called, and on
// nothing else.
package detect
