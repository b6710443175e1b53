package plugin

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Stop ends the process: it is asked to drain until ctx is done or
// DrainTimeout is over, then to exit, then made to. It returns when the process
// is gone, or at the latest six seconds after the drain, even if the plugin is
// stopped or hangs. It may be called several times and by several goroutines.
func (p *Process) Stop(ctx context.Context) Exit {
	p.stopOnce.Do(func() {
		p.stopping.Store(true)
		p.drain(ctx)
		p.end()
	})
	select {
	case <-p.released:
		return p.exit
	case <-time.After(2 * killLimit):
		p.log.Error("plugin process does not end though it was killed; it hangs in the kernel")
		return Exit{Code: -1}
	}
}

// Kill ends the process at once, as one that misbehaves: it is told as an
// unexpected exit. Stop must still be called.
func (p *Process) Kill() {
	p.killNow()
	select {
	case <-p.done:
	case <-time.After(killLimit):
	}
}

// KillFor is Kill with a reason, which the exit, the instance's state and the
// log then tell: "killed: its ring lies". The first reason counts.
func (p *Process) KillFor(cause error) {
	p.run.Load().cause.CompareAndSwap(nil, &cause)
	p.Kill()
}

func (p *Process) drain(ctx context.Context) {
	if p.ended() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.spec.DrainTimeout)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- p.host.Drain(ctx) }()
	select {
	case <-p.done:
	case err := <-failed:
		if err != nil && !p.ended() {
			p.log.Warn("plugin was not drained in time or failed to", "error", err)
		}
	}
}

// end has go-plugin ask the process to exit and goes on to harder means.
func (p *Process) end() {
	if p.ended() {
		return
	}
	p.closeClient()
	c := p.run.Load().running()
	if c.wait(exitGrace) {
		return
	}
	c.signal(syscall.SIGTERM)
	if !c.wait(termGrace) {
		c.signal(syscall.SIGKILL)
	}
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Process) killNow() {
	run := p.run.Load()
	if run == nil {
		return
	}
	if c := run.running(); c != nil && c.kill(killLimit) {
		<-run.finished // follows at once: reading its output has a deadline
	}
}

// watchExit tells how the process ended, once, and frees what it had.
func (p *Process) watchExit() {
	run := p.run.Load()
	<-run.finished
	p.exit = run.exit()
	p.exit.Expected = p.stopping.Load()
	close(p.done)
	p.logExit()
	p.release()
	close(p.released)
}

func (p *Process) logExit() {
	if p.exit.Expected {
		p.log.Info("plugin stopped", "how", p.exit.String(), "ran", p.exit.Ran.Round(time.Millisecond))
		return
	}
	fields := []any{"how", p.exit.String(), "ran", p.exit.Ran.Round(time.Millisecond), "stderr", p.exit.tail()}
	if p.exit.Cause != nil {
		fields = append(fields, "cause", p.exit.Cause)
	}
	if len(p.exit.Panic) > 0 {
		fields = append(fields, "panic", p.exit.trace())
	}
	p.log.Error("plugin ended unexpectedly", fields...)
}

// closeClient has go-plugin ask the process to exit and wait for that. It may
// take as long as the process lives: the call has no deadline.
func (p *Process) closeClient() {
	p.closeOnce.Do(func() {
		go func() {
			p.client.Kill()
			close(p.closed)
		}()
	})
}

// release frees descriptors, the connection and the socket's directory of a
// process that has ended.
func (p *Process) release() {
	p.closeClient()
	select {
	case <-p.closed:
	case <-time.After(killLimit):
		p.log.Error("the connection to an ended plugin cannot be closed")
	}
	if run := p.run.Load(); run != nil {
		if run.running() == nil {
			run.toParent.Close()
			run.memory.end(p.log)
		}
		if err := os.RemoveAll(run.dir); err != nil {
			p.log.Warn("the directory of a plugin's socket cannot be removed", "error", err)
		}
	}
	for _, s := range p.synced {
		s.end()
	}
	p.out.end()
	p.files.close()
}

func openLaunchFiles() (launchFiles, error) {
	rings, theirRings, err := ringChannel()
	if err != nil {
		return launchFiles{}, err
	}
	theirLiveness, liveness, err := os.Pipe()
	if err != nil {
		launchFiles{rings: rings, inherit: []*os.File{theirRings}}.close()
		return launchFiles{}, fmt.Errorf("the liveness pipe: %w", err)
	}
	return launchFiles{rings: rings, liveness: liveness, inherit: []*os.File{theirRings, theirLiveness}}, nil
}

func (f launchFiles) closeInherited() {
	for _, file := range f.inherit {
		file.Close()
	}
}

// close closes what is open of them; closing twice, or nothing, is harmless.
func (f launchFiles) close() {
	_ = f.rings.Close()
	_ = f.liveness.Close()
	f.closeInherited()
}
