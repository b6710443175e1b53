// Package detect turns the engine's crossings into attacks.
//
// An attack is everything that crosses for one target in one direction: one
// id, the list of limits crossed, the first one named. It is detected with the
// first crossing, active from the next look on, and ends when the average of
// every counter crossed has been below 0.75 of its limit for the group's quiet
// time, and no burst rule of theirs has held in it. It survives a change of configuration: a limit that is gone counts as
// quiet.
//
// Like the engine it is pure and driven by the stream's clock. What it says
// depends on the deltas and on the times at which Step is called, and on
// nothing else.
package detect
