package pipeline

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// action is one action block: its process and the queue before it.
type action struct {
	*prepared
	sys     *system
	inst    *plugin.Instance
	queue   *delivery
	running atomic.Pointer[plugin.Process]
}

func newAction(sys *system, p *prepared) *action {
	a := &action{prepared: p, sys: sys}
	a.inst = sys.instance(p, plugin.Hooks{
		Configure: p.configure,
		Running:   func(proc *plugin.Process) { a.running.Store(proc) },
		Gone:      func(*plugin.Process, error) { a.running.Store(nil) },
	})
	name := p.block.Name + "." + p.block.Instance
	a.queue = newDelivery(name, actionLanes, p.block.Process.Timeout, sys.log, a.notify)
	return a
}

func (a *action) notify(ctx context.Context, e sdk.Event) error {
	proc := a.running.Load()
	if proc == nil {
		return errNotRunning
	}
	return proc.Host().Notify(ctx, e)
}

// actionsFor lists the actions that an attack calls: those of the threshold
// that was crossed first, else its group's, else all pipelines'.
func actionsFor(cfg *config.Config, l limit) []config.Reference {
	switch {
	case l.threshold != nil && l.threshold.Actions != nil:
		return l.threshold.Actions
	case l.group != nil && l.group.Actions != nil:
		return l.group.Actions
	}
	var all []config.Reference
	for _, p := range cfg.Pipelines {
		for _, ref := range p.Actions {
			if !slices.ContainsFunc(all, func(have config.Reference) bool { return have.Block == ref.Block && have.Target == ref.Target }) {
				all = append(all, ref)
			}
		}
	}
	return all
}
