package plugin

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Exit is how a process ended.
type Exit struct {
	Code     int           // -1 when a signal ended it
	Signal   string        // "" when it exited by itself
	Expected bool          // we had asked it to stop
	Ran      time.Duration // from its start
	Lines    []string      // the newest lines of its stderr, oldest first, at most 20
	Panic    []string      // the first lines of a panic or fatal error
	Cause    error         // why we or the kernel killed it; nil where that is not known
}

func newExit(state *os.ProcessState, ran time.Duration) Exit {
	exit := Exit{Code: -1, Ran: ran}
	if state == nil {
		return exit
	}
	exit.Code = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal().String()
	}
	return exit
}

// String says it in a few words: "exit code 2", "signal killed".
func (e Exit) String() string {
	if e.Signal != "" {
		return "signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Summary says in a sentence without subject how it ended, with the most telling
// line: why it was killed, else a panic's first line, else the last of stderr.
func (e Exit) Summary() string {
	if e.Cause != nil {
		return "killed: " + e.Cause.Error()
	}
	return "it ended with " + e.detail()
}

func (e Exit) detail() string {
	switch {
	case len(e.Panic) > 0:
		return e.String() + ": " + e.Panic[0]
	case len(e.Lines) > 0:
		return e.String() + ": " + e.Lines[len(e.Lines)-1]
	}
	return e.String()
}

// how is Summary without the program's own words.
func (e Exit) how() string {
	if e.Cause != nil {
		return e.Summary()
	}
	return "it ended with " + e.String()
}

func (e Exit) trace() string { return strings.Join(e.Panic, "\n") }

func (e Exit) tail() string {
	return strings.Join(e.Lines, "\n")
}
