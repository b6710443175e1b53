package pipeline

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// spared knows the prefixes whose attacks are told, and never acted on, and the
// hostgroups and networks that such prefixes are part of.
type spared struct {
	prefixes         bart.Table[sparing]
	groups, networks map[string]sparing // that with the latest end
}

// sparing is an exemption that says do_not_act.
type sparing struct {
	name  string
	until time.Time // zero: for ever
}

// outlasts tells whether it forbids for longer than another.
func (s sparing) outlasts(o sparing) bool {
	return !o.until.IsZero() && (s.until.IsZero() || s.until.After(o.until))
}

func (s sparing) over(now time.Time) bool { return !s.until.IsZero() && !now.Before(s.until) }

func newSpared(cfg *config.Config) *spared {
	s := &spared{groups: map[string]sparing{}, networks: map[string]sparing{}}
	for _, e := range cfg.Exemptions {
		if !e.DoNotAct {
			continue
		}
		for _, p := range e.Local {
			// Of two for the same prefix that counts which lasts longer.
			v := sparing{e.Name, e.Until}
			if have, ok := s.prefixes.Get(p); !ok || v.outlasts(have) {
				s.prefixes.Insert(p, v)
			}
		}
	}
	if s.prefixes.Size() == 0 {
		return s
	}
	for _, g := range cfg.Groups {
		s.longest(s.groups, g.Name, g.Prefixes)
	}
	for _, n := range cfg.Networks {
		s.longest(s.networks, n.Name, n.Prefixes)
	}
	return s
}

// longest notes what forbids for longest to act on some of the prefixes.
func (s *spared) longest(of map[string]sparing, name string, prefixes []netip.Prefix) {
	note := func(_ netip.Prefix, v sparing) {
		if have, ok := of[name]; !ok || v.outlasts(have) {
			of[name] = v
		}
	}
	for _, p := range prefixes {
		for k, v := range s.prefixes.Supernets(p) {
			note(k, v)
		}
		for k, v := range s.prefixes.Subnets(p) {
			note(k, v)
		}
	}
}

// attack names the exemption that forbids to act on an attack, "" where none
// does. A hostgroup or network of several prefixes is spared as a whole as soon
// as some of it is, as a prefix is.
func (s *spared) attack(a *detect.Attack, now time.Time) string {
	if s == nil || a.Target.IsValid() {
		return s.by(a.Target, now)
	}
	of := s.groups[a.Group]
	if a.Scope == engine.ScopeNetwork {
		of = s.networks[a.Network]
	}
	if of.over(now) {
		return ""
	}
	return of.name
}

// by names the exemption that forbids to act on a target, "" where none does:
// one that covers it, or some of it, since what is done to the target would be
// done to that part.
func (s *spared) by(target netip.Prefix, now time.Time) string {
	if s == nil || !target.IsValid() {
		return ""
	}
	for _, v := range s.prefixes.Supernets(target) {
		if !v.over(now) {
			return v.name
		}
	}
	for _, v := range s.prefixes.Subnets(target) {
		if !v.over(now) {
			return v.name
		}
	}
	return ""
}
