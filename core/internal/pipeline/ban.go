package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// BanQuery is what a person asks to be done.
type BanQuery struct {
	Who       string
	Target    netip.Prefix
	Direction string
	For       time.Duration
	Reason    string
	Actions   []string // none: those that an attack on the target would call
	Set       map[string][]string
}

// decideTime is how long a person waits to hear what becomes of a request.
const decideTime = 2 * time.Second

// Manual names the threshold of what people ask for.
const Manual = "manual"

// Ban asks for mitigations, and returns them once it is decided what becomes of
// them. ErrUnknown: no such action, or none.
func (d *Daemon) Ban(ctx context.Context, q BanQuery) ([]sdk.MitigationReport, error) {
	var cfg *config.Config
	var refs []config.Reference
	var err error
	event := sdk.Event{
		Type: sdk.AttackStarted, Time: time.Now(), Started: time.Now(), Target: q.Target, Direction: q.Direction, Mode: string(config.Enforce),
		Crossing: sdk.Crossing{Threshold: Manual, Scope: "host", Counter: "total", Unit: "pps", At: time.Now()},
	}
	if !q.Target.IsSingleIP() {
		event.Scope = "prefix"
	}
	var subnet netip.Prefix
	if !d.sys.loop.do(func() {
		cfg = d.cfg
		at := place(cfg, q.Target.Addr())
		event.HostGroup, event.Network, event.Revision = at.Group, at.Network, cfg.Revision
		refs, err = d.banWith(groupNamed(cfg, at.Group), q.Actions)
		subnet, _ = d.own.LookupPrefixLPM(q.Target)
	}) {
		return nil, ErrEnded
	}
	if err != nil {
		return nil, err
	}
	group := groupNamed(cfg, event.HostGroup)
	var out []string
	for _, ref := range refs {
		b := mitigate.Ban{
			Action: mitigate.Action{Block: blockName(ref.Block), Profile: ref.Target}, Target: q.Target, Direction: q.Direction,
			For: q.For, By: q.Who, Reason: q.Reason, Event: event, Subnet: subnet, Attributes: q.Set, Rules: rulesOf(group, ref.Target != ""),
		}
		id, err := d.sys.mitigation.Ban(b)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return d.decided(ctx, out), nil
}

// banWith are the actions that a person means; the loop's goroutine calls it.
func (d *Daemon) banWith(g *config.HostGroup, names []string) ([]config.Reference, error) {
	if len(names) == 0 {
		refs, _ := actionsFor(d.cfg, limit{group: g})
		out := d.holding(refs)
		if len(out) == 0 && g != nil {
			out = d.holding(groupActions(d.cfg, g))
		}
		if len(out) == 0 {
			return nil, errNoAction
		}
		return out, nil
	}
	var out []config.Reference
	for _, name := range names {
		ref, a, err := d.actionNamed(name)
		switch {
		case err != nil:
			return nil, err
		case !a.holds():
			return nil, fmt.Errorf("%w: %s does not act on the network", ErrUnknown, ref)
		case a.block.Mode == config.Monitor:
			return nil, fmt.Errorf("%w: %s is in mode monitor, so nothing is done with it", ErrUnknown, ref)
		case ref.Target == "" && a.about.TargetBlock != "":
			return nil, fmt.Errorf("%w: %s has several ways to act: name one of %s", ErrUnknown, ref, strings.Join(d.profiles(a), ", "))
		}
		out = append(out, ref)
	}
	return out, nil
}

// holding are those of some references that act on the network, each once.
func (d *Daemon) holding(refs []config.Reference) (out []config.Reference) {
	for _, ref := range refs {
		a := d.set.actions[blockName(ref.Block)]
		if a != nil && a.holds() && a.block.Mode != config.Monitor &&
			!slices.ContainsFunc(out, func(o config.Reference) bool { return o.Block == ref.Block && o.Target == ref.Target }) {
			out = append(out, ref)
		}
	}
	return out
}

// profiles are the full names of an action's profiles.
func (d *Daemon) profiles(a *action) (out []string) {
	for _, label := range a.block.Targets(a.about.TargetBlock) {
		out = append(out, blockName(a.block)+"."+label)
	}
	return out
}

// actionNamed finds an action in use, with or without "action." before its name
// and a profile behind it; the loop's goroutine calls it.
func (d *Daemon) actionNamed(name string) (config.Reference, *action, error) {
	name = strings.TrimPrefix(name, "action.")
	parts := strings.SplitN(name, ".", 3)
	var known []string
	for _, a := range d.set.actions {
		known = append(known, cmp.Or(strings.Join(d.profiles(a), ", "), blockName(a.block)))
		if len(parts) < 2 || a.block.Name != parts[0] || a.block.Instance != parts[1] {
			continue
		}
		ref := config.Reference{Kind: host.KindAction, Plugin: parts[0], Instance: parts[1], Block: a.block}
		if len(parts) == 3 {
			ref.Target = parts[2]
		}
		if ref.Target == "" || slices.Contains(a.block.Targets(a.about.TargetBlock), ref.Target) {
			return ref, a, nil
		}
	}
	slices.Sort(known)
	if len(known) == 0 {
		return config.Reference{}, nil, fmt.Errorf("%w: there is no action in use", ErrUnknown)
	}
	return config.Reference{}, nil, fmt.Errorf("%w: no action %.60q: there is %s", ErrUnknown, name, strings.Join(known, ", "))
}

// decided waits, for as long as a person does, until it is decided what becomes
// of mitigations.
func (d *Daemon) decided(ctx context.Context, ids []string) []sdk.MitigationReport {
	return decidedBy(ctx, d.sys.mitigation.Manager, ids)
}

func decidedBy(ctx context.Context, m *mitigate.Manager, ids []string) (out []sdk.MitigationReport) {
	ctx, cancel := context.WithTimeout(ctx, decideTime)
	defer cancel()
	for {
		var open []string
		var waiting []sdk.MitigationReport
		for _, id := range ids {
			r, ok := m.Report(id)
			switch {
			case !ok:
			case r.State == sdk.MitigationRequested || r.State == sdk.MitigationReleasing:
				open, waiting = append(open, id), append(waiting, r)
			default:
				out = append(out, r)
			}
		}
		if ids = open; len(open) == 0 || !sleep(ctx, 10*time.Millisecond) {
			return append(out, waiting...)
		}
	}
}

// UnbanQuery names mitigations that a person wants released.
type UnbanQuery struct {
	Who    string
	ID     string
	Prefix netip.Prefix
	All    bool
	Reason string
}

// Unban releases mitigations. ErrUnknown: there is none of that name.
func (d *Daemon) Unban(ctx context.Context, q UnbanQuery) ([]sdk.MitigationReport, error) {
	ids := d.sys.mitigation.Unban(q.ID, q.Prefix, q.All, q.Who, q.Reason)
	if len(ids) > 0 || q.All {
		return d.decided(ctx, ids), nil
	}
	if q.Prefix.IsValid() {
		return nil, fmt.Errorf("%w: there is no mitigation inside %v", ErrUnknown, q.Prefix)
	}
	return nil, fmt.Errorf("%w: there is no mitigation %.60q", ErrUnknown, q.ID)
}

// Decide lets something that is held pass, or gives it up. ErrUnknown: that cannot
// be.
func (d *Daemon) Decide(ctx context.Context, id, who, reason string, release bool) ([]sdk.MitigationReport, error) {
	decide := d.sys.mitigation.Refuse
	if release {
		decide = d.sys.mitigation.Free
	}
	if err := decide(id, who, reason); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return d.decided(ctx, []string{id}), nil
}

// testAttack is the id of what an action is tried with.
const testAttack = "test"

// TestAction sends one event to an action that notifies, and asks one that acts
// on the network what it would do. ErrUnknown: there is no such action.
func (d *Daemon) TestAction(ctx context.Context, name string, target netip.Prefix) (lines []string, failed bool, err error) {
	var a *action
	var ref config.Reference
	var e sdk.Event
	var subnet netip.Prefix
	if !d.sys.loop.do(func() {
		ref, a, err = d.actionNamed(name)
		e = testEvent(d.cfg, target)
		subnet, _ = d.own.LookupPrefixLPM(e.Target)
	}) {
		return nil, false, ErrEnded
	}
	if err != nil {
		return nil, false, err
	}
	if a.isTold() {
		started := time.Now()
		call, cancel := context.WithTimeout(ctx, cmp.Or(a.block.Process.Timeout, deliveryTimeout))
		err := a.notify(call, e)
		cancel()
		lines, failed = answered(err, time.Since(started))
	}
	if !a.holds() {
		return lines, failed, nil
	}
	for _, one := range a.profilesOf(ref) {
		more, bad := d.wouldDo(ctx, one, &e, subnet)
		lines, failed = append(lines, more...), failed || bad
	}
	return lines, failed, nil
}

// profilesOf are a reference with each of the profiles that it may mean.
func (p *prepared) profilesOf(ref config.Reference) []config.Reference {
	labels := p.block.Targets(p.about.TargetBlock)
	if ref.Target != "" || len(labels) == 0 {
		return []config.Reference{ref}
	}
	out := make([]config.Reference, len(labels))
	for i, label := range labels {
		out[i] = ref
		out[i].Target = label
	}
	return out
}

// answered puts into words how an action took an event.
func answered(err error, took time.Duration) ([]string, bool) {
	switch {
	case errors.Is(err, errNotRunning):
		return []string{"the plugin is not running: see fastnetmon plugins"}, true
	case err != nil:
		return []string{fmt.Sprintf("it did not take the event: %v", err)}, true
	}
	return []string{fmt.Sprintf("it took the event, within %v", took.Round(time.Millisecond))}, false
}

// wouldDo asks an action what it would do.
func (d *Daemon) wouldDo(ctx context.Context, ref config.Reference, e *sdk.Event, subnet netip.Prefix) (lines []string, failed bool) {
	var rules mitigate.Rules
	d.sys.loop.do(func() { rules = rulesOf(groupNamed(d.cfg, e.HostGroup), ref.Target != "") })
	announced, guard, err := d.sys.mitigation.Ask(ctx, blockName(ref.Block), sdk.Mitigation{
		ID: testAttack, AttackID: e.ID, Target: e.Target, Direction: e.Direction, Profile: ref.Target, Event: *e, Requested: e.Time,
		Subnet: subnet, Attributes: rules.Attributes,
	})
	return wouldAnnounce(ref, e.Target, announced, guard, err)
}

// wouldAnnounce puts into words what an action would do.
func wouldAnnounce(ref config.Reference, target netip.Prefix, announced []sdk.Announcement, guard string, err error) (lines []string, failed bool) {
	if err != nil {
		return []string{fmt.Sprintf("%s for %s: nothing: %v", ref, sdk.TargetText(target), err)}, true
	}
	for _, a := range announced {
		lines = append(lines, fmt.Sprintf("%s for %s: %s", ref, sdk.TargetText(target), a.Text))
	}
	if guard != "" {
		lines = append(lines, fmt.Sprintf("%s for %s: a guard would hold it: %s", ref, sdk.TargetText(target), guard))
	}
	return lines, false
}

// WouldDo tells what would be done about an attack on an address that calls the
// actions of its hostgroup, a line each.
func (d *Daemon) WouldDo(ctx context.Context, addr netip.Addr) (lines []string) {
	var refs []config.Reference
	var e sdk.Event
	var subnet netip.Prefix
	d.sys.loop.do(func() {
		at := place(d.cfg, addr)
		if at.Group == "" {
			return
		}
		refs = d.holding(groupActions(d.cfg, groupNamed(d.cfg, at.Group)))
		e = testEvent(d.cfg, at.Host)
		subnet, _ = d.own.LookupPrefixLPM(at.Host)
	})
	for _, ref := range refs {
		more, _ := d.wouldDo(ctx, ref, &e, subnet)
		lines = append(lines, more...)
	}
	return lines
}

// testEvent is an attack that is none.
func testEvent(cfg *config.Config, target netip.Prefix) sdk.Event {
	if !target.IsValid() {
		target = firstHost(cfg)
	}
	now := time.Now()
	at := place(cfg, target.Addr())
	cross := sdk.Crossing{Threshold: testAttack, Scope: "host", Counter: "total", Unit: "pps", Value: 2000, Limit: 1000, Window: config.DefaultAverage, Rule: "average", At: now}
	rates := []sdk.CounterRate{{Counter: "total", PPS: 2000, BPS: 1e6}}
	return sdk.Event{
		Type: sdk.AttackStarted, ID: testAttack + "-" + fmt.Sprintf("%x", now.UnixNano()), Seq: 1, Time: now, Started: now, Target: target,
		Direction: "incoming", HostGroup: at.Group, Network: at.Network, Mode: string(config.Monitor), WouldHave: true, Revision: cfg.Revision,
		Crossing: cross, Crossed: []sdk.Crossing{cross}, Label: "udp_flood", AttackType: "udp_flood", Protocol: "udp",
		PeakPPS: 2000, InitialPPS: 2000, Incoming: rates,
	}
}

// firstHost is the first address of the first network.
func firstHost(cfg *config.Config) netip.Prefix {
	for _, n := range cfg.Networks {
		if len(n.Prefixes) == 0 {
			continue
		}
		p := n.Prefixes[0]
		a := p.Addr()
		if next := a.Next(); p.Bits() < a.BitLen()-1 && p.Contains(next) {
			a = next
		}
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.MustParsePrefix("192.0.2.1/32") // RFC 5737: of no network
}
