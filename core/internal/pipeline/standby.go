package pipeline

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// standbyAfter is how long a capture must have counted nothing before its
// standby takes over.
const standbyAfter = 3 * time.Second

// standby is a capture that counts in another one's silence. Of the two one
// counts at any time: what the silent one still has to tell of (flow records
// count for their duration) would count twice. The loop's goroutine owns it.
type standby struct {
	capture, of *capture
	counts      bool
	heard       int64 // when the other one counted something last
	since       int64 // of the present state
}

// setStandbys follows a configuration: pairs that are still there go on.
func (l *loop) setStandbys(s *set) {
	if l.now == nil {
		return // a replay has one input
	}
	var next []*standby
	for _, c := range s.captures {
		of := s.captures[c.block.Process.StandbyFor]
		if of == nil {
			continue
		}
		pair := &standby{capture: c, of: of, heard: l.now(), since: l.now()}
		for _, old := range l.standbys {
			if old.capture == c && old.of == of {
				pair = old
			}
		}
		next = append(next, pair)
	}
	l.standbys = next
	for _, in := range l.inputs {
		l.arrange(in)
	}
}

// arrange says whether an input's deltas count, and who is to know of them.
func (l *loop) arrange(in *input) {
	muted := false
	var counted func()
	for _, s := range l.standbys {
		switch in.capture {
		case s.capture:
			muted = !s.counts
		case s.of:
			muted, counted = s.counts, func() { l.hear(s) }
		}
	}
	l.engine.Mute(in.id, muted)
	l.engine.OnCounted(in.id, counted)
}

// hear notes that the capture counts, and ends its standby's turn.
func (l *loop) hear(s *standby) {
	s.heard = l.now()
	if s.counts {
		l.log.Info("a capture counts again: its standby stops", "capture", s.of.title(), "standby", s.capture.title(), "after", time.Duration(s.heard-s.since).Round(time.Millisecond).String())
		l.hand(s, false)
	}
}

// watchStandbys lets those count whose captures have been silent for long
// enough.
func (l *loop) watchStandbys(now int64) {
	for _, s := range l.standbys {
		if !s.counts && now-s.heard >= int64(standbyAfter) {
			l.log.Warn("a capture is silent: its standby counts", "capture", s.of.title(), "standby", s.capture.title(), "silent_for", time.Duration(now-s.heard).Round(time.Millisecond).String())
			l.hand(s, true)
		}
	}
}

func (l *loop) hand(s *standby, counts bool) {
	s.counts, s.since = counts, l.now()
	for _, in := range l.inputs {
		if in.capture == s.capture || in.capture == s.of {
			l.arrange(in)
		}
	}
}

// standbys tells doctor who counts.
func (x *examination) standbys(all []standby, now int64) {
	for _, s := range all {
		if s.counts {
			silent := time.Duration(now - s.heard).Round(time.Second)
			x.say(s.of.title(), "standby", exporter.StateFault, "it has counted nothing for %s, and %s counts in its place", silent, s.capture.title())
			x.say(s.capture.title(), "standby", exporter.StateOK, "it counts, because %s is silent", s.of.title())
		} else {
			x.say(s.capture.title(), "standby", exporter.StateOK, "it stands by: %s counts", s.of.title())
		}
	}
}
