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

// wallClock turns a time of the live stream's clock into one people know.
func wallClock(mono int64) time.Time {
	return time.Now().Add(time.Duration(mono - count.Monotonic()))
}

// describe makes the event that plugins see. Of an action it carries the
// action's own mode.
func (d *Daemon) describe(e *detect.Event, block *config.Plugin) sdk.Event {
	out := e.SDK(wallClock)
	l := d.first(e)
	mode := d.opt.Config.EffectiveMode(l.group, l.threshold, block)
	out.Mode, out.WouldHave = string(mode), mode == config.Monitor
	if p := d.opt.Config.Pipelines; len(p) == 1 {
		out.Pipeline = p[0].Name
	}
	out.LossRatio = d.loss.ratio(d.ledger())
	return out
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
	for i := range events {
		e := &events[i]
		seen := d.describe(e, nil)
		d.logEvent(&seen)
		for _, ref := range actionsFor(d.opt.Config, d.first(e)) {
			if a := d.actions[ref.Block]; a != nil {
				a.queue.offer(d.describe(e, ref.Block))
			}
		}
		for _, x := range d.exports {
			x.events.offer(seen)
		}
		if d.opt.OnEvent != nil {
			d.opt.OnEvent(seen)
		}
	}
}

func (d *Daemon) logEvent(e *sdk.Event) {
	fields := []any{"id", e.ID, "target", e.Target, "direction", e.Direction, "hostgroup", e.HostGroup, "mode", e.Mode}
	if e.Type == sdk.AttackEnded {
		d.sys.log.Info("attack ended", append(fields, "after", e.Time.Sub(e.Started).Round(time.Millisecond), "peak_pps", int64(e.PeakPPS))...)
		return
	}
	c := e.Crossed[len(e.Crossed)-1]
	text := "attack started"
	if e.Type == sdk.AttackUpdated {
		text = "attack goes on"
	}
	d.sys.log.Warn(text, append(fields, "threshold", c.Threshold, "counter", c.Counter, "unit", c.Unit,
		"value", int64(c.Value), "limit", int64(c.Limit), "rule", c.Rule, "type", e.AttackType)...)
}
