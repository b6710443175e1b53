package exporter

import (
	"sync/atomic"
	"time"
)

// Clock is the time as it was when it was last read: a capture reads it when
// datagrams have come, for all of them at once, since reading the real one for
// each would be dear. Its methods may be called from any goroutine.
type Clock struct{ mono, wall atomic.Int64 }

// origin is the zero of the monotonic clock. One second before the start, so
// that no reading is 0.
var origin = time.Now().Add(-time.Second)

// NewClock returns a clock that was just read.
func NewClock() *Clock {
	c := &Clock{}
	c.Read()
	return c
}

// Read sets the clock to the present and returns that, in nanoseconds:
// monotonic, and since the Unix epoch.
func (c *Clock) Read() (mono, wall int64) {
	now := time.Now()
	mono, wall = int64(now.Sub(origin)), now.UnixNano()
	c.mono.Store(mono)
	c.wall.Store(wall)
	return mono, wall
}

// Set makes a time of a recording, in Unix nanoseconds, the present. Both
// clocks run on with it.
func (c *Clock) Set(wall int64) {
	c.mono.Store(wall)
	c.wall.Store(wall)
}

// Mono is for Options.Now.
func (c *Clock) Mono() int64 { return c.mono.Load() }

// Wall is for Options.Wall.
func (c *Clock) Wall() int64 { return c.wall.Load() }
