package pipeline

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// journalName is the journal's name in the state directory.
const journalName = "journal.db"

// mitigation joins the mitigations to the configuration and to the actions'
// processes. A replay has none: it acts on nothing.
type mitigation struct {
	*mitigate.Manager
	d    *Daemon
	stop context.CancelFunc
	over chan struct{} // closed when it has ended

	patience time.Duration // with actions that are to take everything back

	mu        sync.Mutex
	cfg       *config.Config
	targets   map[string][]string       // by action in use: its profiles; nil: it has none
	protected map[string][]netip.Prefix // by action: what its plugin protects
	heard     map[string]bool           // actions that have said so

	paged []time.Time // when notifiers were last told, oldest first
}

func newMitigation(d *Daemon) *mitigation {
	cfg := d.opt.Config
	m := &mitigation{d: d, cfg: cfg, protected: map[string][]netip.Prefix{}, heard: map[string]bool{}, over: make(chan struct{}), patience: stopTime}
	m.Manager = mitigate.New(mitigate.Options{
		Log: d.sys.log, Journal: filepath.Join(cfg.Daemon.StateDir, journalName), Boot: mitigate.BootID(),
		Guard: m.guard(), Changed: m.changed,
	})
	return m
}

func (m *mitigation) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() {
		defer close(m.over)
		m.Run(ctx)
	}()
}

func (m *mitigation) end() {
	m.stop()
	<-m.over
}

// guard is that of the configuration and of what the plugins protect; the lock
// is held, or nobody else knows of m yet.
func (m *mitigation) guard() *mitigate.Guard { return guardOf(m.cfg, m.protected) }

// guardOf is the guard of a configuration, and of what actions protect.
func guardOf(cfg *config.Config, protects map[string][]netip.Prefix) *mitigate.Guard {
	var networks []netip.Prefix
	for _, n := range cfg.Networks {
		networks = append(networks, n.Prefixes...)
	}
	var protected []mitigate.Protected
	for _, p := range cfg.Guard.Protected {
		protected = append(protected, mitigate.Protected{Prefix: p, Why: "the guard block says so"})
	}
	for _, e := range cfg.Exporters {
		for _, p := range e.Source {
			if p.IsSingleIP() {
				protected = append(protected, mitigate.Protected{Prefix: p, Why: "it is exporter." + e.Name})
			}
		}
	}
	for _, block := range slices.Sorted(maps.Keys(protects)) {
		for _, p := range protects[block] {
			protected = append(protected, mitigate.Protected{Prefix: p, Why: "it is a neighbour, a next hop or an own address of " + block})
		}
	}
	groups, spared := groupTable(cfg), newSpared(cfg)
	hostLen := func(p netip.Prefix) int {
		if g, ok := groups.Lookup(p.Addr()); ok {
			return int(g.V6Host)
		}
		return config.DefaultV6Host
	}
	return mitigate.NewGuard(mitigate.Limits{
		MaxActive: cfg.Guard.MaxActive, MaxShare: cfg.Guard.MaxShare, MaxPerMinute: cfg.Guard.MaxNewPerMinute,
		Shortest: [2]int{int(cfg.Guard.Shortest[0]), int(cfg.Guard.Shortest[1])},
	}, networks, protected, hostLen, func(p netip.Prefix) string { return spared.by(p, time.Now()) })
}

func groupTable(cfg *config.Config) *bart.Table[*config.HostGroup] {
	t := new(bart.Table[*config.HostGroup])
	for _, g := range cfg.Groups {
		for _, p := range g.Prefixes {
			t.Insert(p, g)
		}
	}
	return t
}

// ownPrefixes are our networks'.
func ownPrefixes(cfg *config.Config) *bart.Lite {
	t := new(bart.Lite)
	for _, n := range cfg.Networks {
		for _, p := range n.Prefixes {
			t.Insert(p)
		}
	}
	return t
}

// up tells of an action's process that runs.
func (m *mitigation) up(a *action, proc *plugin.Process) {
	if m == nil || !a.holds() {
		return
	}
	block := blockName(a.block)
	m.mu.Lock()
	if protects := a.setup().Protected; !m.heard[block] || !slices.Equal(m.protected[block], protects) {
		m.protected[block], m.heard[block] = protects, true
		m.Reconfigure(m.guard(), m.judge, m.awaited())
	}
	m.mu.Unlock()
	m.Up(block, proc.Host(), a.block.Process.Timeout, a.about.Has(host.FeaturePreview))
}

func (m *mitigation) down(a *action, proc *plugin.Process) {
	if m != nil && a.holds() {
		m.Down(blockName(a.block), proc.Host())
	}
}

// reconfigure follows the configuration.
func (m *mitigation) reconfigure(cfg *config.Config, s *set) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cfg, m.targets = cfg, map[string][]string{}
	for name, a := range s.actions {
		if a.holds() {
			m.targets[name] = a.block.Targets(a.about.TargetBlock)
		}
	}
	for block := range m.protected {
		if _, used := m.targets[block]; !used {
			delete(m.protected, block)
			delete(m.heard, block)
		}
	}
	m.Reconfigure(m.guard(), m.judge, m.awaited())
}

// awaited are the actions whose plugins have not said yet what they protect; the
// lock is held.
func (m *mitigation) awaited() (out []string) {
	for block := range m.targets {
		if !m.heard[block] {
			out = append(out, block)
		}
	}
	slices.Sort(out)
	return out
}

// actionOf takes an action's name apart.
func actionOf(name string) mitigate.Action {
	parts := strings.SplitN(name, ".", 4)
	if len(parts) < 4 {
		return mitigate.Action{Block: name}
	}
	return mitigate.Action{Block: strings.Join(parts[:3], "."), Profile: parts[3]}
}

// judge says what the configuration has to say of a mitigation that is there;
// the lock is held.
func (m *mitigation) judge(r *sdk.MitigationReport, e *sdk.Event, manual bool) mitigate.Verdict {
	action := actionOf(r.Action)
	targets, used := m.targets[action.Block]
	switch {
	case m.targets == nil: // nothing is known of the plugins yet
		return mitigate.Verdict{}
	case !used:
		return mitigate.Verdict{Release: "the action is no longer configured"}
	case action.Profile != "" && !slices.Contains(targets, action.Profile):
		return mitigate.Verdict{Release: "the action has no " + action.Profile + " any more"}
	}
	group := groupNamed(m.cfg, r.HostGroup)
	var block *config.Plugin
	for _, b := range m.cfg.Actions {
		if blockName(b) == action.Block {
			block = b
		}
	}
	if manual {
		if block != nil && block.Mode == config.Monitor {
			return mitigate.Verdict{Release: "the action's mode is monitor"}
		}
		return mitigate.Verdict{}
	}
	if m.cfg.EffectiveMode(group, nil, block) == config.Monitor {
		return mitigate.Verdict{Release: "the mode is monitor"}
	}
	if group == nil {
		return mitigate.Verdict{Release: "hostgroup." + r.HostGroup + " is no longer configured"}
	}
	if m.onlyMonitored(group, e) {
		return mitigate.Verdict{Release: "the mode is monitor"}
	}
	rules := rulesOf(group, action.Profile != "")
	return mitigate.Verdict{Rules: &rules}
}

// onlyMonitored tells whether the thresholds that an attack has crossed are all in
// mode monitor now, as far as there still are any.
func (m *mitigation) onlyMonitored(g *config.HostGroup, e *sdk.Event) bool {
	monitored := false
	for _, t := range g.Thresholds {
		if !slices.ContainsFunc(e.Crossed, func(c sdk.Crossing) bool { return c.Threshold == t.Name }) {
			continue
		}
		if m.cfg.EffectiveMode(g, t, nil) != config.Monitor {
			return false
		}
		monitored = true
	}
	return monitored
}

// rulesOf are a hostgroup's; attributes are for actions with profiles.
func rulesOf(g *config.HostGroup, profiles bool) mitigate.Rules {
	if g == nil {
		return mitigate.Rules{Hold: config.DefaultHold, Max: config.DefaultMax, Release: config.ReleaseAuto, Backoff: config.DefaultBackoff}
	}
	out := mitigate.Rules{Hold: g.Mitigation.Hold, Max: g.Mitigation.Max, Release: g.Mitigation.Release, Backoff: g.Mitigation.Backoff}
	if profiles {
		out.Attributes = g.Mitigation.Attributes
	}
	return out
}

// remove releases what actions hold that leave, before their plugins are stopped.
func (m *mitigation) remove(leaving []part) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.patience)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range leaving {
		all.Go(func() { m.Remove(ctx, blockName(p.block), "the action is no longer configured") })
	}
	all.Wait()
}

// leaves tells of a replaced part whether it holds what nothing of its name in
// the new set will: the action is gone, or is to notify only from now on.
func leaves(p part, now *set) bool {
	if p.block.Kind != host.KindAction || !p.holds() {
		return false
	}
	next := now.actions[blockName(p.block)]
	return next == nil || !next.holds()
}

// abandon ends what an earlier daemon left of actions that are no longer
// configured: nobody is there to take it back.
func (m *mitigation) abandon() {
	done := map[string]bool{}
	for _, r := range m.Reports() {
		block := actionOf(r.Action).Block
		m.mu.Lock()
		_, used := m.targets[block]
		m.mu.Unlock()
		if used || done[block] {
			continue
		}
		done[block] = true
		m.d.sys.log.Error("what an action held when the daemon ended cannot be taken back: it is no longer configured", "action", block)
		m.Remove(context.Background(), block, "the action is no longer configured")
	}
}

// withdraw takes back what those actions hold whose on_stop says so.
func (m *mitigation) withdraw(parts []part) {
	ctx, cancel := context.WithTimeout(context.Background(), m.patience)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range parts {
		if p.block.Kind != host.KindAction || !p.holds() || p.block.Process.OnStop != config.OnStopWithdraw {
			continue
		}
		all.Go(func() {
			if err := m.Withdraw(ctx, blockName(p.block)); err != nil {
				m.d.sys.log.Error("an action did not take back what it holds", "error", err)
			}
		})
	}
	all.Wait()
}

// maxShownMitigations bounds those in a snapshot.
const maxShownMitigations = 1000

func (m *mitigation) shown() []sdk.MitigationReport {
	if m == nil {
		return nil
	}
	all := m.Reports()
	return all[:min(len(all), maxShownMitigations)]
}

func (m *mitigation) metrics() []sdk.Metric {
	if m == nil {
		return nil
	}
	return m.Metrics()
}

// waiting lists what is late and what is held, a sentence each.
func (m *mitigation) waiting() []string {
	if m == nil {
		return nil
	}
	return m.Waiting()
}

func (m *mitigation) troubles() []string {
	if m == nil {
		return nil
	}
	return m.Troubles()
}

// overrides are the attributes that hostgroups set instead of those of a block's
// profiles, with the group and the reference of each.
func (p *prepared) overrides() (out []host.Override, groups []*config.HostGroup, refs []config.Reference) {
	if p.block.Kind != host.KindAction || p.about.TargetBlock == "" {
		return nil, nil, nil
	}
	for _, g := range p.cfg.Groups {
		if g.Mitigation.Attributes == nil {
			continue
		}
		seen := map[string]bool{}
		for _, ref := range groupActions(p.cfg, g) {
			if ref.Block != p.block || seen[ref.Target] {
				continue
			}
			seen[ref.Target] = true
			out = append(out, host.Override{Profile: ref.Target, Attributes: g.Mitigation.Attributes})
			groups, refs = append(groups, g), append(refs, ref)
		}
	}
	return out, groups, refs
}

// groupActions are all that attacks on a hostgroup may call.
func groupActions(cfg *config.Config, g *config.HostGroup) []config.Reference {
	out, _ := actionsFor(cfg, limit{group: g})
	out = slices.Clone(out)
	for _, t := range g.Thresholds {
		out = append(out, t.Actions...)
	}
	return out
}

// Mitigations gives access to what is done about attacks.
func (d *Daemon) Mitigations() *mitigate.Manager { return d.sys.mitigation.Manager }

// errNoAction says that there is nothing to act with.
var errNoAction = fmt.Errorf("%w: no action acts on the network: name one that does in a pipeline", ErrUnknown)
