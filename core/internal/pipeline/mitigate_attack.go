package pipeline

import (
	"fmt"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// mitigate tells the mitigations of an attack, whose actions are these; the
// loop's goroutine calls it, and it waits for nothing.
func (d *Daemon) mitigate(e *detect.Event, seen *sdk.Event, calls []call) {
	if d.sys.mitigation == nil {
		return
	}
	a := mitigate.Attack{Event: *seen, Over: e.Type == detect.Ended}
	for _, c := range calls {
		act := d.set.actions[blockName(c.block())]
		if act == nil || !act.holds() {
			continue
		}
		told := *seen
		d.setMode(&told, e, c.limit, c.block())
		w := mitigate.Want{
			Action: mitigate.Action{Block: blockName(c.block()), Profile: c.ref.Target},
			Rules:  rulesOf(c.limit.group, c.ref.Target != ""),
		}
		switch {
		case told.Suspended != "":
			w.Do = mitigate.Keep
		case told.Mode != string(config.Enforce):
			w.Do, w.Why = mitigate.Drop, "the mode is monitor"
		}
		a.Wants = append(a.Wants, w)
	}
	if len(a.Wants) == 0 && !d.mitigated[seen.ID] {
		return
	}
	d.divide(&a)
	if d.mitigated == nil {
		d.mitigated = map[string]bool{}
	}
	if d.mitigated[seen.ID] = true; a.Over {
		delete(d.mitigated, seen.ID)
	}
	d.sys.mitigation.Offer(a)
}

// maxParts is how many prefixes of a hostgroup or network are acted on for one
// attack. Beyond it the guards' counts, and routers' tables, are no place for it.
const maxParts = 64

// divide names the prefixes of an attack's target: what has no single one has a
// mitigation for each of them.
func (d *Daemon) divide(a *mitigate.Attack) {
	if a.Event.Target.IsValid() {
		a.Subnet, _ = d.own.LookupPrefixLPM(a.Event.Target)
		return
	}
	a.Whole = logTarget(&a.Event)
	of := d.places.ofGroup[a.Event.HostGroup]
	if a.Event.Scope == engine.ScopeNetwork.String() {
		of = d.places.ofNetwork[a.Event.Network]
	}
	switch n := len(of); {
	case n == 0:
		a.TooMuch = a.Whole + " has no prefixes to act on any more"
	case n > maxParts:
		a.TooMuch = fmt.Sprintf("%s has %d prefixes, and one attack is acted on with at most %d: name the action in a threshold of scope \"host\" or \"prefix\"", a.Whole, n, maxParts)
	}
	for _, p := range of[:min(len(of), maxParts)] {
		subnet, _ := d.own.LookupPrefixLPM(p)
		a.Parts = append(a.Parts, mitigate.Part{Target: p, Subnet: subnet})
	}
}

// remitigate tells of all open attacks as the configuration has it now; the
// loop's goroutine calls it.
func (d *Daemon) remitigate() {
	now := d.sys.loop.engine.Clock()
	loss := d.loss.ratio(d.ledger())
	for _, a := range d.sys.loop.detector.Attacks(now) {
		e := detect.Event{Type: detect.Updated, Time: now, Attack: a}
		seen := d.describe(&e, loss)
		d.mitigate(&e, &seen, d.calls(&e))
	}
}
