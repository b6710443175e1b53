package plugin

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
)

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
	cmd := exec.Command(self, guard.Argument)
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
	if _, err := io.WriteString(to, RunID()); err != nil {
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
