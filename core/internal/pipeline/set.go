package pipeline

import (
	"context"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
)

// set is the parts that a configuration needs. A reload takes over what has
// not changed into the next one.
type set struct {
	captures map[string]*capture // by the block's name
	wirings  map[string]*wiring  // by the pipeline's name
	actions  map[string]*action
	exports  map[string]*export
}

func newSet() *set {
	return &set{captures: map[string]*capture{}, wirings: map[string]*wiring{}, actions: map[string]*action{}, exports: map[string]*export{}}
}

// part is what starting and stopping needs to know of a block.
type part struct {
	*prepared
	inst   *plugin.Instance
	serve  func(context.Context) // hands out what is queued, until it is finished; may be nil
	finish func()                // lets serve end
	served <-chan struct{}       // closed when serve has ended
}

// stages lists all parts, downstream first: exports and actions, filters,
// captures.
func (s *set) stages() [3][]part {
	var out [3][]part
	for _, x := range s.exports {
		out[0] = append(out[0], x.part())
	}
	for _, a := range s.actions {
		out[0] = append(out[0], a.part())
	}
	seen := map[*plugin.Instance]bool{} // a filter may stand in several pipelines
	for _, w := range s.wirings {
		for _, p := range w.parts() {
			if !seen[p.inst] {
				out[1] = append(out[1], p)
			}
			seen[p.inst] = true
		}
	}
	for _, c := range s.captures {
		out[2] = append(out[2], c.part())
	}
	return out
}

func (a *action) part() part {
	return part{a.prepared, a.inst, a.queue.run, a.queue.finish, a.queue.done}
}

func (x *export) part() part {
	return part{x.prepared, x.inst, x.serve, x.finish, x.events.done}
}

func (c *capture) part() part { return part{prepared: c.prepared, inst: c.inst} }

func (w *wiring) parts() []part {
	var out []part
	for _, f := range w.filters {
		out = append(out, part{prepared: f.prepared, inst: f.inst})
	}
	return out
}

// notRunning counts the parts that have not come up, and are tried again.
func (s *set) notRunning() int {
	n := 0
	for _, stage := range s.stages() {
		for _, p := range stage {
			if state := p.inst.Status().State; state != plugin.Running && state != plugin.Finished {
				n++
			}
		}
	}
	return n
}

// build makes the set of a configuration, taking over the parts that would be
// started with the same words. It returns what is new and what is left over, by
// stage.
func (d *Daemon) build(cfg *config.Config, known []*prepared) (next *set, fresh, stale [3][]part) {
	parts := map[*config.Plugin]*prepared{}
	for _, p := range known {
		parts[p.block] = p
	}
	next = newSet()
	filters := d.runningFilters()
	for _, p := range cfg.Pipelines {
		w := &wiring{}
		for _, b := range p.Filters {
			f := filters[blockName(b)]
			if f == nil || !f.sameAs(parts[b]) || failed(f.inst) {
				f = newFilter(d.sys, parts[b])
				filters[blockName(b)] = f
				fresh[1] = append(fresh[1], part{prepared: f.prepared, inst: f.inst})
			}
			w.filters = append(w.filters, f)
		}
		next.wirings[p.Name] = w
		for _, b := range p.Captures {
			name := blockName(b)
			c := d.set.captures[name]
			if c == nil || !c.sameAs(parts[b]) || failed(c.inst) {
				c = newCapture(d.sys, parts[b], w, false)
				fresh[2] = append(fresh[2], c.part())
			}
			next.captures[name] = c
		}
		for _, b := range p.Exports {
			name := blockName(b)
			x := d.set.exports[name]
			switch {
			case next.exports[name] != nil:
				x = next.exports[name]
			case x == nil || !x.sameAs(parts[b]) || failed(x.inst):
				x = newExport(d.sys, parts[b], d.Snapshot)
				fresh[0] = append(fresh[0], x.part())
			}
			next.exports[name] = x
			w.exports = append(w.exports, x)
		}
	}
	for _, b := range usedActions(cfg) {
		name := blockName(b)
		a := d.set.actions[name]
		if a == nil || !a.sameAs(parts[b]) || failed(a.inst) {
			a = newAction(d.sys, parts[b])
			fresh[0] = append(fresh[0], a.part())
		}
		next.actions[name] = a
	}
	return next, fresh, d.set.without(next)
}

// runningFilters are those of the set in force, by name: pipelines may take
// them over in another order.
func (d *Daemon) runningFilters() map[string]*filter {
	out := map[string]*filter{}
	for _, w := range d.set.wirings {
		for _, f := range w.filters {
			out[blockName(f.block)] = f
		}
	}
	return out
}

// failed tells of an instance that was refused and is not tried again by
// itself: a reload tries it.
func failed(inst *plugin.Instance) bool { return inst.Status().State == plugin.Failed }

// sameAs tells whether a block would be started with the same words.
func (p *prepared) sameAs(o *prepared) bool {
	return blockName(p.block) == blockName(o.block) && p.found.Path == o.found.Path && p.cfg.Dir == o.cfg.Dir && sameBlock(p.block, o.block)
}

// without lists the parts of a set that another does not have, by stage.
func (s *set) without(next *set) [3][]part {
	kept := map[*plugin.Instance]bool{}
	for _, stage := range next.stages() {
		for _, p := range stage {
			kept[p.inst] = true
		}
	}
	out := s.stages()
	for i := range out {
		out[i] = slices.DeleteFunc(out[i], func(p part) bool { return kept[p.inst] })
	}
	return out
}

// usedActions are the action blocks that some attack may call.
func usedActions(cfg *config.Config) []*config.Plugin {
	var used []*config.Plugin
	add := func(refs []config.Reference) {
		for _, ref := range refs {
			if !slices.Contains(used, ref.Block) {
				used = append(used, ref.Block)
			}
		}
	}
	for _, p := range cfg.Pipelines {
		add(p.Actions)
	}
	for _, g := range cfg.Groups {
		add(g.Actions)
		for _, t := range g.Thresholds {
			add(t.Actions)
		}
	}
	return used
}
