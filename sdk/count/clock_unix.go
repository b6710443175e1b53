//go:build unix

package count

import "golang.org/x/sys/unix"

// clockBase is the system's monotonic clock at clockStart. Go's own reading
// of it is the cheaper one, but hides where it began.
var clockBase = func() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clockStart.UnixNano()
	}
	return ts.Nano()
}()
