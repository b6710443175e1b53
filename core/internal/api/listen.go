package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// SocketName is the control socket's name in the daemon's runtime directory.
const SocketName = "control.sock"

// probeTime bounds the question whether a socket is anybody's.
const probeTime = time.Second

// maxPath is the longest path of a socket, on systems that allow least (BSD,
// macOS).
const maxPath = 103

// listen opens a Unix socket with exactly this file mode. A socket that nobody
// listens on any more is replaced; one that somebody does is an error. Two
// daemons that start at the same moment are kept apart by the lock of the
// runtime directory, not here.
func listen(path string, mode os.FileMode) (*socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket: the path %s is too long for a socket: %d bytes, at most %d are possible", path, len(path), maxPath)
	}
	dir := filepath.Dir(path)
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	if err := checkFree(path); err != nil {
		return nil, err
	}
	// A socket gets its mode after it has got its name. So that nobody may use it
	// in between, it is made where nobody else comes, and then moved.
	private, err := os.MkdirTemp(dir, ".c")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it will have another name
	out := &socket{UnixListener: l, path: path}
	if err := out.publish(made, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return out, nil
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("control socket: its directory cannot be used: %w", err)
	case !info.IsDir():
		return fmt.Errorf("control socket: %s is no directory", dir)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0:
		return fmt.Errorf("control socket: every user may write to %s and put another socket in its place: take that right away (chmod o-w)", dir)
	}
	return nil
}

// checkFree tells whether a socket may be made at path.
func checkFree(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("control socket: %s exists and is no socket: remove it, or give another path", path)
	}
	conn, err := net.DialTimeout("unix", path, probeTime)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("control socket: another daemon answers at %s: stop it, or give this one a runtime_dir of its own", path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("control socket: %s may belong to another daemon: %w", path, err)
}

// socket is a listening Unix socket that takes its name away when it is closed.
type socket struct {
	*net.UnixListener
	path string
	made os.FileInfo
	once sync.Once
	err  error
}

// publish gives the socket its mode and then its name.
func (s *socket) publish(made string, mode os.FileMode) error {
	if err := os.Chmod(made, mode.Perm()); err != nil {
		return err
	}
	info, err := os.Lstat(made)
	if err != nil {
		return err
	}
	s.made = info
	return os.Rename(made, s.path)
}

// Close stops listening. The name goes only if it is still this socket's.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
			os.Remove(s.path)
		}
		s.err = s.UnixListener.Close()
	})
	return s.err
}

// limited takes so many connections at a time, and closes what is more.
type limited struct {
	net.Listener
	most    int64
	open    atomic.Int64
	refused func()
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &counted{Conn: conn, open: &l.open}, nil
		}
		l.open.Add(-1)
		conn.Close()
		l.refused()
	}
}

type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
