package mitigate

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the moment by the machine's clocks.
func Now() Moment {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return Moment{Boot: time.Since(started), Wall: time.Now()}
	}
	return Moment{Boot: time.Duration(t.Nano()), Wall: time.Now()}
}

var started = time.Now()

// BootID names the machine's start; "" where it is not known, and every start of
// the program counts as one.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
