package detect

import "github.com/fastnetmon-go/fastnetmon/core/internal/engine"

// cross notes a limit crossed; one that was left before is reached again.
func (a *attack) cross(c Crossed) {
	for i := range a.Crossed {
		if a.Crossed[i].Limit == c.Limit {
			a.Crossed[i] = c
			return
		}
	}
	a.Crossed = append(a.Crossed, c)
}

// TierOf tells whether limit c is a tier above the limit below: a higher bound of
// the same counter in the same unit.
func (c *Crossed) TierOf(below *Crossed) bool {
	return c.Counter == below.Counter && c.Unit == below.Unit && c.Bound > below.Bound
}

// tiers looks whether an attack has left a tier: the limit's average was below
// 0.75 of it for the quiet time, and no burst rule of it held, while the attack
// goes on. It may then be reached again.
func (d *Detector) tiers(a *attack, now int64) (changed bool) {
	a.tier = 0
	for i := range a.Crossed {
		c := &a.Crossed[i]
		if c.Left || !a.isTier(c) {
			continue
		}
		lv, ok := d.e.Level(a.alarm, c.Limit, quietFactor, now)
		if !ok {
			lv = engine.Level{Quiet: now}
		}
		burst := d.e.LimitBurst(a.alarm, c.Limit)
		due := now + int64(a.quiet)
		switch {
		case lv.Quiet > now:
			c.below, due = 0, lv.Quiet
		case c.below == 0:
			c.below = now
		case burst > c.below:
			c.below, due = burst, burst+int64(a.quiet)
		case now-c.below >= int64(a.quiet):
			c.Left, c.below = true, 0
			d.e.Rearm(a.alarm, c.Limit)
			changed = true
			continue
		default:
			due = c.below + int64(a.quiet)
		}
		if a.tier == 0 || due < a.tier {
			a.tier = due
		}
	}
	return changed
}

// isTier tells whether an attack has crossed a lower limit than c too.
func (a *attack) isTier(c *Crossed) bool {
	for i := range a.Crossed {
		if c.TierOf(&a.Crossed[i]) {
			return true
		}
	}
	return false
}
