package pipeline

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// spared knows the prefixes whose attacks are told, and never acted on.
type spared struct{ prefixes bart.Table[sparing] }

// sparing is an exemption that says do_not_act.
type sparing struct {
	name  string
	until time.Time // zero: for ever
}

func (s sparing) over(now time.Time) bool { return !s.until.IsZero() && !now.Before(s.until) }

func newSpared(cfg *config.Config) *spared {
	s := &spared{}
	for _, e := range cfg.Exemptions {
		if !e.DoNotAct {
			continue
		}
		for _, p := range e.Local {
			// Of two for the same prefix that counts which lasts longer.
			if have, ok := s.prefixes.Get(p); !ok || !have.until.IsZero() && (e.Until.IsZero() || e.Until.After(have.until)) {
				s.prefixes.Insert(p, sparing{e.Name, e.Until})
			}
		}
	}
	return s
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
