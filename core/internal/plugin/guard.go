package plugin

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// GuardArgument is the only argument of this program where it is the guard of
// another run of it: see StartGuard.
const GuardArgument = "guard-plugins"

const (
	guardAgain = time.Second // before a guard that has ended is replaced
	guardGrace = time.Second // for its end when there is nothing to do
)

// Guard is a second process of this program. When this one is killed the
// kernel kills the plugins; the guard, which hears of it by the end of its
// input, kills what they have started, in whatever process group or session.
type Guard struct {
	log  hclog.Logger
	stop chan struct{}
	done chan struct{}
}

// StartGuard starts the guard, and again should it end, until Stop. It is none
// where a process cannot be started: then the next run ends what is left.
func StartGuard(log hclog.Logger) *Guard {
	g := &Guard{log: log, stop: make(chan struct{}), done: make(chan struct{})}
	go g.run()
	return g
}

// Stop ends the guard. The plugins are gone.
func (g *Guard) Stop() {
	close(g.stop)
	<-g.done
}

func (g *Guard) run() {
	defer close(g.done)
	for {
		err := g.once()
		select {
		case <-g.stop:
			return
		case <-time.After(guardAgain):
		}
		g.log.Warn("what plugins have started may outlive a daemon that is killed: the process that looks after it has ended, and is started again", "error", err)
	}
}

// once is the life of one guard.
func (g *Guard) once() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer to.Close()
	cmd := exec.Command(self, GuardArgument)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stdin = from
	cmd.Dir = "/"
	// What interrupts a terminal's processes, or ends a group, is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	from.Close()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if _, err := fmt.Fprintln(to, RunID()); err != nil {
		_ = cmd.Process.Kill()
		return <-ended
	}
	select {
	case err := <-ended:
		return err
	case <-g.stop:
	}
	to.Close()
	select {
	case err := <-ended:
		return err
	case <-time.After(guardGrace):
		_ = cmd.Process.Kill() // it is stopped: whoever looks finds no process of ours
		return <-ended
	}
}

// RunGuard is the guard's life: it reads a run's id, waits for the end of its
// input, then ends what is left of that run's plugins.
func RunGuard(in io.Reader) {
	// A service manager asks every process of a service to stop; the plugins
	// may then still be draining.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	lines := bufio.NewReaderSize(in, 64)
	id, err := lines.ReadString('\n')
	if err != nil {
		return // it has ended before it had plugins
	}
	debug.FreeOSMemory() // start-up was the larger part
	_, _ = io.Copy(io.Discard, lines)
	EndRun(strings.TrimSuffix(id, "\n"))
}
