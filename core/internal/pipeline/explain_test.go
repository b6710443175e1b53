package pipeline

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

const explainConfig = `
daemon { mode = "enforce" }
network "wide" { prefixes = ["10.0.0.0/8", "2001:db8::/32"] }
network "inner" { prefixes = ["10.1.0.0/16"] }
exemption "speedtest" {
  remote    = ["198.51.100.7"]
  protocol  = "tcp"
  port      = [80, "8000-8080"]
  direction = "incoming"
  limit_bps = "1G"
  until     = "2099-01-01"
}
exemption "elsewhere" { local = ["10.2.0.0/16"] }
exemption "over" {
  remote = ["198.51.100.8"]
  until  = "2020-01-01"
}
hostgroup "base" {
  networks       = [network.wide]
  mode           = "monitor"
  v6_host_length = 64
  threshold "flood" {
    pps = 1000
    bps = "1G"
  }
  threshold "ntp" {
    direction = "incoming"
    counter   = counter.ntp_reflection
    pps       = 1000
  }
}
hostgroup "child" {
  base     = hostgroup.base
  networks = [network.inner]
  threshold "ntp" {
    pps = 100
  }
}
`

// serve runs the bed's loop, so that it can be asked as a daemon is.
func (b *countBed) serve() {
	b.d.sys.loop = newLoop(b.engine, b.det, hclog.NewNullLogger(), nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go b.d.sys.loop.run(ctx)
	b.t.Cleanup(func() { cancel(); <-b.d.sys.loop.stopped })
}

func TestExplain(t *testing.T) {
	b := newCountBed(t, load(t, explainConfig))
	b.run(3*time.Second, flow{src: "192.0.2.1", dst: "10.1.2.3", proto: 17, srcPort: 123, pps: 2000})
	b.serve()
	e, err := b.d.Explain(netip.MustParseAddr("::ffff:10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if e.Network != "inner" || e.NetworkPrefix.String() != "10.1.0.0/16" || e.Group != "child" || e.GroupPrefix.String() != "10.1.0.0/16" ||
		!slices.Equal(e.Chain, []string{"child", "base"}) || !e.Known || e.Host.String() != "10.1.2.3/32" ||
		e.Mode != config.Monitor || e.ModeReason != "hostgroup.base says so" {
		t.Errorf("%+v", e)
	}
	if len(e.Attacks) != 1 || e.Attacks[0].Target != e.Host {
		t.Errorf("attacks %+v", e.Attacks)
	}
	want := []struct {
		threshold, direction, unit, state string
		above                             bool
	}{
		{"flood", "incoming", "pps", LimitCrossed, false},
		{"flood", "outgoing", "pps", LimitBelow, false},
		{"flood", "incoming", "bps", LimitBelow, false},
		{"flood", "outgoing", "bps", LimitBelow, false},
		{"ntp", "incoming", "pps", LimitCrossed, true},
		{"exemption", "incoming", "bps", LimitBelow, false}, // which is for incoming traffic only
	}
	if len(e.Limits) != len(want) {
		t.Fatalf("limits %+v", e.Limits)
	}
	for i, w := range want {
		l := e.Limits[i]
		if l.Threshold != w.threshold || l.Direction != w.direction || l.Unit != w.unit || l.State != w.state || (l.Share > 1) != w.above || l.Mode != config.Monitor || l.Rules[0] != "average" {
			t.Errorf("limit %d: %+v, want %+v", i, l, w)
		}
	}
	if bps := e.Limits[2]; bps.Limit != 1e9 || bps.Value < 2000*60*8*0.4 || bps.Value > 2000*60*8 {
		t.Errorf("in bits: %+v", bps)
	}
	if len(e.Exemptions) != 1 || e.Exemptions[0].Name != "speedtest" || e.Exemptions[0].LimitBPS != 1e9 ||
		e.Exemptions[0].Conditions != "incoming, protocol 6, port 80, 8000-8080, remote 198.51.100.7/32" {
		t.Errorf("exemptions %+v", e.Exemptions)
	}
	e, _ = b.d.Explain(netip.MustParseAddr("2001:db8::1"))
	if e.Network != "wide" || e.Group != "base" || e.Host.String() != "2001:db8::/64" || e.Known || len(e.Limits) != 6 || len(e.Attacks) != 0 {
		t.Errorf("without traffic: %+v", e)
	}
	e, _ = b.d.Explain(netip.MustParseAddr("192.0.2.1"))
	if e.Network != "" || e.Group != "" || len(e.Limits) != 0 {
		t.Errorf("not ours: %+v", e)
	}
}

// Limits of wider scopes stand behind the host's, with the rates of the whole
// prefix, hostgroup and network.
func TestExplainScopes(t *testing.T) {
	b := newCountBed(t, load(t, `
network "n" { prefixes = ["10.0.0.0/8"] }
hostgroup "g" {
  networks = [network.n]
  threshold "host" {
    direction = "incoming"
    pps       = 100000
  }
  threshold "carpet" {
    direction     = "incoming"
    scope         = "prefix"
    prefix_length = [24, 48]
    pps           = 3000
  }
  threshold "group" {
    direction = "incoming"
    scope     = "hostgroup"
    pps       = 100000
  }
  threshold "network" {
    direction = "incoming"
    scope     = "network"
    pps       = 100000
  }
}
`))
	b.run(10*time.Second, flow{src: "192.0.2.1", dst: "10.0.0.1", proto: 17, pps: 2000}, flow{src: "192.0.2.1", dst: "10.0.0.2", proto: 17, pps: 2000},
		flow{src: "192.0.2.1", dst: "10.9.0.1", proto: 17, pps: 2000})
	b.serve()
	e, err := b.d.Explain(netip.MustParseAddr("10.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		scope, state string
		pps          float64
	}{{"host", LimitBelow, 2000}, {"prefix", LimitCrossed, 4000}, {"hostgroup", LimitBelow, 6000}, {"network", LimitBelow, 6000}}
	if len(e.Limits) != len(want) {
		t.Fatalf("limits %+v", e.Limits)
	}
	for i, w := range want {
		if l := e.Limits[i]; l.Scope != w.scope || l.State != w.state || l.Value < 0.8*w.pps || l.Value > w.pps {
			t.Errorf("limit %d: %+v, want %+v", i, l, w)
		}
	}
	if len(e.Attacks) != 1 || e.Attacks[0].Target.String() != "10.0.0.0/24" {
		t.Errorf("attacks %+v", e.Attacks)
	}
}
