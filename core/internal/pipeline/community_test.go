package pipeline

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const communityConfig = `
network "n" { prefixes = ["10.0.0.0/8", "2001:db8::/32"] }
exemption "mirror" {
  remote    = ["198.51.100.7"]
  limit_bps = "1M"
}
hostgroup "base" {
  networks  = [network.n]
  detection = "fastnetmon"
  burst     = ["2x8"]
  threshold "udp_bandwidth" {
    counter = counter.udp
    bps     = "8M"
  }
  threshold "icmp" {
    counter = counter.icmp
    pps     = 100
  }
  threshold "udp" {
    counter = counter.udp
    pps     = 1000
  }
  threshold "flood" {
    bps = "8M"
    pps = 1000
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 64]
    pps           = 20000
  }
}
hostgroup "low" {
  base     = hostgroup.base
  prefixes = ["10.3.0.0/16"]
  threshold "udp_bandwidth" {
    bps = "1M"
  }
  threshold "udp" {
    pps = 100
  }
}
hostgroup "fast" {
  base      = hostgroup.base
  prefixes  = ["10.1.0.0/16"]
  detection = "default"
}
`

// Limits are compared in the original's order, whatever the configuration's is;
// what it does not know stays as everywhere.
func TestCommunityLimits(t *testing.T) {
	cfg := load(t, communityConfig)
	names := newIDSets()
	count, err := compileCount(cfg, names, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	plan, limits := compileEngine(cfg, names, count)
	var order []string
	for _, l := range plan.Groups[0].Limits {
		if l.Direction == ring.Incoming {
			order = append(order, limits[l.ID].name+" "+string(limits[l.ID].unit))
			if rules := len(l.Rules); (rules > 0) != (l.Scope != engine.ScopeHost || l.Counter >= engine.FirstUser) {
				t.Errorf("%s has %d burst rules", order[len(order)-1], rules)
			}
		}
	}
	want := []string{"flood pps", "flood bps", "udp pps", "icmp pps", "udp_bandwidth bps", "carpet pps", "exemption bps"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if !plan.Groups[0].Community || plan.Groups[2].Community || !count.Groups[1].Community || count.Groups[2].Community {
		t.Errorf("plans %+v, %+v", plan.Groups, count.Groups)
	}
	if l := plan.Groups[2].Limits[0]; limits[l.ID].name != "udp_bandwidth" || len(l.Rules) != 1 {
		t.Errorf("the group that decides otherwise begins with %+v", l)
	}
}

// communityBed plays the configuration.
func communityBed(t *testing.T) *countBed {
	b := newCountBed(t, load(t, communityConfig))
	b.run(time.Second, flow{src: "192.0.2.1", dst: "10.9.9.9", proto: 6, pps: 20}) // the clock runs
	return b
}

// A host is attacked once, in one direction: what its traffic exceeds is all of
// that attack, named by the first in the original's order. It ends when all of
// that is quiet.
func TestCommunityAttack(t *testing.T) {
	b := communityBed(t)
	const target = "10.0.0.1"
	b.run(3*time.Second,
		flow{src: "192.0.2.1", dst: target, proto: 17, pps: 8000, size: 500},
		flow{src: target, dst: "192.0.2.1", proto: 17, pps: 7200, size: 900},
		flow{src: "192.0.2.1", dst: "10.1.0.1", proto: 17, pps: 8000, size: 500}) // of the other group
	mine := b.of(target)
	if len(mine) != 1 || len(b.of("10.1.0.1")) != 1 {
		t.Fatalf("attacks %+v", b.det.Attacks(b.now))
	}
	a := mine[0]
	// 800 packets a second apart are as good as none: the bytes decide.
	if a.Direction != ring.Outgoing || a.Crossed[0].Threshold != "flood" || a.Crossed[0].Unit != engine.PacketRate || a.Crossed[0].Value <= 1000 {
		t.Errorf("%+v", a)
	}
	crossed := map[string]bool{}
	for _, c := range a.Crossed {
		crossed[c.Threshold+string(rune('0'+c.Unit))] = true
	}
	if len(crossed) != 4 || len(a.Crossed) != 8 || crossed["icmp0"] {
		t.Errorf("crossed %v", a.Crossed)
	}
	started := slices.IndexFunc(b.events, func(e detect.Event) bool { return e.Attack.Target == a.Target && e.Type == detect.Started })
	if e := b.events[started]; e.Attack.PeakPPS != e.Attack.InitialPPS || e.Attack.InitialPPS != e.Attack.Rates.Dir[1].Packets[0] {
		t.Errorf("power %v, peak %v, rates %+v", e.Attack.InitialPPS, e.Attack.PeakPPS, e.Attack.Rates.Dir[1])
	}
	// One direction goes on above its limits: so does the attack, which has the
	// other's name.
	b.run(40*time.Second, flow{src: "192.0.2.1", dst: target, proto: 17, pps: 8000, size: 500})
	if n := len(b.of(target)); n != 1 {
		t.Fatalf("%d attacks while one direction goes on", n)
	}
	b.run(70*time.Second, flow{src: "192.0.2.1", dst: target, proto: 17, pps: 20, size: 500})
	if n := len(b.of(target)); n != 0 {
		t.Errorf("%d attacks after a minute of quiet", n)
	}
	last := b.events[len(b.events)-1]
	if last.Type != detect.Ended || last.Attack.Cause != detect.CauseQuiet {
		t.Errorf("it ends with %+v", last)
	}
}

// of lists the open attacks on an address.
func (b *countBed) of(target string) []detect.Attack {
	return slices.DeleteFunc(b.det.Attacks(b.now), func(a detect.Attack) bool { return a.Target.Addr() != netip.MustParseAddr(target) })
}

func TestExplainCommunity(t *testing.T) {
	b := communityBed(t)
	b.run(5*time.Second, flow{src: "192.0.2.1", dst: "10.3.0.1", proto: 17, pps: 240, size: 1000})
	b.serve()
	e, err := b.d.Explain(netip.MustParseAddr("10.3.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, l := range e.Limits {
		if l.Direction != "incoming" {
			continue
		}
		states[l.Threshold+" "+l.Unit] = l.State
		if want := l.Scope == "host" && l.Threshold != "exemption"; slices.Equal(l.Rules, []string{config.DetectionCommunity}) != want {
			t.Errorf("%s %s: rules %v", l.Threshold, l.Unit, l.Rules)
		}
	}
	// 1.2 Mbit/s are one whole one, and not above it.
	for limit, want := range map[string]string{"udp_bandwidth bps": LimitBelow, "udp pps": LimitCrossed, "flood pps": LimitBelow, "flood bps": LimitBelow} {
		if states[limit] != want {
			t.Errorf("%s is %s, want %s", limit, states[limit], want)
		}
	}
}
