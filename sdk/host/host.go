// Package host is the core's end of the contract with plugins. It lies beside
// the plugin's end so that the two cannot drift apart; it is not for plugin
// authors and carries no promise.
package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/msgpack"
	"google.golang.org/grpc"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// Environment variables that a launcher sets for a plugin.
const (
	EnvRingFD     = wire.EnvRingFD     // number of the inherited socket over which rings arrive
	EnvLivenessFD = wire.EnvLivenessFD // number of the inherited read end of a pipe that closes when the core dies
	EnvLogLevel   = wire.EnvLogLevel   // trace, debug, info, warn, error; info if unset
	EnvReattach   = wire.EnvReattach   // read by the core: plugins that run already, see Reattach
)

// The kinds of plugin, and the features a description may name.
const (
	KindCapture = wire.KindCapture
	KindFilter  = wire.KindFilter
	KindAction  = wire.KindAction
	KindExport  = wire.KindExport

	FeatureNotifier  = wire.FeatureNotifier
	FeatureMitigator = wire.FeatureMitigator
	FeaturePreview   = wire.FeaturePreview
	FeatureUnchanged = wire.FeatureUnchanged
	FeatureInspector = wire.FeatureInspector
	FeatureSampler   = wire.FeatureSampler
	FeatureTap       = wire.FeatureTap
	FeatureTable     = wire.FeatureTable
	FeatureWorkers   = wire.FeatureWorkers
	FeatureHealth    = wire.FeatureHealth
	FeatureState     = wire.FeatureState
)

// MaxMessage bounds every message in both directions, in bytes.
const MaxMessage = wire.MaxMessage

// Handshake is what core and plugin must agree on before they speak.
var Handshake = wire.Handshake

type (
	// Description is what a plugin says of itself.
	Description = wire.Description
	// Block is the schema of a plugin's block. ImpliedType defines the value
	// that Configure takes; DecoderSpec decodes it.
	Block = wire.Block
	// Attribute is one attribute of a Block.
	Attribute = wire.Attribute
	// NestedBlock is a block inside a Block.
	NestedBlock = wire.NestedBlock
)

// PluginSets is what a plugin.ClientConfig's VersionedPlugins takes: one set
// for each major version of the contract.
func PluginSets() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{wire.Protocol: {wire.PluginName: grpcPlugin{}}}
}

// Dispense connects to the plugin behind c, starting it if need be.
func Dispense(c *plugin.Client) (*Plugin, error) {
	protocol, err := c.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		return nil, err
	}
	return raw.(*Plugin), nil
}

// grpcPlugin is the client half that go-plugin asks for.
type grpcPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (grpcPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("package host serves no plugin")
}

func (grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return New(conn), nil
}

// Plugin is a running plugin. Its methods may be called from several
// goroutines; each is bounded by its context only.
type Plugin struct {
	base      pb.PluginClient
	capture   pb.CaptureClient
	filter    pb.FilterClient
	notifier  pb.NotifierClient
	mitigator pb.MitigatorClient
	export    pb.ExportClient

	mu          sync.Mutex
	description *Description
	exporting   sync.Mutex                // the parts of one snapshot stay together
	syncing     sync.Mutex                // sets are told one after the other
	told        map[string]sdk.Mitigation // the last set that was taken, by id
	streams     streams                   // of deltas
}

// New speaks to a plugin over conn.
func New(conn grpc.ClientConnInterface) *Plugin {
	conn = bounded{conn}
	return &Plugin{
		base: pb.NewPluginClient(conn), capture: pb.NewCaptureClient(conn), filter: pb.NewFilterClient(conn),
		notifier: pb.NewNotifierClient(conn), mitigator: pb.NewMitigatorClient(conn), export: pb.NewExportClient(conn),
	}
}

// bounded limits the size of what a plugin answers.
type bounded struct{ grpc.ClientConnInterface }

func limits(opts []grpc.CallOption) []grpc.CallOption {
	return append([]grpc.CallOption{grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)}, opts...)
}

func (b bounded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return b.ClientConnInterface.Invoke(ctx, method, args, reply, limits(opts)...)
}

func (b bounded) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return b.ClientConnInterface.NewStream(ctx, desc, method, limits(opts)...)
}

// Describe asks what the plugin is. The answer has passed Description.Check;
// later calls return the first answer.
func (p *Plugin) Describe(ctx context.Context) (*Description, error) {
	if known := p.known(); known != nil {
		return known, nil
	}
	resp, err := p.base.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return nil, callError(ctx, "Describe", err)
	}
	d, err := wire.DescriptionFromProto(resp)
	if err != nil {
		return nil, fmt.Errorf("the plugin describes itself wrongly: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.description == nil {
		p.description = d
	}
	return p.description, nil
}

// known is what the plugin has said of itself, nil if it was not asked.
func (p *Plugin) known() *Description {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.description
}

// ConfigureRequest is what Configure hands over.
type ConfigureRequest struct {
	Value        cty.Value // of the schema's implied type, or convertible to it; marks are removed
	Instance     string    // the block's label
	Mode         string    // "run" or "replay"
	ValidateOnly bool      // build and validate, keep nothing
	StateDir     string    // absolute path of a directory of the block's own; "": there is none
	Overrides    []Override
}

// Override is what a hostgroup sets instead of a profile's attributes.
type Override struct {
	Profile    string // label of the plugin's target block, "" if it has none
	Attributes map[string][]string
}

// ConfigureResult is what a capture says once it is configured.
type ConfigureResult struct {
	Workers int      // how many times Run wants to be called; at least 1
	Causes  []string // of dropped records, by index; at most 251
	// SplitsFlows: records of one flow come from several workers, so that flows
	// cannot be counted.
	SplitsFlows bool
	// OverrideErrors says what is wrong with each override of the request, ""
	// nothing; nil if the request had none.
	OverrideErrors []string
	// NoRecords says of an export that could take raw records that it wants none.
	NoRecords bool
	Protected []netip.Prefix // what a mitigator must never act against; at most 10,000
}

// maxWorkers bounds the rings a plugin can ask for.
const maxWorkers = 1024

// Configure hands over the configuration. Complaints of the plugin are
// diagnostics, with paths into the block; the error is for a call that failed.
func (p *Plugin) Configure(ctx context.Context, req ConfigureRequest) (ConfigureResult, diag.Diagnostics, error) {
	var none ConfigureResult
	d, err := p.Describe(ctx)
	if err != nil {
		return none, nil, err
	}
	config, err := encodeConfig(req.Value, d.Schema.ImpliedType())
	if err != nil {
		return none, nil, err
	}
	p.syncing.Lock()
	p.told = nil // it forgets what the one before was told
	p.syncing.Unlock()
	in := &pb.ConfigureRequest{
		Config: config, Instance: req.Instance, Mode: req.Mode, ValidateOnly: req.ValidateOnly, StateDir: req.StateDir,
	}
	for _, o := range req.Overrides {
		in.Overrides = append(in.Overrides, &pb.Override{Profile: o.Profile, Attributes: wire.ValuesToProto(o.Attributes)})
	}
	resp, err := p.base.Configure(ctx, in)
	if err != nil {
		return none, nil, callError(ctx, "Configure", err)
	}
	diags := wire.DiagnosticsFromProto(resp.GetDiagnostics())
	if resp.GetWorkers() > maxWorkers || len(resp.GetCauses()) > count.MaxCauses {
		return none, diags, fmt.Errorf("the plugin asks for %d workers and %d causes; at most %d and %d are possible",
			resp.GetWorkers(), len(resp.GetCauses()), maxWorkers, count.MaxCauses)
	}
	out := ConfigureResult{Workers: max(1, int(resp.GetWorkers())), SplitsFlows: resp.GetSplitsFlows()}
	for _, c := range resp.GetCauses() {
		out.Causes = append(out.Causes, wire.Clean(c, 128))
	}
	if diags.HasErrors() {
		return out, diags, nil
	}
	if out.OverrideErrors, err = overrideErrors(req.Overrides, resp.GetOverrideErrors()); err != nil {
		return none, diags, err
	}
	out.NoRecords = resp.GetNoRecords()
	if out.Protected, err = protected(resp.GetProtected()); err != nil {
		return none, diags, err
	}
	return out, diags, nil
}

// overrideErrors has one word for each override. A plugin that says nothing
// does not know of overrides.
func overrideErrors(asked []Override, said []string) ([]string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	out := make([]string, len(asked))
	if len(said) != len(asked) {
		if len(said) != 0 {
			return nil, fmt.Errorf("the plugin judged %d overrides of %d", len(said), len(asked))
		}
		for i := range out {
			out[i] = "the plugin accepts no attributes of hostgroups"
		}
		return out, nil
	}
	for i, s := range said {
		out[i] = wire.Clean(s, maxText)
	}
	return out, nil
}

// maxProtected bounds the prefixes a plugin can protect.
const maxProtected = 10_000

func protected(said []string) ([]netip.Prefix, error) {
	if len(said) > maxProtected {
		return nil, fmt.Errorf("the plugin protects %d prefixes; at most %d are possible", len(said), maxProtected)
	}
	var out []netip.Prefix
	for _, s := range said {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("the plugin protects %q: %w", wire.Clean(s, 64), err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func encodeConfig(v cty.Value, typ cty.Type) ([]byte, error) {
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		return nil, errors.New("the configuration holds unknown values")
	}
	v, err := convert.Convert(v, typ)
	if err != nil {
		return nil, fmt.Errorf("the configuration does not fit the plugin's schema: %w", err)
	}
	b, err := msgpack.Marshal(v, typ)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	return b, nil
}

// Start opens what is to be opened. Complaints of the plugin are diagnostics.
func (p *Plugin) Start(ctx context.Context) (diag.Diagnostics, error) {
	resp, err := p.base.Start(ctx, &pb.StartRequest{})
	if err != nil {
		return nil, callError(ctx, "Start", err)
	}
	return wire.DiagnosticsFromProto(resp.GetDiagnostics()), nil
}

// Drain makes the plugin stop taking input, flush and close, within ctx's
// deadline, until which it also waits for every StreamDeltas to return: what
// was flushed last has then arrived. Draining again, or before Start, does
// nothing.
func (p *Plugin) Drain(ctx context.Context) error {
	req := &pb.DrainRequest{}
	if deadline, ok := ctx.Deadline(); ok {
		req.TimeoutMs = uint32(max(1, time.Until(deadline).Milliseconds()))
	}
	resp, err := p.base.Drain(ctx, req)
	if err != nil {
		return callError(ctx, "Drain", err)
	}
	return errors.Join(said(resp.GetError()), p.streams.wait(ctx))
}

// streams counts calls of StreamDeltas.
type streams struct {
	mu   sync.Mutex
	open int
	none chan struct{} // closed when open falls to 0; nil while nobody waits
}

func (s *streams) enter() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return s.leave
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// wait returns when no stream is open.
func (s *streams) wait(ctx context.Context) error {
	s.mu.Lock()
	if s.open == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.none == nil {
		s.none = make(chan struct{})
	}
	none := s.none
	s.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return errors.New("the last deltas have not arrived in time")
	}
}

// ParseDescription reads and checks what a plugin's describe command printed.
func ParseDescription(b []byte) (*Description, error) { return wire.ParseDescription(b) }
