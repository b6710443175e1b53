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

// Summary is the most telling line: a panic's first, else the last of stderr.
func (e Exit) Summary() string {
	switch {
	case len(e.Panic) > 0:
		return e.String() + ": " + e.Panic[0]
	case len(e.Lines) > 0:
		return e.String() + ": " + e.Lines[len(e.Lines)-1]
	}
	return e.String()
}

func (e Exit) trace() string { return strings.Join(e.Panic, "\n") }

func (e Exit) tail() string {
	return strings.Join(e.Lines, "\n")
}
