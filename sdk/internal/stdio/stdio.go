//go:build unix

// Package stdio guards a plugin's standard output. The first line a plugin
// writes there is its handshake; anything else, printed too early, would break
// it. So as soon as a plugin is loaded, its standard output is set aside, and
// whatever is printed becomes lines of the log instead.
//
// A program that is not started as a plugin is left alone.
package stdio

import (
	"bufio"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The cookie of the handshake, repeated here because this package must be
// initialised before anything that can print: it imports next to nothing. A
// test compares it with the handshake's.
const (
	CookieKey   = "FASTNETMON_PLUGIN_COOKIE"
	CookieValue = "c3a1f0de9b7442d58f10a1f4f2a9e6b7"
)

// IsPlugin reports whether a core has started this program.
func IsPlugin() bool { return os.Getenv(CookieKey) == CookieValue }

var (
	handshake *os.File // the true standard output
	stderr    = os.Stderr
	printed   *os.File // read end of what os.Stdout became
	sink      *os.File // its write end
)

func init() {
	if !IsPlugin() {
		return
	}
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 10)
	if err != nil {
		return // no standard output: there is nothing to guard
	}
	handshake = os.NewFile(uintptr(fd), "handshake")
	// What writes to descriptor 1 without Go's help (C code, children) goes
	// to standard error.
	if err := dup2(2, 1); err != nil {
		panic("cannot guard standard output: " + err.Error())
	}
	if printed, sink, err = os.Pipe(); err != nil {
		panic("cannot guard standard output: " + err.Error())
	}
	os.Stdout = sink
}

// Stdout is the true standard output.
func Stdout() *os.File {
	if handshake != nil {
		return handshake
	}
	return os.Stdout
}

// Stderr is the true standard error, whatever os.Stderr has become.
func Stderr() *os.File { return stderr }

// Printed calls line for each line that the program prints to os.Stdout, until
// the program ends. A line longer than 64 KiB comes in pieces.
func Printed(line func(string)) {
	if printed == nil {
		return
	}
	r := bufio.NewReaderSize(printed, 64<<10)
	for {
		b, _, err := r.ReadLine()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				line("reading what the plugin prints: " + err.Error())
			}
			return
		}
		line(string(b))
	}
}

// ForHandshake lets the next print to os.Stdout reach the core.
func ForHandshake() {
	if handshake != nil {
		os.Stdout = handshake
	}
}

// AfterHandshake turns os.Stdout and os.Stderr to where their lines become
// log lines, undoing what go-plugin did to them.
func AfterHandshake() {
	if handshake != nil {
		os.Stdout, os.Stderr = sink, stderr
	}
}
