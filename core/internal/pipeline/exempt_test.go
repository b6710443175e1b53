package pipeline

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const exemptConfig = `
daemon { mode = "enforce" }
network "n" { prefixes = ["10.0.0.0/8", "2001:db8::/32"] }
exemption "backup" {
  remote    = ["198.51.100.7", "2001:db9::7"]
  protocol  = "tcp"
  port      = 873
  direction = "incoming"
  limit_bps = "80M"
}
exemption "speedtest" {
  remote    = ["198.51.100.0/24"]
  protocol  = "udp"
  limit_bps = "8M"
}
exemption "unlimited" {
  remote = ["203.0.113.0/24"]
}
exemption "over" {
  remote = ["192.0.2.0/24"]
  until  = "2020-01-01"
}
hostgroup "g" {
  networks = [network.n]
  threshold "flood" {
    pps = 1000
  }
}
`

// Each condition of an exemption takes out what fits and nothing else, and the
// limit of each holds for itself, whatever other exemptions have.
func TestExemptions(t *testing.T) {
	b := newCountBed(t, load(t, exemptConfig))
	backup := flow{src: "198.51.100.7", dst: "10.0.0.1", proto: 6, srcPort: 40000, dstPort: 873, pps: 5000, size: 1000}
	with := func(f flow, change func(*flow)) flow { change(&f); return f }
	six := func(dst string, pps float64) flow {
		return with(backup, func(f *flow) { f.src, f.dst, f.pps = "2001:db9::7", dst, pps })
	}
	for _, c := range []struct {
		name string
		host string
		flow flow
		want []string
	}{
		{"within its limit", "10.0.0.1", backup, nil},
		{"above its limit", "10.0.0.2", with(backup, func(f *flow) { f.dst, f.pps = "10.0.0.2", 30000 }), []string{"exemption"}},
		{"answers from the port", "10.0.0.3", with(backup, func(f *flow) { f.dst, f.srcPort, f.dstPort = "10.0.0.3", 873, 40000 }), nil},
		{"another remote", "10.0.0.4", with(backup, func(f *flow) { f.dst, f.src = "10.0.0.4", "198.51.100.8" }), []string{"flood"}},
		{"another port", "10.0.0.5", with(backup, func(f *flow) { f.dst, f.dstPort = "10.0.0.5", 874 }), []string{"flood"}},
		{"another protocol", "10.0.0.6", with(backup, func(f *flow) { f.dst, f.proto, f.src = "10.0.0.6", 17, "198.51.101.7" }), []string{"flood"}},
		{"another direction", "10.0.0.7", with(backup, func(f *flow) { f.src, f.dst = "10.0.0.7", "198.51.100.7" }), []string{"flood"}},
		{"another's lower limit", "10.0.0.8", with(backup, func(f *flow) { f.dst, f.proto = "10.0.0.8", 17 }), []string{"exemption"}},
		{"without a limit", "10.0.0.9", with(backup, func(f *flow) { f.dst, f.src, f.pps = "10.0.0.9", "203.0.113.1", 1e6 }), nil},
		{"ended", "10.0.0.10", with(backup, func(f *flow) { f.dst, f.src = "10.0.0.10", "192.0.2.1" }), []string{"flood"}},
		{"IPv6 within", "2001:db8::1", six("2001:db8::1", 5000), nil},
		{"IPv6 above", "2001:db8::2", six("2001:db8::2", 30000), []string{"exemption"}},
	} {
		b.run(2*time.Second, c.flow)
		if got := b.crossed()[c.host]; !slices.Equal(got, c.want) {
			t.Errorf("%s: crossed %v, want %v", c.name, got, c.want)
		}
	}
	for _, a := range b.det.Attacks(b.now) {
		if a.Target.Addr() == netip.MustParseAddr("10.0.0.8") && a.Crossed[0].Counter != "exemption.speedtest" {
			t.Errorf("the limit is of %s", a.Crossed[0].Counter)
		}
	}
}

// Flow records that count forward keep the exemption's own counter.
func TestExemptionOfLongFlows(t *testing.T) {
	b := newCountBed(t, load(t, exemptConfig))
	long := flow{src: "198.51.100.7", dst: "10.0.0.1", proto: 6, dstPort: 873, size: 1000}.record(30000 * 60)
	long.Marks |= traffic.MarkFlow
	long.DurationMs, long.Spread = 60000, 60
	b.table.Add([]traffic.Record{long}, b.now)
	b.run(20 * time.Second)
	if got := b.crossed()["10.0.0.1"]; !slices.Equal(got, []string{"exemption"}) {
		t.Errorf("crossed %v", got)
	}
}

// What an exemption says not to act on is counted and told, in mode monitor.
func TestDoNotAct(t *testing.T) {
	b := newCountBed(t, load(t, `
daemon { mode = "enforce" }
network "n" { prefixes = ["10.0.0.0/8"] }
exemption "vip" {
  local      = ["10.0.0.1", "10.1.0.0/16"]
  do_not_act = true
}
exemption "over" {
  local      = ["10.0.0.2"]
  do_not_act = true
  until      = "2020-01-01"
}
hostgroup "g" {
  networks = [network.n]
  threshold "flood" {
    pps = 1000
  }
}
`))
	var flows []flow
	for _, host := range []string{"10.0.0.1", "10.0.0.2", "10.1.2.3"} {
		flows = append(flows, flow{src: "192.0.2.1", dst: host, proto: 17, pps: 5000})
	}
	b.run(2*time.Second, flows...)
	b.serve()
	want := map[string]string{"10.0.0.1": "monitor", "10.0.0.2": "enforce", "10.1.2.3": "monitor"}
	if len(b.events) != len(want) {
		t.Fatalf("%d events", len(b.events))
	}
	for i := range b.events {
		e := b.d.describe(&b.events[i], 0)
		if mode := want[e.Target.Addr().String()]; e.Mode != mode || e.WouldHave != (mode == "monitor") {
			t.Errorf("%v: mode %s, would have %v, want %s", e.Target, e.Mode, e.WouldHave, mode)
		}
	}
	got, err := b.d.Explain(netip.MustParseAddr("10.1.2.3"))
	if err != nil || got.Mode != config.Monitor || got.ModeReason != "exemption.vip says do_not_act" || len(got.Exemptions) != 1 || got.Limits[0].State != LimitCrossed {
		t.Errorf("%+v, %v", got, err)
	}
	// Of a wider target some part is spared, so nothing is done to any of it.
	e := detect.Event{Attack: detect.Attack{Target: netip.MustParsePrefix("10.1.0.0/15")}}
	if by := b.d.spared.by(e.Attack.Target, time.Now()); by != "vip" {
		t.Errorf("spared by %q", by)
	}
	if by := b.d.spared.by(netip.MustParsePrefix("10.2.0.0/16"), time.Now()); by != "" {
		t.Errorf("spared by %q", by)
	}
}

// An attack on a hostgroup or network of several prefixes is not acted on where
// an exemption spares any of them, or a part or the whole of one, until it ends.
func TestDoNotActOnSeveralPrefixes(t *testing.T) {
	const cfg = `
daemon { mode = "enforce" }
network "n" { prefixes = ["10.0.0.0/16", "10.2.0.0/16"] }
network "free" { prefixes = ["10.4.0.0/16", "10.6.0.0/16"] }
exemption "vip" {
  local      = [%s]
  do_not_act = true
  %s
}
hostgroup "g" {
  networks = [network.n]
  threshold "all" {
    scope = "hostgroup"
    pps   = 1000
  }
}
hostgroup "f" {
  networks = [network.free]
  threshold "all" {
    scope = "network"
    pps   = 1000
  }
}
`
	for _, c := range []struct{ name, local, until, group, network string }{
		{"a host of one", `"10.2.3.4"`, "", "monitor", "enforce"},
		{"one of them", `"10.6.0.0/16"`, "", "enforce", "monitor"},
		{"what holds them all", `"10.0.0.0/8"`, "", "monitor", "monitor"},
		{"none of them", `"10.9.0.0/16"`, "", "enforce", "enforce"},
		{"that has ended", `"10.0.0.0/8"`, `until = "2020-01-01"`, "enforce", "enforce"},
	} {
		b := newCountBed(t, load(t, fmt.Sprintf(cfg, c.local, c.until)))
		b.run(2*time.Second, flow{src: "192.0.2.1", dst: "10.0.0.1", proto: 17, pps: 5000}, flow{src: "192.0.2.1", dst: "10.4.0.1", proto: 17, pps: 5000})
		b.serve()
		got := map[string]string{}
		for i := range b.events {
			e := b.d.describe(&b.events[i], 0)
			if e.Target.IsValid() {
				t.Errorf("%s: target %v", c.name, e.Target)
			}
			got[e.HostGroup] = e.Mode
		}
		if want := map[string]string{"g": c.group, "f": c.network}; !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}
