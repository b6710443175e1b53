//go:build !linux

package mitigate

import "time"

var started = time.Now()

// Now is the moment by the program's clocks.
func Now() Moment { return Moment{Boot: time.Since(started), Wall: time.Now()} }

// BootID is not known here: every start of the program counts as one of the
// machine.
func BootID() string { return "" }
