package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Explanation is how one address is watched, and how it stands.
type Explanation struct {
	Address       netip.Addr
	Host          netip.Prefix // as it is counted
	Known         bool         // it has rates of its own at the moment
	Network       string       // "": the address is not ours
	NetworkPrefix netip.Prefix // the longest that holds it
	Group         string       // "": no hostgroup covers it
	GroupPrefix   netip.Prefix
	Chain         []string // the group, its base, and so on
	Mode          config.Mode
	ModeReason    string
	Suspended     string // why attacks are not enforced just now, "" where they are
	Revision      string
	Limits        []LimitState // in the order in which they name an attack
	Exemptions    []ExemptionState
	Attacks       []sdk.Event // open ones
}

// LimitState is where a host stands with one limit.
type LimitState struct {
	Threshold, Scope, Direction, Counter, Unit string

	Limit, Value float64  // in the unit
	Share        float64  // Value ÷ Limit
	Rules        []string // what fires: average, and burst rules as 7x1.5; or fastnetmon, that rule
	Mode         config.Mode
	Actions      []string
	State        string // LimitBelow, LimitAbove or LimitCrossed
}

// States of a limit.
const (
	LimitBelow   = "below"   // it would not fire
	LimitAbove   = "above"   // it fires, or would if samples were enough
	LimitCrossed = "crossed" // an open attack has crossed it
)

// ExemptionState is an exemption that holds for some traffic of a host.
type ExemptionState struct {
	Name       string
	Conditions string // of the traffic that is exempt
	LimitBPS   float64
	Until      time.Time
}

// Explain tells all about one address.
func (d *Daemon) Explain(addr netip.Addr) (Explanation, error) {
	addr = addr.Unmap().WithZone("")
	var cfg *config.Config
	if !d.sys.loop.do(func() { cfg = d.cfg }) {
		return Explanation{}, ErrEnded
	}
	out := place(cfg, addr)
	group := groupNamed(cfg, out.Group)
	out.Mode, out.ModeReason = cfg.ExplainMode(group, nil)
	for h := group; h != nil; h = h.Base {
		out.Chain = append(out.Chain, h.Name)
	}
	out.Exemptions = exemptionsOf(cfg, addr, time.Now())
	if !d.sys.loop.do(func() { d.explainRates(&out) }) {
		return Explanation{}, ErrEnded
	}
	return out, nil
}

func groupNamed(cfg *config.Config, name string) *config.HostGroup {
	if i := slices.IndexFunc(cfg.Groups, func(g *config.HostGroup) bool { return g.Name == name }); i >= 0 {
		return cfg.Groups[i]
	}
	return nil
}

// place finds the network and the hostgroup of an address.
func place(cfg *config.Config, addr netip.Addr) Explanation {
	out := Explanation{Address: addr, Host: netip.PrefixFrom(addr, addr.BitLen()), Revision: cfg.Revision}
	for _, n := range cfg.Networks {
		if p := longestOf(n.Prefixes, addr); p.IsValid() && (out.Network == "" || p.Bits() > out.NetworkPrefix.Bits()) {
			out.Network, out.NetworkPrefix = n.Name, p
		}
	}
	for _, g := range cfg.Groups {
		if p := longestOf(g.Prefixes, addr); p.IsValid() && (out.Group == "" || p.Bits() > out.GroupPrefix.Bits()) {
			out.Group, out.GroupPrefix = g.Name, p
			if addr.Is6() {
				out.Host = netip.PrefixFrom(addr, int(g.V6Host)).Masked()
			}
		}
	}
	return out
}

func longestOf(prefixes []netip.Prefix, addr netip.Addr) (best netip.Prefix) {
	for _, p := range prefixes {
		if p.Contains(addr) && (!best.IsValid() || p.Bits() > best.Bits()) {
			best = p
		}
	}
	return best
}

// explainRates adds what the engine and the detector know; the loop's
// goroutine calls it.
func (d *Daemon) explainRates(out *Explanation) {
	out.Suspended = d.sys.loop.suspended()
	if by := d.spared.by(out.Host, d.wall.time()); by != "" && out.Mode == config.Enforce {
		out.Mode, out.ModeReason = config.Monitor, "exemption."+by+" says do_not_act"
	}
	e := d.sys.loop.engine
	rates, known := e.LimitRates(out.Host, e.Clock())
	out.Known = known
	for i := range rates {
		l := d.limitState(&rates[i])
		if out.Mode == config.Monitor {
			l.Mode = config.Monitor
		}
		out.Limits = append(out.Limits, l)
	}
	loss := d.loss.ratio(d.ledger())
	for _, a := range d.sys.loop.detector.Attacks(e.Clock()) {
		if a.Target.Overlaps(out.Host) || !a.Target.IsValid() && (a.Group == out.Group || a.Group == "" && a.Network == out.Network) {
			out.Attacks = append(out.Attacks, d.describe(&detect.Event{Type: detect.Updated, Time: e.Clock(), Attack: a}, loss))
		}
	}
}

func (d *Daemon) limitState(r *engine.LimitRate) LimitState {
	l := d.limits[r.Limit.ID]
	out := LimitState{
		Threshold: l.name, Scope: r.Limit.Scope.String(), Direction: r.Limit.Direction.String(), Counter: l.counter, Unit: string(l.unit),
		Limit: r.Limit.Value, Value: r.Value, Share: r.Value / r.Limit.Value, State: LimitBelow,
		Mode: d.cfg.EffectiveMode(l.group, l.threshold, nil), Rules: []string{engine.Rule{}.String()},
	}
	if r.Limit.Unit == engine.ByteRate {
		out.Limit, out.Value = 8*out.Limit, 8*out.Value
	}
	if l.community() {
		out.Rules = []string{l.group.Detection}
	}
	for _, rule := range r.Limit.Rules {
		out.Rules = append(out.Rules, rule.String())
	}
	refs, _ := actionsFor(d.cfg, l)
	for _, ref := range refs {
		out.Actions = append(out.Actions, ref.String())
	}
	switch {
	case r.Fired:
		out.State = LimitCrossed
	case r.Above:
		out.State = LimitAbove
	}
	return out
}

// exemptionsOf lists the exemptions that may hold for traffic of an address.
func exemptionsOf(cfg *config.Config, addr netip.Addr, now time.Time) (out []ExemptionState) {
	for _, e := range cfg.Exemptions {
		switch {
		case !e.Until.IsZero() && !now.Before(e.Until):
		case len(e.Local) > 0 && !longestOf(e.Local, addr).IsValid():
		default:
			what := conditions(e)
			if e.DoNotAct {
				what = "nothing: attacks are told, and never acted on"
			}
			out = append(out, ExemptionState{Name: e.Name, Conditions: what, LimitBPS: e.LimitBPS, Until: e.Until})
		}
	}
	return out
}

// conditions writes which traffic of a host is exempt.
func conditions(e *config.Exemption) string {
	var parts []string
	if e.Incoming != e.Outgoing {
		parts = append(parts, map[bool]string{true: "incoming", false: "outgoing"}[e.Incoming])
	}
	if len(e.Protocols) > 0 {
		parts = append(parts, "protocol "+joined(e.Protocols, ", "))
	}
	if len(e.Ports) > 0 {
		parts = append(parts, "port "+joined(portTexts(e.Ports), ", "))
	}
	if len(e.Remote) > 0 {
		parts = append(parts, "remote "+joined(e.Remote, ", "))
	}
	if len(parts) == 0 {
		return "all of its traffic"
	}
	return strings.Join(parts, ", ")
}

// maxJoined bounds how many members of a list are shown.
const maxJoined = 8

func joined[T any](list []T, by string) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteString(by)
		}
		if i == maxJoined {
			fmt.Fprintf(&b, "%d more", len(list)-i)
			break
		}
		fmt.Fprint(&b, v)
	}
	return b.String()
}

func portTexts(ranges [][2]uint16) (out []string) {
	for _, r := range ranges {
		if r[0] == r[1] {
			out = append(out, strconv.Itoa(int(r[0])))
			continue
		}
		out = append(out, fmt.Sprintf("%d-%d", r[0], r[1]))
	}
	return out
}
