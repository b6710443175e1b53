package count

import "time"

var clockStart = time.Now()

// Monotonic is the stream's clock in live work: nanoseconds on the system's
// monotonic clock, the same for every process of a machine.
func Monotonic() int64 { return clockBase + int64(time.Since(clockStart)) }
