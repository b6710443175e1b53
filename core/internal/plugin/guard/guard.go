// Package guard is a second process of the program, which ends what plugins
// have started when the daemon is killed.
//
// It imports next to nothing, and its life is in init: packages are initialised
// in the order of their names, so that most of the program, which the guard has
// no use for, never is. Run from main it would take three times the memory.
package guard

import (
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// Argument is the only argument of a program that imports this package where it
// is the guard of another run of it.
const Argument = "guard-plugins"

// EnvMark is the variable by which a plugin's process is known, with all that it
// starts: "RUN.N;" is the N-th process of this run of the program. What a plugin
// starts with an environment without it is the plugin's to end.
const EnvMark = "FASTNETMON_PROCESS"

// Limit is how long what a plugin has left behind may take to end.
const Limit = 2 * time.Second

// idLength is that of a run's id, see mark.New.
const idLength = 32

func init() { //nolint:gochecknoinits // see the package's comment
	if len(os.Args) == 2 && os.Args[1] == Argument {
		watch(os.Stdin)
		os.Exit(0)
	}
}

// watch is the guard's life: it reads a run's id, waits for the end of its
// input, then ends what is left of that run's plugins.
func watch(in io.Reader) {
	// A service manager asks every process of a service to stop; the plugins
	// may then still be draining.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	id := make([]byte, idLength)
	if _, err := io.ReadFull(in, id); err != nil {
		return // it has ended before it had plugins
	}
	debug.FreeOSMemory()
	cache.ReleaseProgram()
	_, _ = io.Copy(io.Discard, in)
	EndRun(string(id))
}

// EndRun ends what the plugins of a run have left, however they have been left.
// It tells whether nothing is left. Whatever is no run's id is nobody's.
func EndRun(id string) bool {
	if len(id) != idLength || strings.Trim(id, "0123456789abcdef") != "" {
		return true
	}
	return mark.End(EnvMark+"="+id+".", Limit)
}
