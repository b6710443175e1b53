//go:build !unix

package count

// clockBase is the time of day where there is no monotonic clock that other
// processes share.
var clockBase = clockStart.UnixNano()
