package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
)

// runtimeDirectory is the directory for sockets, which is this process's alone
// while it holds the lock in it.
type runtimeDirectory struct {
	path    string
	log     hclog.Logger
	lock    *os.File               // nil: the directory is temporary, and nobody else knows it
	trouble atomic.Pointer[string] // nil: it can be used
}

// openRuntimeDir makes the directory for sockets and locks it. The default one
// belongs to root: an ordinary user who has not named another gets one that
// goes again.
func openRuntimeDir(d config.Daemon, log hclog.Logger) (*runtimeDirectory, error) {
	lock, err := lockDir(d.RuntimeDir)
	if err == nil {
		r := &runtimeDirectory{path: d.RuntimeDir, log: log, lock: lock}
		r.takeOver()
		return r, nil
	}
	if errors.Is(err, os.ErrPermission) && d.RuntimeDir == config.DefaultRuntimeDir {
		if dir, _, err := temporaryRuntimeDir(); err == nil {
			log.Info("the runtime directory is not ours to use; using another", "wanted", d.RuntimeDir, "used", dir)
			return &runtimeDirectory{path: dir, log: log}, nil
		}
	}
	return nil, fmt.Errorf("the runtime directory cannot be used: %w; set daemon { runtime_dir } to a directory that this user may write and no other daemon uses", err)
}

// close gives the lock up, and removes a temporary directory.
func (r *runtimeDirectory) close() {
	if r.lock == nil {
		os.RemoveAll(r.path)
		return
	}
	r.lock.Close()
}

// watch keeps the directory there until ctx is done.
func (r *runtimeDirectory) watch(ctx context.Context) {
	for sleep(ctx, time.Second) {
		r.keep()
	}
}

// keep makes and locks the directory again where somebody has removed it: until
// then another daemon could take it, and no plugin could be started.
func (r *runtimeDirectory) keep() {
	if r.lock == nil {
		r.settle(os.MkdirAll(r.path, 0o700), false)
		return
	}
	ours, err := r.lock.Stat()
	if err != nil {
		r.settle(err, false)
		return
	}
	if now, err := os.Lstat(lockPath(r.path)); err == nil && os.SameFile(ours, now) {
		r.settle(nil, false)
		return
	}
	lock, err := lockDir(r.path)
	if err == nil {
		r.lock.Close()
		r.lock = lock
		r.takeOver()
	}
	r.settle(err, true)
}

// takeOver ends what plugins of the run that had the directory before have left
// behind, by the id in the lock, and leaves our own there.
func (r *runtimeDirectory) takeOver() {
	was, err := io.ReadAll(io.NewSectionReader(r.lock, 0, 64))
	if id := string(was); err == nil && id != plugin.RunID() && !guard.EndRun(id) {
		r.log.Warn("what plugins of an earlier run have started does not end", "run", id)
	}
	if err = r.lock.Truncate(0); err == nil {
		_, err = r.lock.WriteAt([]byte(plugin.RunID()), 0)
	}
	if err != nil {
		r.log.Warn("what plugins start may outlive a daemon that is killed: its id cannot be written", "path", lockPath(r.path), "error", err)
	}
}

// settle notes how the directory is, and logs a change.
func (r *runtimeDirectory) settle(err error, made bool) {
	before := r.wrong()
	var trouble *string
	if err != nil {
		text := fmt.Sprintf("the runtime directory %s was removed and cannot be made again, so no plugin can be started and no command reaches the daemon: %v", r.path, err)
		trouble = &text
	}
	switch {
	case trouble != nil && before == "":
		r.log.Error(*trouble)
	case trouble == nil && made:
		r.log.Warn("the runtime directory was removed while it was in use; it is made again", "path", r.path)
	}
	r.trouble.Store(trouble)
}

// wrong is why the directory cannot be used, "" where it can.
func (r *runtimeDirectory) wrong() string {
	if trouble := r.trouble.Load(); trouble != nil {
		return *trouble
	}
	return ""
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// lockDir makes a directory and takes its lock, which the kernel frees when
// this process ends, however it does.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockPath(dir), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another daemon", dir)
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

// temporaryRuntimeDir makes a directory for sockets that goes again: for what
// may run beside a daemon. Its path is short, since socket paths must be.
func temporaryRuntimeDir() (dir string, remove func(), err error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		base = ""
	}
	dir, err = os.MkdirTemp(base, "fnm")
	if err != nil {
		return "", nil, fmt.Errorf("a directory for sockets cannot be made: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil //nolint:gosec // the user's own environment names it
}
