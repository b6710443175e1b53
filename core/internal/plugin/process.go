package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// DefaultStartTimeout bounds a launch, from exec to Describe.
const DefaultStartTimeout = 10 * time.Second

// DefaultDrainTimeout bounds the time a plugin has to flush when it stops.
const DefaultDrainTimeout = 10 * time.Second

// Times of the steps that end a process.
const (
	exitGrace = time.Second            // from being asked to stop to SIGTERM
	termGrace = time.Second            // from SIGTERM to SIGKILL
	lastWords = 250 * time.Millisecond // to end by itself after a failed launch
)

// Spec is what one process is launched with.
type Spec struct {
	Kind     string // of plugin; what Describe must say
	Name     string
	Instance string // the block's label

	Path   string // program, absolute
	SHA256 []byte // that the program must have; empty: any

	Env          map[string]string
	Dir          string        // working directory, which its user must be able to enter; "" ours
	User         string        // whose rights it gets; "" ours
	Capabilities []string      // that it keeps, as CAP_NET_RAW; it gets no others
	Memory       uint64        // octets that it may use; 0: no limit
	StartTimeout time.Duration // 0: DefaultStartTimeout
	DrainTimeout time.Duration // 0: DefaultDrainTimeout
	RuntimeDir   string        // for sockets; made with mode 0700 if it is missing
	Logger       hclog.Logger  // nil: nothing is logged
}

// Process is a launched plugin. Stop must be called in the end, also when the
// process has ended by itself.
type Process struct {
	owner       *syscall.Credential // nil: our user
	spec        Spec
	log         hclog.Logger
	run         atomic.Pointer[processRunner]
	out         *output
	synced      [2]*stream // what go-plugin hands on of stdout and stderr
	client      *goplugin.Client
	host        *host.Plugin
	description *host.Description
	files       launchFiles
	rights      string
	connected   atomic.Bool // the handshake is through
	stopping    atomic.Bool
	stopOnce    sync.Once
	closeOnce   sync.Once
	closed      chan struct{} // go-plugin has let go
	exit        Exit
	done        chan struct{} // the process has ended
	released    chan struct{} // nothing of it is left
}

// launchFiles are the descriptors of one launch.
type launchFiles struct {
	rings    *os.File // ours
	liveness *os.File // ours: the plugin sees its end close when we die
	inherit  []*os.File
}

// Launch starts a plugin and returns when it has described itself as the one
// that is wanted. It takes at most StartTimeout (and the second or two that
// killing takes); on an error nothing of the process is left. The error tells
// the first line of its stdout, the last of its stderr and what is likely wrong.
func Launch(ctx context.Context, spec Spec) (*Process, error) {
	if spec.StartTimeout <= 0 {
		spec.StartTimeout = DefaultStartTimeout
	}
	if spec.DrainTimeout <= 0 {
		spec.DrainTimeout = DefaultDrainTimeout
	}
	if spec.Logger == nil {
		spec.Logger = hclog.NewNullLogger()
	}
	spec.Logger = spec.Logger.With("kind", spec.Kind, "plugin", spec.Name, "instance", spec.Instance)
	p, err := launch(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("%s %q %q: %w", spec.Kind, spec.Name, spec.Instance, err)
	}
	return p, nil
}

func launch(ctx context.Context, spec Spec) (*Process, error) {
	if err := absolute(spec.Path); err != nil {
		return nil, err
	}
	id, err := resolveIdentity(spec.User, spec.Capabilities, spec.Logger)
	if err != nil {
		return nil, err
	}
	if err := checkDir(spec.Dir); err != nil {
		return nil, err
	}
	if err := prepareRuntimeDir(spec.RuntimeDir, id.credential != nil); err != nil {
		return nil, err
	}
	files, err := openLaunchFiles()
	if err != nil {
		return nil, err
	}
	p := &Process{
		owner: id.credential, spec: spec, log: spec.Logger, files: files, out: newOutput(spec.Logger, newLimiter()),
		closed: make(chan struct{}), done: make(chan struct{}), released: make(chan struct{}),
	}
	p.synced = [2]*stream{p.out.stream(), p.out.stream()}
	caller := ctx
	ctx, cancel := context.WithTimeout(caller, spec.StartTimeout)
	defer cancel()
	// A configuration serves one client: go-plugin changes it.
	p.client = goplugin.NewClient(p.config(ctx, id))
	err = p.connect(ctx)
	files.closeInherited()
	if err != nil {
		err = p.abandon(ctx, err)
		if caller.Err() != nil {
			err = caller.Err()
		}
		return nil, err
	}
	p.log = p.log.With("pid", p.PID())
	p.logLaunch(id)
	go p.watchExit()
	return p, nil
}

// logLaunch says with which rights and limits a process runs.
func (p *Process) logLaunch(id identity) {
	p.rights = id.String()
	if memory := p.run.Load().memory; memory != nil {
		p.rights += ", memory limit " + memory.String()
	}
	p.log.Debug("plugin launched", "version", p.description.Version, "path", p.spec.Path, "rights", p.rights)
}

// config builds the client configuration of one launch.
func (p *Process) config(ctx context.Context, id identity) *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig:  host.Handshake,
		VersionedPlugins: host.PluginSets(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     p.spec.StartTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.spec.RuntimeDir},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}), // we tell what happens ourselves
		SyncStdout:       p.synced[0],
		SyncStderr:       p.synced[1],
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(host.MaxMessage)),
			// The socket is unlinked: a connection given up as idle could not be made again.
			grpc.WithIdleTimeout(0),
		},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			run, err := newRunner(ctx, p.spec, id, p.out, p.files, cmd, dir)
			if err != nil {
				// go-plugin forgets the directory it has just made.
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			p.run.Store(run)
			return run, nil
		},
	}
}

// connect goes from exec to Describe. When ctx ends, the process is killed,
// and with it everything that waits for it.
func (p *Process) connect(ctx context.Context) error {
	var err error
	done := make(chan struct{})
	go func() {
		err = p.handshake(ctx)
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
	}
	p.killNow()
	select {
	case <-done:
	case <-time.After(killLimit):
	}
	return ctx.Err()
}

func (p *Process) handshake(ctx context.Context) error {
	if _, err := p.client.Start(); err != nil {
		return err
	}
	var err error
	if p.host, err = host.Dispense(p.client); err != nil {
		return err
	}
	p.connected.Store(true)
	if p.description, err = p.host.Describe(ctx); err != nil {
		return err
	}
	if err := p.checkIdentity(); err != nil {
		return err
	}
	// Nobody else has business with the socket, and a crash leaves nothing.
	return os.RemoveAll(p.run.Load().dir)
}

// errMismatch marks a plugin that works but is not the one that is wanted.
var errMismatch = errors.New("wrong plugin")

func (p *Process) checkIdentity() error {
	d := p.description
	if err := identify(d, p.spec.Kind, p.spec.Name); err != nil {
		return fmt.Errorf("%w: %s: %w", errMismatch, p.spec.Path, err)
	}
	if ours := int(host.Handshake.ProtocolVersion); int(d.Protocol) != ours {
		return fmt.Errorf("%w: %s", errMismatch, protocolError(p.spec.Path, int(d.Protocol)))
	}
	return nil
}

func protocolError(path string, theirs int) string {
	ours := int(host.Handshake.ProtocolVersion)
	newer := "the plugin"
	if theirs > ours {
		newer = "this program"
	}
	return fmt.Sprintf("%s speaks version %d of the plugin contract, this program version %d; update %s", path, theirs, ours, newer)
}

// abandon ends a launch that failed and turns its error into one that helps.
func (p *Process) abandon(ctx context.Context, cause error) error {
	run := p.run.Load()
	ended := false
	if run != nil && run.running() != nil {
		// What ended by itself is about to say so; give it the moment.
		run.running().wait(lastWords)
		ended = run.endedItself() && ctx.Err() == nil
	}
	p.killNow()
	p.release()
	if run == nil || run.running() == nil || errors.Is(cause, errMismatch) {
		return cause
	}
	if version, ok := run.protocol(); ok && version != int(host.Handshake.ProtocolVersion) {
		return fmt.Errorf("%w: %s", errMismatch, protocolError(p.spec.Path, version))
	}
	exit := run.exit()
	what := clean([]byte(cause.Error()), 512)
	switch {
	case ctx.Err() != nil:
		what = fmt.Sprintf("no answer within %s", p.spec.StartTimeout)
	case ended:
		what = exit.how()
	}
	if p.connected.Load() {
		return fmt.Errorf("%s was launched but did not describe itself: %s%s", p.spec.Path, what, quoted(p.out))
	}
	first := run.firstLine()
	text := fmt.Sprintf("%s did not complete the handshake: %s; likely %s", p.spec.Path, what, explainHandshake(first, exit, ended))
	if first != "" {
		text += fmt.Sprintf("; the first line of its stdout is %q", first)
	}
	return errors.New(text + quoted(p.out))
}

// Host is the plugin's end of the contract.
func (p *Process) Host() *host.Plugin { return p.host }

// Description is what the plugin said of itself.
func (p *Process) Description() *host.Description { return p.description }

// Rings is our end of the socket over which ring descriptors are sent; the
// plugin has the other as descriptor 3. The process owns and closes it. It is nil on
// systems without shared rings; deltas then come by StreamDeltas.
func (p *Process) Rings() *os.File { return p.files.rings }

// Rights says whose rights the process has, and what bounds it: "user id 0
// without capabilities, memory limit 512MiB by cgroup".
func (p *Process) Rights() string { return p.rights }

// PID is the process id.
func (p *Process) PID() int { return p.run.Load().running().pid }

// Done is closed when the process has ended, whoever ended it.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how it ended; it waits for Done.
func (p *Process) Exit() Exit {
	<-p.done
	return p.exit
}
