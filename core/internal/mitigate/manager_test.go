package mitigate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePlugin holds what it is told, and says so.
type fakePlugin struct {
	mu    sync.Mutex
	set   map[string]sdk.Mitigation
	syncs int
	hang  bool
	stuck bool // previews are
	fail  error
	tell  func(sdk.MitigationStatus)
}

func (p *fakePlugin) Preview(ctx context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []sdk.Announcement{{Prefix: m.Target, Text: m.Target.String(), Discard: true}}, nil
}

func (p *fakePlugin) Sync(ctx context.Context, desired []sdk.Mitigation) error {
	p.mu.Lock()
	hang, fail := p.hang, p.fail
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if fail != nil {
		return fail
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.set
	p.set = map[string]sdk.Mitigation{}
	p.syncs++
	for _, m := range desired {
		p.set[m.ID] = m
	}
	if p.tell != nil {
		for id := range old {
			if _, still := p.set[id]; !still {
				p.tell(sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased})
			}
		}
		for id := range p.set {
			p.tell(sdk.MitigationStatus{ID: id, State: sdk.MitigationActive})
		}
	}
	return nil
}

func (p *fakePlugin) WatchMitigations(ctx context.Context, report func(sdk.MitigationStatus)) error {
	p.mu.Lock()
	p.tell = report
	for id := range p.set {
		report(sdk.MitigationStatus{ID: id, State: sdk.MitigationActive})
	}
	p.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (p *fakePlugin) holds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.set)
}

// clock is one that a test moves.
type clock struct {
	mu   sync.Mutex
	boot time.Duration
	wall time.Time
}

func newClock() *clock { return &clock{boot: time.Hour, wall: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Moment{c.boot, c.wall}
}

func (c *clock) move(boot, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot += boot
	c.wall = c.wall.Add(wall)
}

// desk is a manager that runs.
type desk struct {
	*Manager
	t    *testing.T
	stop func()
}

func newDesk(t *testing.T, path string, c *clock, boot string) *desk {
	t.Helper()
	opt := Options{Journal: path, Boot: boot, Guard: wide(200, 1000, 1)}
	if c != nil {
		opt.Clock = c.now
	}
	d := &desk{Manager: New(opt), t: t}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { d.Run(ctx); close(over) }()
	var once sync.Once
	d.stop = func() { once.Do(func() { cancel(); <-over }) }
	t.Cleanup(d.stop)
	return d
}

func target(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 2, byte(n >> 8), byte(n)}), 32)
}

func (d *desk) flood(n int, blocks ...string) {
	for i := range n {
		var wants []Want
		for _, b := range blocks {
			wants = append(wants, Want{Action: Action{Block: b}, Rules: Rules{Hold: 10 * time.Minute, Max: time.Hour, Backoff: 2}})
		}
		d.Offer(Attack{Event: sdk.Event{ID: fmt.Sprint("a", i), Target: target(i), Direction: "incoming"}, Wants: wants})
	}
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatal("in 20 seconds: not " + what)
}

func (d *desk) counts() map[sdk.MitigationState]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machine.Counts()
}

// A plugin that hangs keeps neither the others nor who offers attacks waiting.
func TestAPluginThatHangs(t *testing.T) {
	d := newDesk(t, "", nil, "")
	slow, quick := &fakePlugin{hang: true}, &fakePlugin{}
	d.Up("action.rib.slow", slow, time.Minute, true)
	d.Up("action.rib.quick", quick, 0, true)
	d.flood(50, "action.rib.slow", "action.rib.quick")
	eventually(t, "announced by the other", func() bool { return quick.holds() == 50 })
	d.flood(2000, "action.rib.slow")
	d.Down("action.rib.slow", slow)
	eventually(t, "requested", func() bool { return d.counts()[sdk.MitigationRequested] >= 50 })
}

// A plugin that takes nothing is told again with growing pauses, and what is late
// is an alarm with the cause.
// What is over is taken back, however long a plugin thinks about what is new.
func TestPreviewsThatHang(t *testing.T) {
	d := newDesk(t, "", nil, "")
	p := &fakePlugin{}
	d.Up(block, p, 2*time.Second, true)
	d.flood(1, block)
	eventually(t, "it is in force", func() bool { return p.holds() == 1 })
	p.mu.Lock()
	p.stuck = true
	p.mu.Unlock()
	id := d.Reports()[0].ID
	d.flood(151, block) // 38 seconds of previews
	eventually(t, "asked for", func() bool { return d.counts()[sdk.MitigationRequested] > 100 })
	if taken := d.Unban(id, netip.Prefix{}, false, "test", "over"); len(taken) != 1 {
		t.Fatal(taken)
	}
	eventually(t, "it is taken back", func() bool { return p.holds() == 0 })
}

func TestAPluginThatRefuses(t *testing.T) {
	c := newClock()
	d := newDesk(t, "", c, "")
	p := &fakePlugin{fail: errors.New("no session")}
	d.Up(block, p, 0, true)
	d.flood(1, block)
	eventually(t, "told", func() bool {
		r := d.Reports()
		return len(r) == 1 && strings.Contains(r[0].Cause, "no session")
	})
	c.move(6*time.Second, 6*time.Second)
	if got := strings.Join(d.Waiting(), "\n"); !strings.Contains(got, "1 mitigation is on the way for up to 6s: the plugin does not take it: no session") {
		t.Errorf("troubles: %q", got)
	}
	p.mu.Lock()
	p.fail = nil
	p.mu.Unlock()
	eventually(t, "active", func() bool { return d.counts()[sdk.MitigationActive] == 1 })
	if got := d.Waiting(); len(got) != 0 {
		t.Errorf("troubles: %q", got)
	}
}

// The journal brings everything back, under the old names: what has time left is
// handed to the plugin, what has none is taken back. The time of day does not
// matter, and a start of the machine costs nothing but the time it was off.
func TestRestarts(t *testing.T) {
	for name, c := range map[string]struct {
		boot       string
		move, wall time.Duration
		reset      bool
		left       int
	}{
		"at once":               {"b1", time.Second, time.Second, false, 100},
		"an hour forward":       {"b1", time.Second, time.Hour, false, 100},
		"an hour back":          {"b1", time.Second, -time.Hour, false, 100},
		"too late":              {"b1", 11 * time.Minute, 11 * time.Minute, false, 0},
		"too late, clock back":  {"b1", 11 * time.Minute, -time.Hour, false, 0},
		"the machine restarted": {"b2", 0, 30 * 24 * time.Hour, true, 100},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			clk := newClock()
			d := newDesk(t, path, clk, "b1")
			p := &fakePlugin{}
			d.Up(block, p, 0, true)
			d.flood(100, block)
			eventually(t, "active", func() bool { return d.counts()[sdk.MitigationActive] == 100 })
			names := map[string]bool{}
			for _, r := range d.Reports() {
				names[r.ID] = true
			}
			for i := range 100 {
				d.Offer(Attack{Event: sdk.Event{ID: fmt.Sprint("a", i), Target: target(i), Direction: "incoming"}, Over: true})
			}
			eventually(t, "without attacks", func() bool {
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(d.machine.attacks) == 0
			})
			d.stop()

			clk.move(c.move, c.wall)
			if c.reset {
				clk.boot = 5 * time.Second
			}
			d = newDesk(t, path, clk, c.boot)
			d.Up(block, p, 0, true)
			eventually(t, fmt.Sprint(c.left, " left"), func() bool {
				clk.move(100*time.Millisecond, 0) // plugins are given a moment to say what they hold
				return p.holds() == c.left && d.counts()[sdk.MitigationActive] == c.left && len(d.Reports()) == c.left
			})
			for _, r := range d.Reports() {
				if !names[r.ID] {
					t.Errorf("%s is a new name of %v", r.ID, r.Target)
				}
			}
			if past := d.Past(1000); len(past) != 100-c.left {
				t.Errorf("%d are over, not %d", len(past), 100-c.left)
			}
		})
	}
}

// An attack that is found again after a restart adopts what is there.
func TestAnAttackFoundAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	d := newDesk(t, path, nil, "b1")
	p := &fakePlugin{}
	d.Up(block, p, 0, true)
	d.flood(1, block)
	eventually(t, "active", func() bool { return d.counts()[sdk.MitigationActive] == 1 })
	was := d.Reports()[0]
	d.stop()
	d = newDesk(t, path, nil, "b1")
	d.Up(block, p, 0, true)
	d.Offer(Attack{Event: sdk.Event{ID: "another", Target: target(0), Direction: "incoming"}, Wants: []Want{{Action: Action{Block: block}, Rules: Rules{Hold: 10 * time.Minute, Max: time.Hour, Backoff: 2}}}})
	eventually(t, "adopted", func() bool {
		r := d.Reports()
		return len(r) == 1 && r[0].ID == was.ID && r[0].AttackID == "another" && r[0].State == sdk.MitigationActive
	})
}

// Who cannot write a journal acts all the same, says so, and writes all of it as
// soon as that is possible.
func TestWithoutAJournal(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(blocked, "journal.db") // its directory is a file
	d := newDesk(t, path, nil, "b1")
	p := &fakePlugin{}
	d.Up(block, p, 0, true)
	d.flood(3, block)
	eventually(t, "announced all the same", func() bool { return p.holds() == 3 })
	if got := strings.Join(d.Troubles(), "\n"); !strings.Contains(got, "not kept over a restart") {
		t.Errorf("troubles: %q", got)
	}
	if _, err := d.Ban(Ban{Action: Action{Block: block}, Target: target(9), Direction: "incoming", For: time.Hour, By: "root", Rules: Rules{Hold: time.Hour, Max: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "announced", func() bool { return p.holds() == 4 })
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	eventually(t, "written", func() bool { return len(d.Troubles()) == 0 })
	d.stop()
	d = newDesk(t, path, nil, "b1")
	if n := len(d.Reports()); n != 4 {
		t.Errorf("%d are taken over", n)
	}
	if log := d.AuditLog(10); len(log) != 1 || log[0].Who != "root" || log[0].What != "ban" {
		t.Errorf("audit: %+v", log)
	}
}

// A damaged journal is set aside, and that is told.
func TestADamagedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("nonsense", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, path, nil, "b1")
	p := &fakePlugin{}
	d.Up(block, p, 0, true)
	d.flood(2, block)
	eventually(t, "announced", func() bool { return p.holds() == 2 })
	aside, _ := filepath.Glob(path + ".damaged-*")
	if got := strings.Join(d.Troubles(), "\n"); len(aside) != 1 || !strings.Contains(got, aside[0]) {
		t.Errorf("set aside as %q, troubles %q", aside, got)
	}
	d.stop()
	if d = newDesk(t, path, nil, "b1"); len(d.Reports()) != 2 {
		t.Errorf("a new one has %+v", d.Reports())
	}
}

// A journal that somebody removes is made anew, with everything.
func TestAJournalThatGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	d := newDesk(t, path, nil, "b1")
	p := &fakePlugin{}
	d.Up(block, p, 0, true)
	d.flood(5, block)
	eventually(t, "announced", func() bool { return p.holds() == 5 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there again", func() bool { _, err := os.Stat(path); return err == nil })
	time.Sleep(100 * time.Millisecond)
	d.stop()
	if d = newDesk(t, path, nil, "b1"); len(d.Reports()) != 5 {
		t.Errorf("it has %d", len(d.Reports()))
	}
}

// Withdraw empties a plugin and forgets nothing; Remove does.
func TestWithdrawAndRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	d := newDesk(t, path, nil, "b1")
	p := &fakePlugin{}
	d.Up(block, p, 0, true)
	d.flood(5, block)
	eventually(t, "active", func() bool { return d.counts()[sdk.MitigationActive] == 5 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := d.Withdraw(ctx, block); err != nil || p.holds() != 0 {
		t.Errorf("%v, %d held", err, p.holds())
	}
	d.stop()
	d = newDesk(t, path, nil, "b1")
	d.Up(block, p, 0, true)
	eventually(t, "announced again", func() bool { return p.holds() == 5 })
	d.Remove(ctx, block, "it is gone")
	if p.holds() != 0 || len(d.Reports()) != 0 {
		t.Errorf("%d held, %+v", p.holds(), d.Reports())
	}
}

// What a person has taken back under an attack stays so, though the daemon is
// started anew and gives the attack another name; the next attack is another matter.
func TestRefusalsOutliveTheDaemon(t *testing.T) {
	clk, path := newClock(), filepath.Join(t.TempDir(), "journal.db")
	p := &fakePlugin{}
	d := newDesk(t, path, clk, "boot")
	d.Up(block, p, 0, true)
	d.flood(2, block)
	eventually(t, "both are in force", func() bool { return p.holds() == 2 })
	id := d.Reports()[0].ID
	freed := d.Reports()[0].Target
	d.Unban(id, netip.Prefix{}, false, "test", "a mistake")
	eventually(t, "one is taken back", func() bool {
		clk.move(100*time.Millisecond, 0) // the plugin is given a moment to say that it holds it
		return p.holds() == 1 && len(d.Reports()) == 1
	})
	d.stop()

	d = newDesk(t, path, clk, "boot")
	d.Up(block, p, 0, true)
	offer := func(id string, over bool) {
		for i := range 2 {
			d.Offer(Attack{
				Event: sdk.Event{ID: fmt.Sprint(id, i), Target: target(i), Direction: "incoming"}, Over: over,
				Wants: []Want{{Action: Action{Block: block}, Rules: Rules{Hold: 10 * time.Minute, Max: time.Hour, Backoff: 2}}},
			})
		}
	}
	offer("b", false)
	eventually(t, "the other is active again", func() bool { return d.counts()[sdk.MitigationActive] == 1 })
	for _, r := range d.Reports() {
		if r.Target == freed {
			t.Errorf("%v is %s again", r.Target, r.State)
		}
	}
	offer("b", true)
	offer("c", false)
	eventually(t, "the next attack is acted on", func() bool { return d.counts()[sdk.MitigationActive] == 2 })
}
