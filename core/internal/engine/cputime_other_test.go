//go:build !linux

package engine

import (
	"testing"
	"time"
)

func cpuClock(*testing.B) func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
