package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/schema"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// server is the plugin's end of the contract. It holds at most one instance
// of the plugin, which goes configured → started → drained; after that a new
// one may be configured.
type server struct {
	pb.UnimplementedPluginServer
	description *wire.Description
	factory     *factory
	schema      *schema.Schema
	logger      hclog.Logger
	rings       *ringChannel

	lifecycle chan struct{} // holds one token: one of Configure, Start, Drain at a time
	mu        sync.Mutex
	current   *instance // nil: nothing is configured
}

// instance is one configured plugin.
type instance struct {
	value   any
	env     Env
	workers int
	causes  []string
	// splitsFlows: records of one flow come from several workers.
	splitsFlows bool
	rings       ringUser // captures, filters and taps; nil for others

	streams context.Context // done when the instance drains: ends Watch and the like
	stop    context.CancelFunc

	mu       sync.Mutex
	started  bool
	draining bool
	calls    sync.WaitGroup // of the author's methods; none is added once draining
	partial  partialSnapshot
	desired  map[string]Mitigation // what the last Sync brought, by id
}

func newServer(p Plugin, logger hclog.Logger, rings *ringChannel) (*server, error) {
	d, f, s, err := p.describe()
	if err != nil {
		return nil, err
	}
	srv := &server{description: d, factory: f, schema: s, logger: logger, rings: rings, lifecycle: make(chan struct{}, 1)}
	srv.lifecycle <- struct{}{}
	return srv, nil
}

// register offers the services of the plugin's kind.
func (s *server) register(g *grpc.Server) {
	pb.RegisterPluginServer(g, s)
	switch s.description.Kind {
	case wire.KindCapture:
		pb.RegisterCaptureServer(g, captureServer{s: s})
	case wire.KindFilter:
		pb.RegisterFilterServer(g, filterServer{s: s})
	case wire.KindExport:
		pb.RegisterExportServer(g, exportServer{s: s})
	case wire.KindAction:
		if s.description.Has(wire.FeatureNotifier) {
			pb.RegisterNotifierServer(g, notifierServer{s: s})
		}
		if s.description.Has(wire.FeatureMitigator) {
			pb.RegisterMitigatorServer(g, mitigatorServer{s: s})
		}
	}
}

// lock takes the lifecycle token, unless ctx is done before.
func (s *server) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case <-s.lifecycle:
		return func() { s.lifecycle <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (s *server) instance() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func outOfOrder(format string, args ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, args...)
}

// configured returns the instance for calls that are possible before Start.
func (s *server) configured(call string) (*instance, error) {
	inst := s.instance()
	if inst == nil {
		return nil, outOfOrder("%s was called before Configure", call)
	}
	return inst, nil
}

// use returns the started instance for one call of an author's method; done
// must be called after it.
func (s *server) use(call string) (inst *instance, done func(), err error) {
	return s.enter(call, true)
}

// useConfigured is use for calls that are possible before Start.
func (s *server) useConfigured(call string) (inst *instance, done func(), err error) {
	return s.enter(call, false)
}

func (s *server) enter(call string, started bool) (inst *instance, done func(), err error) {
	if inst, err = s.configured(call); err != nil {
		return nil, nil, err
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	switch {
	case inst.draining:
		return nil, nil, status.Errorf(codes.Unavailable, "%s: the plugin is draining", call)
	case started && !inst.started:
		return nil, nil, outOfOrder("%s was called before Start", call)
	}
	inst.calls.Add(1)
	return inst, inst.calls.Done, nil
}

// running reports whether Start has succeeded.
func (inst *instance) running() bool {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return inst.started
}

// untilDrain bounds a stream's context by the instance's life.
func (inst *instance) untilDrain(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(inst.streams, cancel)
	return ctx, func() { stop(); cancel() }
}

func (s *server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return wire.DescriptionToProto(s.description)
}

func (s *server) Configure(ctx context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old := s.instance()
	if old != nil && old.started && !req.GetValidateOnly() {
		return nil, outOfOrder("Configure was called after Start: drain the plugin first")
	}
	inst, diags, err := s.build(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &pb.ConfigureResponse{Diagnostics: wire.DiagnosticsToProto(diags)}
	if diags.HasErrors() {
		return resp, nil
	}
	resp.Workers, resp.Causes, resp.SplitsFlows = uint32(inst.workers), inst.causes, inst.splitsFlows
	if c, ok := inst.value.(TapChooser); ok {
		resp.NoRecords = !c.WantsRecords()
	}
	inst.mitigates(req.GetOverrides(), resp)
	if req.GetValidateOnly() {
		inst.stop()
		return resp, nil
	}
	inst.rings = s.ringUser(inst)
	s.mu.Lock()
	s.current = inst
	s.mu.Unlock()
	if old != nil {
		old.stop()
		if old.rings != nil { // it was never started: only rings that were attached go
			if err := old.rings.Stop(ctx); err != nil {
				s.logger.Warn("releasing rings of the former configuration", "error", err)
			}
		}
	}
	return resp, nil
}

// build decodes the configuration, builds the plugin's value and has it
// validate itself. It opens nothing.
func (s *server) build(ctx context.Context, req *pb.ConfigureRequest) (*instance, diag.Diagnostics, error) {
	mode := Mode(req.GetMode())
	if mode != ModeRun && mode != ModeReplay {
		return nil, nil, status.Errorf(codes.InvalidArgument, "Configure: mode %q is neither run nor replay", req.GetMode())
	}
	packed, err := s.schema.Unpack(req.GetConfig())
	if err != nil {
		return nil, nil, status.Errorf(codes.InvalidArgument, "Configure: the value does not fit the schema: %v", err)
	}
	config, diags := s.schema.Decode(packed, s.factory.defaults)
	if diags.HasErrors() {
		return nil, diags, nil
	}
	env := Env{Logger: s.logger.With("instance", req.GetInstance()), Instance: req.GetInstance(), Mode: mode, StateDir: req.GetStateDir()}
	value, err := s.factory.build(config, env)
	if err == nil {
		if v, ok := value.(Validator); ok {
			err = v.Validate(ctx)
		}
	}
	diags = diag.FromError(err, "Invalid configuration")
	if diags.HasErrors() {
		return nil, diags, nil
	}
	inst := &instance{value: value, env: env, workers: 1}
	inst.streams, inst.stop = context.WithCancel(context.Background())
	if w, ok := value.(Workers); ok && s.factory.kind == wire.KindCapture {
		inst.workers = max(1, w.Workers())
	}
	if f, ok := value.(FlowSplitter); ok && s.factory.kind == wire.KindCapture {
		inst.splitsFlows = inst.workers > 1 && f.SplitsFlows()
	}
	if c, ok := value.(Causes); ok && s.factory.kind == wire.KindCapture {
		inst.causes = c.Causes()
	}
	if len(inst.causes) > count.MaxCauses {
		return nil, diag.Diagnostics{diag.Errorf(nil, "Too many causes",
			"The plugin names %d causes of loss; at most %d are possible. This is a mistake in the plugin.", len(inst.causes), count.MaxCauses)}, nil
	}
	return inst, diags, nil
}

func (s *server) Start(ctx context.Context, _ *pb.StartRequest) (*pb.StartResponse, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	inst, err := s.configured("Start")
	if err != nil {
		return nil, err
	}
	if inst.started {
		return nil, outOfOrder("Start was called twice")
	}
	if inst.rings != nil {
		if err := inst.rings.Ready(); err != nil {
			return nil, outOfOrder("Start: %v", err)
		}
	}
	resp := &pb.StartResponse{}
	if v, ok := inst.value.(Starter); ok {
		diags := diag.FromError(v.Start(ctx), "The plugin cannot start")
		resp.Diagnostics = wire.DiagnosticsToProto(diags)
		if diags.HasErrors() {
			return resp, nil
		}
	}
	if inst.rings != nil {
		if err := inst.rings.Start(); err != nil {
			return nil, status.Errorf(codes.Internal, "Start: %v", err)
		}
	}
	inst.mu.Lock()
	inst.started = true
	inst.mu.Unlock()
	cache.ReleaseProgram()
	return resp, nil
}

func (s *server) Drain(ctx context.Context, req *pb.DrainRequest) (*pb.DrainResponse, error) {
	grace := drainGrace
	if ms := req.GetTimeoutMs(); ms > 0 {
		grace = time.Duration(ms) * time.Millisecond
		grace -= min(grace/10, time.Second) // so that the answer is in time
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	resp := &pb.DrainResponse{}
	if err := s.drain(ctx); err != nil {
		resp.Error = err.Error()
	}
	return resp, nil
}

// drain stops the input, flushes, waits for calls that are under way and
// closes the plugin. Without an instance there is nothing to do.
func (s *server) drain(ctx context.Context) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	inst := s.instance()
	if inst == nil {
		return nil
	}
	inst.mu.Lock()
	inst.draining = true
	inst.mu.Unlock()
	var errs []error
	if inst.rings != nil {
		if err := inst.rings.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping: %w", err))
		}
	}
	inst.stop()
	if err := inst.wait(ctx); err != nil {
		errs = append(errs, err)
	}
	if c, ok := inst.value.(Closer); ok && inst.started {
		if err := c.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing: %w", err))
		}
	}
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	return errors.Join(errs...)
}

// wait waits for calls of the author's methods that are under way.
func (inst *instance) wait(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		inst.calls.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return errors.New("a call that was under way has not returned in time")
	}
}

// recovered turns a panic of the author's code into an error and logs where
// it happened.
func (s *server) recovered(where string, err *error) {
	if r := recover(); r != nil {
		s.logger.Error("the plugin panicked", "where", where, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "the plugin panicked: %v (its log has the stack)", r)
	}
}
