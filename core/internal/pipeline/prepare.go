package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Options are what a daemon, a check or a replay needs.
type Options struct {
	Config  *config.Config
	Log     hclog.Logger
	Version string
	// OnEvent, if set, sees every event as it is made.
	OnEvent func(sdk.Event)
	// OnRates, if set, gets a snapshot each second of the clock.
	OnRates func(sdk.Snapshot)
	// OnRunning, if set, is called once everything has come up.
	OnRunning func()
	// Troubles, if set, lists what is wrong with the rest of the program, a
	// sentence each; Metrics figures about it. They must not wait.
	Troubles func() []string
	Metrics  func() []sdk.Metric
	// NoEvidence leaves a replay's events without evidence, for which the files
	// would be read twice.
	NoEvidence bool
	// UntilFinished ends Run once every capture has finished and no attack is
	// left open.
	UntilFinished bool
}

// prepared is one plugin block, found, described and decoded.
type prepared struct {
	cfg   *config.Config // that the block stands in
	block *config.Plugin
	found plugin.Found
	about *host.Description

	// Set by configure at each launch.
	diags  hcl.Diagnostics // why the block was refused; read once it has failed
	answer atomic.Pointer[host.ConfigureResult]
}

// setup is what the plugin has answered to its configuration, at its newest
// launch; nothing before the first.
func (p *prepared) setup() host.ConfigureResult {
	if r := p.answer.Load(); r != nil {
		return *r
	}
	return host.ConfigureResult{}
}

// prepare finds the program of every block, asks what it is and checks the
// block against its schema. Nothing is launched for good.
func prepare(ctx context.Context, cfg *config.Config, finder plugin.Finder, blocks []*config.Plugin) ([]*prepared, hcl.Diagnostics) {
	var out []*prepared
	var diags hcl.Diagnostics
	described := map[string]*host.Description{}
	for _, b := range blocks {
		p, bad := prepareOne(ctx, cfg, finder, b, described)
		diags = append(diags, bad...)
		if p != nil {
			out = append(out, p)
		}
	}
	return out, diags
}

func prepareOne(ctx context.Context, cfg *config.Config, finder plugin.Finder, b *config.Plugin, described map[string]*host.Description) (*prepared, hcl.Diagnostics) {
	found, err := finder.Find(b.Kind, b.Name, b.Process.Path)
	if err != nil {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Missing plugin", Detail: sentence(err), Subject: b.Range.Ptr(),
		}}
	}
	about := described[found.Path]
	if about == nil {
		if about, err = plugin.Describe(ctx, found.Path); err != nil {
			return nil, hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Unusable plugin", Detail: sentence(err), Subject: b.Range.Ptr(),
			}}
		}
		described[found.Path] = about
	}
	if about.Kind != b.Kind || about.Name != b.Name {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Wrong plugin", Subject: b.Range.Ptr(),
			Detail: fmt.Sprintf("%s is %s %q, not %s %q. Rename the file or install the right one.", found.Path, about.Kind, about.Name, b.Kind, b.Name),
		}}
	}
	_, diags := cfg.Decode(b, &about.Schema)
	return &prepared{cfg: cfg, block: b, found: found, about: about}, diags
}

// sentence makes an error's text one that can stand in a diagnostic.
func sentence(err error) string {
	text := err.Error()
	if text == "" {
		return text
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// checkReferences holds references with a target against what the plugins say
// they have.
func checkReferences(cfg *config.Config, known []*prepared) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, p := range known {
		if p.block.Kind == host.KindAction {
			diags = append(diags, cfg.CheckTargets(p.block, p.about.TargetBlock)...)
		}
	}
	return diags
}

// checkRunnable refuses what can be checked and replayed, but not run.
func checkRunnable(cfg *config.Config) hcl.Diagnostics {
	for _, p := range cfg.Pipelines {
		if len(p.Captures) > 0 {
			return nil
		}
	}
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Nothing to capture",
		Detail: "No pipeline has a capture, so no traffic would come in. Write a capture block, and name it under captures in a pipeline block.",
	}}
}

// Check holds a configuration against its plugins: each is launched, asked to
// validate its block, and ended. Nothing is opened or changed.
func Check(ctx context.Context, opt Options) hcl.Diagnostics {
	cfg := opt.Config
	known, diags := prepare(ctx, cfg, plugin.NewFinder(), allBlocks(cfg))
	diags = append(diags, checkReferences(cfg, known)...)
	diags = append(diags, checkTakeovers(cfg, known)...)
	for _, d := range checkRunnable(cfg) {
		d.Severity = hcl.DiagWarning // it may still be replayed
		diags = append(diags, d)
	}
	if diags.HasErrors() {
		return diags
	}
	dir, remove, err := temporaryRuntimeDir()
	if err != nil {
		return append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "No place for sockets", Detail: sentence(err)})
	}
	defer remove()
	for _, p := range known {
		diags = append(diags, validate(ctx, opt, p, dir)...)
	}
	return diags
}

func allBlocks(cfg *config.Config) []*config.Plugin {
	var all []*config.Plugin
	for _, kind := range [][]*config.Plugin{cfg.Captures, cfg.Filters, cfg.Actions, cfg.Exports} {
		all = append(all, kind...)
	}
	return all
}

// validate has a plugin judge its own block.
func validate(ctx context.Context, opt Options, p *prepared, runtimeDir string) hcl.Diagnostics {
	proc, err := plugin.Launch(ctx, p.launchSpec(runtimeDir, opt.Log))
	if err == nil {
		defer proc.Stop(ctx)
		if err = p.tell(ctx, proc.Host(), "", true); err == nil {
			return p.diags
		}
	}
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Plugin failed", Detail: sentence(err), Subject: p.block.Range.Ptr(),
	}}
}

// tell hands a block's value to its plugin; complaints come back in diags,
// placed at the lines they are about.
func (p *prepared) tell(ctx context.Context, h *host.Plugin, stateDir string, validateOnly bool) error {
	overrides, groups, refs := p.overrides()
	result, said, err := h.Configure(ctx, host.ConfigureRequest{
		Value: p.block.Value, Instance: p.block.Instance, Mode: "run", ValidateOnly: validateOnly, StateDir: stateDir,
		Overrides: overrides,
	})
	p.diags = p.cfg.PluginDiagnostics(p.block, said)
	p.answer.Store(&result)
	for i, why := range result.OverrideErrors {
		if why != "" {
			p.diags = append(p.diags, groups[i].CheckOverride(refs[i], why))
		}
	}
	p.diags = append(p.diags, p.countsFlows(p.cfg)...)
	return err
}

// countsFlows refuses limits in flows beside a capture that cannot tell how
// many there are.
func (p *prepared) countsFlows(cfg *config.Config) hcl.Diagnostics {
	if !p.setup().SplitsFlows {
		return nil
	}
	for _, g := range cfg.Groups {
		for _, t := range g.Thresholds {
			if t.FPS > 0 {
				return hcl.Diagnostics{{
					Severity: hcl.DiagError, Summary: "Flows are split over workers",
					Detail: fmt.Sprintf("Threshold %q of hostgroup %q limits flows (fps), but as %s is configured, frames of one flow reach several of its workers, each of which would count it. "+
						"Spread frames by flow (fanout = \"hash\"), use one worker, or remove fps.", t.Name, g.Name, blockName(p.block)),
					Subject: p.block.Range.Ptr(),
				}}
			}
		}
	}
	return nil
}

// configure is the hook of every block that a configuration file holds.
func (p *prepared) configure(ctx context.Context, proc *plugin.Process) error {
	if err := p.tell(ctx, proc.Host(), p.stateDir(proc), false); err != nil {
		return err
	}
	if p.diags.HasErrors() {
		return plugin.Refused(errDiagnosed)
	}
	return nil
}

// stateDir is where a plugin that keeps something may do so. Without it the
// plugin works, and forgets.
func (p *prepared) stateDir(proc *plugin.Process) string {
	if p.about == nil || !p.about.Has(host.FeatureState) {
		return ""
	}
	return proc.StateDir(p.cfg.Daemon.StateDir)
}

// launchSpec is what every launch of a block has in common. Relative paths in
// the block start at the configuration's folder.
func (p *prepared) launchSpec(runtimeDir string, log hclog.Logger) plugin.Spec {
	process := p.block.Process
	return plugin.Spec{
		Kind: p.block.Kind, Name: p.block.Name, Instance: p.block.Instance,
		Path: p.found.Path, Dir: p.cfg.Dir, Env: process.Env, User: process.User, Capabilities: process.Capabilities, Memory: process.Memory,
		StartTimeout: process.StartTimeout, RuntimeDir: runtimeDir, Logger: log,
	}
}

// errDiagnosed says that diagnostics tell what is wrong.
var errDiagnosed = errors.New("the plugin refuses its configuration")
