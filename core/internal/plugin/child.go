package plugin

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// childSpec is what a process is started with.
type childSpec struct {
	program *program
	args    []string // without the program's name
	dir     string   // "" ours
	env     []string
	stdout  *os.File
	stderr  *os.File
	extra   []*os.File // descriptors 3, 4, …
	id      identity
	memory  *bound // nil: no limit
}

// child is a process in a group of its own. It is killed with everything in
// its group when it ends, and by the kernel when we do.
type child struct {
	pid    int
	done   chan struct{} // closed when it has ended and was reaped
	state  *os.ProcessState
	mu     sync.Mutex
	reaped bool
}

func startChild(spec childSpec) (*child, error) {
	c := &child{done: make(chan struct{})}
	started := make(chan error, 1)
	go c.keep(spec, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// keep starts the process and stays until it has ended. The thread is locked
// and never unlocked: the parent-death signal follows the thread that forked,
// and what restrictThread changes must never serve another goroutine.
func (c *child) keep(spec childSpec, started chan<- error) {
	runtime.LockOSThread()
	if err := restrictThread(spec.id); err != nil {
		started <- err
		return
	}
	cmd, err := startBusy(spec)
	if err != nil {
		started <- err
		return
	}
	c.pid = cmd.Process.Pid
	yieldMemory(c.pid)
	started <- nil
	c.reap(cmd)
	close(c.done)
}

// startBusy starts the process. A program just written may still be open for
// writing in a process that another goroutine is forking at this moment.
func startBusy(spec childSpec) (*exec.Cmd, error) {
	for try := 1; ; try++ {
		cmd, err := start(spec)
		if !errors.Is(err, syscall.ETXTBSY) || try == 5 {
			return cmd, err
		}
		time.Sleep(time.Duration(try) * 10 * time.Millisecond)
	}
}

// start starts the process. Where the system refuses to start it in its cgroup,
// as a container's filter of system calls may, it is moved there afterwards.
func start(spec childSpec) (*exec.Cmd, error) {
	if spec.memory == nil || spec.memory.group == nil {
		return startIn(spec, nil)
	}
	cmd, err := startIn(spec, spec.memory.group)
	if err == nil || errors.Is(err, syscall.ETXTBSY) {
		return cmd, err
	}
	if cmd, err = startIn(spec, nil); err == nil {
		spec.memory.take(cmd.Process.Pid)
	}
	return cmd, err
}

func startIn(spec childSpec, in *group) (*exec.Cmd, error) {
	path, extra, release, err := execPath(spec.program, spec.extra)
	if err != nil {
		return nil, err
	}
	defer release()
	attributes := processAttributes(spec.id)
	in.into(attributes)
	cmd := &exec.Cmd{
		Path:        path,
		Args:        append([]string{spec.program.path}, spec.args...),
		Dir:         spec.dir,
		Env:         spec.env,
		Stdout:      spec.stdout,
		Stderr:      spec.stderr,
		ExtraFiles:  extra,
		SysProcAttr: attributes,
	}
	return cmd, cmd.Start()
}

// signal sends sig to the process and its group; nothing once it has ended.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		killGroup(c.pid, sig)
	}
}

// kill ends the process and its group. It waits at most for limit and tells
// whether the process is gone: one that hangs in the kernel stays.
func (c *child) kill(limit time.Duration) bool {
	c.signal(syscall.SIGKILL)
	return c.wait(limit)
}

func (c *child) wait(limit time.Duration) bool {
	select {
	case <-c.done:
		return true
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}

func killGroup(pid int, sig syscall.Signal) {
	// ESRCH: the group is gone, which is what was wanted.
	_ = syscall.Kill(-pid, sig)
}
