package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// system is what all parts of a running daemon or replay share.
type system struct {
	opt         Options
	log         hclog.Logger
	runtimeDir  string
	names       *idSets
	loop        *loop
	plan        atomic.Pointer[count.Plan] // that captures get
	tokens      atomic.Uint64
	quarantines atomic.Uint64
}

// token names one batch of descriptors; tokens of a connection grow.
func (s *system) token() uint64 { return s.tokens.Add(1) }

// instance keeps a block's process alive.
func (s *system) instance(p *prepared, hooks plugin.Hooks) *plugin.Instance {
	process := p.block.Process
	return plugin.NewInstance(plugin.Config{
		Spec: p.launchSpec(s.runtimeDir, s.log), Hooks: hooks,
		MinBackoff: process.Backoff, MaxBackoff: process.MaxBackoff, CallTimeout: process.StartTimeout,
	})
}

// startAll starts instances together and waits until each has come to
// something.
func startAll(ctx context.Context, instances []*plugin.Instance) {
	var up sync.WaitGroup
	for _, inst := range instances {
		inst.Start()
		up.Go(func() { awaitUp(ctx, inst) })
	}
	up.Wait()
}

// awaitUp returns when an instance runs, has ended or will be tried again.
func awaitUp(ctx context.Context, inst *plugin.Instance) {
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		switch inst.Status().State {
		case plugin.Running, plugin.Unhealthy, plugin.BackingOff, plugin.Draining:
			return
		}
		select {
		case <-inst.Done():
			return
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// refusal is why an instance failed for good, as a diagnostic where the plugin
// gave none.
func refusal(inst *plugin.Instance, p *prepared) hcl.Diagnostics {
	if inst.Status().State != plugin.Failed {
		return nil
	}
	if p.diags.HasErrors() {
		return p.diags
	}
	b := p.block
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Plugin failed", Subject: b.Range.Ptr(),
		Detail: fmt.Sprintf("%s %q %q: %s", b.Kind, b.Name, b.Instance, inst.Status().Message),
	}}
}

// runtimeDir returns the directory for sockets, for this process alone. The
// default one belongs to root: an ordinary user who has not named another gets
// one that goes again.
func runtimeDir(d config.Daemon, log hclog.Logger) (dir string, release func(), err error) {
	release, err = lockDir(d.RuntimeDir)
	if err == nil {
		return d.RuntimeDir, release, nil
	}
	if errors.Is(err, os.ErrPermission) && d.RuntimeDir == config.DefaultRuntimeDir {
		if dir, remove, err := temporaryRuntimeDir(); err == nil {
			log.Info("the runtime directory is not ours to use; using another", "wanted", d.RuntimeDir, "used", dir)
			return dir, remove, nil
		}
	}
	return "", nil, fmt.Errorf("the runtime directory cannot be used: %w; set daemon { runtime_dir } to a directory that this user may write and no other daemon uses", err)
}

// lockDir makes a directory and takes its lock, which the kernel frees when
// this process ends, however it does.
func lockDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
	return func() { f.Close() }, nil
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
