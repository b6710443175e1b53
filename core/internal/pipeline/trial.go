package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Trial is an action of a configuration that is tried without a daemon: its plugin
// alone runs, and knows nothing of what an earlier one held.
type Trial struct {
	cfg     *config.Config
	ref     config.Reference
	action  *prepared
	guard   *mitigate.Guard
	proc    *plugin.Process
	started bool
	opt     Options
	remove  func() // of the sockets' directory

	manager *mitigate.Manager // nil: nothing is announced
	end     context.CancelFunc
	over    chan struct{}
}

// drainTime is how long a plugin that was tried has to end.
const drainTime = 5 * time.Second

// NewTrial launches and configures the action of that name; nothing is opened by
// it yet. ErrUnknown: there is none. Diagnostics say what is wrong with its block.
func NewTrial(ctx context.Context, opt Options, name string) (*Trial, hcl.Diagnostics, error) {
	t := &Trial{cfg: opt.Config, opt: opt, remove: func() {}}
	block, profile, err := blockNamed(t.cfg, name)
	if err != nil {
		return nil, nil, err
	}
	known, diags := prepare(ctx, t.cfg, plugin.NewFinder(), t.cfg.Actions)
	i := slices.IndexFunc(known, func(p *prepared) bool { return p.block == block })
	if i < 0 {
		return nil, diags, nil
	}
	t.action = known[i]
	labels := block.Targets(t.action.about.TargetBlock)
	if profile != "" && !slices.Contains(labels, profile) {
		return nil, nil, fmt.Errorf("%w: %s has no %.60q: it has %s", ErrUnknown, blockName(block), profile, cmp.Or(strings.Join(labels, ", "), "one way to act"))
	}
	t.ref = config.Reference{Kind: host.KindAction, Plugin: block.Name, Instance: block.Instance, Block: block, Target: profile}
	var dir string
	if dir, t.remove, err = temporaryRuntimeDir(); err != nil {
		return nil, nil, err
	}
	if diags = t.configure(ctx, known, dir); diags.HasErrors() {
		t.Close()
		return nil, diags, nil
	}
	return t, nil, nil
}

// blockNamed finds an action of a configuration, with or without "action." before
// its name and a profile behind it.
func blockNamed(cfg *config.Config, name string) (block *config.Plugin, profile string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(name, "action."), ".", 3)
	var known []string
	for _, b := range cfg.Actions {
		if len(parts) >= 2 && b.Name == parts[0] && b.Instance == parts[1] {
			return b, strings.Join(parts[2:], ""), nil
		}
		known = append(known, blockName(b))
	}
	return nil, "", fmt.Errorf("%w: the configuration has no action %.60q: it has %s", ErrUnknown, name, cmp.Or(strings.Join(known, ", "), "none"))
}

// configure launches the action, and asks the others that act on the network what
// they protect.
func (t *Trial) configure(ctx context.Context, known []*prepared, dir string) (diags hcl.Diagnostics) {
	protects := map[string][]netip.Prefix{}
	for _, p := range known {
		if p == t.action || !p.holds() || !t.action.holds() {
			continue
		}
		if bad := validate(ctx, t.opt, p, dir); bad.HasErrors() {
			diags = append(diags, bad...)
			continue
		}
		protects[blockName(p.block)] = p.setup().Protected
	}
	if diags.HasErrors() {
		return diags
	}
	p := t.action
	proc, err := plugin.Launch(ctx, p.launchSpec(dir, t.opt.Log))
	if err == nil {
		t.proc = proc
		err = p.tell(ctx, proc.Host(), "", false)
	}
	if err != nil {
		return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Plugin failed", Detail: sentence(err), Subject: p.block.Range.Ptr()}}
	}
	protects[blockName(p.block)] = p.setup().Protected
	t.guard = guardOf(t.cfg, protects)
	return p.diags
}

// start has the plugin open what it needs.
func (t *Trial) start(ctx context.Context) error {
	if t.started {
		return nil
	}
	said, err := t.proc.Host().Start(ctx)
	if err != nil {
		return err
	}
	for _, d := range t.cfg.PluginDiagnostics(t.action.block, said) {
		if d.Severity == hcl.DiagError {
			return fmt.Errorf("%s: %s", d.Summary, d.Detail)
		}
	}
	t.started = true
	return nil
}

// Test is Daemon.TestAction.
func (t *Trial) Test(ctx context.Context, target netip.Prefix) (lines []string, failed bool) {
	e := testEvent(t.cfg, target)
	a := t.action
	if a.isTold() {
		began := time.Now()
		call, cancel := context.WithTimeout(ctx, cmp.Or(a.block.Process.Timeout, deliveryTimeout))
		err := t.start(call)
		if err == nil {
			err = t.proc.Host().Notify(call, e)
		}
		cancel()
		lines, failed = answered(err, time.Since(began))
	}
	if !a.holds() {
		return lines, failed
	}
	subnet, _ := ownPrefixes(t.cfg).LookupPrefixLPM(e.Target)
	for _, ref := range a.profilesOf(t.ref) {
		var guard string
		announced := []sdk.Announcement{{Prefix: e.Target, Text: "all traffic to " + sdk.TargetText(e.Target), Discard: true}}
		var err error
		if a.about.Has(host.FeaturePreview) {
			announced, err = t.proc.Host().Preview(ctx, sdk.Mitigation{
				ID: testAttack, AttackID: e.ID, Target: e.Target, Direction: e.Direction, Profile: ref.Target, Event: e, Requested: e.Time,
				Subnet: subnet, Attributes: rulesOf(groupNamed(t.cfg, e.HostGroup), ref.Target != "").Attributes,
			})
		}
		if err == nil {
			guard = t.guard.Judge(e.Target, announced)
		}
		more, bad := wouldAnnounce(ref, e.Target, announced, guard, err)
		lines, failed = append(lines, more...), failed || bad
	}
	return lines, failed
}

// errOnlyNotifies says that there is nothing to announce.
var errOnlyNotifies = fmt.Errorf("%w: the action does not act on the network: leave --announce out", ErrUnknown)

// Ban is Daemon.Ban, with this action only.
func (t *Trial) Ban(ctx context.Context, q BanQuery) ([]sdk.MitigationReport, error) {
	a := t.action
	switch labels := a.block.Targets(a.about.TargetBlock); {
	case !a.holds():
		return nil, errOnlyNotifies
	case t.ref.Target == "" && a.about.TargetBlock != "":
		return nil, fmt.Errorf("%w: %s has several ways to act: name one of %s", ErrUnknown, t.ref, strings.Join(labels, ", "))
	}
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	if t.manager == nil {
		t.manager = mitigate.New(mitigate.Options{Log: t.opt.Log, Guard: t.guard})
		t.over = make(chan struct{})
		var life context.Context
		life, t.end = context.WithCancel(context.WithoutCancel(ctx))
		go func() { defer close(t.over); t.manager.Run(life) }()
		t.manager.Up(blockName(a.block), t.proc.Host(), a.block.Process.Timeout, a.about.Has(host.FeaturePreview))
	}
	e := testEvent(t.cfg, q.Target)
	e.Direction = q.Direction
	subnet, _ := ownPrefixes(t.cfg).LookupPrefixLPM(q.Target)
	id, err := t.manager.Ban(mitigate.Ban{
		Action: mitigate.Action{Block: blockName(a.block), Profile: t.ref.Target}, Target: q.Target, Direction: q.Direction, For: q.For,
		By: q.Who, Reason: q.Reason, Event: e, Subnet: subnet, Attributes: q.Set, Rules: rulesOf(groupNamed(t.cfg, e.HostGroup), t.ref.Target != ""),
	})
	if err != nil {
		return nil, err
	}
	return decidedBy(ctx, t.manager, []string{id}), nil
}

// Mitigations lists what is announced, and not over.
func (t *Trial) Mitigations() []sdk.MitigationReport {
	if t.manager == nil {
		return nil
	}
	return t.manager.Reports()
}

// Unban takes back what was announced.
func (t *Trial) Unban(ctx context.Context, q UnbanQuery) ([]sdk.MitigationReport, error) {
	return decidedBy(ctx, t.manager, t.manager.Unban(q.ID, q.Prefix, q.All, q.Who, q.Reason)), nil
}

// Close takes back what is still announced, and ends the plugin.
func (t *Trial) Close() {
	defer t.remove()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if t.manager != nil {
		_ = t.manager.Withdraw(ctx, blockName(t.action.block)) // else it goes with the process
		t.end()
		<-t.over
	}
	if t.proc == nil {
		return
	}
	if err := t.proc.Host().Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.opt.Log.Debug("the plugin did not drain", "error", err)
	}
	t.proc.Stop(ctx)
}
