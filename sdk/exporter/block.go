package exporter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Block is one `exporter "name" {}` block of the configuration, as the core
// hands it over. A capture that has devices sending to it has
//
//	Exporters []exporter.Block `hcl:"exporters,optional"`
//
// in its configuration, and its users write exporters = [exporter.fra_r1]. A
// datagram belongs to the first block, in the order of that list, all of whose
// source, agent and domain match it; one that is left out matches any.
type Block struct {
	Name        string         `hcl:"name"`
	Source      []netip.Prefix `hcl:"source"`      // of the datagrams
	Agent       []netip.Prefix `hcl:"agent"`       // sFlow agent addresses
	Domain      []uint32       `hcl:"domain"`      // v5 engine, v9 source id, IPFIX domain, sFlow sub-agent
	Site        string         `hcl:"site"`        // shown in rows
	Sampling    uint32         `hcl:"sampling"`    // rate where neither record nor options tell; 0 unset
	Count       string         `hcl:"count"`       // "ingress", "egress" or "" for both
	Interfaces  []string       `hcl:"interfaces"`  // "12", "100-120", "ae0"; with "!" in front: not that one
	Deduplicate string         `hcl:"deduplicate"` // exporters with the same word here see the same traffic
}

// Names returns the names of blocks, for udp.NewForwarder: it counts exporters
// as Exporter.Block does.
func Names(blocks []Block) []string {
	names := make([]string, len(blocks))
	for i := range blocks {
		names[i] = blocks[i].Name
	}
	return names
}

// Directions of Block.Count.
const (
	CountIngress = "ingress"
	CountEgress  = "egress"
)

// block is a Block made ready.
type block struct {
	Block
	number           int               // among its set's, from 1
	include, exclude []span            // interfaces by number
	names            map[string]wanted // interfaces by name
	restricted       bool              // some are included: the others are not
	group            *group            // de-duplicated together with this one; nil alone
}

type wanted bool // by name: included, else excluded

// compile checks a block and makes it ready.
func compile(b Block, at diag.Path) (*block, diag.Diagnostics) {
	var ds diag.Diagnostics
	out := &block{Block: b, names: map[string]wanted{}}
	switch b.Count {
	case "", CountIngress, CountEgress:
	default:
		ds = append(ds, diag.Errorf(at.Attr("count"), "Invalid value", `exporter %q: count = %q is none of "ingress" and "egress".`, b.Name, b.Count))
	}
	for i, text := range b.Interfaces {
		name, not := strings.CutPrefix(text, "!")
		s, isNumber, err := parseSpan(name)
		switch {
		case err != nil:
			ds = append(ds, diag.Errorf(at.Attr("interfaces").Index(i), "Invalid interface", "exporter %q: %q: %v.", b.Name, text, err))
		case !isNumber:
			out.names[name] = wanted(!not)
		case not:
			out.exclude = append(out.exclude, s)
		default:
			out.include = append(out.include, s)
		}
		out.restricted = out.restricted || !not
	}
	return out, ds
}

// span is a range of interface numbers.
type span struct{ from, to uint32 }

// parseSpan reads "12" or "100-120"; anything else is a name.
func parseSpan(s string) (out span, isNumber bool, err error) {
	if s == "" {
		return out, false, fmt.Errorf(`write a number ("12"), a range ("100-120") or a name ("ae0")`)
	}
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 32)
	z, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil {
		return out, false, nil
	}
	if a > z {
		return out, true, fmt.Errorf(`its ends are reversed; write "%d-%d"`, z, a)
	}
	return span{uint32(a), uint32(z)}, true, nil
}

// matches reports whether an exporter belongs to the block.
func (b *block) matches(id ID) bool {
	return anyPrefix(b.Source, id.Source.Addr()) && anyPrefix(b.Agent, id.Agent) &&
		(len(b.Domain) == 0 || slices.Contains(b.Domain, id.Domain))
}

// anyPrefix reports whether one of the prefixes, or no list at all, has a.
func anyPrefix(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return len(list) == 0
}

// matcher finds the block of an exporter. Blocks whose sources are single
// addresses, as most are, are found by them.
type matcher struct {
	all    []*block
	source map[netip.Addr][]int // blocks that name this very address
	others []int                // blocks that name prefixes, or no source
}

func newMatcher(blocks []*block) *matcher {
	m := &matcher{all: blocks, source: map[netip.Addr][]int{}}
	for i, b := range blocks {
		single := len(b.Source) > 0
		for _, p := range b.Source {
			single = single && p.IsSingleIP()
		}
		if !single {
			m.others = append(m.others, i)
			continue
		}
		for _, p := range b.Source {
			m.source[p.Addr()] = append(m.source[p.Addr()], i)
		}
	}
	return m
}

// find returns the first block that matches, or nil.
func (m *matcher) find(id ID) *block {
	best := len(m.all)
	for _, list := range [][]int{m.source[id.Source.Addr()], m.others} {
		for _, i := range list {
			if i >= best {
				break
			}
			if m.all[i].matches(id) {
				best = i
			}
		}
	}
	if best == len(m.all) {
		return nil
	}
	return m.all[best]
}
