//go:build !linux

package plugin

import (
	"os"
	"os/exec"
	"syscall"
)

// execPath: there is no portable way to run an open descriptor; whoever may
// write the directory can replace the program between check and exec.
func execPath(p *program, extra []*os.File) (string, []*os.File, func(), error) {
	return p.path, extra, func() {}, nil
}

// processAttributes: without a parent-death signal the liveness pipe alone
// ends the plugin when we die.
func processAttributes(id identity) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: id.credential}
}

// reap waits for the end, then kills what is left of the group: there is no
// portable wait that leaves a zombie to hold the id meanwhile.
func (c *child) reap(cmd *exec.Cmd) {
	_ = cmd.Wait() // the state says all that the error does
	c.mu.Lock()
	killGroup(c.pid, syscall.SIGKILL)
	c.reaped = true
	c.mu.Unlock()
	c.state = cmd.ProcessState
}
