package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/inprocess"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/stdio"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
)

// How long a plugin may take to drain: unless the core says otherwise, and
// when the core is gone already.
const (
	drainGrace  = 10 * time.Second
	orphanGrace = 1500 * time.Millisecond
)

// Serve runs the program as the plugin p and does not return. It is all that
// a plugin's main does.
//
// Started by the core, it speaks the contract over gRPC. "describe" as the
// only argument prints what the plugin is, as JSON; "-debug" runs the plugin
// for a debugger and prints how the core attaches to it. A mistake in p is
// printed, and the exit code is 2.
func Serve(p Plugin) {
	os.Exit(serve(p, os.Args[1:]))
}

func serve(p Plugin, args []string) int {
	d, _, _, err := p.describe()
	if err != nil {
		fmt.Fprintf(stdio.Stderr(), "%v\n", err)
		return 2
	}
	if len(args) == 1 && args[0] == "describe" {
		return printDescription(stdio.Stdout(), d)
	}
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(stdio.Stderr())
	flags.Usage = func() { explain(stdio.Stderr(), d) }
	debug := flags.Bool("debug", false, "run for a debugger and print how to attach")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 1
	case *debug:
		return serveDebug(p)
	case !stdio.IsPlugin() || flags.NArg() > 0:
		explain(stdio.Stderr(), d)
		return 1
	}
	return servePlugin(p)
}

func printDescription(w io.Writer, d *wire.Description) int {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		fmt.Fprintf(os.Stderr, "printing the description: %v\n", err)
		return 1
	}
	return 0
}

// explain tells whoever started the plugin by hand what it is.
func explain(w io.Writer, d *wire.Description) {
	fmt.Fprintf(w, `This is a plugin of FastNetMon, %s %q, version %s. The program fastnetmon starts it
when its configuration has a block

  %s %q "..." {
  }

It does nothing by itself, except:

  %s describe   print what the plugin is and what its block takes, as JSON
  %s -debug     run it for a debugger and print how fastnetmon attaches to it
`, d.Kind, d.Name, d.Version, d.Kind, d.Name, os.Args[0], os.Args[0])
}

// newLogger writes log lines that the core understands to standard error,
// which it must do before go-plugin takes that over.
func newLogger(name string, forPeople bool) hclog.Logger {
	level := hclog.LevelFromString(os.Getenv(wire.EnvLogLevel))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: level, Output: stdio.Stderr(), JSONFormat: !forPeople})
}

// captureGC is GOGC of a capture: what it has lasts, and it makes next to no
// garbage, so a heap of twice that size would only be memory taken.
const captureGC = 25

// servePlugin serves the core that started this program.
func servePlugin(p Plugin) int {
	if p.Capture.f != nil && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(captureGC)
	}
	logger := newLogger(p.Name, false)
	log.SetFlags(0)
	log.SetOutput(logger.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	go stdio.Printed(func(line string) { logger.Info(line, "stream", "stdout") })
	srv, err := newServer(p, logger, openRings())
	if err != nil {
		logger.Error("the plugin cannot be served", "error", err)
		return 2
	}
	signal.Ignore(os.Interrupt) // goes to all processes of a terminal: the core then drains its plugins
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go srv.drainOn(term)
	go srv.watchCore()
	config := srv.serveConfig()
	stdio.ForHandshake()
	plugin.Serve(config)
	return 0
}

// serveConfig is what go-plugin needs to know.
func (s *server) serveConfig() *plugin.ServeConfig {
	return &plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Protocol: {wire.PluginName: servedPlugin{s: s}}},
		Logger:           s.logger.Named("go-plugin"),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, s.options()...)...)
		},
	}
}

// options limits messages, mends their text and guards the author's methods. go-plugin takes
// over standard output and error after the handshake; the first call comes
// after that and puts them right again.
func (s *server) options() []grpc.ServerOption {
	var first sync.Once
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		first.Do(stdio.AfterHandshake)
		defer s.recovered(info.FullMethod, &err)
		resp, err = next(ctx, req)
		mend(resp)
		return resp, err
	}
	streaming := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		first.Do(stdio.AfterHandshake)
		defer s.recovered(info.FullMethod, &err)
		return next(srv, mendingStream{stream})
	}
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(streaming),
	}
}

// mend makes what a method says fit for the way to the core.
func mend(message any) {
	if m, ok := message.(proto.Message); ok {
		wire.Mend(m.ProtoReflect())
	}
}

// mendingStream does so with all that a stream says.
type mendingStream struct{ grpc.ServerStream }

func (s mendingStream) SendMsg(m any) error {
	mend(m)
	return s.ServerStream.SendMsg(m)
}

func init() {
	inprocess.Open = func(p any, logger hclog.Logger, rings *os.File) (*inprocess.Plugin, error) {
		var channel *ringChannel
		if rings != nil {
			channel = &ringChannel{conn: rings}
		}
		s, err := newServer(p.(Plugin), logger, channel)
		if err != nil {
			return nil, err
		}
		return &inprocess.Plugin{Options: s.options(), Register: s.register, Drain: s.drain}, nil
	}
}

// servedPlugin is the server half that go-plugin asks for.
type servedPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	s *server
}

func (p servedPlugin) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	p.s.register(g)
	return nil
}

func (servedPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("package sdk is the plugin's end; the core uses package host")
}

// drainOn drains and ends the program when a signal comes.
func (s *server) drainOn(signals <-chan os.Signal) {
	sig := <-signals
	s.logger.Info("draining because of a signal", "signal", sig.String())
	os.Exit(s.drainWithin(drainGrace))
}

// watchCore ends the program within two seconds of the core's death, told by
// the end of the pipe that the core holds open.
func (s *server) watchCore() {
	pipe := inherited(wire.EnvLivenessFD)
	if pipe == nil {
		return
	}
	_, _ = io.Copy(io.Discard, pipe)
	time.AfterFunc(orphanGrace+250*time.Millisecond, func() { os.Exit(1) }) // whatever the author's Close does
	s.logger.Error("the core is gone: draining and ending")
	s.drainWithin(orphanGrace)
	os.Exit(1)
}

func (s *server) drainWithin(d time.Duration) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := s.drain(ctx); err != nil {
		s.logger.Error("draining failed", "error", err)
		return 1
	}
	return 0
}

// serveDebug serves whoever attaches, again and again, until interrupted.
func serveDebug(p Plugin) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := newServer(p, newLogger(p.Name, true), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	attach := make(chan *plugin.ReattachConfig, 1)
	closed := make(chan struct{})
	config := srv.serveConfig()
	config.Test = &plugin.ServeTestConfig{Context: ctx, ReattachConfigCh: attach, CloseCh: closed}
	go plugin.Serve(config)
	select {
	case c := <-attach:
		printReattach(os.Stdout, srv.description, c.Addr)
	case <-closed:
		return 1
	}
	<-closed
	return srv.drainWithin(drainGrace)
}

func printReattach(w io.Writer, d *wire.Description, addr net.Addr) {
	line, _ := json.Marshal(map[string]any{ // of strings and numbers: it cannot fail
		d.Kind + "." + d.Name: map[string]any{
			"Protocol": "grpc", "ProtocolVersion": wire.Protocol, "Pid": os.Getpid(), "Test": true,
			"Addr": map[string]string{"Network": addr.Network(), "String": addr.String()},
		},
	})
	fmt.Fprintf(w, `The plugin runs and waits for the core. Start fastnetmon with this in its environment:

	%s='%s'

`, wire.EnvReattach, strings.ReplaceAll(string(line), "'", `'\''`))
}
