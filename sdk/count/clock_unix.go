//go:build unix

package count

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockBase is the system's monotonic clock at clockStart. Go's own reading
// of it is the cheaper one, but hides where it began. Of a few tries the one
// that was interrupted least counts: our clock must not be ahead of another
// process's.
var clockBase = func() (base int64) {
	best := time.Duration(1<<63 - 1)
	for range 16 {
		var ts unix.Timespec
		before := time.Since(clockStart)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return clockStart.UnixNano()
		}
		after := time.Since(clockStart)
		if after-before < best {
			best, base = after-before, ts.Nano()-int64(after)
		}
	}
	return base
}()
