package pipeline

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// scopeRanks are the scopes of thresholds, narrow before wide.
var scopeRanks = []string{"host", "prefix", "hostgroup", "network"}

// acting is a threshold and the action that it acts on the network with.
type acting struct {
	group     *config.HostGroup
	threshold *config.Threshold
	action    config.Reference
}

// checkTakeovers warns about limits that only notify and are wider than one that
// mitigates: while an attack on the wider scope is open, what crosses the
// narrower limit is part of it, and its mitigation is not called for.
func checkTakeovers(cfg *config.Config, known []*prepared) (diags hcl.Diagnostics) {
	mitigates := map[*config.Plugin]bool{}
	for _, p := range known {
		mitigates[p.block] = p.block.Kind == host.KindAction && p.mitigates()
	}
	narrow := map[*config.HostGroup][4][2]*acting{}
	for _, g := range cfg.Groups {
		narrow[g] = actingThresholds(cfg, g, mitigates)
	}
	inside := groupsOfNetworks(cfg)
	told := map[string]bool{}
	for _, g := range cfg.Groups {
		for _, t := range g.Thresholds {
			rank := slices.Index(scopeRanks, t.Scope)
			if rank < 1 || t.Actions != nil || told[t.Range.String()] {
				continue
			}
			groups := []*config.HostGroup{g}
			if t.Scope == "network" {
				groups = nil
				for _, n := range g.Networks {
					groups = append(groups, inside[n.Name]...)
				}
			}
			if a := takenOver(narrow, groups, rank, t.Direction); a != nil {
				told[t.Range.String()] = true
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagWarning, Summary: "A limit that only notifies takes over from one that mitigates", Subject: t.Range.Ptr(),
					Detail: fmt.Sprintf("threshold %q of hostgroup.%s is about a whole %s and names no actions, so it only notifies. While its attack is open, what crosses threshold %q of hostgroup.%s there is part of it, and %s is not called for it. "+
						"Name in threshold %q what is to be done: actions = [...]; a list of notifying actions alone says that this is what you want.",
						t.Name, g.Name, t.Scope, a.threshold.Name, a.group.Name, a.action, t.Name),
				})
			}
		}
	}
	return diags
}

// actingThresholds finds by scope and direction the first threshold of a
// hostgroup that acts.
func actingThresholds(cfg *config.Config, g *config.HostGroup, mitigates map[*config.Plugin]bool) (out [4][2]*acting) {
	for _, t := range g.Thresholds {
		rank := slices.Index(scopeRanks, t.Scope)
		refs, named := actionsFor(cfg, limit{group: g, threshold: t})
		if rank < 0 || rank > 0 && !named {
			continue
		}
		i := slices.IndexFunc(refs, func(r config.Reference) bool {
			return mitigates[r.Block] && cfg.EffectiveMode(g, t, r.Block) == config.Enforce
		})
		if i < 0 {
			continue
		}
		for dir, name := range [2]string{"incoming", "outgoing"} {
			if out[rank][dir] == nil && (t.Direction == "" || t.Direction == name) {
				out[rank][dir] = &acting{g, t, refs[i]}
			}
		}
	}
	return out
}

func takenOver(narrow map[*config.HostGroup][4][2]*acting, groups []*config.HostGroup, rank int, direction string) *acting {
	for _, g := range groups {
		by := narrow[g]
		for r := range rank {
			for dir, name := range [2]string{"incoming", "outgoing"} {
				if a := by[r][dir]; a != nil && (direction == "" || direction == name) {
					return a
				}
			}
		}
	}
	return nil
}

// groupsOfNetworks lists the hostgroups that have hosts in each network.
func groupsOfNetworks(cfg *config.Config) map[string][]*config.HostGroup {
	where := newPlaces(cfg)
	out := map[string][]*config.HostGroup{}
	for _, g := range cfg.Groups {
		for _, p := range g.Prefixes {
			for _, name := range where.networks.Supernets(p) {
				if list := out[name]; len(list) == 0 || list[len(list)-1] != g {
					out[name] = append(list, g)
				}
			}
		}
	}
	return out
}
