package mitigate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// previewDue tells whether a plugin is to be asked something.
func (m *Machine) previewDue(block string) bool {
	for _, e := range m.byID {
		if e.Action.Block == block && e.due(m.now.Boot) {
			return true
		}
	}
	return false
}

// file hands what has changed to the journal, if anything has, and gives what is
// closed when that has been written; the lock is held.
func (m *Manager) file(now bool) <-chan struct{} {
	if c, past, audit := m.pages(); c != nil {
		m.book.remember(past, audit)
		return m.book.write(c, now)
	}
	return nil
}

// commit writes down what has changed, and waits for that, though not for ever.
func (m *Manager) commit(most time.Duration) {
	m.mu.Lock()
	done := m.file(true)
	if done == nil {
		done = m.book.writing() // by another goroutine
	}
	m.mu.Unlock()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// pages are what the journal does not have yet; the lock is held.
func (m *Manager) pages() (c *store.JournalChange, past []sdk.MitigationReport, audit []Audit) {
	x := m.machine
	now := m.opt.Clock()
	past, audit = x.past, m.audit
	stale := len(x.byID) > 0 && (m.marked == 0 || now.Boot-m.marked >= markEvery)
	if len(x.dirty)+len(past)+len(audit) == 0 && !stale && !x.refusals && !x.begun {
		return nil, nil, nil
	}
	c = &store.JournalChange{Open: map[string][]byte{}, Rest: map[string][]byte{}}
	for id := range x.dirty {
		c.Open[id] = nil
		if e := x.byID[id]; e != nil && e.Target.IsValid() {
			r := e.record()
			c.Open[id] = r.encode()
		}
	}
	for i := range past {
		c.Past = append(c.Past, encode((*plainReport)(&past[i])))
	}
	for i := range audit {
		c.Audit = append(c.Audit, encode(&audit[i]))
	}
	if len(past) > 0 || m.recurred {
		m.recurred = false
		c.Rest["recur"] = x.recurrences()
	}
	if x.refusals {
		x.refusals = false
		c.Rest["refused"] = encode(x.refused())
	}
	if x.begun {
		x.begun = false
		c.Rest["begun"] = x.beginnings()
	}
	c.Rest["clock"] = encode(tick{m.opt.Boot, now.Boot})
	m.marked = max(now.Boot, 1)
	x.dirty, x.past, m.audit = map[string]bool{}, nil, nil
	return c, past, audit
}

// plainReport is a report in a form that can be read back.
type plainReport sdk.MitigationReport

// encode gives the JSON of what has one.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func (m *Machine) recurrences() []byte {
	var recur []storedRecurrence
	for k, r := range m.recur {
		recur = append(recur, storedRecurrence{k.Action, k.Target, k.Direction, r})
	}
	return encode(recur)
}

func (m *Machine) beginnings() []byte { return encode(lastOf(m.tally.begun, maxEntries)) }

// everything is all that is open, and all values by name, for a journal that has
// missed something.
func (m *Manager) everything() (open, rest map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.machine
	open = map[string][]byte{}
	for id, e := range x.byID {
		if e.Target.IsValid() {
			r := e.record()
			open[id] = r.encode()
		}
	}
	return open, map[string][]byte{
		"clock": encode(tick{m.opt.Boot, m.opt.Clock().Boot}), "recur": x.recurrences(), "refused": encode(x.refused()), "begun": x.beginnings(),
	}
}

// remember keeps the newest of what is over, for when the journal cannot be read.
func (b *book) remember(past []sdk.MitigationReport, audit []Audit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past = lastOf(append(b.past, past...), keptInMemory)
	b.audit = lastOf(append(b.audit, audit...), keptInMemory)
}

// Reports lists all that is not over, oldest first.
func (m *Manager) Reports() []sdk.MitigationReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	return m.machine.Reports()
}

// Past lists what is over, newest first.
func (m *Manager) Past(most int) []sdk.MitigationReport {
	m.commit(commitTime)
	return newest(m.book, most, (*store.Journal).Past, func(v []byte) (sdk.MitigationReport, bool) {
		var r plainReport
		err := json.Unmarshal(v, &r)
		return sdk.MitigationReport(r), err == nil
	}, func() []sdk.MitigationReport { return m.book.past })
}

// AuditLog lists what people did, newest first.
func (m *Manager) AuditLog(most int) []Audit {
	m.commit(commitTime)
	return newest(m.book, most, (*store.Journal).Audit, func(v []byte) (Audit, bool) {
		var a Audit
		return a, json.Unmarshal(v, &a) == nil
	}, func() []Audit { return m.book.audit })
}

// newest reads the journal, or what is in memory where that cannot be.
func newest[T any](b *book, most int, read func(*store.Journal, int) ([][]byte, error), parse func([]byte) (T, bool), memory func() []T) (out []T) {
	b.mu.Lock()
	j, bad := b.journal, b.trouble != ""
	kept := slices.Clone(memory())
	b.mu.Unlock()
	if j != nil && !bad {
		if values, err := read(j, most); err == nil {
			for _, v := range values {
				if r, ok := parse(v); ok {
					out = append(out, r)
				}
			}
			return out
		}
	}
	slices.Reverse(kept)
	return kept[:min(most, len(kept))]
}

// Troubles says what is wrong with the journal, a sentence each.
func (m *Manager) Troubles() []string { return m.book.troubles() }

// Waiting says what is not in force, or not gone, though it should be by now, and
// what a person has to decide, a sentence each.
func (m *Manager) Waiting() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	late := m.machine.Late(lateAfter)
	for _, block := range slices.Sorted(maps.Keys(late)) {
		l := late[block]
		out = append(out, fmt.Sprintf("%s: %s on the way for up to %v: %s", block, mitigations(l.Count, "is", "are"), l.For.Round(time.Second), l.Cause))
	}
	if held := m.machine.Counts()[sdk.MitigationHeld]; held > 0 {
		out = append(out, fmt.Sprintf("%s held by guards: see \"fastnetmon held list\"", mitigations(held, "is", "are")))
	}
	return out
}

func mitigations(n int, one, many string) string {
	if n == 1 {
		return "1 mitigation " + one
	}
	return fmt.Sprintf("%d mitigations %s", n, many)
}

// states are those that are counted.
var states = []sdk.MitigationState{
	sdk.MitigationRequested, sdk.MitigationHeld, sdk.MitigationSent, sdk.MitigationActive, sdk.MitigationReleasing, sdk.MitigationFailed,
}

// Metrics are figures about mitigations.
func (m *Manager) Metrics() []sdk.Metric {
	m.mu.Lock()
	m.machine.now = m.opt.Clock()
	counts, late, lost := m.machine.Counts(), 0.0, m.machine.lost
	for _, l := range m.machine.Late(0) {
		late = max(late, l.For.Seconds())
	}
	m.mu.Unlock()
	m.box.Lock()
	lost += m.lost
	m.box.Unlock()
	m.book.mu.Lock()
	bad := m.book.trouble != ""
	m.book.mu.Unlock()
	var out []sdk.Metric
	for _, s := range states {
		out = append(out, sdk.Metric{Name: "mitigations:state=" + string(s), Value: float64(counts[s])})
	}
	journal := 1.0
	if bad {
		journal = 0
	}
	return append(out,
		sdk.Metric{Name: "mitigation_pending_seconds", Value: late},
		sdk.Metric{Name: "mitigations_lost_total", Value: float64(lost)},
		sdk.Metric{Name: "mitigation_journal_up", Value: journal})
}

// Ban takes what a person asks for and gives its id.
func (m *Manager) Ban(b Ban) (id string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	id, err = m.machine.Ban(&b)
	m.noted(Audit{Who: b.By, What: "ban", ID: id, Target: sdk.TargetText(b.Target), Action: b.Action.String(), Reason: b.Reason}, err)
	return id, err
}

// Unban releases what a person names: an id, what lies in a prefix, or all.
func (m *Manager) Unban(id string, prefix netip.Prefix, all bool, by, reason string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	ids := m.machine.Find(id, prefix, all)
	for _, one := range ids {
		e := m.machine.byID[one]
		m.noted(Audit{Who: by, What: "unban", ID: one, Target: sdk.TargetText(e.Target), Action: e.Action.String(), Reason: reason}, nil)
	}
	m.machine.Unban(ids, "released by "+by+after(reason))
	return ids
}

// Free lets something that is held pass; Refuse gives it up.
func (m *Manager) Free(id, by, reason string) error {
	return m.decide(id, by, reason, "held release", m.machine.Free)
}

// Refuse gives up something that is held.
func (m *Manager) Refuse(id, by, reason string) error {
	return m.decide(id, by, reason, "held refuse", m.machine.Refuse)
}

func (m *Manager) decide(id, by, reason, what string, do func(id, who string) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	a := Audit{Who: by, What: what, ID: id, Reason: reason}
	if e := m.machine.byID[id]; e != nil {
		a.Target, a.Action = sdk.TargetText(e.Target), e.Action.String()
	}
	err := do(id, by)
	m.noted(a, err)
	return err
}

// noted writes down what a person did; the lock is held.
func (m *Manager) noted(a Audit, err error) {
	a.Time, a.Result = m.machine.now.Wall, "done"
	if err != nil {
		a.Result = err.Error()
	}
	m.audit = append(m.audit, a)
	m.log.Info("a person asked for it", "who", a.Who, "what", a.What, "id", a.ID, "target", a.Target, "action", a.Action, "reason", a.Reason, "result", a.Result)
	m.nudge()
}

// Report is one mitigation, over or not.
func (m *Manager) Report(id string) (r sdk.MitigationReport, ok bool) {
	m.mu.Lock()
	e := m.machine.byID[id]
	if e != nil {
		m.machine.now = m.opt.Clock()
		r = e.report(m.machine.now)
	} else {
		r, ok = reportOf(m.machine.past, id) // not written down yet
	}
	m.mu.Unlock()
	if e != nil || ok {
		return r, true
	}
	if r, ok = m.book.remembered(id); ok {
		return r, true
	}
	return reportOf(m.Past(keptInMemory), id)
}

func reportOf(list []sdk.MitigationReport, id string) (sdk.MitigationReport, bool) {
	for i := range list {
		if list[i].ID == id {
			return list[i], true
		}
	}
	return sdk.MitigationReport{}, false
}

// remembered is one of the newest of what is over, without a look at the file.
func (b *book) remembered(id string) (sdk.MitigationReport, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return reportOf(b.past, id)
}

// Ask previews something that is not wanted, and says which guard would keep it
// back, "" none.
func (m *Manager) Ask(ctx context.Context, block string, x sdk.Mitigation) (announced []sdk.Announcement, guard string, err error) {
	m.mu.Lock()
	l := m.lanes[block]
	var c caller
	if l != nil {
		c = l.caller()
	}
	m.mu.Unlock()
	if c.plugin == nil {
		return nil, "", fmt.Errorf("%s: %s", block, notRunning)
	}
	if announced, err = c.ask(ctx, x); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return announced, m.machine.guard.judge(&m.machine.tally, m.opt.Clock().Boot, x.Target, announced), nil
}
