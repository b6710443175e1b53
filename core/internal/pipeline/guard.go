package pipeline

import (
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

const (
	// maxPause is the longest the loop may not have run before what has piled
	// up meanwhile is taken for a backlog.
	maxPause = time.Second
	// maxJump is how far the time of day may leave the monotonic clock within
	// a second.
	maxJump = time.Second
)

// doubt is what may have inflated rates.
type doubt struct {
	id    engine.DoubtID
	until int64 // stream's clock
	why   string
}

// doubtsKept is how many reasons are kept: more than overlap.
const doubtsKept = 1024

// pause notes that the loop has not run for a while: the process, or the whole
// machine, was stopped.
func (l *loop) pause(gap time.Duration) {
	l.engine.Disturb(gap)
	l.doubts(fmt.Sprintf("this program was stopped for %v", gap.Round(10*time.Millisecond)))
}

// doubts takes the engine's disturbances over; why is the cause of those that
// no input has caused.
func (l *loop) doubts(why string) {
	for _, x := range l.engine.Disturbances() {
		text := why
		if in := l.input(x.Ring); in != nil {
			text = fmt.Sprintf("input %s was silent for %v", in.capture.title(), x.Gap.Round(10*time.Millisecond))
			switch {
			case x.New:
				text = fmt.Sprintf("input %s has just started", in.capture.title())
			case x.Held:
				text = fmt.Sprintf("records of input %s waited %v for filters", in.capture.title(), x.Gap.Round(10*time.Millisecond))
			}
		}
		if !x.New {
			l.log.Warn("rates may be too high: until they are not, attacks that it shows are told but not enforced", "cause", text, "for", x.For)
		}
		latest := doubt{x.Doubt, l.engine.Clock() + int64(x.For), text}
		l.reasons[x.Doubt%doubtsKept] = latest
		if latest.until >= l.doubt.until {
			l.doubt = latest
		}
	}
}

// suspended is what may have inflated rates, so that attacks it shows are not
// enforced just now; "" where all are.
func (l *loop) suspended() string {
	if l.engine.Clock() < l.doubt.until {
		return l.doubt.why
	}
	return ""
}

// reason is why an attack is not enforced.
func (l *loop) reason(id engine.DoubtID) string {
	if x := l.reasons[id%doubtsKept]; x.id == id && x.why != "" {
		return x.why
	}
	return "an input was disturbed"
}

func (l *loop) input(id engine.RingID) *input {
	for _, in := range l.inputs {
		if in.id == id {
			return in
		}
	}
	return nil
}

// watchClock notices a jump of the time of day, on which exemptions and the
// age of flow records depend; the loop's goroutine calls it every second.
func (d *Daemon) watchClock() {
	offset := d.wall.time().Sub(time.Unix(0, count.Monotonic()))
	jump := offset - d.offset
	known := d.offset != 0
	d.offset = offset
	if known && (jump > maxJump || jump < -maxJump) {
		d.sys.loop.engine.Disturb(0)
		d.sys.loop.doubts(fmt.Sprintf("the time of day jumped by %v", jump.Round(10*time.Millisecond)))
	}
}
