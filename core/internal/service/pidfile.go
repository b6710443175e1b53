package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// PIDFile is a file that holds this process's id. It is locked as long as the
// process lives, however it ends: a file without a lock is stale.
type PIDFile struct {
	path string
	file *os.File
}

// RunningError says that another process holds the PID file.
type RunningError struct {
	Path string
	PID  int // 0 if it has not been written yet
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("already running: another process holds %s; stop it, or name another file with --pid-file", e.Path)
	}
	return fmt.Sprintf("already running: process %d holds %s; stop it, or name another file with --pid-file", e.PID, e.Path)
}

// WritePIDFile takes the file's lock and writes our process id into it. A
// stale file is taken over; *RunningError tells who holds one that is not. A
// file that holds anything but a process id is left alone.
func WritePIDFile(path string) (*PIDFile, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("the PID file's path cannot be made absolute: %w", err)
	}
	for {
		p, err := lockPIDFile(path)
		if err != nil {
			return nil, err
		}
		if !p.isStill() {
			p.file.Close() // its owner removed it between our opening and locking it
			continue
		}
		if err := p.write(); err != nil {
			p.file.Close()
			return nil, fmt.Errorf("the PID file %s cannot be written: %w", path, err)
		}
		return p, nil
	}
}

// lockPIDFile opens, locks and looks into the file.
func lockPIDFile(path string) (*PIDFile, error) {
	// Neither a link to somebody's file nor a pipe without a reader.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644) //nolint:gosec // anyone may know a process id
	if err != nil {
		return nil, fmt.Errorf("the PID file cannot be opened: %w; its directory must exist, and be ours to write", err)
	}
	p := &PIDFile{path: path, file: f}
	pid, known := p.read()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &RunningError{Path: path, PID: pid}
	case err != nil:
		err = fmt.Errorf("locking the PID file %s: %w", path, err)
	case !known:
		err = fmt.Errorf("%s is not a PID file: it holds something else than a process id; name another with --pid-file", path)
	default:
		return p, nil
	}
	f.Close()
	return nil, err
}

// read returns what the file says. A new file is empty; known is false if it
// holds anything but one process id.
func (p *PIDFile) read() (pid int, known bool) {
	if info, err := p.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	text, err := io.ReadAll(io.NewSectionReader(p.file, 0, 64))
	if err != nil {
		return 0, false
	}
	line := strings.TrimSpace(string(text))
	if line == "" {
		return 0, len(text) < 64
	}
	pid, err = strconv.Atoi(line)
	return pid, err == nil && pid > 0
}

func (p *PIDFile) write() error {
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// isStill tells whether the path still names the file we have.
func (p *PIDFile) isStill() bool {
	ours, err := p.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(p.path) //nolint:gosec // the operator names it
	return err == nil && os.SameFile(ours, named)
}

// Remove removes the file, if it is still ours, and gives up the lock. There
// need not be one.
func (p *PIDFile) Remove() error {
	if p == nil {
		return nil
	}
	defer p.file.Close()
	if pid, _ := p.read(); pid != os.Getpid() || !p.isStill() {
		return nil
	}
	if err := os.Remove(p.path); err != nil { //nolint:gosec // the operator names it
		return fmt.Errorf("the PID file cannot be removed: %w", err)
	}
	return nil
}
