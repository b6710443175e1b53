package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

const (
	// grace is what a script has between SIGTERM and SIGKILL.
	grace = 2 * time.Second
	// pipeDelay is how long a finished script's background processes may
	// hold its output before we stop listening.
	pipeDelay = 500 * time.Millisecond
)

// call is one run of the script.
type call struct {
	argv    []string
	env     []string
	mark    string // in env, as the value of envCall
	stdin   []byte
	timeout time.Duration
	now     <-chan struct{} // when closed, a script that is being stopped has no grace left
	sweeper *sweeper
	log     hclog.Logger
}

// errNotStarted means that nothing was run.
var errNotStarted = errors.New("cannot start")

// run runs the script to its end, to its timeout or to the end of ctx. It
// returns nil where the script exited with status 0.
//
// The script leads a process group of its own, and at the timeout the whole
// group gets SIGTERM and, two seconds later, SIGKILL, and so does what has left
// it. A process that the script has left in the background when it ends by itself
// is left alone. Where the plugin itself dies, the system kills the script (see
// attributes) and the sweeper the rest.
func (c *call) run(ctx context.Context) error {
	stdout := &output{emit: func(line string) { c.log.Info("script says", "line", line) }}
	stderr := &output{emit: func(line string) { c.log.Warn("script says", "line", line) }}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	// A script need not read its input: os/exec writes it from a goroutine
	// and takes a broken pipe for an end.
	cmd.Stdin = bytes.NewReader(c.stdin)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = pipeDelay
	done, err := start(cmd)
	if err != nil {
		return fmt.Errorf("%w %s: %w", errNotStarted, c.argv[0], err)
	}
	if err := c.sweeper.add(cmd.Process.Pid, c.mark); err != nil {
		c.log.Warn("what scripts start may outlive a plugin that is killed: the process that looks after it does not answer", "error", err)
	}
	defer func() { _ = c.sweeper.remove(cmd.Process.Pid) }() // that it failed was told above
	why, err := c.wait(ctx, cmd.Process.Pid, done)

	_, lostOut := stdout.close()
	last, lostErr := stderr.close()
	if lost := lostOut + lostErr; lost > 0 {
		c.log.Warn("the script said more than is logged", "limit_bytes", maxOutput, "lost_bytes", lost)
	}
	return c.verdict(err, why, last)
}

// start starts the script on a thread of its own, which lives until the script
// has ended: the system takes the thread's end for its parent's death.
func start(cmd *exec.Cmd) (done <-chan error, err error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// wait waits for the script, or stops it. why says in the second case why.
func (c *call) wait(ctx context.Context, pid int, done <-chan error) (why string, err error) {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return "", err
	case <-timer.C:
		why = fmt.Sprintf("was stopped after %s (timeout)", c.timeout)
	case <-ctx.Done():
		why = "was stopped: " + context.Cause(ctx).Error()
	}
	return why, c.stopGroup(pid, done)
}

// stopGroup ends the process group that pid leads, and what the call has started
// outside of it. The group keeps its number while any of its processes lives; once
// none does it is left alone, so that nothing else is ever hit.
func (c *call) stopGroup(pid int, done <-chan error) error {
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	mark.Signal(envCall+"="+c.mark, syscall.SIGTERM)
	end := time.NewTimer(grace)
	defer end.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	gone := false // the group is, and its number may become another's
	kill := func(reaped bool, err error) error {
		if gone {
			pid = 0
		}
		killCall(pid, c.mark)
		if !reaped {
			err = <-done
		}
		return err
	}
	var err error
	for reaped := false; ; {
		select {
		case err = <-done:
			reaped, done = true, nil
		case <-poll.C:
			gone = gone || reaped && errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH)
			if gone && mark.Signal(envCall+"="+c.mark, 0) == 0 {
				return err
			}
		case <-end.C:
			return kill(reaped, err)
		case <-c.now:
			return kill(reaped, err)
		}
	}
}

// verdict says how the run ended.
func (c *call) verdict(err error, why, lastLine string) error {
	if why == "" && (err == nil || errors.Is(err, exec.ErrWaitDelay)) {
		return nil
	}
	if why == "" {
		why = "failed: " + err.Error()
	}
	if lastLine != "" {
		return fmt.Errorf("%s %s; its last words: %s", c.argv[0], why, lastLine)
	}
	return fmt.Errorf("%s %s", c.argv[0], why)
}
