package pipeline

import (
	"cmp"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// call is an action that is told of an attack, and the limit for which it is.
type call struct {
	ref   config.Reference
	limit limit
}

func (c call) block() *config.Plugin { return c.ref.Block }

// reached lists the limits whose actions an attack calls, the highest last: the
// first one crossed and, where its counter has several in that unit, all tiers
// of them that the attack has reached and not left.
func (d *Daemon) reached(e *detect.Event) []limit {
	crossed := e.Attack.Crossed
	if len(crossed) == 0 {
		return []limit{{}}
	}
	var tiers []detect.Crossed
	for _, c := range crossed {
		if c.Counter == crossed[0].Counter && c.Unit == crossed[0].Unit && !c.Left {
			tiers = append(tiers, c)
		}
	}
	if len(tiers) == 0 {
		tiers = crossed[:1]
	}
	slices.SortStableFunc(tiers, func(a, b detect.Crossed) int { return cmp.Compare(a.Bound, b.Bound) })
	out := make([]limit, len(tiers))
	for i := range tiers {
		out[i] = d.limits[tiers[i].Limit]
	}
	return out
}

// calls lists the actions that an attack calls as it stands, each once, for the
// highest limit that calls it. Limits on other counters than the first one
// crossed call only the actions that their thresholds name themselves: who names
// one for a limit wants it called whatever was crossed before. What is wider than
// a host only notifies, unless the threshold itself names an action that does more.
func (d *Daemon) calls(e *detect.Event) (out []call) {
	add := func(l limit, refs []config.Reference, named, again bool) {
		for _, ref := range refs {
			a := d.set.actions[blockName(ref.Block)]
			if a == nil || e.Attack.Scope != engine.ScopeHost && !named && a.mitigates() {
				continue
			}
			if i := slices.IndexFunc(out, func(c call) bool { return c.ref.Block == ref.Block && c.ref.Target == ref.Target }); i < 0 {
				out = append(out, call{ref, l})
			} else if again {
				out[i].limit = l
			}
		}
	}
	for _, l := range d.reached(e) {
		refs, named := actionsFor(d.cfg, l)
		add(l, refs, named, true)
	}
	for _, c := range e.Attack.Crossed {
		l := d.limits[c.Limit]
		if refs, named := actionsFor(d.cfg, l); named && !c.Left {
			add(l, refs, named, false)
		}
	}
	return out
}

// notified are the calls of actions that are told of events, each block once.
func (d *Daemon) notified(all []call) (out []call) {
	for _, c := range all {
		if d.set.actions[blockName(c.block())].isTold() && !slices.ContainsFunc(out, func(o call) bool { return o.block() == c.block() }) {
			out = append(out, c)
		}
	}
	return out
}

// tell queues an event for the actions. Each sees whole attacks: one that is
// called for a tier gets attack.started when that is reached, and attack.ended
// when it is left or the attack ends.
func (d *Daemon) tell(e *detect.Event, seen *sdk.Event) {
	before := d.told[e.Attack.ID]
	all := d.calls(e)
	d.mitigate(e, seen, all)
	now := d.notified(all)
	had := func(list []call, b *config.Plugin) bool {
		return slices.ContainsFunc(list, func(c call) bool { return blockName(c.block()) == blockName(b) })
	}
	offer := func(c call, kind sdk.EventType) {
		if a := d.set.actions[blockName(c.block())]; a != nil {
			told := *seen
			told.Type = kind
			d.setMode(&told, e, c.limit, c.block())
			d.offer(a, &told, e.Time)
		}
	}
	over := e.Type == detect.Ended
	for _, c := range before {
		if over || !had(now, c.block()) {
			offer(c, sdk.AttackEnded)
		}
	}
	if over {
		delete(d.told, e.Attack.ID)
		return
	}
	for _, c := range now {
		kind := sdk.AttackStarted
		if had(before, c.block()) {
			kind = seen.Type
		}
		offer(c, kind)
	}
	if d.told == nil {
		d.told = map[string][]call{}
	}
	d.told[e.Attack.ID] = now
}
