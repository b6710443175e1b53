package ring

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnsupported says that this system has no shared-memory rings: they
	// need Linux on a 64-bit little-endian machine or on 386. Deltas then
	// travel as bytes on a stream: see AppendDeltas.
	ErrUnsupported = errors.New("shared-memory rings are not supported on this system: deltas travel over a gRPC stream instead")
	// ErrClosed says that the ring was closed on this side.
	ErrClosed = errors.New("ring is closed")
	// ErrCorrupt says that shared memory holds a value that no honest peer
	// writes. The handle is unusable from then on: replace the ring.
	ErrCorrupt = errors.New("ring is corrupt")
)

// CorruptError tells which word of a ring was impossible. It matches
// ErrCorrupt.
type CorruptError struct {
	Ring  string // name given at creation, or "" on a side that was handed the ring
	What  string // which word, and the rule it broke
	Value uint64 // what it held
	Bound uint64 // what it was held against
}

func (e *CorruptError) Error() string {
	name := e.Ring
	if name != "" {
		name = " " + name
	}
	return fmt.Sprintf("ring%s is corrupt: %s (value %d, bound %d): replace the ring and its peer", name, e.What, e.Value, e.Bound)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
