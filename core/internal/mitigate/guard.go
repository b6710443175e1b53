package mitigate

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Limits are the guard block.
type Limits struct {
	MaxActive    int     // mitigations at a time
	MaxShare     float64 // of our addresses of a family, 0 … 1
	MaxPerMinute int     // that begin
	Shortest     [2]int  // lengths of what is announced, IPv4 and IPv6, at least
}

// Protected is a prefix that nothing is done against, and why.
type Protected struct {
	Prefix netip.Prefix
	Why    string
}

// Guard judges what would be announced. It changes with the configuration only.
type Guard struct {
	limits    Limits
	networks  bart.Lite
	protected bart.Table[string]
	space     [2]float64 // addresses of ours
	hostLen   func(netip.Prefix) int
	spared    func(netip.Prefix) string
}

// NewGuard makes a guard. hostLen is the length of an IPv6 host around a target;
// spared names the exemption that forbids to act on it. Either may be nil.
func NewGuard(limits Limits, networks []netip.Prefix, protected []Protected, hostLen func(netip.Prefix) int, spared func(netip.Prefix) string) *Guard {
	g := &Guard{limits: limits, hostLen: hostLen, spared: spared}
	for _, p := range networks {
		g.networks.Insert(p)
	}
	for _, p := range networks {
		// What lies in another of ours is counted there.
		if wider, ok := g.networks.LookupPrefixLPM(p); ok && wider == p && !g.inside(p) {
			g.space[family(p)] += addresses(p)
		}
	}
	for _, p := range protected {
		g.protected.Insert(p.Prefix, p.Why)
	}
	return g
}

// inside tells whether a prefix of ours lies in a wider one.
func (g *Guard) inside(p netip.Prefix) bool {
	if p.Bits() == 0 {
		return false
	}
	parent := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
	_, ok := g.networks.LookupPrefixLPM(parent)
	return ok
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

func addresses(p netip.Prefix) float64 { return math.Ldexp(1, p.Addr().BitLen()-p.Bits()) }

var familyNames = [2]string{"IPv4", "IPv6"}

// Judge says what would keep back something that is announced alone, "" nothing.
func (g *Guard) Judge(target netip.Prefix, announced []sdk.Announcement) string {
	return g.judge(&tally{}, 0, target, announced)
}

// judge says what would keep back one more.
func (g *Guard) judge(t *tally, now time.Duration, target netip.Prefix, announced []sdk.Announcement) string {
	return cmp.Or(g.forbidden(target, announced), g.crowded(t, now, 1), g.share(t, announced))
}

// forbidden says why something is never announced, "" where it may be. It is
// for the configuration to change, not for a person to pass by.
func (g *Guard) forbidden(target netip.Prefix, announced []sdk.Announcement) string {
	if g.spared != nil {
		if by := g.spared(target); by != "" {
			return "exemption." + by + " says do_not_act"
		}
	}
	for i := range announced {
		if why := g.forbids(target, &announced[i]); why != "" {
			return why
		}
	}
	return ""
}

func (g *Guard) forbids(target netip.Prefix, a *sdk.Announcement) string {
	p := a.Prefix
	switch {
	case !p.IsValid():
		return "it has no destination"
	case p.Bits() == 0:
		return fmt.Sprintf("%v is a default route", p)
	}
	if _, ours := g.networks.LookupPrefixLPM(p); !ours {
		return fmt.Sprintf("%v is not inside our networks", p)
	}
	shortest := g.limits.Shortest[family(p)]
	if g.hostLen != nil && p.Addr().Is6() {
		shortest = min(shortest, g.hostLen(target))
	}
	if p.Bits() < shortest {
		return fmt.Sprintf("%v is wider than the guard's shortest_prefix, /%d", p, shortest)
	}
	if a.FlowSpec && a.Discard && a.Matches == 0 {
		return fmt.Sprintf("a flow-spec rule that discards needs a destination and one more match, and the one for %v has none", p)
	}
	if why, ok := g.protected.LookupPrefix(p); ok {
		return fmt.Sprintf("%v is protected: %s", p, why)
	}
	for narrow, why := range g.protected.Subnets(p) {
		return fmt.Sprintf("%v holds %v, which is protected: %s", p, narrow, why)
	}
	return ""
}

// tally is what is in force, as the guard counts it.
type tally struct {
	active   int
	prefixes map[netip.Prefix]int
	sum      [2]float64
	count    [2]int // different prefixes
	begun    []time.Duration
}

func (t *tally) add(announced []sdk.Announcement) {
	t.active++
	if t.prefixes == nil {
		t.prefixes = map[netip.Prefix]int{}
	}
	for i := range announced {
		p := announced[i].Prefix
		if t.prefixes[p]++; t.prefixes[p] == 1 {
			t.sum[family(p)] += addresses(p)
			t.count[family(p)]++
		}
	}
}

func (t *tally) remove(announced []sdk.Announcement) {
	t.active--
	for i := range announced {
		p := announced[i].Prefix
		if t.prefixes[p]--; t.prefixes[p] == 0 {
			delete(t.prefixes, p)
			t.sum[family(p)] -= addresses(p)
			t.count[family(p)]--
		}
	}
}

// crowded says which count has no room for so many more, "" where all have.
func (g *Guard) crowded(t *tally, now time.Duration, more int) string {
	if t.active+more > g.limits.MaxActive {
		return fmt.Sprintf("%d mitigations are in force%s", t.active, beyond(more, g.limits.MaxActive, "max_active"))
	}
	for len(t.begun) > 0 && now-t.begun[0] >= time.Minute {
		t.begun = t.begun[1:]
	}
	if len(t.begun)+more > g.limits.MaxPerMinute {
		return fmt.Sprintf("%d mitigations began in the last minute%s", len(t.begun), beyond(more, g.limits.MaxPerMinute, "max_new_per_minute"))
	}
	return ""
}

// beyond says how a count is exceeded by so many more.
func beyond(more, limit int, name string) string {
	if more == 1 {
		return ", which is " + name
	}
	return fmt.Sprintf(", and the attack is on %d prefixes: together more than %s, %d", more, name, limit)
}

// share says of which family too much would be announced, "" of none. One prefix
// alone may always be.
func (g *Guard) share(t *tally, announced []sdk.Announcement) string {
	sum, count := t.sum, t.count
	seen := map[netip.Prefix]bool{}
	for i := range announced {
		p := announced[i].Prefix
		if t.prefixes[p] == 0 && !seen[p] {
			seen[p] = true
			sum[family(p)] += addresses(p)
			count[family(p)]++
		}
	}
	for f := range sum {
		if count[f] > t.count[f] && count[f] > 1 && sum[f] > g.limits.MaxShare*g.space[f] {
			return fmt.Sprintf("with it %.3g %% of our %s addresses would be acted on, more than max_share, %.3g %%", 100*sum[f]/g.space[f], familyNames[f], 100*g.limits.MaxShare)
		}
	}
	return ""
}
