package pipeline

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// detectConfig names for the detector what the engine knows by id.
func detectConfig(cfg *config.Config, names *idSets, limits map[uint32]limit, seed uint64) detect.Config {
	out := detect.Config{
		Revision: cfg.Revision, Groups: map[uint32]detect.Group{}, Networks: map[uint32]string{},
		Limits: map[uint32]detect.LimitName{}, Seed: seed,
	}
	for _, g := range cfg.Groups {
		out.Groups[names.groups.of(g.Name)] = detect.Group{Name: g.Name, Quiet: g.Quiet}
	}
	for _, n := range cfg.Networks {
		out.Networks[names.networks.of(n.Name)] = n.Name
	}
	for id, l := range limits {
		out.Limits[id] = detect.LimitName{Threshold: l.name, Counter: l.counter}
	}
	return out
}

// wallClock turns times of the live stream's clock into those people know. A
// moment of an attack keeps the time it was first given, whatever happens to
// the time of day while the attack lasts. The loop's goroutine owns it.
type wallClock struct {
	now   func() time.Time               // nil: the system's
	given map[string]map[int64]time.Time // by attack
}

func (w *wallClock) time() time.Time {
	if w.now != nil {
		return w.now()
	}
	return time.Now()
}

// event converts an event.
func (w *wallClock) event(e *detect.Event) sdk.Event {
	if w.given == nil {
		w.given = map[string]map[int64]time.Time{}
	}
	given := w.given[e.Attack.ID]
	if given == nil {
		given = map[int64]time.Time{}
		w.given[e.Attack.ID] = given
	}
	lastCrossing := e.Attack.Started
	for i := range e.Attack.Crossed {
		lastCrossing = max(lastCrossing, e.Attack.Crossed[i].At)
	}
	offset := w.time().Add(-time.Duration(count.Monotonic()))
	out := e.SDK(func(mono int64) time.Time {
		t, ok := given[mono]
		if !ok {
			t = offset.Add(time.Duration(mono))
			if mono <= lastCrossing {
				given[mono] = t
			}
		}
		return t
	})
	if e.Type == detect.Ended {
		delete(w.given, e.Attack.ID)
	}
	return out
}

// describe makes the event that everybody sees.
func (d *Daemon) describe(e *detect.Event, lossRatio float64) sdk.Event {
	out := d.wall.event(e)
	d.setMode(&out, e, d.first(e), nil)
	if p := d.cfg.Pipelines; len(p) == 1 {
		out.Pipeline = p[0].Name
	}
	out.LossRatio = lossRatio
	d.witness.label(&out)
	return out
}

// setMode fills in the mode of a limit: for an action its own may be less than
// the rest.
func (d *Daemon) setMode(out *sdk.Event, e *detect.Event, l limit, block *config.Plugin) {
	mode := d.cfg.EffectiveMode(l.group, l.threshold, block)
	if mode == config.Enforce && d.spared.attack(&e.Attack, d.wall.time()) != "" {
		mode = config.Monitor
	}
	out.Mode, out.WouldHave, out.Suspended = string(mode), mode == config.Monitor, ""
	if e.Attack.Suspended && mode == config.Enforce {
		out.WouldHave, out.Suspended = true, d.sys.loop.reason(e.Attack.Doubt)
	}
}

// first is the limit that an attack crossed first.
func (d *Daemon) first(e *detect.Event) limit {
	if len(e.Attack.Crossed) == 0 {
		return limit{}
	}
	return d.limits[e.Attack.Crossed[0].Limit]
}

// deliver logs events and queues them for the plugins; the loop's goroutine
// calls it, and nothing in it waits.
func (d *Daemon) deliver(events []detect.Event) {
	loss := d.loss.ratio(d.ledger())
	now := count.Monotonic()
	for i := range events {
		e := &events[i]
		if e.Type == detect.Started {
			d.delays.observe(time.Duration(now - e.Time))
		}
		seen := d.describe(e, loss)
		d.witnessed(e, &seen)
		if i < maxLogged {
			d.logEvent(&seen)
		}
		d.tell(e, &seen)
		for _, x := range d.set.exports {
			x.events.offer(seen)
		}
		if d.opt.OnEvent != nil {
			d.opt.OnEvent(seen)
		}
	}
	if more := len(events) - maxLogged; more > 0 {
		d.sys.log.Warn("more attacks changed at the same moment than are logged", "not_logged", more)
	}
}

// maxLogged bounds the log lines of one moment; actions and exports get all.
const maxLogged = 100

// logTarget is an attack's target with its length, or what it is on where that
// has several prefixes.
func logTarget(e *sdk.Event) string {
	if e.Target.IsValid() {
		return e.Target.String()
	}
	return e.TargetName()
}

func (d *Daemon) logEvent(e *sdk.Event) {
	fields := []any{"id", e.ID, "target", logTarget(e), "direction", e.Direction, "hostgroup", e.HostGroup, "mode", e.Mode}
	if e.Type == sdk.AttackEnded {
		d.sys.log.Info("attack ended", append(fields, "after", e.Time.Sub(e.Started).Round(time.Millisecond), "peak_pps", int64(e.PeakPPS))...)
		return
	}
	c := e.Crossed[len(e.Crossed)-1]
	text := "attack started"
	switch {
	case e.Lifted && e.Mode == "monitor":
		text = "attack goes on, and would be enforced from now on"
	case e.Lifted:
		text = "attack goes on, and is enforced from now on"
	case e.Type == sdk.AttackUpdated:
		text = "attack goes on"
	}
	if e.Suspended != "" {
		fields = append(fields, "not_enforced", e.Suspended)
	}
	d.sys.log.Warn(text, append(fields, "threshold", c.Threshold, "counter", c.Counter, "unit", c.Unit,
		"value", int64(c.Value), "limit", int64(c.Limit), "rule", c.Rule, "type", e.AttackType, "label", e.Label)...)
}
