package pipeline

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

func load(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, diags := config.LoadBytes("test.hcl", []byte(text))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return cfg
}

// Each prefix of the plan has the network and group that a search through all
// of them, longest first, gives; and both ends compile it.
func TestCompiledSpaceIsTheLongestMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cfg := &config.Config{}
	used := map[netip.Prefix]bool{}
	prefix := func() netip.Prefix {
		for {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(256))}), 8+rng.IntN(25)).Masked()
			if !used[p] {
				used[p] = true
				return p
			}
		}
	}
	for i := range 20 {
		name := string(rune('a' + i))
		n := &config.Network{Name: "n" + name, CountInternal: i%2 == 0}
		g := &config.HostGroup{Name: "g" + name, V6Host: 128}
		for range 5 {
			n.Prefixes = append(n.Prefixes, prefix())
			g.Prefixes = append(g.Prefixes, prefix())
		}
		cfg.Networks, cfg.Groups = append(cfg.Networks, n), append(cfg.Groups, g)
	}
	cfg.Networks[0].Prefixes = append(cfg.Networks[0].Prefixes, netip.MustParsePrefix("0.0.0.0/0"))
	names := newIDSets()
	plan, err := compileCount(cfg, names, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := count.Compile(plan); err != nil {
		t.Fatal(err)
	}
	rates, _ := compileEngine(cfg, names, plan)
	e, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.SetPlan(rates); err != nil {
		t.Fatal(err)
	}
	for _, p := range plan.Prefixes {
		var network, group string
		best := [2]int{-1, -1}
		for i, n := range cfg.Networks {
			network = longest(p.Prefix, n.Prefixes, &best[0], n.Name, network)
			group = longest(p.Prefix, cfg.Groups[i].Prefixes, &best[1], cfg.Groups[i].Name, group)
		}
		if names.networks.name(p.Network) != network || names.groups.name(p.Group) != group {
			t.Errorf("%v is in %s and %s, want %s and %s", p.Prefix, names.networks.name(p.Network), names.groups.name(p.Group), network, group)
		}
	}
}

func longest(p netip.Prefix, of []netip.Prefix, best *int, name, so string) string {
	for _, q := range of {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) && q.Bits() > *best {
			*best, so = q.Bits(), name
		}
	}
	return so
}

func TestLimitsKeepTheirIDs(t *testing.T) {
	const before = `
network "a" { prefixes = ["203.0.113.0/24"] }
counter "ntp" {
  protocol    = "udp"
  source_port = [123]
}
counter "unused" { protocol = "gre" }
hostgroup "g" {
  networks = [network.a]
  threshold "flood" {
    direction = "incoming"
    pps       = 100
    bps       = "1M"
  }
  threshold "ntp" {
    counter = counter.ntp
    pps     = 10
  }
}
`
	names := newIDSets()
	compile := func(text string) (*count.Plan, *engine.Plan, map[uint32]limit) {
		cfg := load(t, text)
		plan, err := compileCount(cfg, names, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		rates, limits := compileEngine(cfg, names, plan)
		return plan, rates, limits
	}
	plan, rates, limits := compile(before)
	if len(plan.Counters) != 1 || plan.Counters[0].Name != "ntp" {
		t.Errorf("counters %+v: only those that a threshold uses", plan.Counters)
	}
	ls := rates.Groups[0].Limits
	if len(ls) != 4 || ls[0].Direction != ring.Incoming || ls[1].Unit != engine.ByteRate || ls[1].Value != 1e6/8 ||
		ls[2].Counter != engine.FirstUser || ls[3].Direction != ring.Outgoing {
		t.Errorf("limits %+v", ls)
	}
	// A threshold that goes and another that comes leave the ids of the rest.
	_, after, named := compile(strings.Replace(before, "bps       = \"1M\"", "fps = 7", 1))
	if as := after.Groups[0].Limits; as[0].ID != ls[0].ID || as[2].ID != ls[2].ID || as[1].ID == ls[1].ID {
		t.Errorf("ids before %v, after %v", ls, as)
	}
	for id, l := range limits {
		if again, ok := named[id]; ok && (again.name != l.name || again.unit != l.unit) {
			t.Errorf("id %d was %s %s and is %s %s", id, l.name, l.unit, again.name, again.unit)
		}
	}
}

// Each exemption with a limit is a limit of every group, counted by itself.
func TestExemptionLimits(t *testing.T) {
	ls := groupLimits(&config.HostGroup{}, []*config.Exemption{
		{Name: "a", LimitBPS: 2e9}, {Name: "b"}, {Name: "over", LimitBPS: 1e9, Until: time.Unix(1, 0)}, {Name: "c", LimitBPS: 1e9},
	})
	if len(ls) != 2 || ls[0].counter != "exemption.a" || ls[0].value != 2e9 || ls[1].counter != "exemption.c" || ls[1].unit != config.BPS {
		t.Errorf("limits %+v", ls)
	}
}
