package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Where a log can go; "file:" is followed by a path.
const (
	OutputStderr = "stderr"
	OutputSyslog = "syslog"
	outputFile   = "file:"
)

// Options say what is logged, and where to.
type Options struct {
	Name   string      // of the program; "fastnetmon" if empty
	Level  hclog.Level // least level to log
	JSON   bool        // a JSON object a line
	Output string      // "stderr", "syslog" or "file:/path"; "" is stderr, or syslog if Detached
	// Detached is set in the background, where nobody is at standard error.
	Detached bool
	// Unlimited are beginnings of messages that are never held back: they are
	// what the program is there to say.
	Unlimited []string
	Stderr    io.Writer // for the output stderr; nil is the process's own
	Syslog    string    // path of the local syslog daemon's socket; "" is where the system has it
}

// Logger is an hclog.Logger that cannot hold up who logs: lines wait in a
// bounded buffer for one goroutine that writes them; what does not fit is
// counted, and said so when there is room again.
//
// Of one cause (level, logger and message, without fields) ten lines are
// shown, then one a minute with the count of those held back. Lines below the
// level info are for looking closely: they are not limited.
type Logger struct {
	hclog.Logger
	unlimited []string
	queued    hclog.SinkAdapter // formats, and queues
	direct    hclog.SinkAdapter // formats, and writes: of the writing goroutine
	limit     *limiter
	queue     *queue
	out       sink
	done      chan struct{} // closed when the writing goroutine has ended
	lost      atomic.Uint64
	// Of the writing goroutine: losses that the log tells of, and whether the
	// output took the last line.
	told   uint64
	toldAt time.Time
	works  bool
	gaveUp bool // at the end: the output takes nothing

	failure failure
}

// closeTime bounds how long Close and Flush wait for a sink that is stuck.
const closeTime = time.Second

// NewLogger opens the output and starts the goroutine that writes to it; Close
// ends it. It fails when the output cannot be opened.
func NewLogger(opt Options) (*Logger, error) {
	if opt.Name == "" {
		opt.Name = "fastnetmon"
	}
	out, err := openSink(opt)
	if err != nil {
		return nil, err
	}
	l := &Logger{
		unlimited: opt.Unlimited, limit: newLimiter(), queue: newQueue(), out: out, done: make(chan struct{}),
	}
	l.failure.elsewhere = elsewhere(opt, out)
	l.queued = formatter(opt, out, l.push)
	l.direct = formatter(opt, out, l.write)
	root := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name: opt.Name, Level: opt.Level, Output: io.Discard,
		Exclude: func(hclog.Level, string, ...any) bool { return true }, // the sink does the work
	})
	root.RegisterSink(l)
	l.Logger = root
	go l.run()
	return l, nil
}

// formatter makes messages lines, and hands them on.
func formatter(opt Options, out sink, take func(line)) hclog.SinkAdapter {
	return hclog.NewSinkAdapter(&hclog.LoggerOptions{
		Level: hclog.Trace, Output: &lineWriter{json: opt.JSON, take: take}, JSONFormat: opt.JSON,
		DisableTime: !out.needsTime() && !opt.JSON, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}

// openSink opens what Output names.
func openSink(opt Options) (sink, error) {
	output := opt.Output
	if output == "" {
		output = OutputStderr
		if opt.Detached {
			output = OutputSyslog
		}
	}
	switch {
	case output == OutputStderr && opt.Detached:
		return nil, errors.New("log output stderr: nobody reads it in the background; use syslog or file:/path")
	case output == OutputStderr:
		w := opt.Stderr
		if w == nil {
			w = os.Stderr
		}
		return &streamSink{w: w, journal: toJournal(w)}, nil
	case output == OutputSyslog:
		return openSyslog(opt.Name, opt.Syslog)
	case strings.HasPrefix(output, outputFile) && len(output) > len(outputFile):
		path, err := filepath.Abs(output[len(outputFile):])
		if err != nil {
			return nil, fmt.Errorf("the log file's path cannot be made absolute: %w", err)
		}
		s := &fileSink{path: path}
		return s, s.reopen()
	}
	return nil, fmt.Errorf("log output %q: use stderr, syslog or file:/path", output)
}

// Accept is called by hclog for every message; it is not for others.
func (l *Logger) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level < l.GetLevel() {
		return
	}
	if level >= hclog.Info && !l.isUnlimited(msg) {
		if !l.limit.allow(cause{level, name, msg}, time.Now()) {
			return
		}
	}
	l.queued.Accept(name, level, msg, args...)
}

func (l *Logger) isUnlimited(msg string) bool {
	for _, prefix := range l.unlimited {
		if strings.HasPrefix(msg, prefix) {
			return true
		}
	}
	return false
}

// Lost counts the lines that the output did not take: it was too slow, or
// failed.
func (l *Logger) Lost() uint64 { return l.lost.Load() }

// Reopen opens the log file anew under its name, after something has renamed
// it. Failing, it goes on with the old file. Other outputs have nothing to
// reopen.
func (l *Logger) Reopen() error { return l.out.reopen() }

// Flush waits until what has been logged so far is written, a second at most.
func (l *Logger) Flush() {
	barrier := make(chan struct{})
	l.queue.push(line{barrier: barrier})
	l.await(barrier)
}

// Close writes what is left, counts of lines held back included, and closes
// the output. A stuck output is left behind after a second.
func (l *Logger) Close() {
	l.queue.close()
	l.await(l.done)
}

func (l *Logger) await(event <-chan struct{}) {
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-event:
	case <-l.done:
	case <-timer.C:
	}
}

// run writes lines until Close.
func (l *Logger) run() {
	defer close(l.done)
	defer l.out.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.writeQueued()
		if l.queue.isClosed() {
			break
		}
		now := time.Now()
		l.tellHeldBack(l.limit.expire(now))
		l.tellLost(now)
		if next, ok := l.limit.next(); ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Reset(minute)
		}
		select {
		case <-l.queue.ready:
		case <-timer.C:
		}
	}
	l.writeQueued() // what came between the last look and the end
	if l.gaveUp {
		return
	}
	l.tellHeldBack(l.limit.expire(time.Now().Add(minute)))
	l.toldAt = time.Time{}
	l.tellLost(time.Now())
}

func (l *Logger) writeQueued() {
	for _, next := range l.queue.take() {
		switch {
		case next.barrier != nil:
			close(next.barrier)
		case l.gaveUp:
			l.lost.Add(1)
		default:
			l.write(next)
			// At the end, an output that takes nothing is not offered every
			// line that is left.
			l.gaveUp = !l.works && l.queue.isClosed()
		}
	}
}

func (l *Logger) push(next line) {
	if !l.queue.push(next) {
		l.lost.Add(1)
	}
}

func (l *Logger) write(next line) {
	err := l.out.write(next.level, next.text)
	if l.works = err == nil; !l.works {
		l.lost.Add(1)
	}
	l.failure.note(err, time.Now())
}

// tellHeldBack logs how many lines the limit has held back.
func (l *Logger) tellHeldBack(held []heldBack) {
	for _, h := range held {
		l.direct.Accept(h.name, h.level, fmt.Sprintf("%s … %d more", h.text, h.count), "held_back", h.count, "within", minute)
	}
}

// tellLost logs losses, once a minute, as soon as the output works again.
func (l *Logger) tellLost(now time.Time) {
	lost := l.lost.Load()
	if !l.works || lost == l.told || now.Sub(l.toldAt) < minute {
		return
	}
	l.direct.Accept(l.Name(), hclog.Warn, "log lines were lost: the output was too slow, or failed", "lost", lost-l.told, "lost_since_start", lost)
	l.told, l.toldAt = lost, now
}
