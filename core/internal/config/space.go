package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
	"github.com/hashicorp/hcl/v2"
)

// space knows which network and which hostgroup a prefix belongs to.
type space struct {
	*loader
	networks bart.Lite
	groups   bart.Lite
	owner    map[netip.Prefix]*HostGroup
}

func newSpace(l *loader) *space {
	s := &space{loader: l, owner: map[netip.Prefix]*HostGroup{}}
	for _, n := range l.conf.Networks {
		for _, p := range n.Prefixes {
			s.networks.Insert(p)
		}
	}
	return s
}

// addGroup gives a group its prefixes: its own and those of its networks.
func (s *space) addGroup(g *group) {
	inside := map[netip.Prefix]bool{}
	for _, p := range g.own {
		if !s.networks.LookupPrefix(p.Prefix) {
			s.errorf(p.at, "Prefix outside the networks", "%s is in no network, so its traffic has no direction. Add it to the prefixes of a network, or remove it from hostgroup.%s.", p.Prefix, g.Name)
			continue
		}
		if p.Addr().Is6() && p.Bits() > int(g.V6Host) {
			s.errorf(p.at, "Prefix longer than a host", "With v6_host_length = %d hostgroup.%s counts whole /%d prefixes as one host, so %s cannot be told from its neighbours. Write the /%d, or another v6_host_length.", g.V6Host, g.Name, g.V6Host, p.Prefix, g.V6Host)
			continue
		}
		inside[p.Prefix] = true
		s.take(g, p.Prefix, p.at)
	}
	for _, r := range g.nets {
		n, _ := s.decl["network"].index[r.parts[1]].(*Network)
		if n == nil {
			continue // its block was complained about
		}
		g.Networks = append(g.Networks, n)
		for _, p := range n.Prefixes {
			if !inside[p] && !s.take(g, p, r.at) {
				break // one conflict says it all
			}
		}
	}
}

// take gives a prefix to a group, unless another one has it.
func (s *space) take(g *group, p netip.Prefix, at hcl.Range) bool {
	if first := s.owner[p]; first != nil {
		s.errorf(at, "Prefix in two hostgroups", "%s already belongs to hostgroup.%s (%s), and a host cannot follow two groups. Remove it from one of them; a longer prefix inside it may have a group of its own.", p, first.Name, place(first.Range))
		return false
	}
	s.owner[p] = g.HostGroup
	g.Prefixes = append(g.Prefixes, p)
	s.groups.Insert(p)
	return true
}

// checkNetwork warns about addresses that no group covers.
func (s *space) checkNetwork(n *Network) {
	var bare []string
	more := 0
	for _, p := range n.Prefixes {
		switch {
		case s.groups.LookupPrefix(p):
		case len(bare) < 4:
			bare = append(bare, p.String())
		default:
			more++
		}
	}
	if len(bare) == 0 {
		return
	}
	text := strings.Join(bare, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	s.hint(n.Range, "Network without hostgroup", "No hostgroup covers %s of network.%s, so no attack there is seen. Name the network in a hostgroup: networks = [network.%s].", text, n.Name, n.Name)
}
