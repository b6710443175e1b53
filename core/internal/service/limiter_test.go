package service

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func count(lines []string, part string) int {
	n := 0
	for _, text := range lines {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuffer
		l := newLogger(t, Options{Level: hclog.Debug, Stderr: &out, Unlimited: []string{"attack "}})
		// A minute of 100 lines of one cause, 5 each of two others, and attacks.
		for i := range 100 {
			l.Error("no room", "queue", i)
			l.Info("attack started", "id", i)
			l.Debug("looking closely", "i", i)
			if i < 5 {
				l.Warn("no room")
				l.Named("other").Error("no room")
			}
		}
		synctest.Wait()
		got := out.lines()
		for part, want := range map[string]int{
			"[ERROR] fastnetmon: no room": 10, "[WARN]  fastnetmon: no room": 5, "fastnetmon.other: no room": 5,
			"attack started": 100, "looking closely": 100, "more": 0,
		} {
			if n := count(got, part); n != want {
				t.Errorf("%d lines with %q, want %d", n, part, want)
			}
		}
		time.Sleep(minute - time.Second)
		synctest.Wait()
		if got := out.lines(); len(got) != 0 {
			t.Errorf("before the minute is over: %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := out.lines(), `[ERROR] fastnetmon: no room … 90 more: held_back=90 within=1m0s`; len(got) != 1 || got[0] != want {
			t.Errorf("after a minute %q, want %q", got, want)
		}
		// It goes on: a line a minute.
		time.Sleep(time.Second / 2)
		for range 180 {
			l.Error("no room")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := out.lines(); len(got) != 3 || count(got, "no room … 60 more") != 3 {
			t.Errorf("in three more minutes: %q", got)
		}
		// A quiet minute, and it is told in full again.
		time.Sleep(minute)
		synctest.Wait()
		for range 12 {
			l.Error("no room")
		}
		synctest.Wait()
		if got := out.lines(); count(got, "no room") != 10 {
			t.Errorf("after a quiet minute: %q", got)
		}
		// The end does not keep the count back.
		l.Close()
		if got := out.lines(); len(got) != 1 || count(got, "no room … 2 more") != 1 {
			t.Errorf("at the end: %q", got)
		}
	})
}

// Memory and output stay bounded, whatever is said; one that says something
// new each time does not take the others' place.
func TestRateLimitManyCauses(t *testing.T) {
	l, now := newLimiter(), time.Unix(0, 0)
	shown := 0
	for i := range 100_000 {
		if l.allow(cause{hclog.Error, "chatterer", fmt.Sprint("message ", i, strings.Repeat("x", 1000))}, now) {
			shown++
		}
	}
	if shown != maxCausesOfOne+burst {
		t.Errorf("%d lines of one logger are shown", shown)
	}
	if !l.allow(cause{hclog.Error, "other", "an error"}, now) {
		t.Error("there is no room for another logger's first line")
	}
	for i := range 100_000 {
		l.allow(cause{hclog.Error, fmt.Sprint("logger ", i), "message"}, now)
	}
	if n := l.order.Len(); n != len(l.causes) || n > maxCauses+1 {
		t.Errorf("%d windows, %d causes", n, len(l.causes))
	}
	held := 0
	for _, h := range l.expire(now.Add(minute)) {
		held += h.count
	}
	if want := 200_000 - shown - (maxCauses - maxCausesOfOne - 1 - 1) - burst; held != want {
		t.Errorf("%d lines held back are told of, want %d", held, want)
	}
	l.expire(now.Add(2 * minute))
	if len(l.causes) != 0 || l.order.Len() != 0 || len(l.ofName) != 0 {
		t.Errorf("left after a quiet minute: %d, %d, %d", len(l.causes), l.order.Len(), len(l.ofName))
	}
}
