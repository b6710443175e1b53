package plugin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors from here on are clear of what the child is given.
const execDescriptor = 200

// execPath returns a path that leads to the opened program itself, so that
// nothing can be put in its place between check and exec.
func execPath(p *program, extra []*os.File) (string, []*os.File, func(), error) {
	if p.script {
		// The interpreter opens the script after the exec has closed our
		// copy; it gets one of its own behind the others.
		extra = append(extra[:len(extra):len(extra)], p.file)
		return fmt.Sprintf("/proc/self/fd/%d", 2+len(extra)), extra, func() {}, nil
	}
	fd, err := unix.FcntlInt(p.file.Fd(), unix.F_DUPFD_CLOEXEC, execDescriptor)
	if err != nil {
		return "", nil, nil, fmt.Errorf("no descriptor for %s (the limit on open files must be above %d): %w", p.path, execDescriptor, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), extra, func() { unix.Close(fd) }, nil
}

func processAttributes(id identity) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:     true,
		Pdeathsig:   syscall.SIGKILL,
		Credential:  id.credential,
		AmbientCaps: id.capabilities,
	}
}

// reap waits for the end. A zombie's id cannot be given away, so the group is
// killed before the zombie is collected: that hits nobody else.
func (c *child) reap(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	killGroup(c.pid, syscall.SIGKILL)
	c.reaped = true
	c.mu.Unlock()
	_ = cmd.Wait() // the state says all that the error does
	c.state = cmd.ProcessState
}
