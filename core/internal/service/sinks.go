package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// sink is where lines end. Only reopen is called beside another call.
type sink interface {
	write(level hclog.Level, text []byte) error
	reopen() error
	close()
	needsTime() bool // its readers would not know when a line was written
}

// severity is a level in the terms of syslog (RFC 5424, 6.2.1).
func severity(level hclog.Level) int {
	switch level {
	case hclog.Error:
		return 3
	case hclog.Warn:
		return 4
	case hclog.Info:
		return 6
	}
	return 7
}

// streamSink is standard error. To the journal each line says its priority, as
// sd-daemon(3) describes; the journal keeps the time itself.
type streamSink struct {
	w       io.Writer
	journal bool
}

func (s *streamSink) write(level hclog.Level, text []byte) error {
	var out []byte
	if s.journal {
		for part := range bytes.SplitSeq(text, []byte{'\n'}) {
			out = fmt.Appendf(out, "<%d>%s\n", severity(level), part)
		}
	} else {
		out = append(append(out, text...), '\n')
	}
	_, err := s.w.Write(out)
	return err
}

func (s *streamSink) reopen() error   { return nil }
func (s *streamSink) close()          {}
func (s *streamSink) needsTime() bool { return !s.journal }

// fileSink is a file that grows. The stack trace of a crash goes there too:
// there may be nobody at standard error.
type fileSink struct {
	path string
	mu   sync.Mutex
	file *os.File
	torn bool // the last line was written in part
}

// reopen opens the file by its name; failing, the old one stays.
func (s *fileSink) reopen() error {
	// Without O_NONBLOCK a named pipe that nobody reads would stop us here.
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o640) //nolint:gosec // the group of a log may read it
	if err != nil {
		return fmt.Errorf("the log file cannot be opened: %w", err)
	}
	// Only a service without standard error misses it if this fails.
	_ = debug.SetCrashOutput(f, debug.CrashOptions{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.torn = f, false
	return nil
}

func (s *fileSink) write(_ hclog.Level, text []byte) error {
	s.mu.Lock()
	f, torn := s.file, s.torn
	s.mu.Unlock()
	out := make([]byte, 0, len(text)+2)
	if torn {
		out = append(out, '\n')
	}
	out = append(append(out, text...), '\n')
	n, err := f.Write(out)
	if errors.Is(err, os.ErrClosed) && n == 0 {
		s.mu.Lock()
		f = s.file // reopened in between
		s.mu.Unlock()
		n, err = f.Write(out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == s.file {
		s.torn = err != nil && (n > 0 || torn)
	}
	return err
}

func (s *fileSink) close() {
	_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
}

func (s *fileSink) needsTime() bool { return true }
