package pipeline

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// nestedGroup is a hostgroup as one reads its block.
type nestedGroup struct {
	base     int // -1: none
	prefixes []netip.Prefix
	average  int               // seconds; 0 unset
	own      map[string]string // attributes of the threshold by name/attribute; "" of pps: disabled
}

var nestedThresholds = []struct{ name, scope string }{
	{"flood", ""}, {"carpet", `scope = "prefix"` + "\nprefix_length = [24, 64]"}, {"all", `scope = "hostgroup"`},
}

// nestedSpace is n random prefixes of both families, which nest, in groups of
// which most have a base.
func nestedSpace(rng *rand.Rand, n int) []nestedGroup {
	taken := map[netip.Prefix]bool{}
	groups := make([]nestedGroup, n/4)
	for i := range groups {
		g := &groups[i]
		g.base, g.own = -1, map[string]string{}
		if i > 0 && rng.IntN(4) > 0 {
			g.base = rng.IntN(i)
		}
		if rng.IntN(3) == 0 {
			g.average = 1 + rng.IntN(20)
		}
		for _, t := range nestedThresholds {
			if g.base < 0 || rng.IntN(3) == 0 {
				g.own[t.name] = fmt.Sprint(1000 + rng.IntN(1_000_000))
			}
		}
		for range 4 {
			for {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(8)), byte(rng.IntN(256))}), 8+rng.IntN(25)).Masked()
				if rng.IntN(2) == 0 {
					p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(rng.IntN(4)), byte(rng.IntN(8)), byte(rng.IntN(256)), 15: byte(rng.IntN(8))}), 32+rng.IntN(97)).Masked()
				}
				if !taken[p] {
					taken[p] = true
					g.prefixes = append(g.prefixes, p)
					break
				}
			}
		}
	}
	return groups
}

func nestedConfig(groups []nestedGroup) string {
	var b strings.Builder
	b.WriteString("network \"n\" { prefixes = [\"10.0.0.0/8\", \"2001:db8::/32\"] }\n")
	for i, g := range groups {
		fmt.Fprintf(&b, "hostgroup \"g%d\" {\n", i)
		if g.base >= 0 {
			fmt.Fprintf(&b, "base = hostgroup.g%d\n", g.base)
		}
		if g.average > 0 {
			fmt.Fprintf(&b, "average = \"%ds\"\n", g.average)
		}
		fmt.Fprintf(&b, "prefixes = [\"%s\"]\n", strings.ReplaceAll(strings.Trim(fmt.Sprint(g.prefixes), "[]"), " ", `", "`))
		for _, t := range nestedThresholds {
			pps, ok := g.own[t.name]
			if !ok {
				continue
			}
			fmt.Fprintf(&b, "threshold \"%s\" {\ndirection = \"incoming\"\npps = %s\n", t.name, pps)
			if g.base < 0 {
				b.WriteString(t.scope + "\n")
			}
			b.WriteString("}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// up finds what a group or the nearest of its bases says.
func up[T comparable](groups []nestedGroup, i int, of func(*nestedGroup) T) (out T) {
	for ; i >= 0; i = groups[i].base {
		if out = of(&groups[i]); out != *new(T) {
			return out
		}
	}
	return out
}

// A thousand nested prefixes of both families in hostgroups that inherit from each
// other: each address has the group, limits, scopes and average that a naive
// reader finds, in the plan of the captures, in the engine and in explain.
func TestNestedGroupsAgainstOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 8))
	groups := nestedSpace(rng, 1000)
	b := newCountBed(t, load(t, nestedConfig(groups)))
	b.serve()
	names := b.d.sys.names
	plan := b.d.sys.plan.Load()
	rates, _ := compileEngine(b.d.cfg, names, plan)
	tau := map[uint32]int{}
	for _, g := range rates.Groups {
		tau[g.ID] = int(g.Tau.Seconds())
	}
	var addresses []netip.Addr
	for _, g := range groups {
		for _, p := range g.prefixes {
			raw := p.Addr().AsSlice()
			for i := p.Bits(); i < 8*len(raw); i++ {
				raw[i/8] |= byte(rng.IntN(2)) << (7 - i%8)
			}
			inside, _ := netip.AddrFromSlice(raw)
			addresses = append(addresses, p.Addr(), inside)
		}
	}
	for _, a := range addresses {
		owner, longest := -1, -1
		for i, g := range groups {
			for _, p := range g.prefixes {
				if p.Contains(a) && p.Bits() > longest {
					owner, longest = i, p.Bits()
				}
			}
		}
		e, err := b.d.Explain(a)
		if err != nil {
			t.Fatal(err)
		}
		var chain, want, got []string
		for i := owner; i >= 0; i = groups[i].base {
			chain = append(chain, fmt.Sprint("g", i))
		}
		if e.Group != chain[0] || e.GroupPrefix.Bits() != longest || !slices.Equal(e.Chain, chain) {
			t.Fatalf("%s: group %s (%s), chain %v; want %v by a /%d", a, e.Group, e.GroupPrefix, e.Chain, chain, longest)
		}
		for _, th := range nestedThresholds {
			scope := "host"
			if th.scope != "" {
				scope = strings.Split(th.scope, `"`)[1]
			}
			want = append(want, th.name+" "+scope+" "+up(groups, owner, func(g *nestedGroup) string { return g.own[th.name] }))
		}
		for _, l := range e.Limits {
			got = append(got, fmt.Sprintf("%s %s %.0f", l.Threshold, l.Scope, l.Limit))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: limits %v, want %v", a, got, want)
		}
		average := up(groups, owner, func(g *nestedGroup) int { return g.average })
		if average == 0 {
			average = int(engine.DefaultTau.Seconds())
		}
		id, best := uint32(0), -1
		for _, p := range plan.Prefixes {
			if p.Prefix.Contains(a) && p.Prefix.Bits() > best {
				id, best = p.Group, p.Prefix.Bits()
			}
		}
		if names.groups.name(id) != chain[0] || tau[id] != average {
			t.Fatalf("%s: the plan has group %s with an average of %d s, want %s with %d s", a, names.groups.name(id), tau[id], chain[0], average)
		}
	}
}
