package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// device takes commands to ExaBGP. Its methods are called by one goroutine.
type device interface {
	// open reaches ExaBGP; it does not wait for it.
	open() error
	// command hands over one command. With an acknowledging device it returns once
	// ExaBGP has carried it out; errRefused means that ExaBGP would not.
	command(line string) error
	// alive reports whether the one who was reached is still there.
	alive() bool
	// look compares what ExaBGP has with what it should have; nil without an
	// answer to that.
	look() (*view, error)
	close()
}

var (
	errRefused = errors.New("ExaBGP refuses it (its log says why)")
	errGone    = errors.New("whoever read the pipe has gone")
)

// patience is how long a reader may leave the pipe full, and pollPause what is
// waited between two looks.
const (
	patience  = time.Second
	pollPause = 2 * time.Millisecond
)

// pipe is the writing end of a named pipe. It blocks nowhere.
type pipe struct {
	path string
	fd   int // -1: closed
}

func (p *pipe) open() error {
	fd, err := openFIFO(p.path, unix.O_WRONLY)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("nobody reads %s: ExaBGP, or its process that should, does not run", p.path)
	}
	if err != nil {
		return err
	}
	p.fd = fd
	return nil
}

// openFIFO opens a named pipe, and nothing that is something else.
func openFIFO(path string, mode int) (int, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s cannot be opened: %w", path, err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFIFO {
		_ = unix.Close(fd) // nothing was written
		return -1, fmt.Errorf("%s is no named pipe: make one with mkfifo", path)
	}
	return fd, nil
}

// command writes a line. A line is shorter than PIPE_BUF of Linux, so that it is
// written whole or not at all; where that is smaller, in parts.
func (p *pipe) command(line string) error {
	b := []byte(line + "\n")
	for end := time.Now().Add(patience); len(b) > 0; {
		n, err := unix.Write(p.fd, b)
		b = b[max(0, n):]
		switch {
		case err == nil, errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE):
			return errGone
		case !errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("writing to %s: %w", p.path, err)
		case time.Now().After(end):
			return fmt.Errorf("%s is full: whoever reads it has stopped reading", p.path)
		default:
			time.Sleep(pollPause)
		}
	}
	return nil
}

// alive is false once the last reader has closed the pipe.
func (p *pipe) alive() bool {
	fds := []unix.PollFd{{Fd: int32(p.fd)}}
	_, err := unix.Poll(fds, 0)
	return err != nil && errors.Is(err, unix.EINTR) || err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) == 0
}

func (p *pipe) look() (*view, error) { return nil, nil }

func (p *pipe) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd) // what was written is with the reader
	}
	p.fd = -1
}
