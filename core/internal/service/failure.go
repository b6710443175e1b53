package service

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// failure is what keeps a log's output from taking lines, such as a full disk.
type failure struct {
	elsewhere func(text string) // tells it where the log does not go; must not wait

	mu     sync.Mutex
	err    error // nil: the newest line was taken
	since  time.Time
	toldAt time.Time
}

// note takes the outcome of writing a line. What keeps failing is told
// elsewhere once a minute at most, since the log cannot.
func (f *failure) note(err error, now time.Time) {
	f.mu.Lock()
	began := err != nil && f.err == nil
	if began {
		f.since = now
	}
	f.err = err
	tell := began && (f.toldAt.IsZero() || now.Sub(f.toldAt) >= minute)
	if tell {
		f.toldAt = now
	}
	f.mu.Unlock()
	if tell {
		f.elsewhere(fmt.Sprintf("the log cannot be written, lines are lost until it can: %v", err))
	}
}

// Trouble says why lines are being lost, "" while they are not.
func (l *Logger) Trouble() string {
	f := &l.failure
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return ""
	}
	return fmt.Sprintf("the log has not been written since %s, and %d lines are lost so far: %v",
		f.since.UTC().Format(time.RFC3339), l.Lost(), f.err)
}

// elsewhere returns where it can be told that an output fails: a file's to the
// syslog daemon, if there is one, else to standard error.
func elsewhere(opt Options, out sink) func(string) {
	var telling atomic.Bool
	return func(text string) {
		if !telling.CompareAndSwap(false, true) {
			return // standard error takes nothing either
		}
		go func() {
			defer telling.Store(false)
			if _, toFile := out.(*fileSink); toFile && tellSyslog(opt, text) == nil {
				return
			}
			if _, toStderr := out.(*streamSink); toStderr {
				return
			}
			var stderr io.Writer = os.Stderr
			if opt.Stderr != nil {
				stderr = opt.Stderr
			}
			fmt.Fprintf(stderr, "%s: %s\n", opt.Name, text)
		}()
	}
}

func tellSyslog(opt Options, text string) error {
	s, err := openSyslog(opt.Name, opt.Syslog)
	if err != nil {
		return err
	}
	defer s.close()
	return s.write(hclog.Error, []byte(text))
}
