package pipeline

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// action is one action block: its process and the queue before it.
type action struct {
	*prepared
	sys     *system
	inst    *plugin.Instance
	queue   *delivery
	running atomic.Pointer[plugin.Process]

	summarized uint64 // events that only summaries tell of; the loop's goroutine counts
}

func newAction(sys *system, p *prepared) *action {
	a := &action{prepared: p, sys: sys}
	a.inst = sys.instance(p, plugin.Hooks{
		Configure: p.configure,
		Running: func(proc *plugin.Process) {
			a.running.Store(proc)
			sys.mitigation.up(a, proc)
		},
		Gone: func(proc *plugin.Process, _ error) {
			a.running.Store(nil)
			sys.mitigation.down(a, proc)
		},
	})
	name := p.block.Name + "." + p.block.Instance
	a.queue = newDelivery(name, actionLanes, p.block.Process.Timeout, sys.log, a.notify)
	return a
}

func (a *action) notify(ctx context.Context, e sdk.Event) error {
	if !a.isTold() {
		return nil // it judges or mitigates, and is told nothing
	}
	proc := a.running.Load()
	if proc == nil {
		return errNotRunning
	}
	return proc.Host().Notify(ctx, e)
}

// Values of role, the attribute of actions that can do both.
const (
	roleNotify   = "notify"
	roleMitigate = "mitigate"
)

// role is what a block says that it is for, "" if nothing.
func (p *prepared) role() string {
	v, _ := p.block.Value.UnmarkDeep()
	if v == cty.NilVal || v.IsNull() || !v.IsKnown() || !v.Type().IsObjectType() || !v.Type().HasAttribute("role") {
		return ""
	}
	role := v.GetAttr("role")
	if !role.IsKnown() || role.IsNull() || role.Type() != cty.String {
		return ""
	}
	return role.AsString()
}

// holds tells whether an action is handed the set of what it is to hold.
func (p *prepared) holds() bool {
	return p.about.Has(host.FeatureMitigator) && p.role() != roleNotify
}

// isTold tells whether an action is told of events.
func (p *prepared) isTold() bool {
	return p.about.Has(host.FeatureNotifier) && (!p.holds() || p.role() != roleMitigate)
}

// mitigates tells whether an action acts on the network.
func (p *prepared) mitigates() bool { return p.holds() || p.role() == roleMitigate }

// actionsFor lists the actions that a limit calls: those of its threshold,
// else its group's, else all pipelines'. named tells that the threshold names
// them itself.
func actionsFor(cfg *config.Config, l limit) (refs []config.Reference, named bool) {
	switch {
	case l.threshold != nil && l.threshold.Actions != nil:
		return l.threshold.Actions, true
	case l.group != nil && l.group.Actions != nil:
		return l.group.Actions, false
	}
	var all []config.Reference
	for _, p := range cfg.Pipelines {
		for _, ref := range p.Actions {
			if !slices.ContainsFunc(all, func(have config.Reference) bool { return have.Block == ref.Block && have.Target == ref.Target }) {
				all = append(all, ref)
			}
		}
	}
	return all, false
}
