package pipeline

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

const removeConfig = `
network "n" {
  prefixes = ["10.0.0.0/16"]
}
hostgroup "g" {
  networks = [network.n]
  threshold "flood" {
    pps = 1000
  }
}
`

// holder is a mitigator that says what it holds, and takes nothing back before
// it may.
type holder struct {
	may  chan struct{}
	once sync.Once

	mu   sync.Mutex
	held map[string]bool
	tell func(sdk.MitigationStatus)
}

func newHolder() *holder { return &holder{may: make(chan struct{}), held: map[string]bool{}} }

// release lets it take back what it holds.
func (h *holder) release() { h.once.Do(func() { close(h.may) }) }

func (h *holder) Preview(_ context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	return []sdk.Announcement{{Prefix: m.Target, Text: "discard", Discard: true}}, nil
}

func (h *holder) Sync(ctx context.Context, desired []sdk.Mitigation) error {
	if len(desired) == 0 {
		select {
		case <-h.may:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := h.held
	h.held = map[string]bool{}
	for i := range desired {
		h.held[desired[i].ID] = true
		delete(gone, desired[i].ID)
	}
	for id := range gone {
		h.say(id, sdk.MitigationReleased)
	}
	for id := range h.held {
		h.say(id, sdk.MitigationActive)
	}
	return nil
}

// say tells of a mitigation; the lock is held.
func (h *holder) say(id string, state sdk.MitigationState) {
	if h.tell != nil {
		h.tell(sdk.MitigationStatus{ID: id, State: state})
	}
}

func (h *holder) WatchMitigations(ctx context.Context, report func(sdk.MitigationStatus)) error {
	h.mu.Lock()
	h.tell = report
	for id := range h.held {
		h.say(id, sdk.MitigationActive)
	}
	h.mu.Unlock()
	<-ctx.Done()
	return nil
}

// mitigator is an action's block with a role.
func mitigator(role string) *action {
	p := stub(host.KindAction, "edge", config.Process{})
	p.block.Value = cty.ObjectVal(map[string]cty.Value{"role": cty.StringVal(role)})
	p.about = &host.Description{Features: []string{host.FeatureMitigator, host.FeatureNotifier, host.FeaturePreview}}
	return &action{prepared: p}
}

// mitigating is a daemon with an action that holds one mitigation.
func mitigating(t *testing.T, sys *system, h *holder) *mitigation {
	t.Helper()
	cfg := load(t, removeConfig)
	sys.opt.Config = cfg
	m := &mitigation{d: &Daemon{sys: sys, cfg: cfg}, cfg: cfg, protected: map[string][]netip.Prefix{}, heard: map[string]bool{}, over: make(chan struct{}), patience: time.Hour}
	m.Manager = mitigate.New(mitigate.Options{Log: sys.log, Guard: m.guard()})
	m.start()
	t.Cleanup(m.end)
	const block = "action.stub.edge"
	m.Up(block, h, 0, true)
	target := netip.MustParsePrefix("10.0.0.1/32")
	id, err := m.Ban(mitigate.Ban{
		Action: mitigate.Action{Block: block}, Target: target, Direction: "incoming", For: time.Hour, By: "me", Reason: "a test",
		Event: sdk.Event{Target: target, HostGroup: "g"}, Rules: rulesOf(cfg.Groups[0], false),
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		r, _ := m.Report(id)
		if r.State == sdk.MitigationActive {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("it is %s: %s", r.State, r.Cause)
		}
	}
}

// What an action holds that is gone, or is to notify only from now on, is taken
// back before its process ends; what one that goes on holds stays.
func TestRemoveTakesBack(t *testing.T) {
	for name, c := range map[string]struct {
		next *action
		left int
	}{"gone": {nil, 0}, "notifies": {mitigator(roleNotify), 0}, "started anew": {mitigator(roleMitigate), 1}} {
		t.Run(name, func(t *testing.T) {
			h := newHolder()
			h.release()
			m := mitigating(t, &system{log: hclog.NewNullLogger()}, h)
			next := newSet()
			if c.next != nil {
				next.actions["action.stub.edge"] = c.next
			}
			leaving, _ := divide([]part{{prepared: mitigator(roleMitigate).prepared}}, func(p part) bool { return leaves(p, next) })
			m.remove(leaving)
			if got := m.Reports(); len(got) != c.left {
				t.Errorf("%d are left, want %d: %+v", len(got), c.left, got)
			}
		})
	}
}

// A capture of the new configuration runs while an action that is gone still
// takes back what it holds; a new action, which may need its port, waits.
func TestExchangeWhileAnActionTakesBack(t *testing.T) {
	s := newStubs(t, true)
	s.run()
	h := newHolder()
	m := mitigating(t, s.sys, h)
	s.sys.mitigation = m
	d := m.d
	var end context.CancelFunc
	d.running, end = context.WithCancel(context.Background())
	t.Cleanup(func() { end(); d.queues.Wait() })
	// still is an action whose process does not matter.
	still := func(serve func(context.Context)) part {
		p := mitigator(roleMitigate).prepared
		inst := s.sys.instance(p, plugin.Hooks{})
		inst.Stop(t.Context())
		served := make(chan struct{})
		close(served)
		return part{prepared: p, inst: inst, serve: serve, finish: func() {}, served: served}
	}
	began := make(chan struct{})
	c := s.capture("new", false, "WORKERS", "1", "PACKETS", "10", "STAY", "1")
	fresh := [3][]part{{still(func(context.Context) { close(began) })}, nil, {c.part()}}
	stale := [3][]part{{still(nil)}, nil, nil}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if refused := d.exchange(context.Background(), newSet(), fresh, stale); refused.HasErrors() {
			t.Error(refused)
		}
	}()
	t.Cleanup(func() { <-done })
	t.Cleanup(h.release)
	s.await("the new capture runs", func() bool { return c.inst.Status().State == plugin.Running })
	select {
	case <-began:
		t.Error("a new action starts though the one before it still holds something")
	case <-done:
		t.Error("the exchange is over though an action still holds something")
	default:
	}
	h.release()
	<-done
	<-began
	if left := m.Reports(); len(left) != 0 {
		t.Errorf("%+v are left", left)
	}
}
