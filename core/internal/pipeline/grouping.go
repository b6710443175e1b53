package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	summaryGrowth = int64(time.Minute) // between updates of a summary that grows
	summaryLong   = time.Hour          // the longest pause between those of one that does not
	summaryParts  = 100                // in an event
	summaryPast   = 1000               // parts that are over, which a summary keeps
)

// summer stands between the attacks and one action that notifies. The first
// attacks of a short time, or of a prefix, it hands on as they are; further ones
// become one summary, which has a start, few updates and an end.
type summer struct {
	attacks   map[string]*member // those that the action would know of, by id
	recent    []recentStart
	summaries []*summary
}

// recentStart is a start that the action was told of.
type recentStart struct {
	at        int64 // stream's clock
	direction string
	part      *member // nil: of a summary
}

// member is an attack, which may be part of a summary.
type member struct {
	event sdk.Event // newest
	ended time.Time
	told  bool     // by itself
	of    *summary // nil: of none
}

// summary is many attacks of one direction.
type summary struct {
	id        string
	seq       uint32
	prefix    netip.Prefix // that all of them lie in; invalid: they began within a short time
	direction string
	parts     []*member // those that are over are not kept for ever
	attacks   int       // in all
	open      int
	toldOf    int // attacks, by the newest event
	toldAt    int64
	joined    int64         // when the newest part came
	next      int64         // when it is time for an update though nothing happens
	wait      time.Duration // until the one after that
	started   time.Time
	initial   float64 // packets per second, as the start told
	peak      float64
	suspended bool // as the newest event told
}

// keep notes the newest event of an attack, without its evidence, which is large
// and of which a summary tells nothing.
func (p *member) keep(e *sdk.Event) {
	p.event = *e
	p.event.Evidence = nil
}

func newSummer() *summer { return &summer{attacks: map[string]*member{}} }

// offer queues an event for an action, or a summary that it is part of.
func (d *Daemon) offer(a *action, e *sdk.Event, at int64) {
	name := blockName(a.block)
	s := d.summers[name]
	if s == nil {
		s = newSummer()
		if d.summers == nil {
			d.summers = map[string]*summer{}
		}
		d.summers[name] = s
	}
	if s.attacks[e.ID] == nil && (d.cfg.Summary.Attacks == 0 || a.block.Process.Single || a.mitigates()) {
		a.queue.offer(*e)
		return
	}
	alone := false
	for _, told := range s.take(&d.cfg.Summary, e, at) {
		alone = alone || told.ID == e.ID
		a.queue.offer(told)
	}
	if !alone {
		a.summarized++
	}
}

// summarize queues the updates of summaries that are due; at is the stream's
// clock.
func (d *Daemon) summarize(at int64) {
	for name, s := range d.summers {
		a := d.set.actions[name]
		if a == nil {
			delete(d.summers, name)
			continue
		}
		for _, e := range s.tick(at, d.wall.time()) {
			a.queue.offer(e)
		}
	}
}

// take returns what the action is told when this event happens; at is its time on
// the stream's clock.
func (s *summer) take(cfg *config.Summary, e *sdk.Event, at int64) []sdk.Event {
	p := s.attacks[e.ID]
	switch {
	case e.Type == sdk.AttackStarted:
		return s.begin(cfg, e, at)
	case p == nil:
		return []sdk.Event{*e}
	case e.Type == sdk.AttackEnded:
		return s.end(p, e, at)
	}
	p.keep(e)
	if p.of == nil {
		return []sdk.Event{*e}
	}
	if p.of.suspended && !p.of.isSuspended() {
		out := p.of.tell(sdk.AttackUpdated, at, e.Time)
		out.Lifted = true
		return []sdk.Event{out}
	}
	return nil
}

// begin takes a new attack.
func (s *summer) begin(cfg *config.Summary, e *sdk.Event, at int64) []sdk.Event {
	p := new(member)
	p.keep(e)
	s.attacks[e.ID] = p
	s.recent = slices.DeleteFunc(s.recent, func(r recentStart) bool { return at-r.at > int64(cfg.Within) })
	for _, sum := range s.summaries {
		if sum.takes(e, cfg, at) {
			sum.join(p, at)
			if sum.hasGrown(at) {
				return []sdk.Event{sum.tell(sdk.AttackUpdated, at, e.Time)}
			}
			return nil
		}
	}
	parts, prefix, ok := s.founders(cfg, p)
	if !ok {
		p.told = true
		s.recent = append(s.recent, recentStart{at, e.Direction, p})
		return []sdk.Event{*e}
	}
	id := sha256.Sum256([]byte("summary " + e.ID))
	sum := &summary{id: hex.EncodeToString(id[:8]), prefix: prefix, direction: e.Direction, started: e.Time, wait: cfg.Update}
	for _, x := range parts {
		sum.join(x, at)
		if x.event.Started.Before(sum.started) {
			sum.started = x.event.Started
		}
	}
	s.summaries = append(s.summaries, sum)
	s.recent = append(s.recent, recentStart{at, e.Direction, nil})
	return []sdk.Event{sum.tell(sdk.AttackStarted, at, e.Time)}
}

// founders are the attacks of which a new one makes a summary, and the prefix
// that they lie in; false where it is one of the first ones.
func (s *summer) founders(cfg *config.Summary, p *member) (parts []*member, prefix netip.Prefix, ok bool) {
	e := &p.event
	mine := bucket(cfg, e.Target)
	count, elsewhere := 0, false
	for _, r := range s.recent {
		if r.direction != e.Direction {
			continue
		}
		count++
		switch {
		case r.part == nil:
			elsewhere = true // what lies in its prefix would have joined it
		case r.part.of == nil && s.attacks[r.part.event.ID] == r.part:
			parts = append(parts, r.part)
			elsewhere = elsewhere || bucket(cfg, r.part.event.Target) != mine
		}
	}
	if count >= cfg.Attacks {
		if elsewhere {
			mine = netip.Prefix{}
		}
		return append(parts, p), mine, true
	}
	if !mine.IsValid() {
		return nil, mine, false
	}
	parts = parts[:0]
	for _, x := range s.attacks {
		if x != p && x.of == nil && x.event.Direction == e.Direction && bucket(cfg, x.event.Target) == mine {
			parts = append(parts, x)
		}
	}
	slices.SortFunc(parts, func(a, b *member) int { return cmp.Compare(a.event.ID, b.event.ID) })
	return append(parts, p), mine, len(parts) >= cfg.Attacks
}

// bucket is the prefix by which targets are summed up, invalid for a target that
// lies in none.
func bucket(cfg *config.Summary, target netip.Prefix) netip.Prefix {
	n := cfg.PrefixLen[0]
	if target.Addr().Is6() {
		n = cfg.PrefixLen[1]
	}
	if !target.IsValid() || target.Bits() < int(n) {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(target.Addr(), int(n)).Masked()
}

// end takes an attack's end.
func (s *summer) end(p *member, e *sdk.Event, at int64) (out []sdk.Event) {
	delete(s.attacks, e.ID)
	p.keep(e)
	p.ended = e.Time
	if p.of == nil {
		return []sdk.Event{*e}
	}
	if p.told {
		out = append(out, *e)
	}
	sum := p.of
	if sum.open--; sum.open == 0 {
		s.summaries = slices.DeleteFunc(s.summaries, func(x *summary) bool { return x == sum })
		out = append(out, sum.tell(sdk.AttackEnded, at, e.Time))
	}
	return out
}

// tick returns the updates that are due.
func (s *summer) tick(at int64, now time.Time) (out []sdk.Event) {
	for _, sum := range s.summaries {
		due := at >= sum.next
		if due {
			sum.wait = min(2*sum.wait, max(sum.wait, summaryLong))
		}
		if due || sum.hasGrown(at) {
			out = append(out, sum.tell(sdk.AttackUpdated, at, now))
		}
	}
	return out
}

// takes tells whether a new attack belongs to a summary.
func (sum *summary) takes(e *sdk.Event, cfg *config.Summary, at int64) bool {
	if sum.direction != e.Direction {
		return false
	}
	if sum.prefix.IsValid() {
		return e.Target.IsValid() && sum.prefix.Bits() <= e.Target.Bits() && sum.prefix.Contains(e.Target.Addr())
	}
	return at-sum.joined <= int64(cfg.Within)
}

func (sum *summary) join(p *member, at int64) {
	p.of = sum
	sum.attacks++
	sum.open++
	sum.joined = at
	if past := len(sum.parts) - sum.open + 1; past > summaryPast {
		oldest := slices.IndexFunc(sum.parts, func(x *member) bool { return !x.ended.IsZero() })
		sum.parts = slices.Delete(sum.parts, oldest, oldest+1)
	}
	sum.parts = append(sum.parts, p)
}

// hasGrown tells whether it is worth an update how many attacks have come since the
// newest event.
func (sum *summary) hasGrown(at int64) bool {
	return sum.attacks >= 2*sum.toldOf && at-sum.toldAt >= summaryGrowth
}

func (sum *summary) isSuspended() bool {
	return !slices.ContainsFunc(sum.parts, func(p *member) bool { return p.ended.IsZero() && p.event.Suspended == "" })
}
