package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/schema"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
)

// Plugin is what Serve serves: a name, a version and exactly one of the
// factories, whose constructor decides the kind.
//
// An action that both notifies and mitigates, or inspects as well, has one
// type with all these methods and names any one of the three action factories:
// what else its type can do is found out by itself.
type Plugin struct {
	Name    string // an identifier, as in the configuration: capture "name" "…"
	Version string
	Summary string // one line for people

	Capture   CaptureFactory
	Filter    FilterFactory
	Notifier  NotifierFactory
	Mitigator MitigatorFactory
	Inspector InspectorFactory
	Exporter  ExporterFactory

	// TargetBlock is a block type of the configuration with one label. A
	// reference such as action.gobgp.edge.flowspec names such a label, which
	// then stands in Mitigation.Profile.
	TargetBlock string

	// KeepsState asks for a directory that outlives the plugin: Env.StateDir.
	KeepsState bool
}

// The factories are made by their constructors only.
type (
	// CaptureFactory is made by NewCapture.
	CaptureFactory struct{ f *factory }
	// FilterFactory is made by NewFilter.
	FilterFactory struct{ f *factory }
	// NotifierFactory is made by NewNotifier.
	NotifierFactory struct{ f *factory }
	// MitigatorFactory is made by NewMitigator.
	MitigatorFactory struct{ f *factory }
	// InspectorFactory is made by NewInspector.
	InspectorFactory struct{ f *factory }
	// ExporterFactory is made by NewExporter.
	ExporterFactory struct{ f *factory }
)

// NewCapture makes a capture. The constructors all work alike:
//
// defaults is a struct with hcl tags; it gives the schema of the plugin's
// block and the values of what a configuration leaves out. See the README for
// the tags and types. A nested block's struct may have a method SetDefaults()
// on its pointer.
//
// build makes the plugin's value from a decoded configuration. It may check
// what the schema cannot, but opens nothing: that is for Start. Its error may
// be made with package diag to point at attributes. T is the plugin's own
// type, not an interface: its methods tell, before anything is built, which
// optional interfaces it implements.
func NewCapture[C any, T Capture](defaults C, build func(config C, env Env) (T, error)) CaptureFactory {
	return CaptureFactory{newFactory(wire.KindCapture, defaults, build)}
}

// NewFilter makes a filter; see NewCapture.
func NewFilter[C any, T Filter](defaults C, build func(config C, env Env) (T, error)) FilterFactory {
	return FilterFactory{newFactory(wire.KindFilter, defaults, build)}
}

// NewNotifier makes an action that is told of events; see NewCapture.
func NewNotifier[C any, T Notifier](defaults C, build func(config C, env Env) (T, error)) NotifierFactory {
	return NotifierFactory{newFactory(wire.KindAction, defaults, build)}
}

// NewMitigator makes an action that holds mitigations; see NewCapture.
func NewMitigator[C any, T Mitigator](defaults C, build func(config C, env Env) (T, error)) MitigatorFactory {
	return MitigatorFactory{newFactory(wire.KindAction, defaults, build)}
}

// NewInspector makes an action that judges evidence; see NewCapture.
func NewInspector[C any, T Inspector](defaults C, build func(config C, env Env) (T, error)) InspectorFactory {
	return InspectorFactory{newFactory(wire.KindAction, defaults, build)}
}

// NewExporter makes an export; see NewCapture.
func NewExporter[C any, T Exporter](defaults C, build func(config C, env Env) (T, error)) ExporterFactory {
	return ExporterFactory{newFactory(wire.KindExport, defaults, build)}
}

// Mode tells a live run from a replay.
type Mode string

// The modes a plugin is configured for.
const (
	ModeRun    Mode = "run"
	ModeReplay Mode = "replay"
)

// Env is what a plugin is given besides its configuration.
type Env struct {
	Logger   hclog.Logger // to the core's log
	Instance string       // label of the block: capture "sflow" "<instance>"
	Mode     Mode
	// StateDir is a directory of this block's own that outlives the process,
	// for plugins with KeepsState. It is "" in a check or replay, and where the
	// core cannot make one: the plugin then goes without.
	StateDir string
}

// factory builds a plugin's value. The configuration's type is known to it
// only.
type factory struct {
	kind     string
	defaults any
	config   reflect.Type
	value    reflect.Type
	build    func(config any, env Env) (any, error)
}

func newFactory[C, T any](kind string, defaults C, build func(C, Env) (T, error)) *factory {
	f := &factory{kind: kind, defaults: defaults, config: reflect.TypeFor[C](), value: reflect.TypeFor[T]()}
	if build != nil {
		f.build = func(config any, env Env) (any, error) { return build(config.(C), env) }
	}
	return f
}

// factory returns the one factory that is set.
func (p *Plugin) factory() (*factory, error) {
	var found *factory
	for _, f := range []*factory{p.Capture.f, p.Filter.f, p.Notifier.f, p.Mitigator.f, p.Inspector.f, p.Exporter.f} {
		if f != nil && found != nil {
			return nil, errors.New("set exactly one of Capture, Filter, Notifier, Mitigator, Inspector and Exporter: " +
				"one type with the methods of several actions needs one factory only")
		}
		if f != nil {
			found = f
		}
	}
	if found == nil {
		return nil, errors.New("set one of Capture, Filter, Notifier, Mitigator, Inspector and Exporter")
	}
	if found.build == nil {
		return nil, errors.New("the constructor was given no build function")
	}
	if found.value.Kind() == reflect.Interface {
		return nil, fmt.Errorf("build returns the interface %v: let it return the plugin's own type, "+
			"so that its optional interfaces are known before it is built", found.value)
	}
	return found, nil
}

// describe derives everything about the plugin that is known without building
// it.
func (p *Plugin) describe() (*wire.Description, *factory, *schema.Schema, error) {
	fail := func(err error) (*wire.Description, *factory, *schema.Schema, error) {
		return nil, nil, nil, fmt.Errorf("sdk.Plugin %q: %w", p.Name, err)
	}
	f, err := p.factory()
	if err != nil {
		return fail(err)
	}
	s, err := schema.Of(f.config)
	if err != nil {
		return fail(err)
	}
	d := &wire.Description{
		Name: p.Name, Kind: f.kind, Version: p.Version, SDKVersion: wire.SDKVersion,
		Protocol: wire.Protocol, Minor: wire.ProtocolMinor,
		Features: f.features(), TargetBlock: p.TargetBlock, Summary: p.Summary, Schema: s.Block,
	}
	if p.KeepsState {
		d.Features = append(d.Features, wire.FeatureState)
	}
	if err := d.Check(); err != nil {
		return fail(err)
	}
	return d, f, s, nil
}

// features names the optional interfaces that mean something for the kind.
func (f *factory) features() []string {
	var out []string
	add := func(feature string, t reflect.Type, kinds ...string) {
		if !f.value.Implements(t) {
			return
		}
		for _, k := range kinds {
			if k == f.kind {
				out = append(out, feature)
			}
		}
	}
	all := []string{wire.KindCapture, wire.KindFilter, wire.KindAction, wire.KindExport}
	add(wire.FeatureNotifier, reflect.TypeFor[Notifier](), wire.KindAction)
	add(wire.FeatureMitigator, reflect.TypeFor[Mitigator](), wire.KindAction)
	add(wire.FeaturePreview, reflect.TypeFor[Previewer](), wire.KindAction)
	add(wire.FeatureUnchanged, reflect.TypeFor[Mitigator](), wire.KindAction)
	add(wire.FeatureInspector, reflect.TypeFor[Inspector](), wire.KindAction)
	add(wire.FeatureSampler, reflect.TypeFor[Sampler](), wire.KindCapture)
	add(wire.FeatureTap, reflect.TypeFor[Tap](), wire.KindExport)
	if !slices.Contains(out, wire.FeatureTap) {
		add(wire.FeatureTap, reflect.TypeFor[TapMaker](), wire.KindExport)
	}
	add(wire.FeatureTable, reflect.TypeFor[Table](), all...)
	add(wire.FeatureWorkers, reflect.TypeFor[Workers](), wire.KindCapture)
	add(wire.FeatureHealth, reflect.TypeFor[Health](), all...)
	return out
}
