package pipeline

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const tierConfig = `
daemon { mode = "enforce" }
network "a" { prefixes = ["203.0.113.0/24"] }
network "b" { prefixes = ["198.51.100.0/24"] }
hostgroup "g" {
  networks = [network.a, network.b]
  threshold "low" { pps = 1000 }
  threshold "high" {
    pps     = 10000
    actions = [action.script.ban, action.script.mail]
  }
  threshold "bits" {
    bps     = "1G"
    actions = [action.script.ban]
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 64]
    pps           = 5000
  }
  threshold "flooded" {
    scope   = "network"
    pps     = 9000
    actions = [action.script.ban]
  }
  threshold "all" {
    scope = "hostgroup"
    pps   = 9000
  }
}
hostgroup "child" {
  base     = hostgroup.g
  prefixes = ["203.0.113.53/32"]
}
action "script" "note" {
  role    = "notify"
  command = ["/bin/true"]
}
action "script" "mail" {
  role    = "notify"
  command = ["/bin/true"]
}
action "script" "ban" {
  role    = "mitigate"
  command = ["/bin/true"]
}
capture "pcap" "x" { files = ["x"] }
pipeline "main" {
  captures = [capture.pcap.x]
  actions  = [action.script.note, action.script.ban]
}
`

// tierBed is a daemon whose actions write down what they would be told.
func tierBed(t *testing.T) (*Daemon, map[string]uint32) {
	cfg := load(t, tierConfig)
	d := New(Options{Config: cfg, Log: hclog.New(&hclog.LoggerOptions{Output: io.Discard})})
	plan, err := compileCount(cfg, d.sys.names, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, d.limits = compileEngine(cfg, d.sys.names, plan)
	d.cfg = cfg
	for _, b := range cfg.Actions {
		role := "notify"
		if b.Instance == "ban" {
			role = "mitigate"
		}
		b.Value = cty.ObjectVal(map[string]cty.Value{"role": cty.StringVal(role)})
		a := &action{prepared: &prepared{block: b, about: &host.Description{Features: []string{host.FeatureNotifier}}}}
		a.queue = newDelivery(b.Instance, 1, 0, d.sys.log, nil)
		d.set.actions[blockName(b)] = a
	}
	ids := map[string]uint32{}
	for id, l := range d.limits {
		if l.group.Name == "g" {
			ids[l.name] = id
		}
	}
	return d, ids
}

// told empties the queues: what each action would have been told.
func told(d *Daemon) string {
	var out []string
	for _, b := range d.cfg.Actions {
		for l := d.set.actions[blockName(b)].queue.lanes[0]; ; {
			e, ok, _ := l.next()
			if !ok {
				break
			}
			out = append(out, fmt.Sprintf("%s %s", b.Instance, strings.TrimPrefix(string(e.Type), "attack.")))
		}
	}
	return strings.Join(out, ", ")
}

// Reaching a tier starts the attack for its actions, leaving it ends it for
// them.
func TestTiersCallTheirActions(t *testing.T) {
	d, ids := tierBed(t)
	a := detect.Attack{ID: "1", Target: netip.MustParsePrefix("203.0.113.7/32"), Crossed: []detect.Crossed{
		{Limit: ids["low"], Counter: "total", Bound: 1000},
		{Limit: ids["high"], Counter: "total", Bound: 10000},
		{Limit: ids["bits"], Counter: "total", Unit: engine.ByteRate, Bound: 1e9 / 8},
	}}
	for _, step := range []struct {
		kind    detect.EventType
		crossed int
		left    bool
		want    string
	}{
		{detect.Started, 1, false, "note started, ban started"},
		{detect.Updated, 2, false, "note updated, mail started, ban updated"},
		{detect.Updated, 3, false, "note updated, mail updated, ban updated"},
		{detect.Updated, 3, true, "note updated, mail ended, ban updated"},
		{detect.Updated, 3, false, "note updated, mail started, ban updated"},
		{detect.Ended, 3, false, "note ended, mail ended, ban ended"},
	} {
		e := detect.Event{Type: step.kind, Attack: a}
		e.Attack.Crossed = append([]detect.Crossed(nil), a.Crossed[:step.crossed]...)
		if step.left {
			e.Attack.Crossed[1].Left = true
		}
		seen := sdk.Event{ID: "1", Target: a.Target, Type: []sdk.EventType{sdk.AttackStarted, sdk.AttackUpdated, sdk.AttackEnded}[step.kind]}
		d.tell(&e, &seen)
		if got := told(d); got != step.want {
			t.Errorf("%v, %d limits, left %v: %s; want %s", step.kind, step.crossed, step.left, got, step.want)
		}
	}
	if len(d.told) != 0 {
		t.Errorf("attacks that are over are kept: %v", d.told)
	}
}

// A threshold on another counter than the first one crossed calls the actions
// that it names itself, and only these.
func TestOtherCountersCallWhatTheyName(t *testing.T) {
	d, ids := tierBed(t)
	crossed := []detect.Crossed{
		{Limit: ids["bits"], Counter: "total", Unit: engine.ByteRate, Bound: 1e9 / 8},
		{Limit: ids["low"], Counter: "total", Bound: 1000},
		{Limit: ids["high"], Counter: "total", Bound: 10000},
	}
	for n, want := range []string{"ban started", "ban updated", "mail started, ban updated"} {
		e := detect.Event{Type: detect.Updated, Attack: detect.Attack{ID: "1", Target: netip.MustParsePrefix("203.0.113.7/32"), Crossed: crossed[:n+1]}}
		d.tell(&e, &sdk.Event{ID: "1", Type: sdk.AttackUpdated})
		if got := told(d); got != want {
			t.Errorf("%d limits: %s; want %s", n+1, got, want)
		}
	}
	e := detect.Event{Type: detect.Ended, Attack: detect.Attack{ID: "1", Crossed: crossed}}
	d.tell(&e, &sdk.Event{ID: "1", Type: sdk.AttackEnded})
	if got := told(d); got != "mail ended, ban ended" {
		t.Error(got)
	}
}

// Wider scopes only notify, unless the threshold itself names an action that
// does more.
func TestWiderScopesOnlyNotify(t *testing.T) {
	d, ids := tierBed(t)
	for _, c := range []struct {
		threshold string
		scope     engine.ScopeKind
		want      string
	}{
		{"low", engine.ScopeHost, "note started, ban started"},
		{"carpet", engine.ScopePrefix, "note started"},
		{"all", engine.ScopeGroup, "note started"},
		{"flooded", engine.ScopeNetwork, "ban started"},
	} {
		e := detect.Event{Attack: detect.Attack{ID: c.threshold, Scope: c.scope, Crossed: []detect.Crossed{{Limit: ids[c.threshold]}}}}
		d.tell(&e, &sdk.Event{ID: c.threshold, Type: sdk.AttackStarted})
		if got := told(d); got != c.want {
			t.Errorf("%s: %s; want %s", c.threshold, got, c.want)
		}
	}
}

// Scopes reach the engine; a network has the limits of the group that names it.
func TestScopesAreCompiled(t *testing.T) {
	cfg := load(t, tierConfig)
	names := newIDSets()
	plan, err := compileCount(cfg, names, 1, 1)
	if err != nil {
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
	got := map[string]string{}
	for i, g := range rates.Groups {
		for _, l := range g.Limits {
			if l.Direction == ring.Incoming && l.Scope != engine.ScopeHost {
				got[fmt.Sprint(cfg.Groups[i].Name, " ", l.Scope, " ", l.Value)] = fmt.Sprint(l.Length, len(l.Networks))
			}
		}
	}
	want := map[string]string{
		"g prefix 5000": "[24 64] 0", "g network 9000": "[0 0] 2", "g hostgroup 9000": "[0 0] 0",
		"child prefix 5000": "[24 64] 0", "child network 9000": "[0 0] 0", "child hostgroup 9000": "[0 0] 0",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("limits %v, want %v", got, want)
	}
}
