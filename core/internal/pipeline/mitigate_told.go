package pipeline

import (
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// maxPages bounds how often notifiers are told in a minute that something is held
// or has failed.
const maxPages = 10

// changed tells exports, those who follow the events and, where something does
// not go on by itself, actions that notify.
func (m *mitigation) changed(changes []mitigate.Change) {
	for i := range changes {
		r := &changes[i].Report
		e := changes[i].Event
		e.Type, e.Time, e.Mitigation = sdk.MitigationChanged, r.Time, r
		m.log(r)
		m.d.sys.loop.do(func() {
			for _, x := range m.d.set.exports {
				x.events.offer(e)
			}
			if (r.State == sdk.MitigationHeld || r.State == sdk.MitigationFailed) && m.mayPage() {
				m.d.page(&e)
			}
			if m.d.opt.OnEvent != nil {
				m.d.opt.OnEvent(e)
			}
		})
	}
}

func (m *mitigation) log(r *sdk.MitigationReport) {
	fields := []any{"id", r.ID, "target", sdk.TargetText(r.Target), "direction", r.Direction, "action", r.Action, "state", string(r.State), "cause", r.Cause}
	if r.By != "" {
		fields = append(fields, "by", r.By)
	}
	switch r.State {
	case sdk.MitigationHeld, sdk.MitigationFailed:
		m.d.sys.log.Error("mitigation "+string(r.State), fields...)
	default:
		m.d.sys.log.Info("mitigation "+string(r.State), fields...)
	}
}

func (m *mitigation) mayPage() bool {
	now := time.Now()
	m.paged = slices.DeleteFunc(m.paged, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(m.paged) >= maxPages {
		return false
	}
	m.paged = append(m.paged, now)
	return true
}

// page tells the actions that know of an attack, or where none do all that
// notify; the loop's goroutine calls it.
func (d *Daemon) page(e *sdk.Event) {
	if calls := d.told[e.ID]; len(calls) > 0 {
		for _, c := range calls {
			if a := d.set.actions[blockName(c.block())]; a != nil {
				a.queue.offer(*e)
			}
		}
		return
	}
	for _, a := range d.set.actions {
		if a.isTold() {
			a.queue.offer(*e)
		}
	}
}
