package service

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Where systems have the local syslog daemon's socket: Linux, FreeBSD, macOS.
var syslogPlaces = []string{"/dev/log", "/var/run/log", "/var/run/syslog"}

const (
	facilityDaemon = 3
	// A syslog daemon that takes no more is not waited for: the lines behind
	// would be lost instead. Shorter than closeTime, so that Close need not
	// leave it behind.
	syslogTime = closeTime / 4
)

// syslogSink is the local syslog daemon. It gets what syslog(3) would send it:
// "<priority>Mmm dd hh:mm:ss program[pid]: text", a datagram a line.
type syslogSink struct {
	program string
	places  []string
	conn    net.Conn
	end     string // of a line: a stream needs one
}

func openSyslog(program, place string) (*syslogSink, error) {
	s := &syslogSink{program: program, places: syslogPlaces}
	if place != "" {
		s.places = []string{place}
	}
	return s, s.dial()
}

func (s *syslogSink) dial() error {
	why := ""
	for _, place := range s.places {
		for _, network := range []string{"unixgram", "unix"} {
			conn, err := net.DialTimeout(network, place, syslogTime)
			if err == nil {
				s.conn, s.end = conn, ""
				if network == "unix" {
					s.end = "\n"
				}
				return nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				why = fmt.Sprintf(": %v", err)
			}
		}
	}
	return fmt.Errorf("no syslog daemon answers at %s%s; start one, or log to file:/path", strings.Join(s.places, ", "), why)
}

func (s *syslogSink) write(level hclog.Level, text []byte) error {
	for part := range bytes.SplitSeq(text, []byte{'\n'}) {
		message := fmt.Sprintf("<%d>%s %s[%d]: %s%s", facilityDaemon<<3|severity(level), time.Now().Format(time.Stamp),
			s.program, os.Getpid(), part, s.end)
		if err := s.send(message); err != nil {
			return err
		}
	}
	return nil
}

// send tries again when the daemon was started anew.
func (s *syslogSink) send(message string) error {
	if s.conn != nil {
		err := s.sendOnce(message)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		s.conn.Close()
		s.conn = nil
	}
	if err := s.dial(); err != nil {
		return err
	}
	return s.sendOnce(message)
}

func (s *syslogSink) sendOnce(message string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(syslogTime)); err != nil {
		return err
	}
	_, err := s.conn.Write([]byte(message))
	return err
}

func (s *syslogSink) reopen() error { return nil }

func (s *syslogSink) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *syslogSink) needsTime() bool { return false }
