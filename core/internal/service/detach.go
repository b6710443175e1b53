package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// detachedEnv marks a process that Detach started; it is removed at once. Its
// value is the number of the descriptor on which the parent waits for word.
const (
	detachedEnv = "FASTNETMON_DETACHED"
	detachedFD  = 3
)

// ready is the word that the parent waits for.
const ready = "READY"

// Times of the parent: for what the child still has to say when it has ended
// or is ready, and for ending when it is told to.
const (
	lastWords    = 500 * time.Millisecond
	detachedStop = 15 * time.Second
)

// Detached is a process's tie to the parent that waits for it.
type Detached struct{ pipe *os.File }

// InDetached returns the tie to the parent in a process that Detach started,
// and nil in any other. It must be called once, before any program is started.
func InDetached() *Detached {
	_, marked := os.LookupEnv(detachedEnv)
	os.Unsetenv(detachedEnv)
	if !marked {
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(detachedFD, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil // somebody else set the variable
	}
	unix.CloseOnExec(detachedFD)
	return &Detached{pipe: os.NewFile(detachedFD, "parent")}
}

// Ready lets go of the terminal and of the directory, and lets the parent
// return. Before it, what is written to standard error reaches the parent's;
// after it, nobody. Relative paths mean something else from here on. Nothing
// happens to a process that is not detached.
func (d *Detached) Ready() error {
	if d == nil {
		return nil
	}
	defer d.pipe.Close()
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("going into the background: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("going into the background: %w", err)
	}
	defer null.Close()
	for fd := range 3 {
		if err := replaceFD(int(null.Fd()), fd); err != nil {
			return fmt.Errorf("going into the background: %w", err)
		}
	}
	// A parent that was killed while it waited is nothing to stop for.
	_, _ = d.pipe.WriteString(ready)
	return nil
}

// Detach starts this program again, with the same arguments, in a session of
// its own, and waits until it says that it is ready (exit code 0), or ends:
// then the code is its own, or 128 and the signal's number. What it writes to
// standard error until then goes to stderr. When ctx is done while it waits,
// the child is told to stop.
func Detach(ctx context.Context, stderr io.Writer) (code int, err error) {
	closeInherited()
	words, wordsEnd, err := os.Pipe()
	if err != nil {
		return 1, fmt.Errorf("starting in the background: %w", err)
	}
	defer words.Close()
	said, saidEnd, err := os.Pipe()
	if err != nil {
		wordsEnd.Close()
		return 1, fmt.Errorf("starting in the background: %w", err)
	}
	defer said.Close()
	cmd, err := startDetached(saidEnd, wordsEnd)
	saidEnd.Close()
	wordsEnd.Close()
	if err != nil {
		return 1, fmt.Errorf("starting in the background: %w", err)
	}
	relayed := make(chan struct{})
	go func() {
		_, _ = io.Copy(stderr, said)
		close(relayed)
	}()
	code, err = awaitDetached(ctx, cmd, words)
	// Something the child started may hold its standard error open.
	_ = said.SetReadDeadline(time.Now().Add(lastWords))
	<-relayed
	return code, err
}

func startDetached(stderr, words *os.File) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program, Args: os.Args, Env: append(os.Environ(), fmt.Sprintf("%s=%d", detachedEnv, detachedFD)),
		Stderr: stderr, ExtraFiles: []*os.File{words}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	return cmd, cmd.Start()
}

// awaitDetached waits until the child is ready or has ended.
func awaitDetached(ctx context.Context, cmd *exec.Cmd, words *os.File) (int, error) {
	heard := make(chan bool, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(words, int64(len(ready))))
		heard <- string(text) == ready
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	done, stopped := ctx.Done(), (<-chan time.Time)(nil)
	var err error
	for waiting := true; waiting; {
		select {
		case up := <-heard:
			if up {
				return 0, nil
			}
			heard = nil // it is ending, and will have said why
		case err = <-ended:
			waiting = false
		case <-done:
			done, stopped = nil, time.After(detachedStop)
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-stopped:
			_ = cmd.Process.Kill()
		}
	}
	// It may have got ready and ended before we looked.
	_ = words.SetReadDeadline(time.Now().Add(lastWords))
	if heard != nil && <-heard {
		return 0, nil
	}
	return exitOf(err)
}

// exitOf is the outcome of a child that ended without being ready. One that
// failed has said why itself.
func exitOf(err error) (int, error) {
	var exit *exec.ExitError
	if err == nil {
		return 1, errors.New("starting in the background: the program ended before it was ready")
	}
	if !errors.As(err, &exit) {
		return 1, fmt.Errorf("starting in the background: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), fmt.Errorf("starting in the background: the program was ended by a signal: %s", status.Signal())
	}
	return exit.ExitCode(), nil
}
