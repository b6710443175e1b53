package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// A jump of the time of day, in either direction, suspends enforcement; its
// ordinary course, and corrections of less than a second, do not.
func TestClockJumpSuspends(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, -500 * time.Millisecond, 0, 500 * time.Millisecond, time.Hour} {
		b := newLoopBed(t, engine.Options{})
		ahead := time.Duration(0)
		d := &Daemon{sys: b.sys}
		d.wall.now = func() time.Time { return time.Now().Add(ahead) }
		d.watchClock()
		d.watchClock()
		ahead = jump
		d.watchClock()
		d.watchClock()
		suspended := strings.Contains(b.loop.doubt.why, "the time of day jumped by")
		if want := jump.Abs() > time.Second; suspended != want {
			t.Errorf("a jump of %v: suspended %v (%q)", jump, suspended, b.loop.doubt.why)
		}
		if n := strings.Count(b.log.String(), "rates may be too high"); n > 1 {
			t.Errorf("a jump of %v was told %d times", jump, n)
		}
	}
}

// A pause of the loop suspends; waiting for less than a second does not.
func TestPauseSuspends(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	for _, c := range []struct {
		pause time.Duration
		want  string
	}{{10 * time.Millisecond, ""}, {900 * time.Millisecond, ""}, {10 * time.Second, "this program was stopped for 10s"}} {
		b.loop.turn()
		b.now += int64(c.pause)
		b.loop.turn()
		if b.loop.doubt.why != c.want {
			t.Errorf("after %v: %q, want %q", c.pause, b.loop.doubt.why, c.want)
		}
	}
}

// What an input has done is told by its name, even where it is gone in the same
// moment, and an attack's reason is its own, not the newest.
func TestReasons(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	once := func() *script {
		return &script{next: func(n uint64) (int64, bool) { return b.now / windowNanos * windowNanos, n == 1 }}
	}
	b.loop.finish(b.add(once()))
	first := b.loop.doubt
	if first.why != "input test.a has just started" || b.loop.reason(first.id) != first.why {
		t.Errorf("an input that was there for a moment: %+v", first)
	}
	b.add(once())
	b.loop.engine.Disturb(time.Minute)
	b.loop.doubts("a pause")
	if b.loop.doubt.why != "a pause" || b.loop.reason(first.id) != first.why {
		t.Errorf("now %+v, before %q", b.loop.doubt, b.loop.reason(first.id))
	}
	if got := b.loop.reason(first.id + doubtsKept); got != "an input was disturbed" {
		t.Errorf("a reason that is not kept: %q", got)
	}
}
