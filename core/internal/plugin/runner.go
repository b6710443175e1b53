package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// Descriptors that a plugin inherits.
const (
	ringDescriptor     = 3
	livenessDescriptor = 4
)

// maxHandshake bounds the first line of stdout, in bytes: addresses and one
// certificate. go-plugin could not read a line of 64 KiB.
const maxHandshake = 16 << 10

// processRunner runs one plugin process for go-plugin, which sees nothing but the
// handshake line: stderr goes to our own parser, since go-plugin's can be
// made to panic, and what else comes on stdout is thrown away.
type processRunner struct {
	launch   context.Context // when it is done nothing is started any more
	spec     Spec
	id       identity
	memory   *bound
	dir      string // for the plugin's socket
	env      []string
	mark     string // of the process and all that it starts
	out      *output
	inherits []*os.File // descriptors 3 and 4, closed once it runs

	handshake *io.PipeReader // what go-plugin reads
	toParent  *io.PipeWriter

	mu       sync.Mutex
	first    []byte // first line of stdout, without its newline
	complete bool   // the line is whole
	child    *child
	killed   bool // it ran when it was killed
	started  time.Time

	cause    atomic.Pointer[error] // why we killed it, if we did
	finished chan struct{}         // closed when it has ended and its output was read
}

var _ runner.Runner = (*processRunner)(nil)

// newRunner is called by go-plugin with the environment that the handshake
// needs and the directory for the plugin's socket.
func newRunner(launch context.Context, spec Spec, id identity, out *output, files launchFiles, cmd *exec.Cmd, dir string) (*processRunner, error) {
	var contract []string
	if files.rings != nil {
		contract = append(contract, host.EnvRingFD+"="+strconv.Itoa(ringDescriptor))
	}
	memory := newBound(spec.Memory, fmt.Sprintf("%s-%s-%s", spec.Kind, spec.Name, spec.Instance), spec.Logger)
	contract = append(contract, memory.environment(spec.Env)...)
	sign := newMark()
	contract = append(contract,
		sign,
		host.EnvLivenessFD+"="+strconv.Itoa(livenessDescriptor),
		host.EnvLogLevel+"="+logLevel(spec.Logger))
	contract = append(contract, cmd.Env...)
	env, err := environment(spec.Env, contract)
	if err != nil {
		memory.end(spec.Logger)
		return nil, err
	}
	if id.credential != nil {
		// The plugin's user makes the socket; nobody else can reach it.
		if err := os.Chown(dir, int(id.credential.Uid), int(id.credential.Gid)); err != nil {
			memory.end(spec.Logger)
			return nil, fmt.Errorf("handing the socket directory to user %s: %w", spec.User, err)
		}
	}
	r, w := io.Pipe()
	return &processRunner{
		launch: launch, spec: spec, id: id, memory: memory, dir: dir, env: env, mark: sign, out: out, inherits: files.inherit,
		handshake: r, toParent: w, finished: make(chan struct{}),
	}, nil
}

// logLevel is what a plugin need not go below.
func logLevel(log hclog.Logger) string {
	switch level := log.GetLevel(); level {
	case hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error:
		return level.String()
	case hclog.Off:
		return hclog.Error.String()
	}
	return hclog.Info.String()
}

// Start runs the program.
func (p *processRunner) Start(context.Context) error {
	program, err := openProgram(p.spec.Path, p.spec.SHA256)
	if err != nil {
		return err
	}
	defer program.close()
	stderr := p.out.stream()
	p.mu.Lock()
	defer p.mu.Unlock()
	// Under the lock: who kills after the launch was given up finds the child.
	if err := p.launch.Err(); err != nil {
		return err
	}
	p.started = time.Now()
	c, pipes, err := startPiped(childSpec{program: program, dir: p.spec.Dir, env: p.env, extra: p.inherits, id: p.id, memory: p.memory},
		p.takeStdout, stderr.take)
	if err != nil {
		if why := explainDir(p.spec.Dir, p.spec.User, p.id, err); why != nil {
			return why
		}
		return explainExec(p.spec.Path, err)
	}
	p.child = c
	p.limitMemory()
	go func() {
		<-c.done
		p.memory.end(p.spec.Logger)
		if !mark.End(p.mark, guard.Limit) {
			p.spec.Logger.Warn("what an ended plugin has started does not end", "mark", p.mark)
		}
		pipes.finish()
		stderr.end()
		p.toParent.Close()
		close(p.finished)
	}()
	return nil
}

// limitMemory holds a process that has just started to its limit where no
// cgroup does.
func (p *processRunner) limitMemory() {
	if p.memory == nil || p.memory.group != nil {
		return
	}
	c := p.child
	// For one that takes everything between two looks; it may fail, as for a
	// process of another user.
	_ = limitData(c.pid, p.memory.limit)
	go func() {
		if p.memory.watch(c) {
			cause := p.memory.err()
			p.cause.CompareAndSwap(nil, &cause)
			c.signal(syscall.SIGKILL)
		}
	}()
}

// takeStdout hands the first line to go-plugin.
func (p *processRunner) takeStdout(b []byte) bool {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	p.mu.Lock()
	room := maxHandshake - len(p.first)
	if len(line) >= room {
		line, whole = line[:room], true
	}
	p.first = append(p.first, line...)
	p.complete = whole
	text := append(bytes.Clone(p.first), '\n')
	p.mu.Unlock()
	if whole {
		_, _ = p.toParent.Write(text) // it fails when nobody waits for it any more
	}
	return !whole
}

// firstLine is the beginning of stdout, for error messages.
func (p *processRunner) firstLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return clean(p.first, 160)
}

// protocol returns the version of the contract that the handshake names.
func (p *processRunner) protocol() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	part := strings.Split(string(p.first), "|")
	if !p.complete || len(part) < 4 || part[0] != "1" {
		return 0, false
	}
	version, err := strconv.Atoi(part[1])
	return version, err == nil
}

func (p *processRunner) running() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child
}

// endedItself tells whether it has ended without being killed by us.
func (p *processRunner) endedItself() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child != nil && p.child.wait(0) && !p.killed
}

// exit is how it ended; only after finished.
func (p *processRunner) exit() Exit {
	c := p.running()
	if c == nil {
		return Exit{Code: -1}
	}
	exit := newExit(c.state, time.Since(p.started))
	exit.Lines, exit.Panic = p.out.last(), p.out.panicked()
	if cause := p.cause.Load(); cause != nil {
		exit.Cause = *cause
	}
	if exit.Cause == nil && p.memory.exceeded(&exit) {
		exit.Cause = p.memory.err()
	}
	return exit
}

// Wait returns when the process has ended. How is told by exit, not here:
// go-plugin would log it a second time.
func (p *processRunner) Wait(context.Context) error {
	if p.running() != nil {
		<-p.finished
	}
	return nil
}

// Kill ends the process and its group.
func (p *processRunner) Kill(context.Context) error {
	c := p.running()
	if c == nil {
		return nil
	}
	if !c.wait(0) {
		p.mu.Lock()
		p.killed = true
		p.mu.Unlock()
	}
	if !c.kill(killLimit) {
		return fmt.Errorf("process %d does not end though it was killed; it hangs in the kernel", c.pid)
	}
	return nil
}

// Stdout gives the handshake line, then nothing until the process ends.
func (p *processRunner) Stdout() io.ReadCloser { return p.handshake }

// Stderr is empty.
func (p *processRunner) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Diagnose is empty: our own errors say more than go-plugin can know.
func (p *processRunner) Diagnose(context.Context) string { return "" }

// Name is the program.
func (p *processRunner) Name() string { return p.spec.Path }

// ID is the process id, empty before the start.
func (p *processRunner) ID() string {
	if c := p.running(); c != nil {
		return strconv.Itoa(c.pid)
	}
	return ""
}

var errAddress = errors.New("the plugin does not listen in the directory that it was given")

// PluginToHost accepts only a socket in the plugin's own directory: an address
// is a plugin's word, and must not make us connect anywhere else.
func (p *processRunner) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != filepath.Clean(p.dir) {
		return "", "", fmt.Errorf("%w: %s %q", errAddress, clean([]byte(network), 16), clean([]byte(address), 128))
	}
	info, err := os.Lstat(address)
	if err != nil {
		return "", "", fmt.Errorf("the plugin's socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return "", "", fmt.Errorf("%w: %q is not a socket", errAddress, clean([]byte(address), 128))
	}
	return network, address, nil
}

// HostToPlugin changes nothing: both see the same file system.
func (p *processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
