package engine

import "github.com/fastnetmon-go/fastnetmon/sdk/ring"

// intern gives equal layouts one number, so that most plan changes leave the
// ticks of rows as they are.
func (e *Engine) intern(lay layout) uint16 {
	if i, ok := e.layoutNo[lay]; ok {
		return i
	}
	i := uint16(len(e.layouts))
	e.layouts = append(e.layouts, &lay)
	e.layoutNo[lay] = i
	return i
}

// compactLayouts forgets layouts that no current group has. It touches every
// row, but only after tens of thousands of different ones.
func (e *Engine) compactLayouts() {
	if e.cur == nil {
		return
	}
	for i := range e.rows.top {
		if r := e.row(i); r.kind != 0 && r.gen != e.cur.gen {
			e.refresh(r)
		}
	}
	old := e.layouts
	e.layouts, e.layoutNo = nil, map[layout]uint16{}
	e.intern(layout{})
	for _, p := range e.plans {
		for _, g := range p.groups {
			g.layout = e.intern(*g.lay)
		}
		for i := range p.scoped {
			g := p.scoped[i].plan
			g.layout = e.intern(*g.lay)
		}
	}
	for i := range e.rows.top {
		if r := e.row(i); r.kind != 0 {
			r.layout = e.layoutNo[*old[r.layout]]
		}
	}
}

// refresh brings a row under the current plan.
func (e *Engine) refresh(r *row) {
	r.gen = e.cur.gen
	if !isScoped(r.kind) {
		r.entry = e.cur.lookup(r.prefix())
	}
	g := e.entryOf(r).plan
	if r.kind == uint8(ring.KindPrefix) {
		g = e.none
	}
	if r.extras != 0 {
		e.dropExtras(r, g.wants)
	}
	if r.layout == g.layout {
		return
	}
	old := e.layouts[r.layout]
	if old.community != g.lay.community {
		e.convert(r, g)
	}
	r.layout = g.layout
	for d := range r.dir {
		r.dir[d].remap(d, old, g.lay)
	}
}

// refreshPeriodic brings rows whose averages are held between periods under the
// current plan, in which nobody may end their periods.
func (e *Engine) refreshPeriodic() {
	for no := range e.rows.top {
		if r := e.row(no); r.kind != 0 && r.gen != e.cur.gen && e.layouts[r.layout].community {
			e.refresh(r)
		}
	}
}

// remap moves tick sums to where the new layout has them. A limit that is the
// same keeps its runs, one whose numbers changed keeps its open sums.
func (s *dirState) remap(d int, old, lay *layout) {
	was := *s
	for t := range s.sums {
		s.sums[t] = [rowPairs]ufloat{}
	}
	s.runs = [rowPairs][maxRules]uint8{}
	for i, p := range lay.pair[d][:lay.n[d]] {
		for j, q := range old.pair[d][:old.n[d]] {
			if p.idx != q.idx {
				continue
			}
			for t := range s.sums {
				s.sums[t][i] = was.sums[t][j]
			}
			if p == q {
				s.runs[i] = was.runs[j]
			}
			if p.id == q.id {
				break
			}
		}
	}
}

// wants reports whether a group has a limit that uses an extra.
func (g *groupPlan) wants(x *extra) bool {
	d := &g.dirs[0]
	if x.key&keyDir != 0 {
		d = &g.dirs[1]
	}
	for _, list := range [2][]limitPlan{d.limits, d.user} {
		for i := range list {
			l := &list[i]
			if x.key&keyTick == 0 && l.counter == x.key&keyID {
				return true
			}
			if x.key&keyTick != 0 && l.ID == x.key&keyID {
				return true
			}
		}
	}
	return false
}
