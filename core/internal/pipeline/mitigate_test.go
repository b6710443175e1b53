package pipeline

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const modeConfig = `
daemon {
  mode = %q
}
network "n" {
  prefixes = ["10.0.0.0/16", "2001:db8::/32"]
}
hostgroup "g" {
  networks = [network.n]
  average  = "1s"
  quiet    = "1s"
  threshold "flood" {
    pps = 1000
  }
  threshold "more" {
    pps = 20000
  }
}
`

// Monitor and enforce give the same events on the same input, but for what is
// done about them.
func TestMonitorAndEnforceTellTheSame(t *testing.T) {
	events := map[string][]sdk.Event{}
	for _, mode := range []string{"monitor", "enforce"} {
		b := newCountBed(t, load(t, fmt.Sprintf(modeConfig, mode)))
		var floods []flow
		for i := range 20 {
			floods = append(floods, flow{src: "192.0.2.1", dst: fmt.Sprintf("10.0.0.%d", i+1), proto: 17, pps: 3000 * float64(i+1)})
		}
		floods = append(floods, flow{src: "2001:db8:ffff::1", dst: "2001:db8::7", proto: 6, pps: 5000})
		b.run(5*time.Second, floods...)
		b.run(10 * time.Second)
		b.serve()
		for i := range b.events {
			e := b.d.describe(&b.events[i], 0)
			if e.Mode != mode || e.WouldHave != (mode == "monitor") {
				t.Errorf("%s: mode %s, would have %v", mode, e.Mode, e.WouldHave)
			}
			e.Mode, e.WouldHave = "", false
			events[mode] = append(events[mode], e)
		}
	}
	ignored := cmpopts.IgnoreFields(sdk.Event{}, "ID", "Revision", "Time", "Started") // ids are made of the revision, too
	if d := cmp.Diff(events["monitor"], events["enforce"], ignored, cmpopts.IgnoreFields(sdk.Crossing{}, "At"), cmpopts.EquateComparable(sdk.Event{}.Target)); d != "" {
		t.Error(d)
	}
	if len(events["monitor"]) < 42 {
		t.Errorf("%d events", len(events["monitor"]))
	}
}

// What the configuration says of a mitigation that is there.
func TestVerdicts(t *testing.T) {
	cfg := load(t, `
daemon {
  mode = "enforce"
}
network "n" {
  prefixes = ["10.0.0.0/16"]
}
hostgroup "g" {
  networks = [network.n]
  threshold "flood" {
    pps = 1000
  }
  mitigation {
    hold       = "1m"
    attributes = { next_hop = "192.0.2.66" }
  }
}
hostgroup "quiet" {
  prefixes = ["10.0.1.0/24"]
  mode     = "monitor"
  threshold "flood" {
    pps = 1000
  }
}
action "gobgp" "edge" {}
action "gobgp" "off" {
  process {
    mode = "monitor"
  }
}
`)
	m := &mitigation{cfg: cfg, targets: map[string][]string{"action.gobgp.edge": {"blackhole"}, "action.gobgp.off": {"blackhole"}}}
	for _, c := range []struct {
		action, group string
		manual        bool
		release       string
	}{
		{"action.gobgp.edge.blackhole", "g", false, ""},
		{"action.gobgp.edge.blackhole", "quiet", false, "the mode is monitor"},
		{"action.gobgp.edge.blackhole", "quiet", true, ""},
		{"action.gobgp.edge.flowspec", "g", false, "the action has no flowspec any more"},
		{"action.gobgp.other.blackhole", "g", true, "the action is no longer configured"},
		{"action.gobgp.off.blackhole", "g", true, "the action's mode is monitor"},
		{"action.gobgp.edge.blackhole", "gone", false, "hostgroup.gone is no longer configured"},
	} {
		got := m.judge(&sdk.MitigationReport{Action: c.action, HostGroup: c.group}, &sdk.Event{}, c.manual)
		if got.Release != c.release {
			t.Errorf("%s of %s: %q, want %q", c.action, c.group, got.Release, c.release)
		}
	}
	v := m.judge(&sdk.MitigationReport{Action: "action.gobgp.edge.blackhole", HostGroup: "g"}, &sdk.Event{}, false)
	want := mitigate.Rules{Hold: time.Minute, Max: config.DefaultMax, Release: "auto", Backoff: 2, Attributes: map[string][]string{"next_hop": {"192.0.2.66"}}}
	if v.Rules == nil || !cmp.Equal(*v.Rules, want) {
		t.Errorf("rules %+v", v.Rules)
	}
}
